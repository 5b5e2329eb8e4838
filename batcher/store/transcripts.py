"""Transcripts in the table: committed before anything at the service is deleted."""

from dataclasses import dataclass
from typing import cast

from batcher.model import Job, Transcript
from batcher.states import Event
from batcher.store import jobs, verdicts
from batcher.store.table import Ledger
from batcher.transcripts import unpack

_KEEP = """
    INSERT INTO transcript (digest, options, api, reference, remote, words, created, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest, options) DO NOTHING
"""
_FIND = """
    SELECT t.id, t.api, t.reference, t.remote, o.body FROM transcript t
    JOIN option_set o ON o.fingerprint = t.options WHERE t.digest = ? AND t.options = ?
"""
_READ = """
    SELECT t.body, t.api, t.reference, t.remote, o.body FROM transcript t
    JOIN option_set o ON o.fingerprint = t.options WHERE t.id = ?
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A transcript as the table keeps it, with where it came from; `options` is JSON."""

    transcript: Transcript
    api: str
    reference: str
    remote: str
    options: str


def keep(ledger: Ledger, job: Job, api: str, transcript: Transcript, body: bytes) -> Stored | None:
    """Commit a fetched transcript, of which `body` is made, and share it with every twin.

    Returns it as the table keeps it, or None if that has another one of this audio already, which stays.
    """
    spoken = len(transcript.text.split())
    values = (job.digest, job.options, api, job.reference, job.remote, spoken, ledger.now, body)
    ledger.rows(_KEEP, values)
    ((number, *origin),) = ledger.rows(_FIND, (job.digest, job.options))
    verdicts.drop(ledger, job.digest, job.options)
    facts = {"transcript": number, "not_before": 0, "failures": 0, "asked": 0}
    jobs.fire(ledger, job.id, job.state, Event.FETCHED, None, facts)
    jobs.pardon(ledger, job, cast("int", number))
    stored = Stored(transcript, *cast("list[str]", origin))
    return stored if (stored.reference, stored.remote) == (job.reference, job.remote) else None


def read(ledger: Ledger, number: int) -> Stored:
    """Return a stored transcript."""
    body, *origin = ledger.rows(_READ, (number,))[0]
    return Stored(unpack(cast("bytes", body)), *cast("list[str]", origin))


def remember_options(ledger: Ledger, fingerprint: str, body: str) -> None:
    """Record a set of options under its fingerprint."""
    ledger.rows("INSERT INTO option_set VALUES (?, ?) ON CONFLICT DO NOTHING", (fingerprint, body))


def options_of(ledger: Ledger, fingerprint: str) -> str:
    """Return a recorded set of options as JSON."""
    return cast("str", ledger.rows("SELECT body FROM option_set WHERE fingerprint = ?", (fingerprint,))[0][0])
