"""The settings as options of a verb, and reading them for a verb that needs them all."""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic.fields import FieldInfo

from batcher.cli.example import spelled_default
from batcher.cli.place import read_toml
from batcher.cli.words import name
from batcher.config import TABLE, Settings, Sources

#: Where the service is and with which key, and where the batch's table is: what every verb needs that asks the service.
CONNECTION = ("db", "shard", "api", "region", "host", "insecure", "ca_file", "key_file")
#: Every setting that has an option; what is asked of the service has none but the model.
ALL = tuple(field for field in Settings.model_fields if field != TABLE)

_SHORT = {"format": "-f"}
_METAVARS = {
    "db": "FILE", "ca_file": "FILE", "key_file": "FILE", "webhook_secret_file": "FILE",
    "host": "URL", "webhook_url": "URL", "format": "NAMES", "include": "PATTERN", "exclude": "PATTERN",
    "max_bytes": "SIZE", "max_file_size": "SIZE", "min_free_space": "SIZE",
    "settle": "TIME", "max_duration": "TIME", "stuck_queued": "TIME", "stuck_processing": "TIME", "stuck_ended": "TIME",
    "shard": "I/N", "bwlimit": "RATE", "max_pending": "N", "max_stored": "N", "max_files": "N", "requests_per_minute": "N", "upload_concurrency": "N",
}  # fmt: skip
_REPEATED = ("format", "include", "exclude")

Verb = TypeVar("Verb", bound=Callable[..., None])


def takes(*names: str) -> Callable[[Verb], Verb]:
    """Give a verb these settings as options; it finds what was given of them in its ``**flags``.

    A setting's description stands in one place, its field, and so do its name and its type. Nothing is checked here:
    the values go through the same checks as those of the file and the environment.
    """

    def decorate(verb: Verb) -> Verb:
        parameters = inspect.signature(verb).parameters.values()
        own = [each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [_parameter(name, Settings.model_fields[name]) for name in names]
        # typer reads these two
        verb.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        verb.__annotations__ = {each.name: each.annotation for each in [*own, *more]}
        return verb

    return decorate


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    dashed = name.replace("_", "-")
    flag = f"--{dashed}/--no-{dashed}" if field.annotation is bool else f"--{dashed}"
    names = [flag, _SHORT[name]] if name in _SHORT else [flag]
    known = spelled_default(name)
    text = f"{field.description} Default: {known.strip(chr(34))}." if known not in ('""', "[]") else field.description
    option = typer.Option(*names, help=text, metavar=_metavar(name, field), show_default=False)
    hint = Annotated[_type(name, field), option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)


def _type(name: str, field: FieldInfo) -> object:
    """Return what typer is to make of the words that were typed; everything else is checked with the other sources."""
    if field.annotation is bool:
        return bool | None
    if _METAVARS.get(name) == "FILE":
        return Path | None  # remembered as an absolute path for the verbs that come later
    return list[str] | None if name in _REPEATED else str | None


def _metavar(name: str, field: FieldInfo) -> str | None:
    return None if field.annotation is bool else _METAVARS.get(name, "NAME")


def read_settings(file: Path | None, flags: Mapping[str, object]) -> Settings:
    """Return the checked settings of flags, environment and this configuration file. Raises UsageError."""
    if file is None:
        return Sources(flags).load()
    return Sources(flags, read_toml(file), name(os.path.abspath(os.fsencode(file)))).load()  # noqa: PTH100 - bytes


def given(values: Mapping[str, object]) -> dict[str, object]:
    """Return those of a verb's options that were given; formats may stand in several texts."""
    flags = {key: values[key] for key in Settings.model_fields if values.get(key) not in (None, [])}
    formats = flags.get("format")
    return flags | {"format": ",".join(formats)} if isinstance(formats, list) else flags
