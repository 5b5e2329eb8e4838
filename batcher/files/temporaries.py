"""Temporary files: whose they are can be told from their names, so that what a killed process left is removed."""

import os
import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import structlog

from batcher.files.reasons import why
from batcher.killpoints import reach
from batcher.text import show_path

RESERVED_PREFIX = ".batcher"  #: no recording's output has a part that begins so
_log = structlog.get_logger()
_numbers = count()


def open_temporary(flags: int, directory: Path | int, owner: str = "") -> tuple[str, int]:
    """Make a file of a name of its own in `directory` (a path or a descriptor); return its name and descriptor.

    `owner` tells those who work in one directory apart. Blocks. Raises OSError.
    """
    while True:
        name = f"{_prefix(owner)}{os.getpid()}-{next(_numbers)}.tmp"
        try:
            return name, _create(name, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, directory)
        except FileExistsError:  # left by an earlier process of the same number
            continue


def _prefix(owner: str) -> str:
    return f"{RESERVED_PREFIX}-{owner}-" if owner else f"{RESERVED_PREFIX}-"


def _create(name: str, flags: int, directory: Path | int) -> int:
    if isinstance(directory, int):
        return os.open(name, flags, 0o600, dir_fd=directory)
    return os.open(directory / name, flags, 0o600)


def sweep_temporaries(directories: Iterable[Path], owner: str = "") -> int:
    """Remove what a killed process of this owner left in `directories`, return how many files. Blocks.

    Only for the holder of the batch, and before it writes. A directory that cannot be read is left alone: we cannot
    have written there either.
    """
    swept, name_of_ours = 0, re.compile(rf"{re.escape(_prefix(owner))}\d+-\d+\.tmp")
    for directory in directories:
        try:
            names = [name for name in os.listdir(directory) if name_of_ours.fullmatch(name)]
        except OSError:
            continue
        swept += sum(_sweep(directory / name) for name in names)
    return swept


def _sweep(path: Path) -> bool:
    try:
        os.unlink(path)
    except OSError as error:
        _log.warning("a temporary file stays", path=show_path(os.fsencode(path)), reason=why(error))
        return False
    reach("temporary-swept")
    return True
