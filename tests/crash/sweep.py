"""Kills at every named point, the first time it is reached, the second time, … until a run ends unharmed.

Every point is swept through both APIs, in a first run and in the recovery of a batch that was killed in the middle,
in fair weather, where what is reached is certain, and with lost answers and all other faults. All pairs of a first and
a second kill would take a day, so one first kill is drawn for each of these sweeps, and it is told how many pairs.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from random import Random

import batcher
from tests.crash import oracles
from tests.crash.starter import Starter
from tests.crash.trial import FAULTS, LAST_SECONDS, Recipe, Trial, trial

APIS = ("rest", "grpc")
MOST_HITS = 200  #: a point that is reached more often in so small a batch is a loop of its own: a finding
TRIES = 2  #: batches in which faults may keep a point from being reached, before its sweep is over
#: Where a batch is killed so that much is left to recover: something sent, fetched, written, deleted.
UNWRITTEN = ("claimed:2", "before-seal:1", "after-seal:2", "accepted:2", "fetched:1", "transcript-committed:1")
MIDDLE = (*UNWRITTEN, "output-renamed:2", "rendered:1", "deleted:1")
#: Where it is killed so that the recovery still comes by what only happens to recordings that are not sent yet.
EARLY = ("scan-committed:1", "claimed:1", "before-seal:1")
_OF_THE_UNSENT = {
    "claimed", "chunk-read", "converted", "before-seal", "after-seal", "accepted", "acceptance-committed",
    "fetched", "transcript-committed", "directory-made", "upload-forgotten",
}  # fmt: skip
_OF_THE_UNWRITTEN = {"output-temp-written", "output-renamed", "output-directory-synced", "rendered"}
#: What a recovery comes by only after a certain kill.
_AFTER = {
    "examined": "scan-committed:1",
    "temporary-swept": "output-temp-written:1",
    "extra-deleted": "before-seal:1",
    "request-applied": "migration-statement:5",
    "migration-statement": "migration-statement:5",
    "before-migration-commit": "migration-statement:5",
    "after-migration-commit": "migration-statement:5",
}
_REST_ONLY = {"converted", "transcription-deleted", "upload-forgotten"}
_RECOVERIES_ONLY = {"temporary-swept", "extra-deleted"}  #: a run that nobody killed leaves neither
_FIRST_RUNS_ONLY = {"table-created"}  #: no point lies before it, and after it the table is there


def points() -> list[str]:
    """Return the names of all points, as the source has them."""
    sources = [path.read_text("utf-8") for path in sorted(Path(batcher.__file__).parent.rglob("*.py"))]
    return sorted({name for source in sources for name in re.findall(r'reach\("([a-z-]+)"\)', source)})


@dataclass(frozen=True, slots=True)
class Sweep:
    """One point through one API, to be killed at the first, second, … time it is reached."""

    point: str
    api: str
    recovery: bool = False  #: of a batch that was killed before
    faults: bool = False  #: answers are lost, lists are old, …

    def __str__(self) -> str:
        """Return its name."""
        return f"{self.api} {self.point}{' in a recovery' * self.recovery}{' with faults' * self.faults}"

    @property
    def possible(self) -> bool:
        """Tell whether the point can be reached so."""
        if self.api != "rest" and self.point in _REST_ONLY:
            return False
        return self.point not in (_FIRST_RUNS_ONLY if self.recovery else _RECOVERIES_ONLY)


def sweeps() -> list[Sweep]:
    """Return every possible sweep of every point."""
    everything = product(points(), APIS, (False, True), (False, True))
    return [sweep for sweep in (Sweep(*each) for each in everything) if sweep.possible]


@dataclass(slots=True)
class Report:
    """What was done and found."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)  #: by point or moment, first ones and in recoveries
    swept: Counter[Sweep] = field(default_factory=Counter)  #: up to which time that a point was reached
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  #: points killed at one after the other
    states: Counter[str] = field(default_factory=Counter)  #: jobs by state when they were killed
    faults: Counter[str] = field(default_factory=Counter)  #: injected by the service
    checked: int = 0  #: transcripts deleted at the service that were looked for in the table
    violations: list[str] = field(default_factory=list)
    blame: Counter[str] = field(default_factory=Counter)  #: violations by point or moment

    def add(self, other: "Report") -> None:
        """Add what somebody else did and found."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, each.name, mine + theirs)


class Killer:
    """Lays out batches one after the other, kills them, and asks the oracles."""

    def __init__(self, starter: Starter, seed: str) -> None:
        self.report = Report()
        self._starter = starter
        self._chance = Random(seed)
        self._points = points()
        self._before = ""  #: the point that the present batch was killed at last

    def sweep(self, sweep: Sweep, *, most: int | None = None) -> None:
        """Kill at the first, second, … time a point is reached, in a new batch each, until one run ends unharmed.

        With `most` it is enough to have been killed so often. Without it that is a finding: the sweep has no end.
        """
        first = self._first_point(sweep.point) if sweep.recovery else ""
        for count in range(1, (most or MOST_HITS) + 1):
            if not self._hit(sweep, first, count):
                break
            self.report.swept[sweep] = count
        else:
            if most is None:
                self._note(sweep.point, [f"{sweep}: not swept to its end, it is reached {MOST_HITS} times and more"])
        if not self.report.swept[sweep] and not sweep.faults:  # these may keep a point from being reached
            self._note(sweep.point, [f"{sweep}: never reached"])

    def _first_point(self, point: str) -> str:
        """Return where to kill a batch so that its recovery comes by a point."""
        late = UNWRITTEN if point in _OF_THE_UNWRITTEN else MIDDLE
        drawn = self._chance.choice(EARLY if point in _OF_THE_UNSENT else late)
        return _AFTER.get(point, drawn)

    def _hit(self, sweep: Sweep, first: str, count: int) -> bool:
        """Kill a new batch at the `count`-th time a point is reached; tell whether it came to that."""
        for _ in range(TRIES if sweep.faults else 1):
            with self._batch(self._recipe(sweep), f"{sweep.point}:{count}") as batch:
                if (not first or self._prepared(batch, sweep, first)) and self._run(batch, sweep.point, count):
                    return True
        return False

    def _prepared(self, batch: Trial, sweep: Sweep, first: str) -> bool:
        """Kill a batch for the first time, and let it find what its recovery needs; tell whether it came to that."""
        name, _, number = first.partition(":")
        killed = self._run(batch, name, int(number))
        if not killed and not sweep.faults:
            self._note(sweep.point, [f"{sweep}: it ended before it was killed at {first}"])
        if killed and sweep.point == "extra-deleted":
            batch.leave_extra(oracles.batch_of(batch))
        return killed

    def _recipe(self, sweep: Sweep) -> Recipe:
        """Return a small batch with what it takes for a point to be reached."""
        point, faults = sweep.point, FAULTS if sweep.faults else "none"
        recipe = Recipe(sweep.api, self._chance.getrandbits(32), request=point == "request-applied", faults=faults)
        if point == "converted":
            return replace(recipe, plain=1, copies=0, foreign_sound=1)
        if point == "upload-forgotten":  # there is room for one, and it is not gone before the next one comes
            return replace(recipe, plain=3, hidden=2, work_ms=3_000)
        return recipe

    def random_batch(self, most: int = 4) -> None:
        """Kill a batch up to `most` times, whenever and wherever, while the service has its faults; then let it end."""
        chance = self._chance
        recipe = Recipe(chance.choice(APIS), chance.getrandbits(32), chance.randrange(2, 8), chance.randrange(3))
        recipe = replace(recipe, faults=FAULTS, request=chance.random() < 0.1)
        if recipe.api == "rest":
            recipe = replace(recipe, foreign_sound=chance.randrange(2), internal_errors=chance.randrange(2))
        with self._batch(recipe, f"seed {recipe.seed}") as batch:
            for _ in range(chance.randrange(1, most + 1)):
                if not self._random_kill(batch):
                    break

    def _random_kill(self, batch: Trial) -> bool:
        if self._chance.random() < 0.4:
            point = self._chance.choice(self._points)
            return self._run(batch, point, self._chance.randrange(1, 6))
        seconds = self._chance.triangular(0.05, 3.0, 0.4)
        return self._run(batch, f"{0.5 * (seconds // 0.5):.1f} s", seconds=seconds)

    @contextmanager
    def _batch(self, recipe: Recipe, name: str) -> Iterator[Trial]:
        """Lay out a batch; at the end of the block run it to its own end, and judge."""
        self._before = ""
        with tempfile.TemporaryDirectory() as folder, trial(recipe, Path(folder), self._starter) as batch:
            yield batch
            if not batch.endings or batch.endings[-1].killed:
                batch.run(fresh=recipe.seed % 10 == 0)
            self.report.runs += len(batch.endings)
            self.report.faults.update(batch.emulator.account.tally.injected)
            self._note(name, [f"{recipe.api} {name}: {what}" for what in oracles.at_the_end(batch)])

    def _run(self, batch: Trial, name: str, count: int = 0, seconds: float = LAST_SECONDS) -> bool:
        """Run, and kill at the `count`-th time of the point `name` or after `seconds`; tell whether it came to that."""
        point = f"{name}:{count}" if count else ""
        report, ending = self.report, batch.run(point=point, seconds=seconds)
        if count and ending.late:
            self._note(name, [f"{batch.recipe.api}: neither killed at {point} nor ended in {seconds:.0f} s"])
        if not ending.killed or (count and ending.late):
            return False
        report.kills[name] += 1
        if count and self._before:
            report.pairs[self._before, name] += 1
        self._before = name if count else ""
        with oracles.copied(batch.table) as table:
            report.states.update({"no table": 1} if table is None else oracles.states(table))
        report.checked += len(oracles.deleted_transcripts(batch))
        self._note(
            name, [f"{batch.recipe.api} killed at {point or name}: {what}" for what in oracles.after_kill(batch)]
        )
        return True

    def _note(self, name: str, found: list[str]) -> None:
        self.report.violations += found
        self.report.blame[name.partition(":")[0]] += len(found)
