"""The nouns of the domain as frozen values: what a batch knows, without any I/O.

Those of which there are many are tuples with names, made in a third of the time. They equal any tuple of the same values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

from batcher.states import State


@dataclass(frozen=True, slots=True)
class Load:
    """So much of each of the four things that the service limits; bytes are those of stored recordings."""

    pending: int = 0
    stored: int = 0
    files: int = 0
    bytes: int = 0

    def things(self) -> tuple[int, int, int, int]:
        """Return the four numbers in the order of `LIMITED`."""
        return self.pending, self.stored, self.files, self.bytes

    def plus(self, other: "Load") -> "Load":
        """Return the sum."""
        return Load(
            self.pending + other.pending,
            self.stored + other.stored,
            self.files + other.files,
            self.bytes + other.bytes,
        )

    def minus(self, other: "Load") -> "Load":
        """Return the difference, which may be negative."""
        return Load(
            self.pending - other.pending,
            self.stored - other.stored,
            self.files - other.files,
            self.bytes - other.bytes,
        )

    def within(self, most: "Load") -> "Load":
        """Return so much of this as is not more than `most`."""
        return Load(*map(min, self.things(), most.things()))

    def most(self, other: "Load") -> "Load":
        """Return, thing by thing, what is more."""
        return Load(*map(max, self.things(), other.things()))

    def lacking(self, room: "Load") -> str:
        """Return the name of the first thing of which `room` has less, or nothing if all of it fits."""
        return next((name for name in LIMITED if getattr(self, name) > getattr(room, name)), "")


LIMITED = tuple(each.name for each in fields(Load))  #: what the service limits, in the order in which it is told
NOTHING = Load()
NO_LIMIT = 2**62  #: room of what is not limited; SQLite can hold it


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may hold at the service, everything of every client counted. None means no limit.

    Defaults and meaning from the service's own documentation: pending counts what is queued or being transcribed,
    stored counts every file (gRPC) or transcription (REST) that was not deleted, whatever became of it. Only REST
    limits the number of uploaded files and their bytes.
    """

    pending: int = 100
    stored: int = 2000
    files: int | None = None
    bytes: int | None = None

    def load(self) -> Load:
        """Return the limits as the load that fills the account."""
        limits = self.pending, self.stored, self.files, self.bytes
        return Load(*(NO_LIMIT if limit is None else limit for limit in limits))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a job may be in one state at the service before it counts as stuck, in milliseconds.

    Nothing happens to a stuck job by itself: it is shown. What is sent again may be billed again.
    """

    queued: int = 6 * 3_600_000
    processing: int = 2 * 3_600_000
    ended: int = 2 * 3_600_000  #: completed but not fetched, or to be deleted and still there


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


class RemoteObject(NamedTuple):
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

    @property
    def load(self) -> Load:
        """Return what it takes of the account's limits. Audio that nothing transcribes is a file, and no more."""
        return load_of([self])


def load_of(objects: Sequence[RemoteObject]) -> Load:
    """Return what they take of the account's limits together."""
    return Load(
        pending=sum(each.status.pending for each in objects),
        stored=sum(each.status is not RemoteStatus.UPLOADED for each in objects),
        files=sum(each.files for each in objects),
        bytes=sum(each.bytes for each in objects),
    )


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at everything the account holds.

    `complete` is False when the listing may have missed something; such a survey proves no absence.
    `unlisted` is what the service counts for the account and shows in no list (REST: its playground's).
    """

    objects: tuple[RemoteObject, ...]
    complete: bool = True
    unlisted: Load = NOTHING


class Word(NamedTuple):
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
    is_audio_event: bool = False  #: no word but a sound, such as laughter


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
        """Return the words that were spoken, one line per part."""
        return "\n".join(self._lines(translated=False))

    @property
    def translation_text(self) -> str:
        """Return what the words were translated to, one line per part; nothing where there is no translation."""
        lines = self._lines(translated=True)
        return "\n".join(lines) if any(lines) else ""

    def _lines(self, *, translated: bool) -> list[str]:
        return [
            self.separator.join(
                word.text for word in part.words if (word.translation == "translation") is translated
            ).strip()
            for part in self.parts
        ]


class Cause(StrEnum):
    """What a failed or skipped job failed for; the summary groups by it, and the next step depends on it."""

    SOURCE = "source"  #: the recording cannot be read; costs nothing to try again
    UNSUITABLE = "unsuitable"  #: empty, too big, too long or not audio
    REFUSED = "refused"  #: the service will never accept it as it is
    SERVICE = "service"  #: the service accepted it and failed
    VANISHED = "vanished"  #: the service lost it, or somebody deleted it there
    INTERNAL = "internal"  #: batcher itself failed on it, again and again; the log has the details
    GIVEN_UP = "given_up"  #: cancelled because the same audio was, after the service had accepted it
    OUTPUT = "output"  #: the transcript is safe in the table, its file cannot be written


class Job(NamedTuple):
    """One recording × one set of options: a row of the job table.

    Times are UTC milliseconds. `path` is the file system's own bytes, absolute, or the URL of a recording that
    the service fetches by itself; `output` is the path of its outputs inside OUT without the format's ending.
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
    first_attempt: int  #: the first one of what the job is about now: what earlier ones made is never its own
    session: int  #: run of batcher that claimed it last; an upload of another session has nobody working on it
    sealed_at: int | None  #: when its latest attempt was sealed, or the one that ended in the verdict on its audio
    forgiven: int  #: how often an internal error of the service was forgiven
    convert: bool  #: the service could not decode it: it is sent as FLAC
    remedy: str | None  #: what may help after the service failed it, a `Remedy`
    digest: bytes | None  #: SHA-256 of the content, once known
    earlier: bytes | None  #: that of its latest attempt, where the recording was found changed after that
    duration_ms: int | None
    reference: str | None  #: of the latest attempt
    remote: str | None  #: id at the service of the latest attempt
    compare: bool  #: another recording has its size: the content must be known before it is admitted
    twin_of: int | None
    cancel_wanted: bool
    asked: bool  #: a person wants it sent whatever became of the same audio before; until it is accepted or ends
    absent_at: int | None  #: when a complete list first did not show it
    transcript: int | None  #: id of the transcript it shares
    formats: str  #: formats that were ever written, comma separated
    shown: int | None  #: id of the transcript that the written formats show
    cause: str | None  #: sort of the failure, a `Cause`
    reason: str | None  #: why it is where it is, for a person
    created: int
    remote_status: str | None  #: what the service last said of a submitted job: queued or processing
    remote_since: int | None  #: since when it says so
    stuck_at: int | None  #: when it had been where it is for too long
    files: int  #: how many files it occupies at the service while it is there; reckoned by the table
    bytes: int  #: at most so many bytes of them; reckoned by the table

    @classmethod
    def of(cls, row: Iterable[object]) -> "Job":
        """Return the job that a row of the table describes, its columns in the order of these fields."""
        values = list(row)
        for place, to_type in _TYPED:
            values[place] = to_type(values[place])
        return cls._make(values)

    @property
    def url(self) -> str:
        """Return the URL of a recording that the service fetches by itself, or nothing for a file."""
        return self.path.decode() if is_url(self.path) else ""

    @property
    def length_ms(self) -> int:
        """Return how long it is, or as long as nobody knows, what its size suggests; as the table does (migration 0006)."""
        return self.size // 16 if self.duration_ms is None else self.duration_ms

    @property
    def load(self) -> Load:
        """Return what one attempt takes of the account's limits."""
        return Load(1, 1, self.files, self.bytes)


#: What the table's plain values are turned back into.
_TYPES: dict[str, Callable[[Any], object]] = {
    "state": State,
    "compare": bool,
    "convert": bool,
    "cancel_wanted": bool,
    "asked": bool,
}
_TYPED = [(Job._fields.index(name), to_type) for name, to_type in _TYPES.items()]


def flac_bytes(duration_ms: int | None) -> int:
    """Return how many bytes a recording has at most as FLAC, as the table reckons it too (migration 0002)."""
    return 65_536 + 32 * (18_000_000 if duration_ms is None else duration_ms)


def is_url(path: bytes) -> bool:
    """Tell the URL of a recording from the path of a file, which is absolute."""
    return path[:8].lower().startswith((b"https://", b"http://"))
