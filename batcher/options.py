"""The transcription options: everything a person may ask of the service for recordings in files.

The names are ours and plain; each implementation of the service spells them its own way. An option left
alone keeps the service's default. What is wrong is said when the options are read, before anything is sent.
"""

import json
import re
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from batcher.errors import UsageError

GRPC_DEFAULT_MODEL = "en_v2"  #: sent when no model is named: an empty one means an older English model to the service
SPEAKER_MODELS = ("en_v2", "en_v2_lowlatency")  #: by the legacy documentation, no other model tells speakers apart
GRPC_MODELS = SPEAKER_MODELS + tuple(
    f"{language}_v2{suffix}"
    for language in ("ko", "zh", "es", "fr", "it", "pt", "de")
    for suffix in ("", "_lowlatency")
)
RAW_FORMATS = ("pcm_f32le", "pcm_f32be", "pcm_s32le", "pcm_s32be", "pcm_s16le", "pcm_s16be", "mulaw", "alaw")

REST_DEFAULT_MODEL = "stt-async-v5"  #: sent when no model is named, as the service's own client does
_CODES = """
    af sq ar az eu be bn bs bg ca zh hr cs da nl en et fi fr gl de el gu he hi hu id it ja kn kk ko lv lt mk ms ml mr
    no fa pl pt pa ro ru sr sk sl es sw sv tl ta te th tr uk ur vi cy
"""
LANGUAGES = frozenset(_CODES.split())  #: the codes of the languages that the REST API's models know
CONTEXT_CHARACTERS = 10_000  #: of a whole context; by the documentation about what its limit of 8,000 tokens holds
WEBHOOK_CHARACTERS = 256  #: by the documentation, of each field of a webhook

#: What only one of the two APIs has. The rest (`model`, `speaker_diarization`) means the same to both.
GRPC_ONLY = (
    "speech_context",
    "speech_context_name",
    "min_speakers",
    "max_speakers",
    "speaker_identification",
    "speaker_names",
    "profanity_filter",
    "moderation_phrases",
    "dictation",
    "separate_channels",
    "audio_format",
    "sample_rate",
    "channels",
    "document_formatting",
    "storage",
)
REST_ONLY = ("language_hints", "language_hints_strict", "language_identification", "translation", "context")

_REST_MODEL_CHARACTERS = 32
_INT32 = 2**31 - 1  # what the wire can carry
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")

_URL = re.compile(r"https?://[^\s]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def _known_language(code: str) -> str:
    code = code.strip().lower()
    if code not in LANGUAGES:
        raise ValueError(f"{code!r} is none of the service's languages: {', '.join(sorted(LANGUAGES))}")
    return code


Filled = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Language = Annotated[str, AfterValidator(_known_language)]
OptionalLanguage = Annotated[str, AfterValidator(lambda code: _known_language(code) if code else "")]


class _Frozen(BaseModel):
    """Values that never change and refuse what they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        try:
            json.dumps(self.model_dump(mode="json"), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            # Half a character (from a variable in another encoding) cannot be sent.
            raise ValueError("contains text that is not valid Unicode") from error
        return self


class ContextEntry(_Frozen):
    """Words and phrases the recordings are likely to contain, and how strongly to favour them."""

    phrases: tuple[Filled, ...] = Field(min_length=1, description="Words or phrases to favour.")
    boost: float = Field(default=0.0, allow_inf_nan=False, description="How strongly; 0 leaves it to the service.")


class Storage(_Frozen):
    """How the service files the transcript in its own storage, for accounts that use it."""

    object_id: str = Field(default="", description="Id of the stored object; the service makes one when empty.")
    title: str = Field(default="", description="Title of the stored object.")
    metadata: dict[str, str] = Field(
        default_factory=dict, description="Your own names and values, kept with the object."
    )
    datetime: str = Field(default="", description="Date of the recording as RFC 3339, like 2024-05-31T14:00:00Z.")
    disable_store_audio: bool = Field(default=False, description="Do not keep the audio.")
    disable_store_transcript: bool = Field(default=False, description="Do not keep the transcript.")

    @field_validator("datetime", mode="before")
    @classmethod
    def _spell(cls, value: object) -> object:
        # A TOML file has dates of its own; they arrive as objects.
        return value.isoformat() if isinstance(value, datetime) else value

    @field_validator("datetime")
    @classmethod
    def _check_datetime(cls, value: str) -> str:
        if value and not _is_rfc3339(value):
            raise ValueError("must be a date and time with a zone as in RFC 3339, like 2024-05-31T14:00:00Z")
        return value


class Translation(_Frozen):
    """Translate what is spoken: into one language, or both ways between two."""

    type: Literal["", "one_way", "two_way"] = Field(
        default="", description="one_way needs target_language, two_way language_a and language_b; empty is none."
    )
    target_language: OptionalLanguage = Field(default="", description="Language everything is translated into.")
    language_a: OptionalLanguage = Field(default="", description="One of two languages translated into each other.")
    language_b: OptionalLanguage = Field(default="", description="The other one.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = {name for name in ("target_language", "language_a", "language_b") if getattr(self, name)}
        needed = {"": set[str](), "one_way": {"target_language"}, "two_way": {"language_a", "language_b"}}[self.type]
        if given != needed:
            kind = f"type {self.type}" if self.type else "a translation without type"
            raise ValueError(f"{kind} takes {' and '.join(sorted(needed)) or 'no language'}, and nothing else")
        if self.type == "two_way" and self.language_a == self.language_b:
            raise ValueError("language_a and language_b are the same")
        return self


class ContextFact(_Frozen):
    """One thing to know about the recordings."""

    key: Filled = Field(description="What it is about, like domain, topic or names.")
    value: Filled = Field(description="What there is to know.")


class ContextTranslation(_Frozen):
    """How one term is to be translated."""

    source: Filled = Field(description="The term as it is spoken.")
    target: Filled = Field(description="Its translation.")


class SpokenContext(_Frozen):
    """What is known about the recordings beforehand; about 10,000 characters in all."""

    general: tuple[ContextFact, ...] = Field(default=(), description="Facts: a list of {key, value}.")
    text: str = Field(default="", description="Background in plain sentences.")
    terms: tuple[Filled, ...] = Field(default=(), description="Uncommon words and names that are spoken.")
    translation_terms: tuple[ContextTranslation, ...] = Field(
        default=(), description="How terms are to be translated: a list of {source, target}."
    )

    @field_validator("general", "translation_terms", mode="before")
    @classmethod
    def _list_pairs(cls, value: object, info: ValidationInfo) -> object:
        # A table of a TOML file says the same more shortly.
        first, second = ("key", "value") if info.field_name == "general" else ("source", "target")
        return [{first: a, second: b} for a, b in value.items()] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        # As it is sent, because that is what the service measures: a refusal would come after the upload.
        length = len(json.dumps(self.model_dump(exclude_defaults=True), ensure_ascii=False))
        if length > CONTEXT_CHARACTERS:
            raise ValueError(f"a context of {length:,} characters is too long; about {CONTEXT_CHARACTERS:,} are taken")
        return self


class Webhook(_Frozen):
    """Where the service reports every job that ended. REST only.

    Not one of the `Options`, because it changes nothing about a transcript: it enters no fingerprint, is not
    stored in the table, and a changed one holds for whatever is sent from then on. The header's value is a
    secret: it comes from the environment or a file like the key, and shows in no representation.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(default="", description="URL the service posts to when a transcription has ended.")
    header_name: str = Field(default="", description="Name of a header sent along, to know the service by.")
    header_value: SecretStr = Field(default=SecretStr(""), description="Value of that header.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        value = self.header_value.get_secret_value()
        if self.url and not (_URL.fullmatch(self.url) and len(self.url) <= WEBHOOK_CHARACTERS):
            raise ValueError(
                f"the webhook's URL must begin with https:// or http:// and have at most {WEBHOOK_CHARACTERS} characters"
            )
        if bool(self.header_name) != bool(value) or (value and not self.url):
            raise ValueError("a webhook's header needs a name, a value and a URL")
        if value and not (_HEADER_NAME.fullmatch(self.header_name) and _HEADER_VALUE.fullmatch(value)):
            raise ValueError("the webhook's header holds characters that no header can have")
        if max(len(self.header_name), len(value)) > WEBHOOK_CHARACTERS:
            raise ValueError(f"the webhook's header is longer than {WEBHOOK_CHARACTERS} characters")
        return self


class Options(_Frozen):
    """One set of transcription options. Equal options have equal fingerprints, whatever the API or version."""

    model: str = Field(default="", description="Model; empty is the API's default (en_v2 for grpc).")
    speech_context: tuple[ContextEntry, ...] = Field(
        default=(), description="Phrases to favour: a list of {phrases, boost}."
    )
    speech_context_name: str = Field(default="", description="Name of a speech context kept at the service.")
    speaker_diarization: bool = Field(default=False, description="Tell speakers apart (grpc: en_v2 models only).")
    min_speakers: int = Field(default=0, ge=0, le=_INT32, description="Least number of speakers; 0 is unknown.")
    max_speakers: int = Field(default=0, ge=0, le=_INT32, description="Largest number of speakers; 0 is unknown.")
    speaker_identification: bool = Field(default=False, description="Name the speakers; needs speaker_names.")
    speaker_names: tuple[Filled, ...] = Field(
        default=(), description="Who may be speaking: names known to the service."
    )
    profanity_filter: bool = Field(default=False, description="Mask profanity.")
    moderation_phrases: tuple[Filled, ...] = Field(default=(), description="Phrases to mask in the transcript.")
    dictation: bool = Field(default=False, description="Turn spoken commands such as 'new line' into text.")
    separate_channels: bool = Field(default=False, description="Transcribe each audio channel by itself.")
    audio_format: str = Field(
        default="",
        description="Raw encoding of recordings without a header; empty detects the container. "
        f"One of {', '.join(RAW_FORMATS)}.",
    )
    sample_rate: int = Field(default=0, description="Samples a second of raw audio, 2000 to 96000.")
    channels: int = Field(default=0, description="Channels of raw audio, 1 to 8.")
    document_formatting: str = Field(default="", description="Document formatting configuration, as JSON text.")
    storage: Storage = Field(default=Storage(), description="How the service files the transcript in its own storage.")
    language_hints: tuple[Language, ...] = Field(
        default=(), max_length=100, description="Languages that are likely spoken, like en."
    )
    language_hints_strict: bool = Field(
        default=False, description="Rely more on language_hints, best with a single one."
    )
    language_identification: bool = Field(default=False, description="Tell for every word which language it is in.")
    translation: Translation = Field(default=Translation(), description="Translate what is spoken.")
    context: SpokenContext = Field(
        default=SpokenContext(), description="What is known about the recordings beforehand."
    )

    @field_validator("document_formatting")
    @classmethod
    def _check_document_formatting(cls, value: str) -> str:
        if value:
            try:
                json.loads(value)
            except ValueError as error:
                raise ValueError(f"is not JSON: {error}") from error
        return value

    @model_validator(mode="after")
    def _check_speakers(self) -> Self:
        if (self.min_speakers or self.max_speakers) and not self.speaker_diarization:
            raise ValueError("min_speakers and max_speakers need speaker_diarization = true")
        if self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError(f"min_speakers ({self.min_speakers}) is more than max_speakers ({self.max_speakers})")
        return self

    @model_validator(mode="after")
    def _check_identification(self) -> Self:
        if self.speaker_identification and not self.speaker_diarization:
            raise ValueError("speaker_identification needs speaker_diarization = true")
        if self.speaker_identification != bool(self.speaker_names):
            raise ValueError("speaker_identification = true and speaker_names need each other")
        return self

    @model_validator(mode="after")
    def _check_speaker_model(self) -> Self:
        # Only models known to lack the feature are refused: the REST API has other models, which have it.
        if self.speaker_diarization and self.model in GRPC_MODELS and self.model not in SPEAKER_MODELS:
            raise ValueError(
                f"model {self.model} cannot tell speakers apart; use one of {', '.join(SPEAKER_MODELS)}, "
                "or leave speaker_diarization out"
            )
        return self

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        if self.language_hints_strict and not self.language_hints:
            raise ValueError("language_hints_strict needs language_hints")
        if self.context.translation_terms and not self.translation.type:
            raise ValueError("context.translation_terms need a translation")
        return self

    @model_validator(mode="after")
    def _check_raw_audio(self) -> Self:
        if self.audio_format and self.audio_format not in RAW_FORMATS:
            raise ValueError(
                f"audio_format {self.audio_format!r} is not a raw encoding ({', '.join(RAW_FORMATS)}); "
                "leave it out for files with a header, they are detected"
            )
        if not self.audio_format and (self.sample_rate or self.channels):
            raise ValueError("sample_rate and channels are for raw audio only; they need audio_format")
        if self.audio_format and not (2000 <= self.sample_rate <= 96000 and 1 <= self.channels <= 8):  # noqa: PLR2004 - the service's own bounds
            raise ValueError("raw audio needs sample_rate (2000 to 96000) and channels (1 to 8)")
        return self

    def to_json(self) -> str:
        """Return the options that were set, as canonical JSON.

        What was left alone is not spelled, so that an option added by a later version changes nothing here.
        """
        return _canonical(self.model_dump(mode="json", exclude_defaults=True))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the options that `to_json` spelled. Raises pydantic's ValidationError for anything else."""
        return cls.model_validate_json(text)

    def fingerprint(self) -> str:
        """Return 16 hex digits that differ when the options ask for something different."""
        asked = self.model_dump(mode="json", exclude_defaults=True)
        if self.document_formatting:
            asked["document_formatting"] = json.loads(self.document_formatting)  # its blanks mean nothing
        return blake2b(_canonical(asked).encode(), digest_size=8).hexdigest()


def check_for_grpc(options: Options) -> None:
    """Check what only the legacy API can tell: that it has the options and the model.

    Raises:
        UsageError: it has not; by its documentation, which lists the models.
    """
    _refuse(options, REST_ONLY, "gRPC")
    if options.model and options.model not in GRPC_MODELS:
        raise UsageError(
            f"model {options.model!r} is not one of the gRPC API's models: {', '.join(GRPC_MODELS)}",
            hint="leave model out for en_v2, or name one of them",
        )


def check_for_rest(options: Options) -> None:
    """Check what only the REST API can tell: that it has the options, and that the model can be one of its own.

    Raises:
        UsageError: it has not; by its documentation.
    """
    _refuse(options, GRPC_ONLY, "REST")
    wrong = options.model in GRPC_MODELS or options.model.startswith("stt-rt-")
    if wrong or len(options.model) > _REST_MODEL_CHARACTERS:
        raise UsageError(
            f"model {options.model!r} is not one of the REST API's models for files",
            hint=f"leave model out for {REST_DEFAULT_MODEL}, or name one that begins with stt-async-",
        )


def _refuse(options: Options, names: tuple[str, ...], api: str) -> None:
    asked = [name for name in names if name in options.model_dump(exclude_defaults=True)]
    if asked:
        raise UsageError(
            f"the {api} API has no {', '.join(asked)}",
            hint="leave it out, or use the other --api",
        )


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _is_rfc3339(text: str) -> bool:
    if not _RFC3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True
