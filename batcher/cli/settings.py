"""Reading the settings for a verb that needs them all."""

from collections.abc import Mapping
from pathlib import Path

from batcher.cli.place import config_file, read_toml
from batcher.cli.words import name
from batcher.config import Settings, Sources


def read_settings(file: Path | None, flags: Mapping[str, object]) -> tuple[Sources, Settings]:
    """Return the checked settings, and the sources they came from, so that they can be read again."""
    sources = Sources(flags, *_content(file))
    return sources, sources.load()


def _content(file: Path | None) -> tuple[Mapping[str, object], str]:
    import os

    return (read_toml(file), name(os.fsencode(file))) if file else ({}, "")
