"""Jobs in the table: reading them, and the one function that moves them, `fire`."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

from batcher.model import Cause, Job, Load
from batcher.states import FINAL_STATES, NEXT, Event, State, accepts
from batcher.store import verdicts
from batcher.store.table import Ledger, Move

COLUMNS = ", ".join(Job._fields)

Facts = Mapping[str, object]
NO_FACTS: Facts = {}
#: What is set when a job is given up: what it failed for, if it did, was no verdict yet.
GIVE_UP: Facts = {"twin_of": None, "cause": None}

#: Columns that a transition may set beside the state.
_FACTS = frozenset(Job._fields) - {
    "id", "path", "state", "since", "reason", "created", "files", "bytes",
    "remote_status", "remote_since", "stuck_at",
}  # fmt: skip


_BY_ID = f"SELECT {COLUMNS} FROM job WHERE id = ?"  # noqa: S608 - column names of our own


def get(ledger: Ledger, job_id: int) -> Job | None:
    """Return one job."""
    rows = ledger.rows(_BY_ID, (job_id,))
    return Job.of(rows[0]) if rows else None


_IN_STATES = f"""
    SELECT {COLUMNS} FROM job WHERE state IN (SELECT value FROM json_each(?)) ORDER BY id
"""  # noqa: S608


def in_states(ledger: Ledger, states: Iterable[State]) -> list[Job]:
    """Return every job in one of `states`, in the order they were found."""
    return [Job.of(row) for row in ledger.rows(_IN_STATES, (json_array(states),))]


# One state a query: the index (state, not_before, id) then answers without sorting, whatever the size. It is named,
# because SQLite would otherwise look at :state to see whether job_longest will do, and so prepare the statement anew
# whenever that is another one: ten times the work.
_DUE = f"""
    SELECT {COLUMNS} FROM job INDEXED BY job_due
    WHERE state = :state AND not_before <= :now AND id NOT IN (SELECT value FROM json_each(:except))
    ORDER BY not_before, id LIMIT :places
"""  # noqa: S608


def due(ledger: Ledger, states: Iterable[State], places: int, busy: Iterable[object] = ()) -> list[Job]:
    """Return up to `places` jobs whose time has come, state by state in the order given."""
    in_hand = json_array(busy)
    found: list[Job] = []
    for state in states:
        if len(found) >= places:
            break
        parameters = {"state": state, "now": ledger.now, "except": in_hand, "places": places - len(found)}
        found += [Job.of(row) for row in ledger.rows(_DUE, parameters)]
    return found


_WITHIN = """
    WHERE state = 'waiting' AND not_before <= :now AND id NOT IN (SELECT value FROM json_each(:except))
      AND files <= :files AND bytes <= :bytes
"""
# Each is told its index, which has the order: left to itself SQLite takes the first for both, and sorts all that waits.
_DUE_WITHIN = f"SELECT {COLUMNS} FROM job INDEXED BY job_due {_WITHIN} ORDER BY not_before, id LIMIT :places"  # noqa: S608
_LONGEST_WITHIN = (
    f"SELECT {COLUMNS} FROM job INDEXED BY job_longest {_WITHIN} ORDER BY length_ms DESC, id LIMIT :places"  # noqa: S608
)


def due_within(
    ledger: Ledger, room: Load, places: int, busy: Iterable[object] = (), *, longest_first: bool = False
) -> list[Job]:
    """Return up to `places` waiting jobs whose time has come, each of which by itself fits into `room`.

    They come in the order in which they are due, or the longest first; of one whose length nobody knows the size tells.
    """
    parameters = {"now": ledger.now, "except": json_array(busy), "places": places}
    sql = _LONGEST_WITHIN if longest_first else _DUE_WITHIN
    rows = ledger.rows(sql, parameters | {"files": room.files, "bytes": room.bytes})
    return [Job.of(row) for row in rows]


_NEXT_DUE = "SELECT min(not_before) FROM job INDEXED BY job_due WHERE state = :state AND not_before > :now"


def next_due(ledger: Ledger, states: Iterable[State]) -> int | None:
    """Return when the next job in `states` that has to wait may be tried (UTC milliseconds)."""
    moments = [ledger.rows(_NEXT_DUE, {"state": state, "now": ledger.now})[0][0] for state in states]
    return min((cast("int", moment) for moment in moments if moment is not None), default=None)


_HISTORY = """
    INSERT INTO history (job, at, source, event, target, attempt, detail) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


@cache
def _move_sql(facts: tuple[str, ...]) -> str:
    """Return the statement that moves a job and sets these columns with it; there are a few dozen sets of them."""
    unknown = set(facts) - _FACTS
    assert not unknown, f"not columns of a job: {unknown}"
    extra = "".join(f", {name} = :{name}" for name in facts)
    return f"""
        UPDATE job SET state = :target, since = :now, reason = :detail, remote_status = NULL, remote_since = NULL,
            stuck_at = NULL{extra}
        WHERE id = :id AND state = :source RETURNING path, attempt, cancel_wanted, cause, transcript
    """  # noqa: S608 - names checked above


def fire(
    ledger: Ledger, job_id: int, source: State, event: Event, detail: str | None = None, facts: Facts = NO_FACTS
) -> bool:
    """Move a job along one transition and write its history, or do nothing if it is no longer in `source`.

    This is the only writer of `state`. `detail` becomes the job's reason; `facts` are columns to set with it.
    Returns False when the job had moved on: the caller's news is then out of date and is dropped.
    """
    target = NEXT[source, event]
    if target in FINAL_STATES:
        facts = {**facts, "asked": 0}  # a wish is for one try, however that ends
    known = {"target": target, "now": ledger.now, "detail": detail, "id": job_id, "source": source}
    rows = ledger.rows(_move_sql(tuple(facts)), known | dict(facts))
    if not rows:
        return False
    path, attempt, cancel_wanted, cause, transcript = cast("tuple[bytes, int, int, str | None, int | None]", rows[0])
    ledger.rows(_HISTORY, (job_id, ledger.now, source, event, target, attempt, detail))
    ledger.moves.append(Move(job_id, path, source, event, target, attempt, ledger.now, detail))
    if event is Event.INTERRUPTED:
        mark_loose(ledger)
    if event is Event.FORGIVEN:
        verdicts.give_chance(ledger, job_id)
    if target is State.STORED:
        _share(ledger, job_id, transcript)
    elif target is State.FAILING:
        verdicts.keep(ledger, job_id)
    elif target in _PARTING:
        verdicts.keep(ledger, job_id)
        _part(ledger, job_id, cause, detail)
    if cancel_wanted and accepts(target, Event.CANCEL):
        fire(ledger, job_id, target, Event.CANCEL, "cancelled on request", GIVE_UP)
    return True


def is_taken(ledger: Ledger, remote: object, job_id: int) -> bool:
    """Tell whether another job has this id at the service."""
    return remote is not None and bool(ledger.rows("SELECT 1 FROM job WHERE remote = ? AND id <> ?", (remote, job_id)))


def mark_loose(ledger: Ledger) -> None:
    """Record that an upload ended of which nobody knows whether its audio is at the service, or will show up there."""
    ledger.rows("UPDATE batch SET loose_at = ?", (ledger.now,))


#: States in which a job carries no twins any more.
_PARTING = frozenset({State.NEW, State.FAILED, State.CANCELLED, State.SKIPPED})
#: Causes that say something about the audio itself, so that they hold for its twins too.
_SHARED_CAUSES = frozenset({Cause.REFUSED, Cause.SERVICE, Cause.VANISHED})
_TWINS = f"SELECT {COLUMNS} FROM job WHERE twin_of = ?"  # noqa: S608


def _share(ledger: Ledger, carrier: int, transcript: int | None) -> None:
    """Give the twins of a job the transcript that was just committed."""
    for twin in _twins(ledger, carrier):
        facts = {"transcript": transcript, "twin_of": None, "not_before": 0, "asked": 0}
        fire(ledger, twin.id, State.TWIN, Event.SHARED, None, facts)


def _part(ledger: Ledger, carrier: int, cause: str | None, reason: str | None) -> None:
    """End the wait of a job's twins: they share a verdict on the audio, and go their own way otherwise."""
    for twin in _twins(ledger, carrier):
        if cause in _SHARED_CAUSES:
            fire(ledger, twin.id, State.TWIN, Event.TWIN_FAILED, reason, {"twin_of": None, "cause": cause})
        else:
            start_over(ledger, twin, Event.RELEASED)


_CONDEMNED = f"""
    SELECT {COLUMNS} FROM job WHERE digest = ? AND options = ? AND (state = 'cancelled' AND cause = 'given_up'
        OR state = 'failed' AND cause IN (SELECT value FROM json_each(?))) ORDER BY id
"""  # noqa: S608


def pardon(ledger: Ledger, job: Job, transcript: int) -> None:
    """Give what ended for its audio's sake the transcript that the audio has now, even where its file is gone."""
    for ended in map(Job.of, ledger.rows(_CONDEMNED, (job.digest, job.options, json_array(_SHARED_CAUSES)))):
        start_over(ledger, ended, Event.RETRY, "the same audio has a transcript by now")
        known = {"digest": job.digest, "transcript": transcript, "asked": 0}
        fire(ledger, ended.id, State.NEW, Event.RECOGNISED, None, known)


def _twins(ledger: Ledger, carrier: int) -> list[Job]:
    return [Job.of(row) for row in ledger.rows(_TWINS, (carrier,))]


def start_over(ledger: Ledger, job: Job, event: Event, detail: str | None = None, facts: Facts = NO_FACTS) -> bool:
    """Send a job back to the start of its life; its content is looked at before anything is sent.

    That somebody wants it cancelled holds on where only batcher tries again. It was wanted of what is there no more
    when the recording has changed.
    """
    fresh: dict[str, object] = {
        "not_before": 0,
        "failures": 0,
        "forgiven": 0,
        "convert": 0,
        "remedy": None,
        "digest": None,
        "compare": 1,
        "cause": None,
        "twin_of": None,
        "transcript": None,
        "remote": None,
        "sealed_at": None,
        "absent_at": None,
        "first_attempt": job.attempt + 1,
    }
    if event is Event.CHANGED:
        fresh["cancel_wanted"] = 0
    return fire(ledger, job.id, job.state, event, detail, fresh | dict(facts))


_DEFER = """
    UPDATE job SET not_before = :not_before, failures = :failures, reason = :reason
    WHERE id = :id AND state = :state
"""


def defer(ledger: Ledger, job: Job, not_before: int, failures: int, reason: str) -> None:
    """Leave a job where it is and try it again at `not_before`; says why."""
    parameters = {
        "not_before": not_before,
        "failures": failures,
        "reason": reason,
        "id": job.id,
        "state": job.state,
    }
    ledger.rows(_DEFER, parameters)


def take_note(ledger: Ledger, job: Job, remote_status: str, since: int) -> None:
    """Record what the service says of a submitted job, and since when."""
    sql = "UPDATE job SET remote_status = ?, remote_since = ?, stuck_at = NULL WHERE id = ? AND state = ?"
    ledger.rows(sql, (remote_status, since, job.id, job.state))


def mark_stuck(ledger: Ledger, job: Job) -> None:
    """Record that a job is where it is for too long."""
    ledger.rows("UPDATE job SET stuck_at = ? WHERE id = ? AND state = ?", (ledger.now, job.id, job.state))


_BEING_WRITTEN = "SELECT output FROM job WHERE state IN ('stored', 'rendering')"


def being_written(ledger: Ledger) -> list[str]:
    """Return the outputs (without their formats' endings) that a process may have been writing when it ended."""
    return [cast("str", output) for (output,) in ledger.rows(_BEING_WRITTEN)]


def want_cancel(ledger: Ledger, job: Job, *, wanted: bool = True) -> None:
    """Have a job cancelled as soon as it is in a state that can be; or no more."""
    ledger.rows("UPDATE job SET cancel_wanted = ? WHERE id = ?", (wanted, job.id))


def rendered(ledger: Ledger, job: Job, facts: Facts) -> None:
    """Record which transcript a job's outputs show, and in which formats, where there is anything new."""
    if facts:
        ledger.rows("UPDATE job SET formats = :formats, shown = :shown WHERE id = :id", {**facts, "id": job.id})


_COUNT = "SELECT count(*) FROM job WHERE state IN (SELECT value FROM json_each(?))"


def count(ledger: Ledger, states: Iterable[State]) -> int:
    """Count the jobs in `states` (meant for states that few jobs are in)."""
    ((number,),) = ledger.rows(_COUNT, (json_array(states),))
    return cast("int", number)


_EXISTS = "SELECT 1 FROM job WHERE state IN (SELECT value FROM json_each(?)) LIMIT 1"


def exists(ledger: Ledger, states: Iterable[State]) -> bool:
    """Tell whether any job is in one of `states`."""
    return bool(ledger.rows(_EXISTS, (json_array(states),)))


def json_array(values: Iterable[object]) -> str:
    """Return values as a JSON array for `json_each`, the way to bind a list in SQLite."""
    return "[" + ",".join(f'"{v}"' if isinstance(v, str) else str(v) for v in sorted(values, key=str)) + "]"
