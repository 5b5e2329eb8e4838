"""The claim: which jobs may be sent now. The quota is decided here, inside the transaction that claims.

Every job that may hold something at the service is counted from the table itself, so that no second counter
can drift and a restart forgets nothing. What other clients hold comes from the service's latest list.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import cast

from batcher.model import Job, Room
from batcher.reference import Reference, fingerprint
from batcher.states import HELD_STATES, PENDING_STATES, Event, State
from batcher.store import jobs
from batcher.store.table import Ledger


@dataclass(frozen=True, slots=True)
class Batch:
    """Which batch this is, and which run of it."""

    id: str
    session: int


def begin_session(ledger: Ledger, new_id: str) -> Batch:
    """Return the batch of this table with the number of this run; a new table becomes batch `new_id`."""
    ledger.rows(
        "INSERT INTO batch (id, created) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM batch)", (new_id, ledger.now)
    )
    rows = ledger.rows("UPDATE batch SET session = session + 1 RETURNING id, session")
    return Batch(*cast("tuple[str, int]", rows[0]))


def free_places(ledger: Ledger, room: Room) -> int:
    """Return how many more jobs may be submitted."""
    pending = room.pending - jobs.count(ledger, PENDING_STATES)
    stored = room.stored - jobs.count(ledger, HELD_STATES)
    return max(0, min(pending, stored))


def claim(ledger: Ledger, batch: Batch, room: Room, places: int, busy: Collection[object] = ()) -> list[Job]:
    """Take up to `places` waiting jobs, none of them `busy`, into upload, each with the reference of its new attempt on record."""
    free = min(places, free_places(ledger, room))
    if free <= 0:
        return []
    return [_claim_one(ledger, batch, job) for job in jobs.due(ledger, [State.WAITING], free, busy)]


def _claim_one(ledger: Ledger, batch: Batch, job: Job) -> Job:
    attempt = job.attempt + 1
    mark = fingerprint(job.path, job.size, job.mtime_ns, job.options)
    reference = str(Reference(batch.id, job.id, attempt, mark))
    facts = {
        "attempt": attempt,
        "reference": reference,
        "session": batch.session,
        "remote": None,
        "sealed_at": None,
        "absent_at": None,
    }
    claimed = jobs.fire(ledger, job.id, State.WAITING, Event.CLAIMED, None, facts)
    assert claimed, "a job left the waiting state inside the transaction that claims it"
    return replace(job, state=State.UPLOADING, attempt=attempt, reference=reference, session=batch.session)
