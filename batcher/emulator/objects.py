"""The nouns of the emulator: a recording received, a file at the service, a refusal."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol

from batcher.model import RemoteStatus, Transcript

MEMORY_BYTES = 8 * 1024 * 1024  #: a recording that is kept goes to a temporary file above this size


class Refusal(Exception):
    """The service refuses: the name of a gRPC status code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Config:
    """What a client asked for: the fields that change what the emulator answers, and all of it `as_sent`."""

    model: str = ""
    separate_channels: bool = False
    speakers: bool = False  #: tell speakers apart
    speaker_names: tuple[str, ...] = ()  #: who may be speaking, when they are to be identified
    document: bool = False  #: a formatted document is wanted too
    audio_format: str = ""  #: encoding of raw audio; empty for files with a header
    sample_rate: int = 0  #: of raw audio
    channels: int = 0  #: of raw audio; 0 where the header tells
    as_sent: Mapping[str, object] = field(default_factory=dict)  #: in the words of the client's API


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of a transcription that failed. REST tells its type too, the legacy API only the message."""

    message: str
    error_type: str = "invalid_audio_file"


Outcome = Transcript | Failure
Report = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording as received. `content` is there only when the recognizer wanted it."""

    digest: bytes  #: SHA-256
    size: int
    content: IO[bytes] | None = None

    def discard(self) -> None:
        """Close and so remove the content."""
        if self.content is not None:
            self.content.close()


EMPTY = Audio(hashlib.sha256().digest(), 0)


class Intake:
    """Receives a recording chunk by chunk: counts and hashes it, keeps it only when `keep` is set."""

    def __init__(self, *, keep: bool) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._content: IO[bytes] | None = SpooledTemporaryFile(MEMORY_BYTES) if keep else None  # noqa: SIM115 - closed by Audio.discard

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self.size += len(chunk)
        self._hash.update(chunk)
        if self._content is not None:
            self._content.write(chunk)

    def audio(self) -> Audio:
        """Return what was received."""
        if self._content is not None:
            self._content.seek(0)
        return Audio(self._hash.digest(), self.size, self._content)


class Recognizer(Protocol):
    """Turns recordings into words."""

    def wants_audio(self, config: Config) -> bool:
        """Tell whether the recording itself is needed, not only its digest."""

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Call `report` with the outcome exactly once: now, or later from the same event loop."""


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One object in a list of the service. Times are UTC milliseconds."""

    id: str
    reference: str
    created: int
    visible: int  #: not listed before
    foreign: bool = False  #: another client's
    serial: int = 0  #: its place in the order of arrival


@dataclass(slots=True, eq=False, kw_only=True)
class Work(Item):
    """One recording that is transcribed, whichever API asked for it. Times are UTC milliseconds; None: not yet."""

    config: Config
    audio: Audio
    ready: int  #: not transcribed before
    work_ms: int | None  #: length of its transcription; None: until somebody finishes it
    started: int | None = None
    ended: int | None = None
    outcome: Outcome | None = None
    overdue: bool = False  #: its time is up, its recognition not

    @property
    def error(self) -> str:
        """Return why it failed, empty when it did not."""
        return self.outcome.message if self.ended is not None and isinstance(self.outcome, Failure) else ""

    @property
    def status(self) -> RemoteStatus:
        """Return where it is now."""
        if self.ended is not None:
            return RemoteStatus.FAILED if isinstance(self.outcome, Failure) else RemoteStatus.COMPLETED
        return RemoteStatus.QUEUED if self.started is None else RemoteStatus.PROCESSING

    def status_at(self, time: int) -> RemoteStatus:
        """Return where it was at `time`."""
        if self.ended is not None and self.ended <= time:
            return self.status
        return RemoteStatus.QUEUED if self.started is None or self.started > time else RemoteStatus.PROCESSING


@dataclass(slots=True, eq=False, kw_only=True)
class File(Work):
    """One file of the legacy API: the recording and its transcription are one object there."""
