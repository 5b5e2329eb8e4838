"""Going down into directories below another one, such that no symbolic link leads elsewhere on the way."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def enter(directory: int, part: str) -> int:
    """Open a directory in another one. Raises OSError, also for a link."""
    return os.open(part, DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=directory)


@contextmanager
def descend(root: int, parts: Sequence[str], step: Callable[[int, str], int] = enter) -> Iterator[int]:
    """Go from an open directory down through `parts`, and yield the last one; closes all of them. Blocks."""
    current = root
    try:
        for part in parts:
            below = step(current, part)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)
