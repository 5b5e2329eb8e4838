"""The state machine of a job, as data.

Everything that needs to know states is derived from the two tables here: the CHECK of the schema, the
quota count inside the claim, which stage picks a job up, the diagram in the README and the oracle of the
simulation. A job's state is written by one function only, `store.jobs.fire`.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a job is. Several internal states may share one public name (see `FACTS`)."""

    NEW = "new"
    WAITING = "waiting"
    TWIN = "twin"
    UPLOADING = "uploading"
    SEALED = "sealed"
    UNCERTAIN = "uncertain"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    STORED = "stored"
    RENDERING = "rendering"
    FAILING = "failing"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of every job in one state."""

    public: str  #: the name users see
    meaning: str
    pending: bool = False  #: may count against the service's limit of pending files
    held: bool = False  #: may count against the service's limit of stored files
    final: bool = False


FACTS: dict[State, Facts] = {
    State.NEW: Facts("waiting", "found by a scan, not looked into yet"),
    State.WAITING: Facts("waiting", "ready to be sent"),
    State.TWIN: Facts("waiting", "the same audio as a job under way; shares its transcript"),
    State.UPLOADING: Facts("uploading", "being sent; the service cannot have accepted it", pending=True, held=True),
    State.SEALED: Facts("uploading", "sent; from here on the service may accept and bill it", pending=True, held=True),
    State.UNCERTAIN: Facts("uncertain", "the answer was lost: look before sending again", pending=True, held=True),
    State.SUBMITTED: Facts("submitted", "accepted by the service", pending=True, held=True),
    State.COMPLETED: Facts("completed", "transcribed; the transcript is still at the service", held=True),
    State.STORED: Facts("stored", "transcript committed; outputs and the remote delete are due", held=True),
    State.RENDERING: Facts("stored", "transcript committed, nothing at the service; outputs are due"),
    State.FAILING: Facts("failing", "failed, but the service still holds it", held=True),
    State.CANCELLING: Facts("failing", "cancelled, but the service still holds it", pending=True, held=True),
    State.DONE: Facts("done", "outputs written, nothing left at the service", final=True),
    State.FAILED: Facts("failed", "needs a person; see the reason", final=True),
    State.CANCELLED: Facts("cancelled", "given up on request", final=True),
    State.SKIPPED: Facts("skipped", "not a recording that can be sent", final=True),
}

PENDING_STATES = frozenset(s for s, f in FACTS.items() if f.pending)
HELD_STATES = frozenset(s for s, f in FACTS.items() if f.held)
#: An upload is under way, or was: whether the service has accepted it is not known yet.
UNKNOWN_STATES = frozenset({State.UPLOADING, State.SEALED, State.UNCERTAIN})
FINAL_STATES = frozenset(s for s, f in FACTS.items() if f.final)


class Event(StrEnum):
    """What happened to a job."""

    ADMITTED = "admitted"  #: examined: a recording that can be sent
    TWINNED = "twinned"  #: examined: the same audio and options are already under way
    RECOGNISED = "recognised"  #: examined: this audio was transcribed before with these options
    UNSUITABLE = "unsuitable"  #: empty, too big, too long or not audio
    UNREADABLE = "unreadable"  #: vanished, or permission denied
    SIZE_SHARED = "size_shared"  #: another recording has the same size: compare contents first
    CHANGED = "changed"  #: a scan found other content or other options under this path
    CLAIMED = "claimed"  #: the scheduler found room in the quota
    SOURCE_CHANGED = "source_changed"  #: the recording changed while it was read
    SEAL = "seal"  #: all audio sent, and this record is on disk
    ACCEPTED = "accepted"  #: the service answered with its id
    REFUSED = "refused"  #: the service said no for now (quota, rate): nothing was accepted
    REJECTED = "rejected"  #: the service said no for good: nothing was accepted
    POSTPONED = "postponed"  #: failed before the seal: nothing can have been accepted
    INTERRUPTED = "interrupted"  #: this process ended before the seal
    ANSWER_LOST = "answer_lost"  #: failed after the seal: nobody knows
    ADOPTED = "adopted"  #: found in the service's list by its reference
    GIVEN_UP = "given_up"  #: proven not to be at the service, for the last time
    ABSENT = "absent"  #: proven not to be at the service
    COMPLETED = "completed"  #: the service says the transcript is ready
    REOPENED = "reopened"  #: the service's status went backwards
    SERVICE_FAILED = "service_failed"  #: the service says it failed
    VANISHED = "vanished"  #: proven gone from the service before its transcript was fetched
    FETCHED = "fetched"  #: the transcript is committed in the table
    CLEARED = "cleared"  #: nothing of the job is left at the service
    FORGIVEN = "forgiven"  #: cleared after an internal error of the service: once more
    WRITTEN = "written"  #: all outputs are on disk
    UNWRITABLE = "unwritable"  #: an output cannot be written
    RENDER = "render"  #: an output is missing, or another format is wanted
    SHARED = "shared"  #: the twin's transcript is committed
    RELEASED = "released"  #: the twin ended without a transcript for a reason of its own
    TWIN_FAILED = "twin_failed"  #: the service could not transcribe this very audio
    FAILED_BEFORE = "failed_before"  #: examined: the service has failed or lost this very audio before
    CANCEL = "cancel"  #: a person gave the job up
    RETRY = "retry"  #: a person wants it tried again


TRANSITIONS: tuple[tuple[State, Event, State], ...] = (
    (State.NEW, Event.ADMITTED, State.WAITING),
    (State.NEW, Event.TWINNED, State.TWIN),
    (State.NEW, Event.RECOGNISED, State.RENDERING),
    (State.NEW, Event.UNSUITABLE, State.SKIPPED),
    (State.NEW, Event.UNREADABLE, State.FAILED),
    (State.NEW, Event.FAILED_BEFORE, State.FAILED),
    (State.NEW, Event.CHANGED, State.NEW),
    (State.NEW, Event.CANCEL, State.CANCELLED),
    (State.WAITING, Event.CLAIMED, State.UPLOADING),
    (State.WAITING, Event.SIZE_SHARED, State.NEW),
    (State.WAITING, Event.UNSUITABLE, State.SKIPPED),
    (State.WAITING, Event.CHANGED, State.NEW),
    (State.WAITING, Event.ADOPTED, State.SUBMITTED),
    (State.WAITING, Event.CANCEL, State.CANCELLED),
    (State.TWIN, Event.SHARED, State.RENDERING),
    (State.TWIN, Event.RELEASED, State.NEW),
    (State.TWIN, Event.TWIN_FAILED, State.FAILED),
    (State.TWIN, Event.CHANGED, State.NEW),
    (State.TWIN, Event.CANCEL, State.CANCELLED),
    (State.UPLOADING, Event.SEAL, State.SEALED),
    (State.UPLOADING, Event.REFUSED, State.WAITING),
    (State.UPLOADING, Event.POSTPONED, State.WAITING),
    (State.UPLOADING, Event.INTERRUPTED, State.WAITING),
    (State.UPLOADING, Event.SOURCE_CHANGED, State.NEW),
    (State.UPLOADING, Event.UNREADABLE, State.FAILED),
    (State.UPLOADING, Event.REJECTED, State.FAILED),
    (State.SEALED, Event.ACCEPTED, State.SUBMITTED),
    (State.SEALED, Event.REFUSED, State.WAITING),
    (State.SEALED, Event.REJECTED, State.FAILED),
    (State.SEALED, Event.ANSWER_LOST, State.UNCERTAIN),
    (State.UNCERTAIN, Event.ADOPTED, State.SUBMITTED),
    (State.UNCERTAIN, Event.ABSENT, State.WAITING),
    (State.UNCERTAIN, Event.GIVEN_UP, State.FAILED),
    (State.SUBMITTED, Event.COMPLETED, State.COMPLETED),
    (State.SUBMITTED, Event.SERVICE_FAILED, State.FAILING),
    (State.SUBMITTED, Event.VANISHED, State.FAILED),
    (State.SUBMITTED, Event.CANCEL, State.CANCELLING),
    (State.COMPLETED, Event.FETCHED, State.STORED),
    (State.COMPLETED, Event.REOPENED, State.SUBMITTED),
    (State.COMPLETED, Event.SERVICE_FAILED, State.FAILING),
    (State.COMPLETED, Event.VANISHED, State.FAILED),
    (State.COMPLETED, Event.CANCEL, State.CANCELLING),
    (State.STORED, Event.CLEARED, State.DONE),
    (State.STORED, Event.UNWRITABLE, State.FAILING),
    (State.RENDERING, Event.WRITTEN, State.DONE),
    (State.RENDERING, Event.UNWRITABLE, State.FAILED),
    (State.FAILING, Event.CLEARED, State.FAILED),
    (State.FAILING, Event.FORGIVEN, State.WAITING),
    (State.FAILING, Event.CANCEL, State.CANCELLING),
    (State.CANCELLING, Event.CLEARED, State.CANCELLED),
    (State.DONE, Event.RENDER, State.RENDERING),
    (State.DONE, Event.CHANGED, State.NEW),
    (State.FAILED, Event.ADOPTED, State.SUBMITTED),
    (State.FAILED, Event.CHANGED, State.NEW),
    (State.FAILED, Event.RETRY, State.NEW),
    (State.CANCELLED, Event.CHANGED, State.NEW),
    (State.CANCELLED, Event.RETRY, State.NEW),
    (State.SKIPPED, Event.CHANGED, State.NEW),
    (State.SKIPPED, Event.RETRY, State.NEW),
)

NEXT: dict[tuple[State, Event], State] = {(source, event): target for source, event, target in TRANSITIONS}


def accepts(state: State, event: Event) -> bool:
    """Tell whether `event` can happen to a job in `state`."""
    return (state, event) in NEXT


def public_names() -> list[str]:
    """Return the names users see, in the order of a job's life."""
    return list(dict.fromkeys(facts.public for facts in FACTS.values()))


def diagram() -> str:
    """Return the machine as a mermaid diagram over the public names; the README shows it."""
    edges: dict[tuple[str, str], list[str]] = {}
    for source, event, target in TRANSITIONS:
        ends = (FACTS[source].public, FACTS[target].public)
        if ends[0] != ends[1] and event not in edges.setdefault(ends, []):
            edges[ends].append(event)
    lines = [f"    {source} --> {target}: {', '.join(events)}" for (source, target), events in edges.items()]
    final = [f"    {facts.public} --> [*]" for facts in FACTS.values() if facts.final]
    return "\n".join(["stateDiagram-v2", "    [*] --> waiting", *lines, *final])
