"""The claim: which jobs may be sent now. The quota is decided here, inside the transaction that claims.

Every job that may hold something at the service is counted from the table itself, so that no second counter
can drift and a restart forgets nothing. What other clients hold comes from the service's latest list.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from batcher.clock import Origin
from batcher.errors import UsageError
from batcher.model import NOTHING, Cause, Job, Limits, Load
from batcher.reference import Reference, fingerprint
from batcher.states import FACTS, HELD_STATES, Event, State
from batcher.store import jobs, survey
from batcher.store.table import Ledger


@dataclass(frozen=True, slots=True)
class Batch:
    """Which batch this is, and which run of it."""

    id: str
    session: int
    moved: bool = False  #: what it holds at the service was sent with another key or to another host


def batch_of(ledger: Ledger, new_id: str, api: str) -> str:
    """Return the id of this table's batch; a new table becomes batch `new_id`."""
    ledger.rows(
        "INSERT INTO batch (id, created, api) SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM batch)",
        (new_id, ledger.now, api),
    )
    ((batch,),) = ledger.rows("SELECT id FROM batch")
    return cast("str", batch)


def begin_session(ledger: Ledger, new_id: str, api: str, account: str, *, give_up: bool = False) -> Batch:
    """Return the batch of this table with the number of this run; a new table becomes batch `new_id`.

    `account` is that of the service. While the batch holds something at another one, that one stays on record.
    With `give_up` a person says that what is there through another API is gone for good.

    Raises:
        UsageError: something of the batch is at the service through another API, which `api` cannot see. It would
            be taken for lost, sent again, and billed again.
    """
    batch_of(ledger, new_id, api)
    ((before, known),) = ledger.rows("SELECT api, account FROM batch")
    there = unseen(ledger)
    if before != api and there and not give_up:
        raise _through_another_api(there, cast("str", before), api)
    moved = bool(there and known and known != account)
    sql = "UPDATE batch SET session = session + 1, api = ?, account = ? RETURNING id, session"
    rows = cast("list[tuple[str, int]]", ledger.rows(sql, (api, known if moved else account)))
    return Batch(*rows[0], moved)


def _through_another_api(there: "Unseen", before: str, api: str) -> UsageError:
    hint = (
        f"Run the same command with --api {before} until it ends by itself; then the API may change. If that API is gone "
        "for good, add --other-account: what was accepted there is then reported as failed, what may not have been is "
        "sent again and may be billed again, and what is left there stays there."
    )
    number = there.jobs + there.leftovers
    if number:
        what = (
            f"{number:,} of this batch may be at the service through its {before} API, where the {api} API sees nothing "
            "of it"
        )
    else:
        what = (
            f"an upload of this batch was cut short, and its audio may be at the service through its {before} API, "
            f"where the {api} API cannot see it"
        )
    return UsageError(what, hint=hint)


def heed_clock(ledger: Ledger, origin: Origin) -> None:
    """Make the times of earlier runs comparable with this one's, as far as anything is decided by them.

    Where the machine was started again, or its clock was set, since the latest run, nobody knows how long ago
    anything was: proof of absence starts anew, and nothing waits for a time that lies ahead.
    """
    ((boot, at),) = cast("list[tuple[str, int]]", ledger.rows("SELECT boot, clock_origin FROM batch"))
    if origin.same(Origin(boot, at)):
        return
    ledger.rows("UPDATE batch SET boot = ?, clock_origin = ?", (origin.boot, origin.at))
    ledger.rows("UPDATE batch SET loose_at = ? WHERE loose_at > 0", (ledger.now,))
    ledger.rows("UPDATE extra SET not_before = min(not_before, ?)", (ledger.now,))
    ledger.rows(_SINCE_NOW, {"now": ledger.now, "states": jobs.json_array(NOT_OVER)})


NOT_OVER = tuple(state for state, facts in FACTS.items() if not facts.final)
_SINCE_NOW = """
    UPDATE job SET
        absent_at = NULL,
        not_before = min(not_before, :now),
        remote_since = min(remote_since, :now),
        since = CASE state WHEN 'uncertain' THEN :now ELSE min(since, :now) END
    WHERE state IN (SELECT value FROM json_each(:states))
        AND (state = 'uncertain' OR absent_at IS NOT NULL OR max(not_before, since, coalesce(remote_since, 0)) > :now)
"""


def accept_account(ledger: Ledger, account: str) -> None:
    """Record that what the batch holds at the service is to be looked for at this account."""
    ledger.rows("UPDATE batch SET account = ?", (account,))


@dataclass(frozen=True, slots=True)
class Unseen:
    """What of the batch only the account and the API that it was sent to can show."""

    jobs: int  #: recordings that it may have accepted
    leftovers: int  #: what is only to be deleted there
    loose: bool  #: an upload ended of which nobody knows whether its audio is there, or will show up

    def __bool__(self) -> bool:
        return bool(self.jobs or self.leftovers or self.loose)


#: An upload of an earlier run that was not sealed was not accepted, and a cancelled job is of no use to anybody.
_ONLY_DELETED = frozenset({State.CANCELLING, State.UPLOADING})


def unseen(ledger: Ledger) -> Unseen:
    """Tell what of the batch may be at the service, before this run sends anything."""
    ((loose_at,),) = ledger.rows("SELECT loose_at FROM batch")
    leftovers = jobs.count(ledger, _ONLY_DELETED) + survey.count_extras(ledger)
    return Unseen(jobs.count(ledger, HELD_STATES - _ONLY_DELETED), leftovers, bool(loose_at))


def settle_loose(ledger: Ledger, until: int) -> None:
    """Record that what uploads left that ended by `until` (UTC milliseconds) is proven to be gone, if it ever came."""
    ledger.rows("UPDATE batch SET loose_at = 0 WHERE loose_at BETWEEN 1 AND ?", (until,))


_HELD = """
    SELECT state, count(*), sum(files), sum(bytes) FROM job
    WHERE state IN (SELECT value FROM json_each(?)) GROUP BY state
"""


def held(ledger: Ledger) -> Load:
    """Return what the jobs of this batch may hold at the service."""
    load = NOTHING
    rows = cast("list[tuple[str, int, int, int]]", ledger.rows(_HELD, (jobs.json_array(HELD_STATES),)))
    for state, number, files, size in rows:
        load = load.plus(Load(number if FACTS[State(state)].pending else 0, number, files, size))
    return load


#: How many jobs are put aside in one transaction at most: while it lasts nothing else is written.
MOST_ASIDE = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """The jobs that were claimed, and what the next one found no room for: a name of `LIMITED`, or nothing."""

    jobs: list[Job]
    lacking: str = ""
    unfinished: bool = False  #: the next claim goes on putting jobs aside


def claim(
    ledger: Ledger,
    batch: Batch,
    limits: Limits,
    room: Load,
    places: int,
    busy: Collection[object] = (),
    *,
    longest_first: bool = False,
) -> Claim:
    """Take up to `places` waiting jobs, none of them `busy`, into upload, each with its new reference on record.

    Jobs go in the order in which they are due, or the longest first. One that would fit if we held nothing is waited
    for, so that no stream of small recordings starves a large one; one that others leave no room for lets the next ones
    pass, and one that is more than the account's `limits` is put aside.
    """
    if places <= 0:
        return Claim([])
    free = room.minus(held(ledger))
    claimed: list[Job] = []
    wanted = min(places, max(0, min(free.pending, free.stored)) + 1)  # the one too many tells what is lacking
    for job in jobs.due_within(ledger, room, wanted, busy, longest_first=longest_first):
        lacking = job.load.lacking(free)
        if lacking:
            return Claim(claimed, lacking)
        free = free.minus(job.load)
        claimed.append(_claim_one(ledger, batch, job))
    return Claim(claimed) if claimed else _kept_out(ledger, limits, room)


def _kept_out(ledger: Ledger, limits: Limits, room: Load) -> Claim:
    """Tell what others leave too little of for the next job, or nothing when no job is due."""
    for _ in range(MOST_ASIDE):
        due = jobs.due(ledger, [State.WAITING], 1)
        if not due:
            return Claim([])
        (job,) = due
        if job.load.lacking(limits.load()) != "bytes":
            return Claim([], job.load.lacking(room))
        _put_aside(ledger, job, limits)
    return Claim([], unfinished=True)


def _put_aside(ledger: Ledger, job: Job, limits: Limits) -> None:
    """Skip a job that no room is ever enough for: the limit was lowered since it was admitted."""
    reason = (
        f"{job.bytes:,} bytes{' as FLAC' if job.convert else ''}: all recordings together may have {limits.bytes:,}"
    )
    jobs.fire(ledger, job.id, State.WAITING, Event.UNSUITABLE, reason, {"cause": Cause.UNSUITABLE})


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
    return job._replace(state=State.UPLOADING, attempt=attempt, reference=reference, session=batch.session)
