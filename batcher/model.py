"""The nouns of the domain as frozen values: what a batch knows, without any I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from batcher.states import State


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may hold at the service, everything of every client counted. None means no limit.

    Defaults and meaning from the service's own documentation: pending counts files that are queued or being
    transcribed, stored counts every file that was not deleted, whatever became of it.
    """

    pending: int = 100
    stored: int = 2000
    files: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How many objects of ours the account has room for, other clients' and the reserve taken off."""

    pending: int
    stored: int


@dataclass(frozen=True, slots=True)
class FileBounds:
    """What one recording may measure: `bytes`, and `duration_ms` by its container's header."""

    bytes: int = 500_000_000
    duration_ms: int = 5 * 3_600_000


class RemoteStatus(StrEnum):
    """What the service says of one object. A status we do not know counts as `PROCESSING`."""

    UPLOADED = "uploaded"  #: audio that nothing transcribes (REST only): it can neither complete nor fail
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def pending(self) -> bool:
        """Tell whether the object counts against the limit of pending files (the strict reading)."""
        return self in (RemoteStatus.QUEUED, RemoteStatus.PROCESSING)


class Remedy(StrEnum):
    """What may help an object that the service reports failed."""

    NONE = "none"  #: the same again would fail again, or nothing is known
    AGAIN = "again"  #: nothing is wrong with the recording: once more
    CONVERT = "convert"  #: the service cannot decode it: once more in another format
    STOP = "stop"  #: the account or a setting: every other job will fail too


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """One object in the service's list. `id` is the service's, opaque to everyone but its implementation.

    `files` and `bytes` are the stored audio it occupies, where the service counts that by itself (REST); the
    sums over a survey are those of the account.
    """

    id: str
    reference: str
    status: RemoteStatus
    error: str = ""
    created: int | None = None  #: UTC milliseconds, as the service says
    bytes: int = 0
    files: int = 0
    remedy: Remedy = Remedy.NONE  #: of one that failed


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at everything the account holds.

    `complete` is False when the listing may have missed something; such a survey proves no absence.
    """

    objects: tuple[RemoteObject, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Word:
    """One word or token. Times are milliseconds from the start of the recording; None where unknown.

    `translation` tells, where one was asked for, words that were spoken and then translated (``original``) and
    the words they were translated to (``translation``, in `language` from `source_language`) from all others.
    """

    text: str
    start_ms: int | None = None
    end_ms: int | None = None
    confidence: float | None = None
    speaker: str | None = None
    language: str | None = None
    translation: str = ""
    source_language: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The words of one channel, or of the whole recording when `channel` is None."""

    words: tuple[Word, ...]
    channel: int | None = None
    speakers: Mapping[str, str] = field(default_factory=dict)  #: speaker label → name, where identified


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the service made of a recording.

    `separator` stands between words: empty where blanks are tokens of their own (``explicit_space``).
    `document` is the formatted document as the service sent it, where one was asked for.
    """

    parts: tuple[Part, ...]
    separator: str = ""
    model: str = ""
    document: Mapping[str, object] | None = None

    @property
    def text(self) -> str:
        """Return the plain words, one line per part."""
        return "\n".join(self.separator.join(word.text for word in part.words).strip() for part in self.parts)


class Cause(StrEnum):
    """What a failed or skipped job failed for; the summary groups by it, and the next step depends on it."""

    SOURCE = "source"  #: the recording cannot be read; costs nothing to try again
    UNSUITABLE = "unsuitable"  #: empty, too big, too long or not audio
    REFUSED = "refused"  #: the service will never accept it as it is
    SERVICE = "service"  #: the service accepted it and failed
    VANISHED = "vanished"  #: the service lost it, or somebody deleted it there
    INTERNAL = "internal"  #: batcher itself failed on it, again and again; the log has the details
    OUTPUT = "output"  #: the transcript is safe in the table, its file cannot be written


@dataclass(frozen=True, slots=True)
class Job:
    """One recording × one set of options: a row of the job table.

    Times are UTC milliseconds. `path` is the file system's own bytes; `output` is the path of its outputs
    inside OUT without the format's ending.
    """

    id: int
    path: bytes
    output: str
    size: int
    mtime_ns: int
    options: str  #: fingerprint of the option set, a key of `option_set`
    state: State
    since: int  #: when it entered its state
    not_before: int  #: not to be tried before
    failures: int  #: failed tries in a row, for the back-off
    attempt: int  #: number of submissions so far
    session: int  #: run of batcher that claimed it last; an upload of another session has nobody working on it
    sealed_at: int | None  #: when its latest attempt was sealed
    forgiven: int  #: how often an internal error of the service was forgiven
    digest: bytes | None  #: SHA-256 of the content, once known
    duration_ms: int | None
    reference: str | None  #: of the latest attempt
    remote: str | None  #: id at the service of the latest attempt
    compare: bool  #: another recording has its size: the content must be known before it is admitted
    twin_of: int | None
    cancel_wanted: bool
    absent_at: int | None  #: when a complete list first did not show it
    transcript: int | None  #: id of the transcript it shares
    formats: str  #: formats that were ever written, comma separated
    shown: int | None  #: id of the transcript that the written formats show
    cause: str | None  #: sort of the failure, a `Cause`
    reason: str | None  #: why it is where it is, for a person
    created: int
