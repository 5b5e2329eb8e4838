"""Reading a small file of our own, whatever somebody may have put in its place."""

import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def read_small(path: Path, most: int) -> bytes:
    """Return what is in the regular file `path`, of `most` bytes at most. Blocks, but waits for nobody.

    Raises OSError for anything else: a pipe is not opened for whoever may write to it, a link is not followed.
    """
    handle = os.open(path, _FLAGS)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is not a regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"it has more than {most:,} bytes")
    return data
