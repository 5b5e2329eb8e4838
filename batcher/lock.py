"""The lock beside a job table: one process works on a batch, everybody may read it.

The lock is the operating system's own, so it ends with its process, however that ends. It never lies on the
table itself, whose locks belong to SQLite.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batcher.errors import BatcherError, BatchHeld, MachineRefuses
from batcher.text import show_path

#: A look at the lock (`is_held`) takes it for an instant; whoever comes at that instant tries a little longer.
PATIENCE_SECONDS = 0.5
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock for the length of the block. Raises BatchHeld when another process has it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - a look at the lock needs none of it, and is to be quick

    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=0.02)
    except Timeout as error:
        raise BatchHeld(
            f"another batcher works on this batch{_holder(path)}",
            hint="Wait for it, or look at it with `batcher status`; two at once would pay for everything twice.",
        ) from error
    except OSError as error:
        raise MachineRefuses(f"the batch cannot be locked: {error.strerror or error}") from error
    try:
        path.write_text(f"{os.getpid()}\n", "ascii")  # for people only, nobody decides by it
        with _telling_of_removal(path):
            yield
    finally:
        lock.release()


@contextmanager
def _telling_of_removal(path: Path) -> Iterator[None]:
    """Turn what nobody foresaw into BatchHeld where the lock's file was removed, and so kept nobody out."""
    held = path.stat()
    try:
        yield
    except BatcherError:
        raise
    except Exception as error:
        if _is_there(path, held):
            raise
        raise BatchHeld(
            f"the lock {show_path(os.fsencode(path))} was removed while this run worked, and another one took over the "
            f"batch, or may have{_holder(path)}: {error!r}",
            hint="Leave the lock where it is. Nothing was paid for twice: what this run had sent, the other one finds.",
        ) from error


def _is_there(path: Path, held: os.stat_result) -> bool:
    """Tell whether the lock's file is still the one that is held: as long as it is, no other one has its number."""
    try:
        return os.path.samestat(path.stat(), held)
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock now. Creates nothing."""
    try:
        handle = os.open(path, _FLAGS)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _holder(path: Path) -> str:
    try:
        number = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" (process {number})" if number.isdigit() else ""
