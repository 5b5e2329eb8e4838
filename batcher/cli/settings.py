"""Reading the settings for a verb that needs them all."""

import os
from collections.abc import Mapping
from pathlib import Path

from batcher.cli.place import read_toml
from batcher.cli.words import name
from batcher.config import Settings, Sources


def read_settings(file: Path | None, flags: Mapping[str, object]) -> Settings:
    """Return the checked settings of flags, environment and this configuration file. Raises UsageError."""
    if file is None:
        return Sources(flags).load()
    return Sources(flags, read_toml(file), name(os.path.abspath(os.fsencode(file)))).load()  # noqa: PTH100 - bytes


def given(values: Mapping[str, object]) -> dict[str, object]:
    """Return those of a verb's parameters that are settings and were given; formats may stand in several texts."""
    flags = {key: values[key] for key in Settings.model_fields if values.get(key) not in (None, [])}
    formats = flags.get("format")
    return flags | {"format": ",".join(formats)} if isinstance(formats, list) else flags
