"""Verdicts: audio that the service has accepted and then failed or lost, or that a person gave up there.

It may have been billed, so it is not sent again by itself, whatever its recording is called and whenever it was touched.
Like a transcript a verdict belongs to a content and its options. Only `retry` takes one back. URLs have none: what they
lead to is not known.
"""

from dataclasses import dataclass
from typing import cast

from batcher.model import Cause
from batcher.states import State
from batcher.store.table import Ledger

# `remote` tells that the latest attempt was accepted, `forgiven` and `convert` that the one before was. One that was
# sealed and given up may have been accepted, too; one that was cancelled was proven absent before, so it may be sent.
_KEEP = """
    INSERT INTO verdict (digest, options, state, cause, reason, accepted)
    SELECT digest, options, state, cause, reason, coalesce(sealed_at, since) FROM job
    WHERE id = ? AND digest IS NOT NULL AND files AND (
        (state = 'cancelled' AND (remote IS NOT NULL OR forgiven OR convert))
        OR (state = 'failed' AND cause IN ('service', 'vanished')
            AND (remote IS NOT NULL OR sealed_at IS NOT NULL OR forgiven OR convert)))
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the job ended that sent some audio, and why."""

    state: State  #: FAILED or CANCELLED
    cause: str | None
    reason: str | None
    accepted: int  #: when the service had accepted it, UTC milliseconds

    @property
    def words(self) -> str:
        """Return why the same audio is not sent again, for a person."""
        if self.state is State.CANCELLED:
            what = "this very audio was given up after the service had accepted it"
        else:
            verb = "lost" if self.cause == Cause.VANISHED else "failed"
            what = f"the service has {verb} this very audio before: {self.reason or 'no reason is known'}"
        return f"{what}; `batcher retry` sends it again"


def keep(ledger: Ledger, job_id: int) -> None:
    """Keep how a job has ended, if its audio was accepted; one that ended by a verdict adds nothing to it."""
    ledger.rows(_KEEP, (job_id,))


def find(ledger: Ledger, digest: bytes, options: str) -> Verdict | None:
    """Return the verdict on some audio."""
    sql = "SELECT state, cause, reason, accepted FROM verdict WHERE digest = ? AND options = ?"
    rows = cast("list[tuple[str, str | None, str | None, int]]", ledger.rows(sql, (digest, options)))
    return next((Verdict(State(state), *rest) for state, *rest in rows), None)  # type: ignore[arg-type]


def drop(ledger: Ledger, digest: bytes | None, options: str) -> None:
    """Forget the verdict on some audio: a person wants it sent once more, or it has a transcript after all."""
    ledger.rows("DELETE FROM verdict WHERE digest = ? AND options = ?", (digest, options))
