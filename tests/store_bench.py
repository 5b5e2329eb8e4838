"""A job table without threads that a test can look into, and ways to bring a job into any state."""

import hashlib
import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from batcher.model import Job, Part, Transcript, Word
from batcher.reference import Reference, fingerprint
from batcher.states import NEXT, Event, State
from batcher.store import admission, jobs, transcripts
from batcher.store.admission import Candidate, Examined, Scanned
from batcher.store.claim import Batch, begin_session
from batcher.store.db import Database, open_inline
from batcher.store.table import Ledger, Move
from batcher.transcripts import pack
from tests.simulation.__main__ import memory

T = TypeVar("T")
BATCH = "0123456789abcdef"
OPTIONS = "plain"
OTHER_OPTIONS = "other"
START = 1_790_000_000_000
WORDS = Transcript((Part((Word("hello"), Word("there"))),), separator=" ")


def digest_of(content: bytes) -> bytes:
    """Return what the table keeps of a content."""
    return hashlib.sha256(content).digest()


class Bench:
    """One open table; `now` is the time of the next transaction and `moves` what was announced."""

    def __init__(self, conn: sqlite3.Connection, database: Database) -> None:
        self.conn = conn
        self.database = database
        self.now = START
        self.moves: list[Move] = []
        self.do(lambda ledger: transcripts.remember_options(ledger, OPTIONS, "{}"))
        self.do(lambda ledger: transcripts.remember_options(ledger, OTHER_OPTIONS, '{"model": "x"}'))
        self.batch: Batch = self.do(lambda ledger: begin_session(ledger, BATCH, "grpc", "account"))

    def do(self, work: Callable[[Ledger], T]) -> T:
        """Run `work` in one transaction."""
        self.conn.execute("BEGIN IMMEDIATE")
        try:
            result = work(Ledger(self.conn, self.now, self.moves))
        except BaseException:
            self.conn.execute("ROLLBACK")
            raise
        self.conn.execute("COMMIT")
        return result

    def scan(self, *candidates: Candidate, options: str = OPTIONS) -> Scanned:
        """Record a scan."""
        return self.do(lambda ledger: admission.scanned(ledger, candidates, options))

    def new(self, name: str, size: int = 1000, mtime_ns: int = 1) -> Job:
        """Record one recording and return its job."""
        self.scan(found(name, size, mtime_ns))
        return self.at(name)

    def at(self, name: str) -> Job:
        """Return the job of a recording."""
        ((number,),) = self.rows("SELECT id FROM job WHERE path = ?", b"/in/" + name.encode())
        assert isinstance(number, int)
        return self.job(number)

    def job(self, number: int) -> Job:
        """Return a job as the table has it now."""
        job = self.do(lambda ledger: jobs.get(ledger, number))
        assert job is not None
        return job

    def examine(self, job: Job, content: bytes | None = None, **facts: object) -> Job:
        """Look into a recording; with `content` its digest is known."""
        seen = Examined(job, job.size, job.mtime_ns, None if content is None else digest_of(content), 60_000)
        result = replace(seen, **facts)  # type: ignore[arg-type]
        self.do(lambda ledger: admission.examined(ledger, [result]))
        return self.job(job.id)

    def fire(self, job: Job, event: Event, **facts: object) -> Job:
        """Move a job along one transition that must be legal and up to date."""
        assert self.do(lambda ledger: jobs.fire(ledger, job.id, job.state, event, None, facts))
        return self.job(job.id)

    def bring(self, job: Job, state: State) -> Job:
        """Bring a job into `state` on the shortest path, with the facts that the table demands there."""
        for event in _path(job.state, state):
            job = self.fire(job, event, **self._facts(job, event))
        return job

    def _facts(self, job: Job, event: Event) -> dict[str, object]:
        match event:
            case Event.CLAIMED:
                attempt = job.attempt + 1
                return {"reference": reference_of(job, attempt), "attempt": attempt, "session": self.batch.session}
            case Event.SEAL:
                return {"digest": job.digest or digest_of(job.path), "sealed_at": self.now}
            case Event.ACCEPTED:
                return {"remote": f"remote-{job.id}-{job.attempt}"}
            case Event.FETCHED | Event.RECOGNISED:
                return {"transcript": self.transcript(job)}
            case Event.TWINNED:
                return {"twin_of": self.new(f"carrier of {job.id}", job.size + 1).id, "digest": digest_of(job.path)}
            case _:
                return {}

    def transcript(self, job: Job) -> object:
        """Commit some transcript and return its id."""
        values = (job.digest or digest_of(job.path), job.options, "grpc", "r", "m", 2, self.now, pack(WORDS))
        self.conn.execute(transcripts._KEEP, values)
        return self.conn.execute(transcripts._FIND, values[:2]).fetchone()[0]

    def rows(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run one statement and return its rows."""
        return self.conn.execute(sql, parameters).fetchall()

    def history(self, job: Job) -> list[tuple[object, ...]]:
        """Return (source, event, target) of everything that happened to a job."""
        return self.rows("SELECT source, event, target FROM history WHERE job = ? ORDER BY id", job.id)


def found(name: str, size: int = 1000, mtime_ns: int = 1) -> Candidate:
    """Return a recording as a scan finds it."""
    return Candidate(b"/in/" + name.encode(), name, size, mtime_ns)


def reference_of(job: Job, attempt: int) -> str:
    """Return the reference of one attempt of a job."""
    return str(Reference(BATCH, job.id, attempt, fingerprint(job.path, job.size, job.mtime_ns, job.options)))


def _path(source: State, target: State) -> list[Event]:
    """Return the shortest way from one state to another that keeps to a job's forward life."""
    queue: deque[tuple[State, list[Event]]] = deque([(source, [])])
    seen = {source}
    while queue:
        state, events = queue.popleft()
        if state is target:
            return events
        for (origin, event), following in NEXT.items():
            if origin is state and following not in seen and event is not Event.ADOPTED:
                seen.add(following)
                queue.append((following, [*events, event]))
    raise AssertionError(f"no way from {source} to {target}")


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Open a fresh table, in memory where there is a place for that."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        conn, database = open_inline(Path(folder) / "jobs.sqlite3")
        with closing(conn):
            yield Bench(conn, database)
