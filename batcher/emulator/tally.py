"""What the emulator counts about one account: the oracle of every test of the quota and of paying twice."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from batcher.emulator.objects import Refusal


class Call(StrEnum):
    """What a client asked for. The legacy API knows the first five, REST knows all."""

    SUBMIT = "submit"  #: an upload, which is transcribed; in REST the creation of a transcription
    SURVEY = "survey"  #: the status of all files; in REST a page of the transcriptions
    STATUS = "status"  #: the status of one file or transcription
    FETCH = "fetch"
    DELETE = "delete"
    UPLOAD = "upload"  #: a file without a transcription
    FILES = "files"  #: a page of the files
    FILE = "file"  #: one file
    DELETE_FILE = "delete-file"
    COUNT = "count"
    MODELS = "models"
    USAGE = "usage"


LEGACY_CALLS = (Call.SUBMIT, Call.SURVEY, Call.STATUS, Call.FETCH, Call.DELETE)


OK = "OK"

Entry = tuple[str, str, str]
"""Call, reference (submit) or file id, outcome: ``OK`` or the code of the refusal."""


@dataclass(slots=True)
class Tally:
    """Counters of one account, taken at every change."""

    trace: deque[Entry]
    pending_peak: int = 0
    stored_peak: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)  #: by code
    quota_refusals: int = 0  #: uploads refused because the account is full
    on_full: Callable[[str, int], None] = lambda _thing, _more: None  #: hears of each, and of how much it had wanted
    accepted: Counter[str] = field(default_factory=Counter)  #: uploads accepted, by reference
    injected: Counter[str] = field(default_factory=Counter)  #: faults by kind

    def note(self, call: Call, subject: str, outcome: str = OK) -> None:
        """Count a call that is over."""
        self.calls[call] += 1
        if outcome != OK:
            self.refusals[outcome] += 1
        self.trace.append((call.value, subject, outcome))

    def refused_full(self, thing: str, more: int = 1) -> None:
        """Count a refusal for a quota: there was no room for so much more of `thing`, a name of `model.LIMITED`."""
        self.quota_refusals += 1
        self.on_full(thing, more)

    def sample(self, pending: int, stored: int) -> None:
        """Keep the highest numbers seen."""
        self.pending_peak = max(self.pending_peak, pending)
        self.stored_peak = max(self.stored_peak, stored)

    @property
    def submitted_twice(self) -> list[str]:
        """Return the references under which more than one upload was accepted."""
        return [reference for reference, count in self.accepted.items() if count > 1]


@dataclass(slots=True)
class RestTally(Tally):
    """Counters of one account's REST objects: files and transcriptions are two things there."""

    files_peak: int = 0
    bytes_peak: int = 0
    requests: Counter[str] = field(default_factory=Counter)  #: by endpoint
    reasons: Counter[str] = field(default_factory=Counter)  #: quota refusals, by the quota
    uploads: Counter[str] = field(default_factory=Counter)  #: files accepted, by reference
    webhooks: Counter[str] = field(default_factory=Counter)  #: deliveries, by what became of them


@contextmanager
def noted(tally: Tally, call: Call, subject: str, *, also_success: bool = True) -> Iterator[None]:
    """Note the call with the outcome of the block."""
    try:
        yield
    except Refusal as refusal:
        tally.note(call, subject, refusal.code)
        raise
    if also_success:
        tally.note(call, subject)
