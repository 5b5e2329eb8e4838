"""The commented configuration file, written from the settings themselves."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from batcher.concurrency import AUTO
from batcher.config import TABLE, Settings
from batcher.options import GRPC_ONLY, REST_ONLY, Options
from batcher.quantities import spell_duration, spell_size

_AUTOMATIC = {"upload_concurrency"}
_SIZES = {"max_bytes", "max_file_size", "min_free_space"}
_DURATIONS = {"max_duration", "settle", "stuck_ended", "stuck_processing", "stuck_queued"}

_HEAD = """\
# The configuration of batcher. Every key is here, commented out, with its default.
#
# Each key is also an option of the command (max_pending: --max-pending) and a variable of the environment
# (BATCHER_MAX_PENDING); an option counts more than a variable, a variable more than this file. Keys of the table
# [transcription] are variables like BATCHER_TRANSCRIPTION__DICTATION. What is marked (rest) or (grpc) works only there.
#
# The API key does not belong here: set SONIOX_API_KEY, or name a file of mode 0600 as key_file.
"""


def example() -> str:
    """Return the whole file."""
    top = {name: found for name, found in Settings.model_fields.items() if name != TABLE}
    inner = {name: found for name, found in Options.model_fields.items() if name != "model"}
    return "\n".join([_HEAD, *_keys(top), f"[{TABLE}]\n", *_keys(inner)])


def _only(name: str) -> str:
    """Return which API alone has an option of the transcription."""
    return " (grpc)" if name in GRPC_ONLY else " (rest)" if name in REST_ONLY else ""


def spelled_default(name: str) -> str:
    """Return the default of a setting as the file has it."""
    return _toml(_spelled(name, Settings.model_fields[name].default))


def _keys(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, found in fields.items():
        comment = _comment(f"{(found.description or '').removesuffix('.')}{_only(name)}.")
        yield f"{comment}# {name} = {_toml(_spelled(name, found.default))}\n"


def _comment(text: str) -> str:
    return "".join(f"## {line}\n" for line in textwrap.wrap(text, 110))


def _spelled(name: str, value: object) -> object:
    if name in _AUTOMATIC and value == 0:
        return AUTO
    if name in _SIZES and isinstance(value, int):
        return spell_size(value)
    if name in _DURATIONS and isinstance(value, float):
        return spell_duration(value)
    return value


def _toml(value: object) -> str:
    """Return a value as TOML, which for plain texts, numbers and lists is JSON. No path is an empty text."""
    if value is None or isinstance(value, Path):
        return json.dumps(str(value or ""))
    if isinstance(value, BaseModel):
        pairs = (f"{name} = {_toml(inner)}" for name, inner in value.model_dump(exclude_defaults=True).items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
