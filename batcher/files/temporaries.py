"""Temporary files: whose they are can be told from their names, so that what a killed process left is removed."""

import os
import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import structlog

from batcher.files.below import DIRECTORY_FLAGS, descend
from batcher.files.reasons import why
from batcher.killpoints import reach

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


def sweep_temporaries(root: Path, below: Iterable[str] = ("",), owner: str = "") -> int:
    """Remove what a killed process of this owner left in directories `below` root, return how many files. Blocks.

    Only for the holder of the batch, and before it writes. A directory that cannot be read, or that a link leads to, is
    left alone: we cannot have written there either.
    """
    name_of_ours = re.compile(rf"{re.escape(_prefix(owner))}\d+-\d+\.tmp")
    return sum(_sweep_directory(root, directory, name_of_ours) for directory in below)


def _sweep_directory(root: Path, below: str, name_of_ours: re.Pattern[str]) -> int:
    try:
        top = os.open(root, DIRECTORY_FLAGS)
        with descend(top, [part for part in below.split("/") if part]) as directory:
            names = [name for name in os.listdir(directory) if name_of_ours.fullmatch(name)]
            return sum(_sweep(directory, name) for name in names)
    except OSError:
        return 0


def _sweep(directory: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError as error:
        _log.warning("a temporary file stays", file=name, reason=why(error))
        return False
    reach("temporary-swept")
    return True
