"""What the emulator counts about one account: the oracle of every test of the quota and of paying twice."""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum


class Call(StrEnum):
    """What a client asked for."""

    SUBMIT = "submit"
    SURVEY = "survey"  #: the status of all files
    STATUS = "status"  #: the status of one file
    FETCH = "fetch"
    DELETE = "delete"


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
    accepted: Counter[str] = field(default_factory=Counter)  #: uploads accepted, by reference
    injected: Counter[str] = field(default_factory=Counter)  #: faults by kind

    def note(self, call: Call, subject: str, outcome: str = OK) -> None:
        """Count a call that is over."""
        self.calls[call] += 1
        if outcome != OK:
            self.refusals[outcome] += 1
        self.trace.append((call.value, subject, outcome))

    def sample(self, pending: int, stored: int) -> None:
        """Keep the highest numbers seen."""
        self.pending_peak = max(self.pending_peak, pending)
        self.stored_peak = max(self.stored_peak, stored)

    @property
    def submitted_twice(self) -> list[str]:
        """Return the references under which more than one upload was accepted."""
        return [reference for reference, count in self.accepted.items() if count > 1]
