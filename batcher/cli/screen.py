"""Printing that survives: a reader that went away, a closed output, a terminal that cannot spell a letter."""

import errno
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from batcher.errors import BatcherError, MachineRefuses
from batcher.text import show_text

#: What printing fails with when nobody reads any more: the other end of a pipe, or the terminal, is gone.
_NOBODY = frozenset({errno.EPIPE, errno.EIO, errno.ENXIO})


def prepare() -> None:
    """Make both outputs usable whatever they are: none at all, or one that cannot spell every letter."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(lines: Iterable[str]) -> None:
    """Print lines; when nobody reads them any more, stop printing and go on.

    Raises whatever making a line raises, because a list that breaks off is not one that nobody reads; and MachineRefuses
    where the output refuses a line, as a full disk does.
    """
    if all(_is_read(line + "\n") for line in lines):
        _is_read("", flush=True)


def _is_read(text: str, *, flush: bool = False) -> bool:
    """Print a text, and tell whether somebody may read it."""
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except OSError as error:
        give_up_stdout()
        if error.errno not in _NOBODY:
            raise MachineRefuses(
                f"the output cannot be written: {error.strerror or error}",
                hint="Free some space there, or print elsewhere, and type it again; nothing is done twice.",
            ) from error
        return False
    return True


def stdout() -> TextIO:
    """Return where lines are printed now."""
    return sys.stdout


def give_up_stdout() -> None:
    """Send what is still printed nowhere: also what Python itself flushes at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def complain(error: BatcherError, *, verbose: bool) -> None:
    """Say on stderr what happened and what to do next, in two lines; `verbose` adds what led to it."""
    lines = [f"batcher: {show_text(str(error))}"]
    if error.hint:
        lines.append(f"  {show_text(error.hint)}")
    if verbose:
        lines += [f"  because of {show_text(cause)}" for cause in causes(error)]
    _to_stderr(lines)


def causes(error: BaseException) -> Iterable[str]:
    """Yield what led to an error, the nearest first."""
    below = error.__cause__ or error.__context__
    while below is not None:
        yield f"{type(below).__name__}: {below}"
        below = below.__cause__ or below.__context__


def warn(text: str) -> None:
    """Say one line on stderr."""
    _to_stderr([text])


def _to_stderr(lines: Iterable[str]) -> None:
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except OSError:  # nobody is there to be told
        return
