"""A run that ends where nobody meant it to: killed, cut off from its table, cancelled, or broken by its own mistake.

Each place is tried in turn, the first time it is reached, the second time, and so on; the same command must always
come to the same end. Everything is in virtual time.
"""

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import anyio
import pytest
import structlog

from batcher.emulator.faults import Fault
from batcher.emulator.objects import Work
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.errors import MachineRefuses
from batcher.model import Limits, Transcript
from batcher.states import NEXT, Event, State
from batcher.store.db import Database, T
from batcher.store.db import Work as Statement
from tests.engine_bed import KNOBS, Bed
from tests.simulation import virtual
from tests.test_engine import folder

__all__ = ["folder"]  # the fixture

#: Between them and their commits nothing happens outside the table, so a few of their very many turns will do.
COMMITS = ("before-commit", "after-commit", "claimed")


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Keep the last words of broken handlers to ourselves: their tracebacks take longer than the night."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@contextmanager
def suppressed(kind: type[Exception]) -> Iterator[None]:
    """Let a run end with an error of this kind, which comes in the group of everything that was going on."""
    try:
        yield
    except* kind:
        pass


class Place(str):  # noqa: SLOT000 - of a str, typed slots are not to be had
    """The name of a kill point that equals what is reached only at its n-th turn; it notes everything it is asked."""

    _turns: int
    seen: Counter[object]

    def __new__(cls, name: str, turns: int) -> Self:
        """Return the place `name` at its turn number `turns`."""
        place = super().__new__(cls, name)
        place._turns, place.seen = turns, Counter()
        return place

    def __eq__(self, reached: object) -> bool:
        """Tell whether it is time to die."""
        self.seen[reached] += 1
        return str(self) == reached and self.seen[reached] == self._turns

    __hash__ = str.__hash__

    @property
    def hit(self) -> bool:
        """Tell whether the process died here."""
        return self.seen[str(self)] >= self._turns


class Guarded(Bed):
    """A batch whose service looks into the table at every deletion of a transcript, and whose end is judged whole."""

    def __init__(self, folder: Path, *sizes: int, api: str = "grpc") -> None:
        super().__init__(folder, *sizes, api=api)
        self.lost: list[str] = []
        self.core.watch(lambda _account, change, item: self._look(change, item))
        self.core.watch_rest(
            lambda _account, change, item: self._look(change, item) if isinstance(item, Work) else None
        )

    def _look(self, change: str, item: Work) -> None:
        ready = change == "deleted" and isinstance(item.outcome, Transcript) and item.ended is not None
        if ready and not self.rows("SELECT 1 FROM transcript WHERE reference = ?", item.reference):
            self.lost.append(item.reference)

    def tally(self) -> Counter[str]:
        """Return how often each reference was accepted."""
        return (self.rest if self.api == "rest" else self.account).tally.accepted

    def verdict(self) -> list[str]:
        """Return everything that is wrong at the end."""
        contents = {file.content for file in self.world.files.values()}
        found = [f"deleted before it was committed: {reference}" for reference in self.lost]
        if self.tally().total() != len(contents):
            found.append(f"{self.tally().total()} accepted for {len(contents)} contents")
        if set(self.states()) != {"done"}:
            found.append(f"states {self.states()}")
        return found + self.wrong() + self._detours()

    def _detours(self) -> list[str]:
        at: dict[object, object] = {}
        found = []
        for job, source, event, target in self.rows("SELECT job, source, event, target FROM history ORDER BY id"):
            if source != at.get(job, "new") or NEXT.get((State(str(source)), Event(str(event)))) != target:
                found.append(f"job {job}: {source} --{event}--> {target}")
            at[job] = target
        return found


def a_batch(folder: Path, api: str) -> Guarded:
    """Return two recordings of their own and a copy of one of them."""
    folder.mkdir()
    bed = Guarded(folder, 1_000, 1_001, api=api)
    bed.add("copy.wav", content=bed.world.files[b"/in/001.wav"].content)
    return bed


def turns(folder: Path, api: str) -> Counter[str]:
    """Return how often a run that nothing ends reaches each place."""
    place = Place("nowhere", 1)
    bed = a_batch(folder / "whole", api)
    assert bed.run(kill=place) is None
    assert bed.verdict() == []
    return Counter({str(name): number for name, number in place.seen.items()})


def chosen(seen: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yield every turn of every place, of the very many around commits every thirty-first."""
    for name, number in seen.items():
        yield from ((name, turn) for turn in range(1, number + 1, 31 if name in COMMITS else 1))


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_killed_anywhere_and_again_in_the_recovery_the_same_command_completes_it(folder: Path, api: str) -> None:
    """Every place, every turn; then the run that takes it up is killed at another place, and the third one ends."""
    seen = turns(folder, api)
    places = sorted(seen)
    for number, (name, turn) in enumerate(chosen(seen)):
        bed = a_batch(folder / str(number), api)
        first, second = Place(name, turn), Place(places[7 * number % len(places)], 1 + number % 2)
        bed.run(kill=first)
        assert first.hit, first
        bed.run(kill=second)
        assert bed.run() is None
        assert bed.verdict() == [], (first, turn, second)


def test_a_crash_loop_fills_no_account(folder: Path) -> None:
    """What the killed runs may have sent counts until it is known better: the limit holds, however often it dies."""
    bed = Guarded(folder, *range(1_000, 1_030))
    bed.core.knobs = KNOBS
    bed.account.limits = Limits(5, 9)
    for _ in range(12):
        bed.run(kill="after-seal", limits=Limits(5, 9))
        bed.run(kill="accepted", limits=Limits(5, 9))
    assert bed.run(limits=Limits(5, 9)) is None
    assert bed.verdict() == []
    assert bed.account.tally.pending_peak <= 5
    assert bed.account.tally.stored_peak <= 9
    assert bed.account.tally.quota_refusals == 0


class Refusing(Database):
    """A table whose disk refuses one write, or every one from then on; with `after`, when it was written already."""

    def __init__(self, inner: Database, turn: int, *, lasting: bool, after: bool) -> None:
        super().__init__(inner._conn, inner._run)
        self.turn, self._lasting, self._after = turn, lasting, after

    async def write(self, work: Statement[T]) -> T:
        """Write, if it is not the turn to refuse."""
        self.turn -= 1
        refused = self.turn == 0 or (self._lasting and self.turn < 0)
        if refused and not self._after:
            raise MachineRefuses("the job table could not be written: database or disk is full")
        result = await super().write(work)
        if refused:
            raise MachineRefuses("the job table could not be written: disk I/O error")
        return result


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_write_that_the_disk_refuses_ends_the_run_and_costs_nothing(
    folder: Path, *, lasting: bool, after: bool
) -> None:
    """One write in four, or all from one in eleven on; also that of an id which just arrived, or that took effect."""
    turn = 1
    while True:
        bed = a_batch(folder / str(turn), "rest" if turn % 2 else "grpc")
        tables: list[Refusing] = []

        def refusing(inner: Database, turn: int = turn, tables: list[Refusing] = tables) -> Database:
            tables.append(Refusing(inner, turn, lasting=lasting, after=after))
            return tables[-1]

        bed.database = refusing
        with suppressed(MachineRefuses):
            assert bed.run() is None
        assert bed.lost == []
        if tables[0].turn > 0:
            break
        bed.database = lambda inner: inner
        assert bed.run() is None
        assert bed.verdict() == [], turn
        turn += 11 if lasting else 4
    assert turn > 60


class Counting(sqlite3.Connection):
    """A connection whose commits fail when the disk's sync does."""

    refusing = False

    def execute(self, sql: str, /, *parameters: object) -> sqlite3.Cursor:
        """Refuse a commit as SQLite does when the disk will not sync: the transaction stays open."""
        if self.refusing and sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *parameters)  # type: ignore[arg-type]


def test_a_disk_that_does_not_sync_is_not_believed(folder: Path) -> None:
    """Nobody is told of such a commit, nothing of it is kept, and it is not tried again on the same pages."""
    conn = sqlite3.connect(folder / "table", isolation_level=None, factory=Counting)
    with closing(conn):
        conn.execute("CREATE TABLE word (text TEXT)")

        async def run(work: object) -> None:
            work()  # type: ignore[operator]

        async def write() -> None:
            database = Database(conn, run)
            await database.write(lambda c: c.execute("INSERT INTO word VALUES ('before')"))
            conn.refusing = True
            with pytest.raises(MachineRefuses, match="I/O error"):
                await database.write(lambda c: c.execute("INSERT INTO word VALUES ('lost')"))

        virtual.run_virtually(write)
        assert not conn.in_transaction
        assert conn.execute("SELECT text FROM word").fetchall() == [("before",)]


class Broken(Exception):
    """What nobody thought of."""


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_a_mistake_of_ours_at_any_call_costs_nothing(folder: Path, api: str) -> None:
    """Whichever call to the service it breaks, the run goes on or ends with it; nothing is lost or paid twice."""
    turn = 0
    while True:
        turn += 1
        bed, calls = a_batch(folder / str(turn), api), [0]

        def mistake(_call: Call, calls: list[int] = calls, turn: int = turn) -> Fault | None:
            calls[0] += 1
            if calls[0] == turn:
                raise Broken
            return None

        bed.trouble = mistake
        with suppressed(Broken):
            bed.run()
        if calls[0] < turn:
            break
        bed.trouble = lambda _call: None
        assert bed.run() is None
        assert bed.verdict() == [], turn
    assert turn > 10


class Cancelled(Exception):
    """Somebody wants the engine to end at once."""


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_cancelled_at_any_turn_of_the_loop_nothing_is_half_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    """At one turn in 13 or 23; it leaves table and service as a kill does, and the same command completes it."""
    number = 1
    while True:
        bed = a_batch(folder / str(number), api)
        ended = cancel_at(bed, number, monkeypatch)
        if ended:
            break
        assert bed.run() is None
        assert bed.verdict() == [], number
        number += 13 if api == "grpc" else 23
    assert number > 200


def cancel_at(bed: Bed, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run, and cancel everything when the event loop has turned so many times; tell whether the run ended before."""
    turned, select = [0], virtual._Selector.select

    with monkeypatch.context() as patch:
        wanted = anyio.Event()

        def turn(selector: virtual._Selector, timeout: float | None = None) -> object:
            turned[0] += 1
            if turned[0] == number:
                selector.loop.call_soon(wanted.set)
                timeout = 0
            return select(selector, timeout)

        async def cancel(_engine: Engine) -> None:
            await wanted.wait()
            raise Cancelled

        patch.setattr(virtual._Selector, "select", turn)
        with suppressed(Cancelled):
            bed.run(cancel)
    return turned[0] < number
