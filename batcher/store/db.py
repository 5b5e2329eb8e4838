"""The connection that writes a job table, and the only importer of aiosqlite.

Work on the table is a plain function of a `sqlite3.Connection`. Functions that wait at the same time are
committed together (one fsync for all). One that fails takes nothing of the others with it: then all are undone and
run once more, each inside a savepoint of its own. An await that was begun always ends: cancelling it would not stop
the SQL, only hide its outcome.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, cast

import aiosqlite
from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from batcher.errors import MachineRefuses
from batcher.killpoints import reach
from batcher.store.migrate import migrate

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Runner = Callable[[Callable[[], T]], Awaitable[T]]

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: without it a power cut may take back what we acted upon
    "busy_timeout": 10_000,
    "foreign_keys": 1,
    "trusted_schema": 0,
}


#: A table of so many bytes, some fifty thousand jobs, is looked through whole before it is used: a quarter of a second.
CHECKED_BYTES = 64 * 1024 * 1024
_BYTES = "SELECT page_count, page_size FROM pragma_page_count(), pragma_page_size()"


@dataclass(slots=True)
class _Ticket(Generic[T]):
    """A piece of work waiting for its commit, later its outcome."""

    work: Work[T]
    woken: Event = field(default_factory=Event)  #: it is settled, or the next one to commit for all who wait
    settled: bool = False
    result: T | None = None
    error: BaseException | None = None

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        assert self.settled, "whoever was to commit this for all went down: nobody knows what became of it"
        return cast("T", self.result)


class Database:
    """One writing connection with group commit. `run` executes a function where the connection lives."""

    def __init__(self, conn: sqlite3.Connection, run: Runner[None]) -> None:
        self._conn = conn
        self._run = run
        self._committing = False
        self._queue: list[_Ticket[object]] = []  # of these the first commits for all

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction and return its result once it is durable. It may run twice: the first is undone.

        Raises what `work` raised (nothing of it is kept then), or MachineRefuses when the disk refuses.
        """
        ticket = _Ticket(work)
        self._queue.append(cast("_Ticket[object]", ticket))
        with CancelScope(shield=True):
            if self._committing or self._queue[0] is not ticket:
                await ticket.woken.wait()
            if self._queue and self._queue[0] is ticket:
                await self._commit_queue()
        return ticket.outcome()

    async def _commit_queue(self) -> None:
        """Commit what waits; then have the first of those that came meanwhile do the same."""
        batch = self._queue[:1]
        self._committing = True
        try:
            await checkpoint()  # what comes in this very moment is committed with it
            batch = self._queue[:]
            await self._run(partial(_commit_together, self._conn, batch))
        finally:
            self._committing = False
            self._queue = self._queue[len(batch) :]
            for ticket in [*batch, *self._queue[:1]]:
                ticket.woken.set()


def _commit_together(conn: sqlite3.Connection, batch: list[_Ticket[object]]) -> None:
    """Commit every ticket of `batch` in one transaction; on a storage error all of them fail alike."""
    try:
        _run_together(conn, batch)
        reach("before-commit")
        conn.execute("COMMIT")
        reach("after-commit")
    except (sqlite3.Error, MemoryError) as error:  # SQLite without memory raises the latter
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        _fail_all(batch, _storage_error(error))
    for ticket in batch:
        ticket.settled = True


def _run_together(conn: sqlite3.Connection, batch: list[_Ticket[object]]) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        for ticket in batch:
            ticket.result = ticket.work(conn)
    except sqlite3.OperationalError:
        raise  # the disk or a lock, not this ticket: the whole transaction is in doubt
    except Exception:  # noqa: BLE001 - whose it is shows when each is on its own
        conn.execute("ROLLBACK")
        conn.execute("BEGIN IMMEDIATE")
        for ticket in batch:
            _run_in_savepoint(conn, ticket)


def _run_in_savepoint(conn: sqlite3.Connection, ticket: _Ticket[object]) -> None:
    conn.execute("SAVEPOINT ticket")
    try:
        ticket.result = ticket.work(conn)
    except sqlite3.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - handed to the one who asked, see `outcome`
        ticket.error = error
        conn.execute("ROLLBACK TO ticket")
    conn.execute("RELEASE ticket")


def _fail_all(batch: list[_Ticket[object]], error: BaseException) -> None:
    for ticket in batch:
        ticket.error = error


def _storage_error(error: Exception) -> Exception:
    """Tell a disk that refuses from a mistake of ours."""
    # Of this very class is what SQLite says of a damaged file, and of one that is none of its own.
    if type(error) is sqlite3.DatabaseError and "not a database" not in str(error):
        return MachineRefuses(
            f"the job table is damaged: {error}",
            hint="Nothing was changed. Keep a copy of OUT/.batcher, mend the disk, and put a copy of the table from "
            "before in its place; what is missing in it is looked for at the service.",
        )
    if not isinstance(error, sqlite3.OperationalError):
        return error
    return MachineRefuses(
        f"the job table could not be written: {error}",
        hint="Free some disk space or mend the disk, then run the same command again; nothing is lost.",
    )


def prepare_connection(conn: sqlite3.Connection) -> None:
    """Set the pragmas, prove that they hold, and bring the schema up to date.

    Raises MachineRefuses when they do not hold or the disk refuses, UsageError for a table of a newer version.
    """
    try:
        for name, value in _PRAGMAS.items():
            conn.execute(f"PRAGMA {name} = {value}")
            (actual,) = conn.execute(f"PRAGMA {name}").fetchone()
            if actual != value:
                raise MachineRefuses(f"SQLite answers {name} = {actual} here, but {value} is needed")
        migrate(conn)
        _check_whole(conn)
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise _storage_error(error) from error


def _check_whole(conn: sqlite3.Connection) -> None:
    """Raise what SQLite would raise when it came to a damaged page, unless that takes long: `doctor` does it then."""
    ((pages, size),) = conn.execute(_BYTES).fetchall()
    if pages * size <= CHECKED_BYTES:
        ((verdict,),) = conn.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))


def create_private(path: Path) -> None:
    """Create an empty table file that only its user may read; SQLite gives -wal and -shm the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        reach("table-created")
    except FileExistsError:
        return


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Open the table at `path` for writing, on a thread of its own. The caller holds the batch's lock."""
    create_private(path)
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        # aiosqlite has no public way to run a whole function on its thread; one hop a commit instead of one
        # a statement is what makes group commit cheap.
        run = cast("Runner[None]", connection._execute)  # noqa: SLF001
        conn = connection._conn  # noqa: SLF001
        await run(partial(prepare_connection, conn))
        yield Database(conn, run)


def open_inline(path: Path) -> tuple[sqlite3.Connection, Database]:
    """Open the table without a thread, for a simulated night: the same work, the same file, no hop."""
    create_private(path)
    conn = sqlite3.connect(path, isolation_level=None)
    prepare_connection(conn)

    async def run(work: Callable[[], None]) -> None:
        work()

    return conn, Database(conn, run)
