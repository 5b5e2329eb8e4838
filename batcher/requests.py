"""What a person asks of a batch: try again, give up. Applied by whoever holds the batch at that moment."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast

from batcher.errors import UsageError
from batcher.model import Job
from batcher.policy import second_chance
from batcher.states import UNKNOWN_STATES, Event, State, accepts
from batcher.store import jobs
from batcher.store.table import Ledger

Verb = Literal["retry", "cancel"]


@dataclass(frozen=True, slots=True)
class Request:
    """One wish: a verb on jobs by their ids. An id that does not fit the wish (any more) is passed over."""

    verb: Verb
    jobs: Sequence[int]

    def to_json(self) -> str:
        """Return the request as it is left in the batch's directory."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Request":
        """Read a request that was left. Raises UsageError for anything else."""
        try:
            body = json.loads(text)
            verb, ids = body["verb"], body["jobs"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(f"not a request of batcher: {error}") from error
        if verb not in ("retry", "cancel") or not isinstance(ids, list) or not all(map(_is_id, ids)):
            raise UsageError("not a request of batcher: it takes a verb and a list of job numbers")
        return Request(cast("Verb", verb), ids)


def _is_id(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63  # what the table can be asked for


def apply_request(ledger: Ledger, request: Request) -> int:
    """Carry a request out and return how many jobs it changed."""
    found = [jobs.get(ledger, job_id) for job_id in request.jobs]
    act = _retry if request.verb == "retry" else _cancel
    return sum(act(ledger, job) for job in found if job is not None)


def _retry(ledger: Ledger, job: Job) -> bool:
    if is_to_give_up(job):
        jobs.want_cancel(ledger, job, wanted=False)
        return True
    if not accepts(job.state, Event.RETRY):
        return False
    return jobs.start_over(ledger, job, Event.RETRY, "tried again on request", {"cancel_wanted": 0, "asked": 1})


def is_to_give_up(job: Job) -> bool:
    """Tell whether a job will be given up when it is known whether the service has it."""
    return job.cancel_wanted and job.state in UNKNOWN_STATES


def may_cancel(job: Job) -> bool:
    """Tell whether a job can be given up at once."""
    if job.state is State.COMPLETED:
        return job.failures > 0  # it is paid for and about to be fetched; only one that cannot be fetched is given up
    if job.state is State.FAILING:
        return second_chance(job, may_convert=True) is not None  # else it is over, and its reason is why it failed
    return accepts(job.state, Event.CANCEL)


def heeds_cancel(job: Job) -> bool:
    """Tell whether a job can be given up, now or when it is known whether the service has it."""
    return may_cancel(job) or job.state in UNKNOWN_STATES


def _cancel(ledger: Ledger, job: Job) -> bool:
    """Cancel now where that is possible; where it is not yet, as soon as it is."""
    if may_cancel(job):
        return jobs.fire(ledger, job.id, job.state, Event.CANCEL, "cancelled on request", jobs.GIVE_UP)
    if job.state in UNKNOWN_STATES:
        jobs.want_cancel(ledger, job)
        return True
    return False
