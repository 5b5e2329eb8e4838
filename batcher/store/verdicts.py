"""Verdicts: audio that the service has accepted and then failed or lost, or that a person gave up there.

It may have been billed, so it is not sent again by itself, whatever its recording is called and whenever it was
touched. Like a transcript a verdict belongs to a content and its options. `retry` lets one job pass it, and only a
transcript takes it back. URLs have none: what they lead to is not known.
"""

from dataclasses import dataclass
from typing import cast

from batcher.model import Cause, Job
from batcher.states import State
from batcher.store.table import Ledger

# `remote` tells that the latest attempt was accepted, `forgiven` and `convert` that the one before was. One that was
# sealed and given up may have been accepted, too; one that was cancelled was proven absent before, so it may be sent.
# What the service fails has its verdict at once, so that a second chance is one of the audio, whatever becomes of its
# job (see `_CHANCE`); but not what is failed for the account's sake: that was not transcribed. One that ended by a
# verdict was accepted when that tells, and adds nothing to it; one that passed it was accepted anew.
_KEEP = """
    INSERT INTO verdict (digest, options, state, cause, reason, accepted)
    SELECT digest, options, iif(state = 'failing', 'failed', state), iif(state = 'cancelled', NULL, cause), reason,
        coalesce(sealed_at, since) FROM job
    WHERE id = :id AND digest IS NOT NULL AND files AND (
        (state = 'cancelled' AND (remote IS NOT NULL OR forgiven OR convert))
        OR (state = 'failing' AND cause = 'service' AND remedy IS NOT 'stop')
        OR (state = 'failed' AND cause IN ('service', 'vanished')
            AND (remote IS NOT NULL OR sealed_at IS NOT NULL OR forgiven OR convert)))
    ON CONFLICT DO UPDATE SET state = excluded.state, cause = excluded.cause, reason = excluded.reason,
        accepted = excluded.accepted, forgiven = 0, convert = 0
        WHERE excluded.accepted <> accepted OR excluded.state <> state OR excluded.cause IS NOT cause
    RETURNING 1
"""
_CHANCE = """
    UPDATE verdict SET forgiven = job.forgiven, convert = job.convert FROM job
    WHERE job.id = :id AND verdict.digest = job.digest AND verdict.options = job.options
"""
_FULFIL = "UPDATE job SET asked = 0 WHERE id = :id OR twin_of = :id"
_FIND = "SELECT state, cause, reason, accepted, forgiven, convert FROM verdict WHERE digest = ? AND options = ?"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the job ended that sent some audio, and why."""

    state: State  #: FAILED or CANCELLED
    cause: str | None
    reason: str | None
    accepted: int  #: when the service had accepted it, UTC milliseconds
    forgiven: int = 0  #: as in a job: with these it is sent once more, by whichever job
    convert: bool = False

    @property
    def chance(self) -> dict[str, object]:
        """Return what a job is admitted with that is the second chance of this audio; nothing where there is none."""
        return {"forgiven": self.forgiven, "convert": self.convert} if self.forgiven or self.convert else {}

    @property
    def words(self) -> str:
        """Return why the same audio is not sent again, for a person."""
        if self.state is State.CANCELLED:
            what = "this very audio was given up after the service had accepted it"
        else:
            verb = "lost" if self.cause == Cause.VANISHED else "failed"
            reason = (self.reason or "no reason is known").removesuffix(".")
            what = f"the service has {verb} this very audio before: {reason}"
        return f"{what}; `batcher retry` sends it again"


def keep(ledger: Ledger, job_id: int) -> None:
    """Keep what became of a job's audio if it was accepted: then it was sent for its twins too, as was asked."""
    if ledger.rows(_KEEP, {"id": job_id}):
        ledger.rows(_FULFIL, {"id": job_id})


def give_chance(ledger: Ledger, job_id: int) -> None:
    """Keep that the audio of a job, which the service has failed, is sent once more."""
    ledger.rows(_CHANCE, {"id": job_id})


def on(ledger: Ledger, job: Job, digest: bytes) -> Verdict | None:
    """Return the verdict on a job with this content; nothing where a person has asked for it all the same."""
    return None if job.asked else find(ledger, digest, job.options)


def find(ledger: Ledger, digest: bytes, options: str) -> Verdict | None:
    """Return the verdict on some audio."""
    rows = ledger.rows(_FIND, (digest, options))
    return next((Verdict(State(cast("str", state)), *rest) for state, *rest in rows), None)  # type: ignore[arg-type]


def drop(ledger: Ledger, digest: bytes | None, options: str) -> None:
    """Forget the verdict on some audio: it has a transcript after all."""
    ledger.rows("DELETE FROM verdict WHERE digest = ? AND options = ?", (digest, options))
