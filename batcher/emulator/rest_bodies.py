"""The JSON bodies of the REST API, both ways. Its OpenAPI document is made from these models.

Fields, limits and what may be null are those of the service's own OpenAPI document.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CONTEXT_CHARACTERS = 10_000  #: about the 8,000 tokens that the documentation allows
UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
URL_PATTERN = r"^https?://[^\s]+$"

Reference = Annotated[str, Field(max_length=256)]
Language = Annotated[str, Field(max_length=10)]
Uuid = Annotated[str, Field(pattern=UUID_PATTERN, json_schema_extra={"format": "uuid"})]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Status = Literal["queued", "processing", "completed", "error"]


class Asked(BaseModel):
    """What a client sends: nothing is read into it that is not there. Unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class OneWay(Asked):
    """Everything is translated to one language."""

    type: Literal["one_way"]
    target_language: Language


class TwoWay(Asked):
    """Each of two languages is translated to the other."""

    type: Literal["two_way"]
    language_a: Language
    language_b: Language


class ContextPair(Asked):
    """One general statement about the recording."""

    key: str
    value: str


class ContextTranslation(Asked):
    """One term, and how it is to be translated."""

    source: str
    target: str


class Context(Asked):
    """What helps to understand the recording."""

    general: list[ContextPair] | None = None
    text: str | None = None
    terms: list[str] | None = None
    translation_terms: list[ContextTranslation] | None = None


class CreateTranscription(Asked):
    """The body of ``POST /v1/transcriptions``."""

    model: Annotated[str, Field(max_length=32)]
    audio_url: Annotated[str, Field(max_length=4096, pattern=URL_PATTERN)] | None = None
    file_id: Uuid | None = None
    language_hints: Annotated[list[Language], Field(max_length=100)] | None = None
    language_hints_strict: bool | None = None
    enable_speaker_diarization: bool | None = None
    enable_language_identification: bool | None = None
    translation: Annotated[OneWay | TwoWay, Field(discriminator="type")] | None = None
    context: Context | str | None = None
    webhook_url: Annotated[str, Field(max_length=256, pattern=URL_PATTERN)] | None = None
    webhook_auth_header_name: Reference | None = None
    webhook_auth_header_value: Reference | None = None
    client_reference_id: Reference | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.audio_url is None) == (self.file_id is None):
            raise ValueError("Exactly one of audio_url and file_id must be given.")
        return self

    @model_validator(mode="after")
    def _short_context(self) -> Self:
        text = self.context if isinstance(self.context, str) else ""
        if isinstance(self.context, Context):
            text = self.context.model_dump_json(exclude_none=True)
        if len(text) > CONTEXT_CHARACTERS:
            raise ValueError("The context is too long.")
        return self


class FileBody(BaseModel):
    """One stored file."""

    id: Uuid
    filename: str
    size: int
    created_at: Time
    client_reference_id: str | None = None


class TranscriptionBody(BaseModel):
    """One transcription."""

    id: Uuid
    status: Status
    created_at: Time
    model: str
    filename: str
    enable_speaker_diarization: bool
    enable_language_identification: bool
    audio_url: str | None = None
    file_id: Uuid | None = None
    language_hints: list[str] | None = None
    context: Any = None
    audio_duration_ms: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    webhook_url: str | None = None
    webhook_auth_header_name: str | None = None
    webhook_auth_header_value: str | None = None
    webhook_status_code: int | None = None
    client_reference_id: str | None = None


class TokenBody(BaseModel):
    """A piece of a word; a leading blank begins a new one. Translated pieces have no times."""

    text: str
    start_ms: int | None = None
    end_ms: int | None = None
    confidence: float | None = None
    speaker: str | None = None
    language: str | None = None
    is_audio_event: bool | None = None
    translation_status: str | None = None
    source_language: str | None = None


class TranscriptBody(BaseModel):
    """All that was said."""

    id: Uuid
    text: str
    tokens: list[TokenBody]


class FilesPage(BaseModel):
    """A page of the files."""

    files: list[FileBody]
    next_page_cursor: str | None = None


class TranscriptionsPage(BaseModel):
    """A page of the transcriptions."""

    transcriptions: list[TranscriptionBody]
    next_page_cursor: str | None = None


class CountBody(BaseModel):
    """How many there are, and who made them."""

    total: int
    public_api: int
    playground: int


class LanguageBody(BaseModel):
    """A language that a model understands."""

    code: str
    name: str


class ModelBody(BaseModel):
    """A model and what it can do."""

    id: str
    aliased_model_id: str | None = None
    name: str
    context_version: int | None = 2
    transcription_mode: Literal["async", "real_time"]
    languages: list[LanguageBody]
    supports_language_hints_strict: bool = True
    supports_max_endpoint_delay: bool = False
    supports_endpoint_sensitivity: bool = False
    supports_endpoint_latency_adjustment: bool = False
    endpoint_latency_adjustment_max_level: int = 0
    translation_targets: list[Any] = []
    two_way_translation_pairs: list[str] = []
    one_way_translation: str | None = "all_languages"
    two_way_translation: str | None = "all_languages"


class ModelsBody(BaseModel):
    """Every model there is."""

    models: list[ModelBody]


class UsageBody(BaseModel):
    """One request that was paid for. Costs are decimal numbers in text."""

    uuid: Uuid
    request_scope: str = "api"
    client_reference_id: str
    model: str
    start_time: Time
    end_time: Time
    input_text_tokens: int = 0
    input_audio_tokens: int
    input_audio_duration_ms: int
    output_text_tokens: int
    output_audio_tokens: int = 0
    output_audio_duration_ms: int = 0
    cost_usd: str
    input_cost_usd: str
    input_text_cost_usd: str = "0"
    input_audio_cost_usd: str
    output_cost_usd: str = "0"
    output_text_cost_usd: str = "0"
    output_audio_cost_usd: str = "0"


class UsagePage(BaseModel):
    """A page of what was paid for."""

    usage_logs: list[UsageBody]
    next_page_cursor: str | None = None


class ValidationBody(BaseModel):
    """One thing that is wrong with a request."""

    error_type: str
    location: str
    message: str


class ErrorBody(BaseModel):
    """Why a request was refused."""

    status_code: int
    error_type: str
    message: str
    validation_errors: list[ValidationBody]
    request_id: Uuid
    more_info: str | None = None
