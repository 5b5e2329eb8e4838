"""Temporary files: whose they are can be told from their names, so that what a killed process left is removed.

The process that holds the batch may sweep while it works: the names that it uses itself are on record here.
"""

import os
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

import structlog

from batcher.files.reasons import why
from batcher.killpoints import reach
from batcher.text import show_path

RESERVED_PREFIX = ".batcher"  #: no recording's output has a part that begins so
_NAME = re.compile(rb"\.batcher-\d+-\d+\.tmp")

_log = structlog.get_logger()
_numbers = count()
_in_use: set[str] = set()


def open_temporary(flags: int, directory: Path | int) -> tuple[str, int]:
    """Make a file of a name of its own in `directory` (a path or a descriptor); return its name and descriptor.

    Blocks. The name is in use until `forget_temporary`. Raises OSError.
    """
    while True:
        name = f"{RESERVED_PREFIX}-{os.getpid()}-{next(_numbers)}.tmp"
        _in_use.add(name)
        try:
            return name, _create(name, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, directory)
        except FileExistsError:  # left by an earlier process of the same number
            forget_temporary(name)
        except BaseException:
            forget_temporary(name)
            raise


def _create(name: str, flags: int, directory: Path | int) -> int:
    if isinstance(directory, int):
        return os.open(name, flags, 0o600, dir_fd=directory)
    return os.open(directory / name, flags, 0o600)


def forget_temporary(name: str) -> None:
    """Record that a temporary file is gone, or has another name."""
    _in_use.discard(name)


def sweep_temporaries(root: Path | bytes, stopped: Callable[[], bool] = lambda: False) -> int:
    """Remove what a killed process left below `root`, return how many files. Blocks; ends early when `stopped`.

    Only for the holder of the batch. What this process is writing stays. A directory that cannot be read is left
    alone: we cannot have written there either.
    """
    if not os.path.isdir(root):
        return 0
    swept = 0
    for path, _directories, files, directory in os.fwalk(os.fsencode(root)):
        for file in filter(_NAME.fullmatch, files):
            swept += _sweep(file, path, directory)
        if stopped():
            break
    return swept


def _sweep(file: bytes, path: bytes, directory: int) -> bool:
    if file.decode() in _in_use:
        return False
    try:
        os.unlink(file, dir_fd=directory)
    except FileNotFoundError:  # of this process: it had its name when the directory was read
        return False
    except OSError as error:
        _log.warning("a temporary file stays", path=show_path(os.path.join(path, file)), reason=why(error))
        return False
    reach("temporary-swept")
    return True
