"""The writing connection: durable, together, each work by itself, and never half applied."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from batcher import killpoints
from batcher.clock import SystemClock
from batcher.errors import MachineRefuses
from batcher.states import Event, State
from batcher.store import jobs
from batcher.store.db import Database, create_private, open_database, open_inline, prepare_connection
from batcher.store.table import Ledger, Move, Table
from tests.table_tools import Hand

pytestmark = pytest.mark.anyio


def note(word: str) -> Callable[[sqlite3.Connection], str]:
    """Return work that adds a set of options called `word`."""

    def work(conn: sqlite3.Connection) -> str:
        conn.execute("INSERT INTO option_set VALUES (?, '')", (word,))
        return word

    return work


def noted(path: Path) -> list[str]:
    """Return the words on disk, as another connection sees them."""
    with closing(sqlite3.connect(path)) as conn:
        return [word for (word,) in conn.execute("SELECT fingerprint FROM option_set ORDER BY fingerprint")]


async def together(*works: Awaitable[object]) -> list[object]:
    """Await all at once; return results and errors in order."""
    results: list[object] = [None] * len(works)

    async def one(number: int, work: Awaitable[object]) -> None:
        try:
            results[number] = await work
        except (ValueError, MachineRefuses, sqlite3.IntegrityError) as error:
            results[number] = error

    async with anyio.create_task_group() as group:
        for number, work in enumerate(works):
            group.start_soon(one, number, work)
    return results


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the table goes."""
    return tmp_path / "jobs.sqlite3"


@pytest.fixture
def inline(path: Path) -> Iterator[tuple[sqlite3.Connection, Database]]:
    """Open a table without threads."""
    conn, database = open_inline(path)
    with closing(conn):
        yield conn, database


async def test_writes_that_wait_are_committed_together(path: Path) -> None:
    """While one commit is under way the others gather, and one more commit makes all of them durable."""
    begun, gate = threading.Event(), threading.Event()
    statements: list[str] = []

    def first(conn: sqlite3.Connection) -> None:
        conn.set_trace_callback(statements.append)
        begun.set()
        assert gate.wait(10)

    async with open_database(path) as database, anyio.create_task_group() as group:
        group.start_soon(database.write, first)
        await anyio.to_thread.run_sync(begun.wait)
        for number in range(20):
            group.start_soon(database.write, note(f"{number:02}"))
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert statements.count("COMMIT") == 2
    assert len(noted(path)) == 20


async def test_work_that_fails_takes_nothing_of_the_others_with_it(
    inline: tuple[sqlite3.Connection, Database], path: Path
) -> None:
    """In one transaction, what raised leaves nothing, and its error goes to the one who asked."""

    def half(conn: sqlite3.Connection) -> None:
        note("half")(conn)
        raise ValueError("changed my mind")

    conn, database = inline
    statements: list[str] = []
    conn.set_trace_callback(statements.append)
    works = [note("a"), half, note("b"), note("a"), note("c")]
    a, changed, b, double, c = await together(*map(database.write, works))
    assert (a, b, c) == ("a", "b", "c")
    assert isinstance(changed, ValueError)
    assert isinstance(double, sqlite3.IntegrityError)
    assert statements.count("COMMIT") == 1
    assert noted(path) == ["a", "b", "c"]


async def test_what_had_to_run_twice_is_announced_once(inline: tuple[sqlite3.Connection, Database], path: Path) -> None:
    """A move that was undone because of a neighbour's error, and made again, is one move."""

    def wrong(_ledger: Ledger) -> None:
        raise ValueError("changed my mind")

    _conn, database = inline
    hand = Hand(sqlite3.connect(path, isolation_level=None), path.parent)
    with closing(hand.conn):
        hand.add("a.wav")
    table = Table(database, SystemClock())
    heard: list[Move] = []
    table.on_moves = heard.extend
    skip = partial(jobs.fire, job_id=1, source=State.NEW, event=Event.UNSUITABLE)
    skipped, error = await together(table.transact(skip), table.transact(wrong))
    assert skipped
    assert isinstance(error, ValueError)
    assert [(move.job, move.event) for move in heard] == [(1, Event.UNSUITABLE)]


async def test_a_cancelled_write_under_way_is_whole(path: Path) -> None:
    """Cancelling cannot stop the SQL; so the write ends, is there once, and the connection is clean."""
    begun, gate = threading.Event(), threading.Event()

    def slow(conn: sqlite3.Connection) -> str:
        begun.set()
        assert gate.wait(10)
        return note("slow")(conn)

    outcomes = []
    async with open_database(path) as database:
        async with anyio.create_task_group() as group:

            async def write() -> None:
                outcomes.append(await database.write(slow))
                await anyio.lowlevel.checkpoint()
                outcomes.append("not cancelled")

            group.start_soon(write)
            await anyio.to_thread.run_sync(begun.wait)
            group.cancel_scope.cancel()
            gate.set()
        await database.write(note("next"))
    assert outcomes == ["slow"]
    assert noted(path) == ["next", "slow"]


async def test_a_cancelled_write_that_waits_is_whole(path: Path) -> None:
    """A write that was asked for happens, whether or not somebody still waits for it."""
    begun, gate = threading.Event(), threading.Event()

    def slow(_conn: sqlite3.Connection) -> None:
        begun.set()
        assert gate.wait(10)

    async with open_database(path) as database, anyio.create_task_group() as group:
        group.start_soon(database.write, slow)
        await anyio.to_thread.run_sync(begun.wait)
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(database.write, note("waiting"))
            await anyio.wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()
            gate.set()
    assert noted(path) == ["waiting"]


PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "busy_timeout": 10_000,
    "foreign_keys": 1,
    "trusted_schema": 0,
}


async def test_the_connection_is_as_safe_as_promised(path: Path) -> None:
    """What was set is read back on the connection that writes: a commit is on disk when it is announced."""
    async with open_database(path) as database:

        def read(conn: sqlite3.Connection) -> dict[str, object]:
            return {name: conn.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}

        assert await database.write(read) == PRAGMAS


def test_a_connection_that_cannot_be_made_safe_is_refused() -> None:
    """A table in memory has no write-ahead log: such an answer of SQLite is not shrugged off."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn, pytest.raises(MachineRefuses, match="wal"):
        prepare_connection(conn)


async def test_the_table_is_private(path: Path) -> None:
    """Names and transcripts are nobody else's business, however generous the umask: side files included."""
    old = os.umask(0)
    try:
        async with open_database(path) as database:
            await database.write(note("a"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == {f"jobs.sqlite3{side}": 0o600 for side in ("", "-wal", "-shm")}


def test_a_table_that_is_there_is_left_alone(path: Path) -> None:
    """Creating is for new tables only."""
    path.write_bytes(b"something")
    create_private(path)
    assert path.read_bytes() == b"something"


async def test_a_full_disk_fails_every_write_of_the_moment_and_harms_nothing(
    inline: tuple[sqlite3.Connection, Database], path: Path
) -> None:
    """Nobody is told of a success; the table stays whole, and goes on when there is space again."""
    conn, database = inline
    await database.write(note("before"))
    (pages,) = conn.execute("PRAGMA page_count").fetchone()
    conn.execute(f"PRAGMA max_page_count = {pages}")
    large = note("large" * 10_000)
    outcomes = await together(database.write(note("small")), database.write(large), database.write(note("after")))
    assert [type(outcome) for outcome in outcomes] == [MachineRefuses] * 3
    assert all("full" in str(outcome) for outcome in outcomes)
    assert not conn.in_transaction
    assert noted(path) == ["before"]
    assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    conn.execute("PRAGMA max_page_count = 1000000")
    await database.write(note("again"))
    assert noted(path) == ["again", "before"]


class _Death(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(("point", "kept"), [("before-commit", []), ("after-commit", ["a", "b"])])
async def test_nobody_is_told_of_a_write_whose_commit_was_not_seen(
    inline: tuple[sqlite3.Connection, Database],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    kept: list[str],
) -> None:
    """When the one who commits for all goes down, no other takes its own write for done."""
    conn, database = inline

    def die(name: str) -> None:
        if name == point:
            raise _Death

    monkeypatch.setattr(killpoints, "hook", die)
    told: list[str] = []

    async def write(word: str) -> None:
        with suppress(_Death, AssertionError, MachineRefuses):
            told.append(await database.write(note(word)))

    async with anyio.create_task_group() as group:
        group.start_soon(write, "a")
        group.start_soon(write, "b")
    conn.close()
    assert told == []
    assert noted(path) == kept


async def test_memory_that_runs_out_in_a_commit_fails_all_of_it(
    inline: tuple[sqlite3.Connection, Database], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite without memory raises MemoryError: the transaction is taken back, and everyone hears of it."""

    def no_memory(name: str) -> None:
        if name == "before-commit":
            monkeypatch.undo()
            raise MemoryError

    conn, database = inline
    monkeypatch.setattr(killpoints, "hook", no_memory)
    heard: list[type[BaseException]] = []

    async def write(word: str) -> None:
        with pytest.raises(MemoryError) as caught:
            await database.write(note(word))
        heard.append(caught.type)

    async with anyio.create_task_group() as group:
        group.start_soon(write, "a")
        group.start_soon(write, "b")
    assert heard == [MemoryError, MemoryError]
    assert not conn.in_transaction
    await database.write(note("c"))
    assert noted(path) == ["c"]


async def test_a_table_locked_for_long_is_the_machines_refusal(
    inline: tuple[sqlite3.Connection, Database], path: Path
) -> None:
    """A backup tool that holds the table longer than patience lasts is reported, nothing is half done."""
    conn, database = inline
    conn.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(MachineRefuses, match="locked"):
            await database.write(note("a"))
        other.execute("ROLLBACK")
    await database.write(note("b"))
    assert noted(path) == ["b"]


async def test_with_and_without_a_thread_it_is_the_same_table(tmp_path: Path) -> None:
    """A simulated night runs the very SQL of a real one: same work, same content."""
    dumps = []
    async with open_database(tmp_path / "thread") as database:
        await database.write(note("a"))
        await database.write(lambda conn: dumps.append(list(conn.iterdump())))
    conn, inline = open_inline(tmp_path / "inline")
    with closing(conn):
        await inline.write(note("a"))
        await inline.write(lambda conn: dumps.append(list(conn.iterdump())))
    assert dumps[0] == dumps[1]
    assert len(dumps[0]) > 20


async def test_work_runs_on_the_thread_of_its_connection(path: Path) -> None:
    """The event loop is never held up by SQL."""
    async with open_database(path) as database:
        assert await database.write(lambda _conn: threading.get_ident()) != threading.get_ident()


SCRIPT = """
import sys, anyio
from pathlib import Path
from batcher.store.db import open_database

async def main():
    async with open_database(Path(sys.argv[1])) as database:
        await database.write(lambda conn: conn.execute("INSERT INTO option_set VALUES ('a', '')"))
        if sys.argv[2] == "error":
            raise LookupError("on purpose")

anyio.run(main)
"""


@pytest.mark.parametrize(("way", "code"), [("well", 0), ("error", 1)])
def test_the_process_ends_when_the_table_is_closed(path: Path, way: str, code: int) -> None:
    """No thread keeps the interpreter alive, whether the block ended well or by an error."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, path, way], capture_output=True, timeout=20, check=False)
    assert done.returncode == code, done.stderr
    assert noted(path) == ["a"]
    assert [file.name for file in path.parent.iterdir()] == ["jobs.sqlite3"]


async def test_a_write_that_is_torn_out_of_its_task_holds_up_nobody(
    inline: tuple[sqlite3.Connection, Database],
) -> None:
    """Whoever is to commit for all may be ended in a way that no shield stops; the next one does it then."""
    _conn, database = inline
    leader = asyncio.create_task(database.write(note("a")))
    await asyncio.sleep(0)
    other = asyncio.create_task(database.write(note("b")))
    leader.cancel()
    with anyio.fail_after(5):
        assert await other == "b"
        assert await database.write(note("c")) == "c"
