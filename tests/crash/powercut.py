"""Cut the power of the disk that holds OUT: ``python -m tests.crash.powercut CUTS [SEED]``.

The file system is ended while the command writes, mounted again, and the same command goes on; then again. What
the command called done, and every transcript whose copy at the service was deleted, must be there after each cut.
The same is done under `eatmydata`, where nothing is ever synced: if no loss is noticed there, nothing was proven.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.crash import oracles
from tests.crash.image import Image, image, in_private, no_sync_library, why_not
from tests.crash.starter import starter
from tests.crash.sweep import APIS, points
from tests.crash.trial import FAULTS, Recipe, Trial, trial

WORKERS = 4
TOLD = 10  #: batches between two lines of progress
CUTS_A_BATCH = 2
ELSEWHERE = 0.3  #: of the batches have their table on another disk
#: Where a transcript is on its way to the disk or has just got there: most cuts are made there or at any moment.
LATE = (
    "after-commit", "before-commit", "fetched", "transcript-committed", "output-temp-written", "output-renamed",
    "output-directory-synced", "rendered", "deleted",
)  # fmt: skip
_INSIDE = "--inside"  #: the mounts are our own already
MOST_SHOWN = 40
MINUTE = 60.0  #: a run that was not cut by then is cut, point or not


@dataclass(slots=True)
class Report:
    """What was cut and what was found."""

    cuts: int = 0
    moments: Counter[str] = field(default_factory=Counter)  #: by point, or seconds after the start
    states: Counter[str] = field(default_factory=Counter)  #: jobs by state after the cuts
    done: int = 0  #: recordings called done that were looked for, summed over the cuts
    deleted: int = 0  #: the same of transcripts deleted at the service
    owing: int = 0  #: cuts after which there was anything to look for
    losses: int = 0  #: cuts after which something was missing
    ends: int = 0  #: batches that ran to their end
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Add what somebody else found."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def cut_batch(name: str, *, preload: str = "", cuts: int = CUTS_A_BATCH) -> Report:
    """Cut the power of one batch some times; with every sync a lie, only once, for nothing can go on then."""
    chance, report = Random(name), Report()
    recipe = Recipe(chance.choice(APIS), chance.getrandbits(32), chance.randrange(6, 14), chance.randrange(2))
    # A table on a disk that keeps its power stays as it was: then the outputs alone are held to what it says.
    recipe = replace(recipe, faults=chance.choice(["none", FAULTS]), elsewhere=chance.random() < ELSEWHERE)
    with (
        TemporaryDirectory() as folder,
        image(Path(folder)) as disk,
        starter(preload) as starting,
        trial(recipe, Path(folder), starting, disk.mount / "out") as batch,
    ):
        for _ in range(1 if preload else cuts):
            _cut(batch, disk, chance, report)
        if not preload:
            batch.run()
            report.ends += 1
            report.violations += [f"{name}, {recipe.api}: {what}" for what in oracles.at_the_end(batch)]
    return report


def _cut(batch: Trial, disk: Image, chance: Random, report: Report) -> None:
    """Run, cut the power at a random moment or point, and look what is left."""
    seconds, point = _choose(chance)
    ending = batch.run(seconds=seconds, point=point, cut=str(disk.mount))
    disk.power_up()
    report.cuts += 1
    report.moments[_moment(point, late=ending.late, killed=ending.killed, seconds=seconds)] += 1
    with oracles.copied(batch.table) as table:
        report.states.update({"no table": 1} if table is None else oracles.states(table))
    done, deleted = len(oracles.acknowledged(batch)), len(oracles.deleted_transcripts(batch))
    found = oracles.after_kill(batch) + oracles.after_cut(batch)
    report.done, report.deleted = report.done + done, report.deleted + deleted
    report.owing += bool(done or deleted)
    report.losses += bool(found)
    report.violations += [f"{batch.recipe.api}, cut at {point or f'{seconds:.2f} s'}: {what}" for what in found]


def _choose(chance: Random) -> tuple[float, str]:
    """Return after how many seconds the power goes, and the point that it goes at if that comes first."""
    if chance.random() < 0.5:
        return chance.uniform(0.2, 3.5), ""
    name = chance.choice(LATE if chance.random() < 0.8 else points())
    return MINUTE, f"{name}:{chance.randrange(1, 40 if name.endswith('-commit') else 7)}"


def _moment(point: str, *, late: bool, killed: bool, seconds: float) -> str:
    if late:
        return f"{0.5 * (seconds // 0.5):.1f} s"
    return point.partition(":")[0] if killed else "after the end"


def do_all(task: Callable[[str], Report], names: Iterable[str]) -> Report:
    """Cut batches, several at a time, each on a disk of its own."""
    total = Report()
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, report in enumerate(pool.map(task, names), 1):
            total.add(report)
            if not number % TOLD:
                sys.stderr.write(f"{number} batches, {total.cuts} cuts, {total.losses} with a loss\n")
                sys.stderr.flush()
    return total


def figures(what: str, report: Report) -> Iterable[str]:
    """Yield what was done, in sentences."""
    yield f"{what}: {report.cuts} power cuts, {report.ends} batches run to their end afterwards"
    yield f"  when: {dict(sorted(report.moments.items()))}"
    yield f"  jobs after a cut: {dict(report.states.most_common())}"
    yield f"  looked for: {report.done} recordings called done, {report.deleted} transcripts deleted at the service"
    yield f"  {report.owing} cuts after which there was something to look for, {report.losses} with a loss"


def cut_all(cuts: int, seed: str) -> int:
    """Cut, cut again where nothing is synced, print both, and say whether the promises and the rig held."""
    began = time.perf_counter()
    real = do_all(cut_batch, [f"{seed}:{number}" for number in range(-(-cuts // CUTS_A_BATCH))])
    names = [f"{seed}:control {number}" for number in range(max(8, cuts // 10))]
    control = do_all(partial(cut_batch, preload=no_sync_library()), names)
    seconds = time.perf_counter() - began
    lines = [*figures("real", real), *real.violations[:MOST_SHOWN], *figures("control, under eatmydata", control)]
    lines += [f"{seconds:.0f} s; {len(real.violations)} violations"]
    if not control.losses:
        lines.append("The control lost nothing, so this rig notices nothing.")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if control.losses and not real.violations else 1


def main() -> int:
    """Go where mounts are our own; say why where that cannot be, which is no failure."""
    if sys.argv[1] != _INSIDE:
        if reason := why_not():
            sys.stdout.write(f"powercut skipped: {reason}\n")
            return 0
        return in_private("tests.crash.powercut", [_INSIDE, *sys.argv[1:]])
    return cut_all(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "0")


if __name__ == "__main__":
    sys.exit(main())
