"""Everything that can go wrong, sorted by what the batch must do about it.

BatcherError                    root; carries the exit code of the command
├── UsageError                  2  wrong arguments or configuration
├── AccountRefused              5  key, permission, balance, or a service never reached
├── BatchHeld                   6  another batcher works on this batch
├── MachineRefuses              7  no disk space, no write access
├── SourceError                 -  one recording cannot be read (fails that job only)
│   └── SourceChanged           -  the recording changed while it was read
└── ServiceError                -  an answer of the service, sorted into a `Kind`
"""

from enum import StrEnum


class Kind(StrEnum):
    """What a failed call to the service means for the job that made it."""

    HOPELESS = "hopeless"  #: this job will never work as it is (bad option, bad audio)
    LATER = "later"  #: nothing was accepted; try the same again later
    UNREACHABLE = "unreachable"  #: the service is away; wait for it, count nothing against the job
    UNCERTAIN = "uncertain"  #: it may have been accepted; ask the service before sending again
    FULL = "full"  #: refused for a quota or a rate; free some space first
    RATE = "rate"  #: refused for the pace of requests alone: nothing was accepted, nothing is full; try again later
    STOP = "stop"  #: the account is refused; stop everything
    GONE = "gone"  #: the service knows no such object
    NOT_READY = "not-ready"  #: the object is in another state: result too early, delete while running


class BatcherError(Exception):
    """Something went wrong."""

    exit_code = 1
    #: After a submission: audio that nothing uses may be at the service, or show up there.
    loose = False

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or self.__class__.__doc__ or "")
        #: What to type or mend next, one sentence; empty when there is nothing to say.
        self.hint = hint


def innermost(error: BaseException) -> BaseException:
    """Return what a group of errors comes from: one that was sorted before one that was not, and else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return innermost((error.subgroup(BatcherError) or error).exceptions[0])


class UsageError(BatcherError):
    """The arguments or the configuration are wrong."""

    exit_code = 2


class AccountRefused(BatcherError):
    """The account or the service refuses to work for us."""

    exit_code = 5


class BatchHeld(BatcherError):
    """Another batcher holds this batch."""

    exit_code = 6


class MachineRefuses(BatcherError):
    """This machine refuses: no space or no access."""

    exit_code = 7


class SourceError(BatcherError):
    """The recording cannot be read."""


class SourceChanged(SourceError):
    """The recording changed while it was read."""


class ServiceError(BatcherError):
    """The service did not do what it was asked.

    `code` is the wire's own word (``RESOURCE_EXHAUSTED``, ``429 limit_exceeded``), `kind` its meaning.
    """

    def __init__(self, kind: Kind, message: str, *, code: str = "", hint: str = "", answered: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.code = code
        #: The service itself said so, in its own form: whatever is wrong, it was reached.
        self.answered = answered
