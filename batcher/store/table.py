"""The table as the stages see it: functions on a ledger, run one transaction at a time.

A `Ledger` is one transaction: its connection, its time, and the moves that were made in it. After the
commit the moves are announced, so that stages wake up and the progress display follows. Nobody else hears
of a move before it is durable.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from batcher.clock import Clock
from batcher.states import Event, State
from batcher.store.db import Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Move:
    """One transition that was committed."""

    job: int
    path: bytes
    source: State
    event: Event
    target: State
    attempt: int
    at: int
    detail: str | None


@dataclass(slots=True)
class Ledger:
    """One transaction on the table."""

    conn: sqlite3.Connection
    now: int  #: UTC milliseconds, the same for everything in this transaction
    moves: list[Move] = field(default_factory=list)

    def rows(self, sql: str, parameters: object = ()) -> list[tuple[object, ...]]:
        """Run one statement and return all its rows (an unread rest would block the commit)."""
        return self.conn.execute(sql, parameters).fetchall()  # type: ignore[arg-type]


class Table:
    """The job table of one batch, open for writing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        #: Called with the moves of every committed transaction that made any.
        self.on_moves: Callable[[list[Move]], None] = lambda _moves: None

    async def transact(self, work: Callable[[Ledger], T]) -> T:
        """Run `work` in one transaction; return its result when it is durable and announced."""
        moves: list[Move] = []

        def run(conn: sqlite3.Connection) -> T:
            moves.clear()  # of a first time that was undone
            return work(Ledger(conn, self._clock.now(), moves))

        result = await self._database.write(run)
        if moves:
            self.on_moves(moves)
        return result
