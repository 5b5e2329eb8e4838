"""The settings: flag > environment > configuration file > default. One field here is one key everywhere.

A field ``max_pending`` is the key ``max_pending`` of the file, the variable ``BATCHER_MAX_PENDING`` and the
option ``--max-pending``. The transcription options have a table of their own in the file; as variables they are
``BATCHER_TRANSCRIPTION__SEPARATE_CHANNELS`` and so on. The API key is none of them, see `batcher.cli.key`.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from batcher.bandwidth import check_bandwidth, parse_bandwidth
from batcher.concurrency import parse_concurrency
from batcher.errors import UsageError
from batcher.judgement import Settle
from batcher.model import FileBounds, Limits, Patience
from batcher.options import Options, check_for_grpc, check_for_rest
from batcher.quantities import MOST_BYTES, MOST_SECONDS, parse_duration, parse_size
from batcher.render import FORMATS
from batcher.shard import check_shard, parse_shard
from batcher.stages.context import Plan
from batcher.text import show_text

#: The largest recording that each API documents.
API_FILE_BYTES = {"rest": 1 << 30, "grpc": 500_000_000}
TABLE = "transcription"
PREFIX = "BATCHER_"


def _listed(value: object) -> object:
    """Return a list for one text with commas, which is all that a flag or a variable can say."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _known_formats(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in value if name not in FORMATS]
    if unknown or not value:
        wrong = f"{unknown[0]!r} is no format" if unknown else "names no format"
        raise ValueError(f"{wrong}; the formats are {', '.join(FORMATS)}")
    return tuple(dict.fromkeys(value))


def _optional_size(value: object) -> object:
    """Return None for an empty text, which is how a file says that nothing is set."""
    return None if value == "" else parse_size(value)


def _path(value: object) -> object:
    """Return None for an empty text, which is how a file says that there is no path."""
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("must be a path; no file can have this name")
    try:
        return Path(value).expanduser() if value else None
    except RuntimeError as error:
        raise ValueError("must be a path; nobody of that name has a home here") from error


Size = Annotated[int, BeforeValidator(parse_size), Field(ge=1, le=MOST_BYTES)]
OptionalSize = Annotated[Annotated[int, Field(ge=1, le=MOST_BYTES)] | None, BeforeValidator(_optional_size)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, le=MOST_SECONDS, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
OptionalPath = Annotated[Path | None, BeforeValidator(_path)]


class Settings(BaseSettings):
    """Everything that can be set, checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    api: Literal["rest", "grpc"] = Field(
        default="rest", description="Which of the service's APIs to use: rest, or the legacy grpc."
    )
    region: Literal["us", "eu", "jp"] = Field(
        default="us", description="Region of the project that the key belongs to: us, eu or jp (grpc: us only)."
    )
    host: str = Field(
        default="",
        description="Scheme, name and port of the service, instead of the region's own like https://api.soniox.com.",
    )
    insecure: bool = Field(
        default=False, description="Allow http:// to another machine; the key then travels unencrypted."
    )
    ca_file: OptionalPath = Field(
        default=None, description="Certificates (PEM) to trust instead of the usual authorities."
    )
    key_file: OptionalPath = Field(
        default=None, description="File with the API key (mode 0600), for when SONIOX_API_KEY is not set."
    )
    model: str = Field(
        default="", description="Model; empty is the API's default (stt-async-v5 for rest, en_v2 for grpc)."
    )
    format: Annotated[Names, AfterValidator(_known_formats)] = Field(
        default=("txt", "json"), description=f"Formats to write, any of {', '.join(FORMATS)}."
    )
    db: OptionalPath = Field(default=None, description="The job table; empty is OUT/.batcher/jobs.sqlite3.")
    shard: Annotated[str, BeforeValidator(check_shard)] = Field(
        default="", description="Work on one part of the input only: 2/4 is the second of four; each may run elsewhere."
    )
    settle: Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)] = (
        Field(
            default=900.0, description="How long after a lost answer two complete listings prove that nothing arrived."
        )
    )
    stuck_queued: Seconds = Field(
        default=6 * 3600.0, description="A job that is queued at the service for so long is shown as stuck."
    )
    stuck_processing: Seconds = Field(
        default=2 * 3600.0, description="One that is being transcribed for so long is shown as stuck."
    )
    stuck_ended: Seconds = Field(
        default=2 * 3600.0,
        description="One that has ended there, but cannot be fetched or deleted for so long, is shown as stuck.",
    )
    max_pending: int = Field(
        default=100,
        ge=1,
        le=10**9,
        description="The account's limit of transcriptions that are queued or at work, every client's counted.",
    )
    max_stored: int = Field(
        default=2000,
        ge=1,
        le=10**9,
        description="The account's limit of transcriptions (grpc: of files), finished ones and every client's counted.",
    )
    max_files: int = Field(
        default=1000,
        ge=1,
        le=10**9,
        description="The account's limit of uploaded files, every client's counted (rest).",
    )
    max_bytes: Size = Field(
        default=10_000_000_000, description="The account's limit of all uploaded files together (rest)."
    )
    requests_per_minute: int = Field(
        default=200,
        ge=0,
        le=10**6,
        description="Requests a minute in each of the service's two buckets; 0: only what refusals teach (rest).",
    )
    max_file_size: OptionalSize = Field(
        default=None,
        description="Larger recordings are skipped; empty is the API's limit (1GiB for rest, 500MB for grpc).",
    )
    max_duration: Seconds = Field(default=5 * 3600.0, description="Longer recordings are skipped.")
    upload_concurrency: Annotated[int, BeforeValidator(parse_concurrency), Field(ge=0, le=200)] = Field(
        default=0, description="How many recordings are sent at the same time; auto is as many as make it faster."
    )
    bwlimit: Annotated[str, BeforeValidator(check_bandwidth)] = Field(
        default="off", description="Bytes a second of all uploads together: 2M, off, or '08:00,512k 23:00,off'."
    )
    order: Literal["found", "longest"] = Field(
        default="found",
        description="Which recordings are sent first: found (as they are found), or longest (none ends late alone).",
    )
    convert: bool = Field(
        default=True, description="Send once more as FLAC what the service says it cannot decode (rest)."
    )
    webhook_url: str = Field(default="", description="URL the service posts to when a transcription has ended (rest).")
    webhook_header: str = Field(
        default="",
        description="Name of a header the service sends along; its secret value is SONIOX_API_WEBHOOK_SECRET (rest).",
    )
    webhook_secret_file: OptionalPath = Field(
        default=None,
        description="File with that value (mode 0600), for when SONIOX_API_WEBHOOK_SECRET is not set (rest).",
    )
    include: Names = Field(
        default=(), description="Patterns of recordings to take, like '*.wav'; none: by known endings."
    )
    exclude: Names = Field(default=(), description="Patterns of recordings and directories to leave out.")
    progress: Literal["auto", "bar", "plain", "json", "none"] = Field(
        default="auto", description="How a run shows itself: auto, bar, plain, json or none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much OUT/.batcher/log.jsonl tells: debug, info, warning or error."
    )
    min_free_space: Size = Field(
        default=64 * 1024 * 1024, description="Nothing new is sent while less disk space is free."
    )
    transcription: Options = Field(default=Options(), description="What is asked of the service.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class calls by these names
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what is given: `load` merges the sources itself, so that it knows where a value came from."""
        return (init_settings,)

    def options(self) -> Options:
        """Return the transcription options; the key `model` of the top level goes first."""
        options = self.transcription.model_copy(update={"model": self.model} if self.model else {})
        return Options.model_validate(options.model_dump())

    def limits(self) -> Limits:
        """Return what the account may hold; the legacy API knows no limit of bytes, and its files are all there is."""
        if self.api == "grpc":
            return Limits(self.max_pending, self.max_stored)
        return Limits(self.max_pending, self.max_stored, self.max_files, self.max_bytes)

    def bounds(self) -> FileBounds:
        """Return what one recording may measure: never more than all of them together."""
        most = self.max_file_size or API_FILE_BYTES[self.api]
        fitting = min(most, self.max_bytes) if self.api == "rest" else most
        return FileBounds(bytes=fitting, duration_ms=round(self.max_duration * 1000))

    def patience(self) -> Patience:
        """Return how long jobs may be in each state at the service before they are shown as stuck."""
        spans = (self.stuck_queued, self.stuck_processing, self.stuck_ended)
        return Patience(*(round(span * 1000) for span in spans))

    def check(self) -> Options:
        """Check what depends on the API, and return the transcription options. Raises UsageError."""
        options = self.options()
        (check_for_rest if self.api == "rest" else check_for_grpc)(options)
        if self.api == "grpc" and self.region != "us":
            raise UsageError("the gRPC API is served in region us only", hint="leave --region out, or use --api rest")
        if self.api == "grpc" and (self.webhook_url or self.webhook_header):
            raise UsageError("the gRPC API has no webhooks", hint="leave the webhook settings out, or use --api rest")
        return options

    def plan(self, *, admit: bool = True) -> Plan:
        """Return what a run is to do; without `admit` it only finishes what is at the service."""
        options = self.check()
        return Plan(
            options=options,
            limits=self.limits(),
            bounds=self.bounds(),
            settle=Settle(round(self.settle * 1000)),
            patience=self.patience(),
            formats=self.format,
            upload_concurrency=self.upload_concurrency,
            bandwidth=parse_bandwidth(self.bwlimit),
            free_space=self.min_free_space,
            longest_first=self.order == "longest",
            convert=self.convert,
            admit=admit,
            scan=admit,
            shard=parse_shard(self.shard),
        )


Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where settings come from: flags that were given, the environment, and a file that was read."""

    flags: Values = field(default_factory=dict)
    file: Values = field(default_factory=dict)
    file_name: str = ""

    def load(self) -> Settings:
        """Return the checked settings. Raises UsageError that names the key, its place, and what is allowed."""
        _check_variables()
        _check_keys(self.file, Settings.model_fields, "", self.file_name)
        table = self.file.get(TABLE, {})
        if isinstance(table, Mapping):
            _check_keys(table, Options.model_fields, f"{TABLE}.", self.file_name)
        merged = _merged(_merged(self.file, environment()), self.flags)
        try:
            settings = Settings(**cast("dict[str, Any]", merged))
            settings.options()
        except ValidationError as error:
            raise self._complaint(error.errors()[0]) from None
        return settings

    def _complaint(self, error: ErrorDetails) -> UsageError:
        where = tuple(str(part) for part in error["loc"])
        text = error["msg"].removeprefix("Value error, ")
        return UsageError(f"{'.'.join(where) or TABLE}{self._origin(where)}: {_plainly(show_text(text))}")

    def _origin(self, where: tuple[str, ...]) -> str:
        """Return in which source the value at `where` was found."""
        if where and where[0] in self.flags:
            return f" (from --{where[0].replace('_', '-')})"
        if _has(environment(), where):
            return f" (from {PREFIX}{'__'.join(where[:2]).upper()})"
        return f" (in {self.file_name})" if self.file_name and _has(self.file, where[:1]) else ""


def environment() -> Values:
    """Return what ``BATCHER_*`` variables say, as yet unchecked."""
    try:
        return EnvSettingsSource(Settings)()
    except (ValueError, RecursionError) as error:
        names = ", ".join(filter(_is_no_json, sorted(os.environ))) or f"a {PREFIX}* variable"
        raise UsageError(
            f"{show_text(names)} cannot be read: it must be JSON",
            hint=f"""Lists and tables are written like {PREFIX}{TABLE.upper()}__LANGUAGE_HINTS='["de", "fr"]'.""",
        ) from error


def _is_no_json(name: str) -> bool:
    """Tell whether a variable of a list or table among the transcription options holds something else."""
    option = Options.model_fields.get(name.removeprefix(f"{PREFIX}{TABLE.upper()}__").lower())
    if option is None or not name.startswith(PREFIX) or not isinstance(option.default, tuple | BaseModel):
        return name == f"{PREFIX}{TABLE.upper()}"
    try:
        json.loads(os.environ[name])
    except (ValueError, RecursionError):
        return True
    return False


def _check_variables() -> None:
    """Refuse variables that look like settings and are none: a misspelled limit must not be spent against."""
    known = environment_names()
    for name in sorted(os.environ):
        key = name.removeprefix(PREFIX).split("__")[0].lower()
        if name.startswith(PREFIX) and name not in known and key != TABLE:
            best = PREFIX + nearest(key, Settings.model_fields)[0].upper()
            raise UsageError(f"the variable {show_text(name)} is no setting", hint=f"did you mean {best}?")


def environment_names() -> set[str]:
    """Return the variables that batcher heeds by their whole names; those of the table follow a pattern."""
    others = {"CONFIG", "KILL"}
    return {PREFIX + name.upper() for name in Settings.model_fields} | {PREFIX + name for name in others}


def _merged(below: Values, above: Values) -> dict[str, object]:
    """Return both, `above` counting more; tables are merged key by key, and so are tables in them."""
    merged = {**below, **above}
    for key in below.keys() & above.keys():
        lower, upper = below[key], above[key]
        if isinstance(lower, Mapping) and isinstance(upper, Mapping):
            merged[key] = _merged(lower, upper)
    return merged


def _check_keys(values: Values, valid: Iterable[str], prefix: str, file_name: str) -> None:
    for key in values:
        if key not in valid:
            raise UsageError(
                f"unknown key {prefix}{show_text(key)!s} in {file_name}",
                hint=f"{_key_hint(key)}Valid keys, the nearest first: {', '.join(nearest(key, valid))}.",
            )


def nearest(word: str, valid: Iterable[str]) -> list[str]:
    """Return `valid`, the names most like `word` first."""
    return sorted(valid, key=lambda name: -SequenceMatcher(None, word, name).ratio())


def _key_hint(key: str) -> str:
    secret = "api_key" in key.lower() or key.lower() in {"key", "soniox_api_key"}
    return "The API key goes into SONIOX_API_KEY, or into a file that key_file names. " if secret else ""


def _has(values: Values, where: tuple[str, ...]) -> bool:
    here: object = values
    for part in where[:2]:
        if not isinstance(here, Mapping) or part not in here:
            return False
        here = here[part]
    return bool(where)


_PLAINER = (
    ("Input should be a valid dictionary or instance of Options", "must be a table"),
    ("Input should be a valid dictionary or instance of SpokenContext", "must be a table"),
    ("Input should be a valid dictionary or instance of Translation", "must be a table"),
    ("Input should be a valid dictionary or instance of Storage", "must be a table"),
    ("Input should be a valid tuple", "must be a list"),
    ("Input should be a valid ", "must be a valid "),
    ("Input should be greater than or equal to ", "must be at least "),
    ("Input should be less than or equal to ", "must be at most "),
    ("Input should be ", "must be "),
    ("Extra inputs are not permitted", "unknown key"),
)


def _plainly(text: str) -> str:
    """Return a complaint in the words of a person who types settings."""
    for start, plain in _PLAINER:
        if text.startswith(start):
            return plain + text.removeprefix(start)
    return text[:1].lower() + text[1:]
