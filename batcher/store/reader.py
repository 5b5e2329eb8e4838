"""Looking at a job table without ever changing it: beside a run that writes, or when none does.

A reader opens the table read-only and creates no file. SQLite would create its side files even then, so a table
without them (no process has it open) is read as a file that nobody changes. Whatever was read while somebody wrote after
all, however shortly, is read again.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import quote

from batcher.errors import UsageError
from batcher.model import Job
from batcher.states import FACTS, HELD_STATES, PENDING_STATES, UNKNOWN_STATES, State
from batcher.text import show_path
from batcher.transcripts import unpack

PAGE = 1_000  #: jobs read at a time
#: So many failed or skipped jobs are looked at for grouping; more would make a status slow.
MOST_GROUPED = 5_000
_BUSY_SECONDS = 5.0
_COLUMNS = ", ".join(Job._fields)


@dataclass(frozen=True, slots=True)
class Sum:
    """How many jobs, and what their recordings measure."""

    jobs: int = 0
    bytes: int = 0
    duration_ms: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.jobs + other.jobs, self.bytes + other.bytes, self.duration_ms + other.duration_ms)


@dataclass(frozen=True, slots=True)
class Counts:
    """The sums of every state at one moment."""

    by_state: dict[State, Sum]

    def of(self, states: Iterable[State]) -> Sum:
        """Return the sum over `states`."""
        return sum((self.by_state.get(state, Sum()) for state in states), Sum())

    def public(self) -> dict[str, Sum]:
        """Return the sums by the names users see, all of them, in the order of a job's life."""
        sums: dict[str, Sum] = {}
        for state, facts in FACTS.items():
            sums[facts.public] = sums.get(facts.public, Sum()) + self.of([state])
        return sums

    @property
    def total(self) -> Sum:
        """Return the sum over everything."""
        return self.of(State)

    @property
    def unfinished(self) -> Sum:
        """Return the sum over jobs that are not in a final state."""
        return self.of(state for state in State if not FACTS[state].final)

    @property
    def pending(self) -> int:
        """Return how many jobs may count as pending at the service."""
        return self.of(PENDING_STATES).jobs

    @property
    def held(self) -> int:
        """Return how many jobs may count as stored at the service."""
        return self.of(HELD_STATES).jobs


@dataclass(frozen=True, slots=True)
class Past:
    """One line of a job's history. `at` is UTC milliseconds."""

    at: int
    source: State
    event: str
    target: State
    attempt: int
    detail: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that failed, was skipped or was given up with another one, as the summaries group it."""

    id: int
    path: bytes
    cause: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a transcript came from."""

    api: str
    reference: str
    remote: str
    words: int
    created: int
    model: str  #: that made it, as the service says


class Undeleted(NamedTuple):
    """Objects of no use to any job whose deletion has failed so far: how many, and since when the first is known."""

    number: int
    since: int  #: UTC milliseconds; 0 where there is none


_TALLY = "SELECT state, jobs, bytes, duration_ms FROM tally"
_BATCH = "SELECT id, created, session FROM batch"
_BY_ID = f"SELECT {_COLUMNS} FROM job WHERE id = ?"  # noqa: S608 - column names of our own
_BY_PATH = f"SELECT {_COLUMNS} FROM job WHERE path = ?"  # noqa: S608
_ROOTS = "SELECT path, prefix FROM root ORDER BY prefix"
_HISTORY = "SELECT at, source, event, target, attempt, detail FROM history WHERE job = ? ORDER BY id"
_LATEST = "SELECT at FROM history ORDER BY id DESC LIMIT 1"
_EXTRAS = "SELECT count(*) FROM extra"
_UNDELETED = "SELECT count(*), ifnull(min(seen), 0) FROM extra WHERE failures > 0"
_ORIGIN = "SELECT api, reference, remote, words, created, body FROM transcript WHERE id = ?"
_OPTIONS = "SELECT body FROM option_set WHERE fingerprint = ?"
_ENDED = "SELECT id, path, cause, reason FROM job WHERE state = ? LIMIT ?"
_GIVEN_UP = "SELECT id, path, cause, reason FROM job WHERE state = 'cancelled' AND cause = 'given_up' LIMIT ?"
# In the order of the index (state, not_before, id), and in two steps, because SQLite would begin at the first of
# equal due times again for every page: the rest of one due time, then the later ones.
_STUCK = f"SELECT {_COLUMNS} FROM job WHERE stuck_at IS NOT NULL ORDER BY stuck_at, id LIMIT ?"  # noqa: S608
_PAGE_REST = f"""
    SELECT {_COLUMNS} FROM job WHERE state = ? AND not_before = ? AND id > ? ORDER BY id LIMIT ?
"""  # noqa: S608
_PAGE_LATER = f"""
    SELECT {_COLUMNS} FROM job WHERE state = ? AND not_before > ? ORDER BY not_before, id LIMIT ?
"""  # noqa: S608


class Reader:
    """A read-only look at one table. Made by `open_reader`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._immutable = False
        self._conn = self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._opened = self._stamp()
        self._immutable = not self._has_side_files()
        mode = "immutable=1" if self._immutable else "mode=ro"
        uri = f"file:{quote(os.fsencode(os.path.abspath(self._path)))}?{mode}"  # noqa: PTH100 - links kept
        conn = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        conn.execute("PRAGMA query_only = 1")
        return conn

    def _has_side_files(self) -> bool:
        return self._path.with_name(self._path.name + "-wal").exists()

    def _rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        while True:
            try:
                rows = self._fresh().execute(sql, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                if not self._is_outdated():
                    raise UsageError(
                        f"{show_path(os.fsencode(self._path))} cannot be read as a job table: {error}",
                        hint="Is it one, and of this version of batcher? A copy must include its -wal file.",
                    ) from error
            else:
                if not self._is_outdated():
                    return rows

    def _fresh(self) -> sqlite3.Connection:
        if self._is_outdated():
            self._conn.close()
            self._conn = self._connect()
        return self._conn

    def _is_outdated(self) -> bool:
        """Tell whether somebody writes, or has written since, to what was opened as a file that nobody changes."""
        return self._immutable and (self._has_side_files() or self._stamp() != self._opened)

    def _stamp(self) -> tuple[int, int, int] | None:
        """Return what changes when the file is written or replaced."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()

    def counts(self) -> Counts:
        """Return the sums of every state, from totals that the table keeps: quick at any size."""
        rows = cast("list[tuple[str, int, int, int]]", self._rows(_TALLY))
        return Counts({State(state): Sum(*sums) for state, *sums in rows if sums[0]})

    def check_whole(self) -> None:
        """Look through the whole table; some seconds for a gigabyte. Raises UsageError if it is damaged."""
        ((verdict,),) = self._rows("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise UsageError(
                f"the job table is damaged: {verdict}",
                hint="Keep a copy of it with its -wal file, and put one from before in its place.",
            )

    def batch(self) -> tuple[str, int, int] | None:
        """Return the batch's id, when it was made (UTC milliseconds), and how often it was run."""
        rows = self._rows(_BATCH)
        return cast("tuple[str, int, int]", rows[0]) if rows else None

    def ever_sent(self) -> bool:
        """Tell whether anything of the batch was ever sent, or a transcript was kept."""
        sql = "SELECT EXISTS (SELECT 1 FROM job WHERE attempt > 0) OR EXISTS (SELECT 1 FROM transcript)"
        return bool(self._rows(sql)[0][0])

    def at_service(self) -> tuple[str, int]:
        """Return through which API the batch was sent, and how much of it may be at the service.

        Audio that an upload may have left counts as one.
        """
        ((extras,),) = self._rows("SELECT count(*) FROM extra")
        api = cast("list[tuple[str]]", self._rows("SELECT api FROM batch"))
        there = self.counts().of(HELD_STATES).jobs + cast("int", extras) + self.loose()
        return (api[0][0] if api else ""), there

    def account(self) -> str:
        """Return what stands for the account that has what of the batch is at the service; nothing if none is known."""
        rows = self._rows("SELECT account FROM batch")
        return str(rows[0][0]) if rows else ""

    def shard(self) -> str:
        """Return which part of the input the table holds (``2/4``; nothing: the whole)."""
        if not self._rows("SELECT 1 FROM pragma_table_info('batch') WHERE name = 'shard'"):
            return ""  # a table from before there were shards
        rows = self._rows("SELECT shard FROM batch")
        return str(rows[0][0]) if rows else ""

    def waiting(self, requests: Iterable[str]) -> int:
        """Tell how many of the requests that lie there, by name, are still to be carried out."""
        latest = self._latest_request()
        return sum(name != latest for name in requests)

    def _latest_request(self) -> str:
        if not self._rows("SELECT 1 FROM pragma_table_info('batch') WHERE name = 'latest_request'"):
            return ""  # a table from before it was known
        rows = self._rows("SELECT latest_request FROM batch")
        return str(rows[0][0]) if rows else ""

    def job(self, number: int) -> Job | None:
        """Return the job with this id."""
        return next(map(Job.of, self._rows(_BY_ID, (number,))), None)

    def job_at(self, path: bytes) -> Job | None:
        """Return the job of the recording at this absolute path."""
        return next(map(Job.of, self._rows(_BY_PATH, (path,))), None)

    def has_verdict(self, job: Job) -> bool:
        """Tell whether the service has accepted the audio of a job, under whatever name, and it came to nothing."""
        sql = "SELECT 1 FROM verdict WHERE digest = ? AND options = ?"
        return bool(self._rows(sql, (job.digest, job.options)))

    def roots(self) -> list[tuple[bytes, str]]:
        """Return the directories that were scanned, each with its folder inside OUT."""
        return cast("list[tuple[bytes, str]]", self._rows(_ROOTS))

    def jobs(self, states: Iterable[State]) -> Iterator[Job]:
        """Yield each job in `states` once, state by state; one that moves on meanwhile, as it was found first."""
        found: set[int] = set()
        for job in self._in_pages(states):
            if job.id not in found:
                found.add(job.id)
                yield job

    def _in_pages(self, states: Iterable[State]) -> Iterator[Job]:
        """Read in pages, so that no run waits for a slow reader."""
        for state in states:
            page = self._page(_PAGE_LATER, state, -1)
            while page:
                yield from page
                last = page[-1]
                page = self._page(_PAGE_REST, state, last.not_before, last.id)
                page = page or self._page(_PAGE_LATER, state, last.not_before)

    def _page(self, sql: str, *after: object) -> list[Job]:
        return [Job.of(row) for row in self._rows(sql, (*after, PAGE))]

    def history(self, number: int) -> list[Past]:
        """Return everything that happened to a job, the oldest first."""
        rows = cast("list[tuple[int, str, str, str, int, str | None]]", self._rows(_HISTORY, (number,)))
        return [Past(at, State(a), event, State(b), attempt, detail) for at, a, event, b, attempt, detail in rows]

    def ended(self, state: State) -> list[Ended]:
        """Return jobs that failed (or were skipped) with their reasons, `MOST_GROUPED` at most."""
        return self._ended(_ENDED, state)

    def given_up(self) -> list[Ended]:
        """Return jobs that were cancelled only because the same audio was, `MOST_GROUPED` at most."""
        return self._ended(_GIVEN_UP)

    def _ended(self, sql: str, *which: object) -> list[Ended]:
        rows = cast("list[tuple[int, bytes, str | None, str | None]]", self._rows(sql, (*which, MOST_GROUPED)))
        return [Ended(number, path, cause, reason or "") for number, path, cause, reason in rows]

    def stuck(self) -> list[Job]:
        """Return the jobs that are where they are for too long, as of the latest look at the service."""
        return list(map(Job.of, self._rows(_STUCK, (MOST_GROUPED,))))

    def to_give_up(self) -> list[Job]:
        """Return the jobs that will be given up when it is known whether the service has them."""
        return [job for job in self.jobs(sorted(UNKNOWN_STATES)) if job.cancel_wanted]

    def latest(self) -> int | None:
        """Return when anything last happened (UTC milliseconds)."""
        rows = self._rows(_LATEST)
        return cast("int", rows[0][0]) if rows else None

    def extras(self) -> int:
        """Return how many objects of no use to any job are still to be deleted at the service."""
        return cast("int", self._rows(_EXTRAS)[0][0])

    def undeleted(self) -> Undeleted:
        """Return how many of them could not be deleted so far."""
        return Undeleted(*cast("tuple[int, int]", self._rows(_UNDELETED)[0]))

    def loose(self) -> bool:
        """Tell whether audio of an upload that was cut short may be at the service, or show up there."""
        rows = self._rows("SELECT loose_at FROM batch")
        return bool(rows and rows[0][0])

    def origin(self, transcript: int) -> Origin | None:
        """Return where a stored transcript came from."""
        for *facts, body in self._rows(_ORIGIN, (transcript,)):
            return Origin(*cast("tuple[str, str, str, int, int]", facts), unpack(cast("bytes", body)).model)
        return None

    def options(self, fingerprint: str) -> dict[str, object]:
        """Return a set of transcription options, what was left alone not spelled."""
        rows = self._rows(_OPTIONS, (fingerprint,))
        return cast("dict[str, object]", json.loads(cast("str", rows[0][0]))) if rows else {}


@contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """Open a table for reading. Raises UsageError when there is none."""
    if not path.is_file():
        place = show_path(os.fsencode(path))
        raise UsageError(f"there is no batch here: {place} does not exist", hint=_HOW)
    reader = Reader(path)
    try:
        yield reader
    finally:
        reader.close()


_HOW = "`batcher run INPUT -o OUT` makes one; give its OUT here (and its --db, if it had one)."
