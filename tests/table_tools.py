"""A job table made by hand, with the store's own functions, for tests that look at one."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from batcher.model import Cause
from batcher.options import Options
from batcher.states import Event, State
from batcher.store import admission, jobs, transcripts
from batcher.store.admission import Candidate
from batcher.store.claim import begin_session
from batcher.store.db import create_private, prepare_connection
from batcher.store.table import Ledger

START = 1_700_000_000_000  #: 2023-11-14, in milliseconds


class Hand:
    """A table that a test writes."""

    def __init__(self, conn: sqlite3.Connection, folder: Path) -> None:
        self.conn = conn
        self.folder = folder
        self.now = START

    def act(self, work: Callable[[Ledger], object]) -> None:
        """Run one transaction."""
        self.conn.execute("BEGIN IMMEDIATE")
        work(Ledger(self.conn, self.now))
        self.conn.execute("COMMIT")

    def add(self, *names: str, size: int = 1000) -> None:
        """Record recordings below the input directory; the first gets the id after the last one."""
        options = Options()
        paths = [bytes(self.folder / name) for name in names]
        found = [
            Candidate(path, name, size + place, 1) for place, (path, name) in enumerate(zip(paths, names, strict=True))
        ]
        self.act(lambda ledger: transcripts.remember_options(ledger, options.fingerprint(), options.to_json()))
        self.act(lambda ledger: admission.scanned(ledger, found, options.fingerprint()))

    def fire(self, job: int, source: State, event: Event, detail: str | None = None, **facts: object) -> None:
        """Move a job."""
        self.act(lambda ledger: jobs.fire(ledger, job, source, event, detail, facts))

    def fail(self, job: int, reason: str, cause: Cause = Cause.SOURCE) -> None:
        """Let a new job fail."""
        self.fire(job, State.NEW, Event.UNREADABLE, reason, cause=cause)

    def skip(self, job: int, reason: str) -> None:
        """Let a new job be skipped."""
        self.fire(job, State.NEW, Event.UNSUITABLE, reason, cause=Cause.UNSUITABLE)

    def submit(self, job: int) -> None:
        """Take a new job as far as the service's acceptance."""
        self.seal(job)
        self.fire(job, State.SEALED, Event.ACCEPTED, remote=f"r{job}")

    def keep_transcript(self, job: int) -> int:
        """Keep an empty transcript for the audio of a job and return its id."""
        row = self.conn.execute(
            "INSERT INTO transcript (digest, options, api, reference, remote, words, created, body)"
            " SELECT digest, options, 'grpc', 'r', 'x', 0, 0, x'' FROM job WHERE id = ? RETURNING id",
            (job,),
        ).fetchone()
        return int(row[0])

    def seal(self, job: int) -> None:
        """Take a new job as far as its seal."""
        reference = f"batcher1.{'0' * 16}.{job}.1.{'a' * 12}"
        self.fire(job, State.NEW, Event.ADMITTED)
        self.fire(job, State.WAITING, Event.CLAIMED, reference=reference, attempt=1, session=1)
        self.fire(job, State.UPLOADING, Event.SEAL, digest=bytes([job]) * 32, sealed_at=self.now)


@contextmanager
def written(db: Path, folder: Path, *, api: str = "grpc") -> Iterator[Hand]:
    """Open a table for writing, a new one if there is none; closed in order at the end."""
    create_private(db)
    conn = sqlite3.connect(db, isolation_level=None)
    try:
        prepare_connection(conn)
        hand = Hand(conn, folder)
        hand.act(lambda ledger: begin_session(ledger, "0123456789abcdef", api, "account"))
        hand.act(lambda ledger: admission.roots(ledger, [bytes(folder)], lambda _root: "x"))
        yield hand
    finally:
        conn.close()
