"""The nouns of the REST API: a file, and a transcription of a file or of a URL."""

from dataclasses import dataclass

from batcher.emulator.objects import Audio, Config, Failure, Item, Work
from batcher.emulator.rest_bodies import CreateTranscription, OneWay, TwoWay
from batcher.model import RemoteStatus


@dataclass(slots=True, eq=False, kw_only=True)
class RestFile(Item):
    """One stored file."""

    filename: str
    audio: Audio

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        return self.audio.size


@dataclass(slots=True, eq=False, kw_only=True)
class RestJob(Work):
    """One transcription."""

    asked: CreateTranscription
    model: str  #: the one that works for the one that was asked for
    filename: str
    duration_ms: int
    webhook_status: int | None = None  #: what the webhook answered last

    @property
    def error_type(self) -> str | None:
        """Return the type of its failure, None while there is none."""
        return self.outcome.error_type if self.ended is not None and isinstance(self.outcome, Failure) else None


@dataclass(frozen=True, slots=True)
class Seen:
    """One transcription in a list, with the status that the list gives to it."""

    job: RestJob
    status: RemoteStatus

    @property
    def serial(self) -> int:
        """Return its place in the order of arrival."""
        return self.job.serial


@dataclass(frozen=True, slots=True)
class Paid:
    """One entry of the usage log. Times are UTC milliseconds."""

    uuid: str
    serial: int
    reference: str
    model: str
    started: int
    ended: int
    duration_ms: int
    tokens: int


def config_of(asked: CreateTranscription) -> Config:
    """Return what the recognizer has to know of a request."""
    return Config(
        model=asked.model,
        speakers=bool(asked.enable_speaker_diarization),
        as_sent=asked.model_dump(mode="json", exclude_none=True),
    )


def spoken_language(asked: CreateTranscription) -> str:
    """Return the language that the imitation says it heard: the first hint, else one of the translation's, else en."""
    if asked.language_hints:
        return asked.language_hints[0]
    return asked.translation.language_a if isinstance(asked.translation, TwoWay) else "en"


def translated_to(asked: CreateTranscription) -> str | None:
    """Return the language into which what was heard is translated, None when it is not."""
    spoken, wanted = spoken_language(asked), asked.translation
    if isinstance(wanted, OneWay):
        return None if wanted.target_language == spoken else wanted.target_language
    if isinstance(wanted, TwoWay):
        return {wanted.language_a: wanted.language_b, wanted.language_b: wanted.language_a}.get(spoken)
    return None
