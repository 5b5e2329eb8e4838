"""A batch most of whose jobs are done, made in its table and beside it without asking any service."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from batcher.model import Part, Transcript, Word
from batcher.transcripts import pack

HISTORY = ("admitted", "claimed", "seal", "accepted", "completed", "fetched", "cleared")
MOST_LINKS = 30_000  #: names of one file

_RECOUNT = "INSERT INTO tally SELECT state, count(*), sum(size), sum(coalesce(duration_ms, 0)) FROM job GROUP BY state"
_TRANSCRIPTS = """
    INSERT INTO transcript (id, digest, options, api, reference, remote, words, created, body)
    SELECT id, randomblob(32), options, 'rest', 'r' || id, 'x' || id, 9, 1, :body FROM job WHERE id <= :last
"""
_DONE = """
    UPDATE job SET state = 'done', transcript = id, shown = id, formats = 'txt', attempt = 1, reference = 'r' || id,
        digest = (SELECT digest FROM transcript WHERE transcript.id = job.id), duration_ms = 1000
    WHERE id <= :last
"""
_HISTORY = """
    INSERT INTO history (job, at, source, event, target, attempt)
    SELECT id, 1, 'new', :event, 'new', 1 FROM job WHERE id <= :last
"""
#: Whatever a run that was stopped has left is done, too; nothing is at any service.
_ALL_DONE = """
    UPDATE job SET state = 'done', transcript = coalesce(transcript, 1), shown = coalesce(transcript, 1), formats = 'txt',
        reference = NULL, remote = NULL, twin_of = NULL
    WHERE state <> 'done'
"""
#: Their outputs are replaced, because the table says that they are batcher's own.
_WAITING = """
    UPDATE job SET state = 'waiting', transcript = NULL, shown = NULL, formats = 'txt', digest = NULL, attempt = 0,
        not_before = 0, failures = 0, reference = NULL, remote = NULL, compare = 0
    WHERE id > :after AND id <= :last
"""


class Finished:
    """The table of a batch that a scan has just filled, and its outputs."""

    def __init__(self, database: Path, out: Path) -> None:
        self._database = database
        self._out = out
        self._last: int | None = None  # of those that can still be made to wait

    def make(self, done: int) -> None:
        """Have the first `done` jobs done, with transcripts, histories and outputs, and all others waiting."""
        said = pack(Transcript((Part(tuple(Word(f"word{number} ") for number in range(9))),)))
        with self._uncounted() as table:
            table.execute(_TRANSCRIPTS, {"body": said, "last": done})
            table.execute(_DONE, {"last": done})
            table.execute("UPDATE job SET state = 'waiting' WHERE id > ?", (done,))
            for event in HISTORY:
                table.execute(_HISTORY, {"event": event, "last": done})
            outputs = [output for (output,) in table.execute("SELECT output FROM job WHERE id <= ?", (done,))]
        self._write(outputs)

    def leave_waiting(self, jobs: int) -> list[str]:
        """Have so many jobs waiting that did not wait before, and all others done; return their paths."""
        with self._uncounted() as table:
            if self._last is None:
                ((self._last,),) = table.execute("SELECT max(id) FROM job").fetchall()
            assert self._last is not None
            assert self._last > jobs, "there are not enough recordings"
            chosen = {"after": self._last - jobs, "last": self._last}
            self._last -= jobs
            table.execute(_ALL_DONE)
            table.execute(_WAITING, chosen)
            table.execute("UPDATE job SET remote = NULL WHERE remote IS NOT NULL")  # each emulator gives the same ids
            table.execute("DELETE FROM extra")
            table.execute("UPDATE batch SET account = '', loose_at = 0")
            rows = table.execute("SELECT path FROM job WHERE id > :after AND id <= :last", chosen)
            return [os.fsdecode(path) for (path,) in rows]

    def unfinished(self) -> int:
        """Return how many jobs are not done."""
        with closing(sqlite3.connect(self._database)) as table:
            ((number,),) = table.execute("SELECT count(*) FROM job WHERE state <> 'done'").fetchall()
        return int(number)

    @contextmanager
    def _uncounted(self) -> Iterator[sqlite3.Connection]:
        """Change the table in one transaction, and count its totals anew instead of one by one."""
        with closing(sqlite3.connect(self._database, isolation_level=None)) as table:
            ((trigger,),) = table.execute("SELECT sql FROM sqlite_schema WHERE name = 'job_recounted'").fetchall()
            table.execute("BEGIN IMMEDIATE")
            table.execute("DROP TRIGGER job_recounted")
            yield table
            table.execute("DELETE FROM tally")
            table.execute(_RECOUNT)
            table.execute(trigger)
            table.execute("COMMIT")

    def _write(self, outputs: list[str]) -> None:
        """Write the outputs: names of few files, because nobody reads them."""
        source = self._out
        for number, output in enumerate(outputs):
            path = self._out / f"{output}.txt"
            if number % MOST_LINKS == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("word\n")
                source = path
                continue
            if not path.parent.exists():
                path.parent.mkdir(parents=True)
            os.link(source, path)
