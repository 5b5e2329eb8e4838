"""A recording opened for sending: read once, hashed on the way, and proven unchanged at the end.

A recording that fits in one chunk costs one trip to a thread for everything; a larger one costs one for each chunk, or
for two while nothing else is in a thread. Always two would save as much, but threads that hash for so long keep the loop
from its processor: with sixteen uploads it was up to 27 ms late.

The threads read into a buffer that the loop made, and the loop makes the pieces. Memory that every thread takes for
itself comes back late: sixteen uploads over a slow encrypted link held 13 MB more of it.
"""

import hashlib
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Self

from anyio import CancelScope

from batcher.errors import SourceChanged, SourceError
from batcher.files.offload import in_flight, offload
from batcher.files.reasons import raise_if_short, why
from batcher.killpoints import reach
from batcher.service import CHUNK_BYTES

#: O_NONBLOCK: opening a pipe must not wait for its other end; regular files do not care.
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
TOGETHER = 2  #: chunks that are read at once by an upload that is alone


@dataclass(frozen=True, slots=True)
class Stat:
    """What the table knows of a file: bytes, and the time of its last change in nanoseconds."""

    size: int
    mtime_ns: int


class Recording:
    """A recording under way to the service; implements `batcher.service.Audio`."""

    def __init__(self, source: "_Source", buffer: memoryview, first: int) -> None:
        self.size = source.expected.size
        self._source = source
        self._buffer = buffer
        self._first = first  # how many bytes were read when the file was opened
        self._begun = False

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of what was read; it exists once the last chunk was taken."""
        digest = self._source.digest
        assert digest is not None, "the recording was not read to its end"
        return digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole recording, at most `CHUNK_BYTES` at a time; it can be read once.

        The last chunk comes out only after the file was proven unchanged. Raises SourceChanged if it was
        not, SourceError if it cannot be read.
        """
        assert not self._begun, "a recording is read once"
        self._begun = True
        if self._first:
            yield bytes(self._buffer[: self._first])
        while not self._source.finished:
            room = self._buffer[: CHUNK_BYTES if in_flight() else TOGETHER * CHUNK_BYTES]
            count = await offload(self._source.step, room)
            for start in range(0, count, CHUNK_BYTES):
                yield bytes(self._buffer[start : min(count, start + CHUNK_BYTES)])


@asynccontextmanager
async def open_recording(path: bytes, expected: Stat) -> AsyncIterator[Recording]:
    """Open the recording at `path` for one reading; its size and time must be what the table expects.

    Raises SourceChanged if they are not, SourceError if it cannot be opened or is no regular file.
    """
    buffer = memoryview(bytearray(min(expected.size, TOGETHER * CHUNK_BYTES)))
    source, first = await offload(_open, path, expected, buffer)
    try:
        yield Recording(source, buffer, first)
    finally:
        if not source.closed:
            with CancelScope(shield=True):
                await offload(source.close)


def _open(path: bytes, expected: Stat, buffer: memoryview) -> "tuple[_Source, int]":
    """Open the file and read its first chunk; a file that is thereby finished is closed again."""
    source = _Source.open(path, expected)
    try:
        first = source.step(buffer) if expected.size <= CHUNK_BYTES else 0
    except BaseException:
        source.close()
        raise
    if source.finished:
        source.close()
    return source, first


class _Source:
    """The open file. Its methods block.

    A reading that was given up may close it while another task's thread still reads: the lock makes the one
    wait for the other, so that no number of a closed file is ever read from.
    """

    def __init__(self, path: bytes, handle: int, expected: Stat) -> None:
        self.path = path
        self.expected = expected
        self.digest: bytes | None = None
        self.closed = False
        self._handle = handle
        self._left = expected.size
        self._hash = hashlib.sha256()
        self._lock = Lock()

    @classmethod
    def open(cls, path: bytes, expected: Stat) -> Self:
        try:
            source = cls(path, os.open(path, READ_FLAGS), expected)
        except OSError as error:
            raise_if_short(error)
            raise SourceError(f"the recording cannot be opened: {why(error)}") from error
        except ValueError as error:
            raise SourceError("the recording has no possible name") from error
        try:
            source.compare("the recording changed since it was looked at")
        except BaseException:
            source.close()
            raise
        return source

    @property
    def finished(self) -> bool:
        return self.digest is not None

    def step(self, buffer: memoryview) -> int:
        """Read the next piece into `buffer` and return its length.

        With the last one the file has been compared and `digest` is known.
        """
        with self._lock:
            if self.closed:
                raise SourceError("the recording was closed while it was read")
            return self._step(buffer)

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self.closed = True
                os.close(self._handle)

    def compare(self, otherwise: str) -> None:
        """Raise unless the open file is what was expected, SourceChanged with the message `otherwise`."""
        try:
            status = os.fstat(self._handle)
        except OSError as error:
            raise SourceError(f"the recording cannot be read: {why(error)}") from error
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("the recording is not a regular file")
        if Stat(status.st_size, status.st_mtime_ns) != self.expected:
            raise SourceChanged(otherwise)

    def _step(self, buffer: memoryview) -> int:
        try:
            count = os.readv(self._handle, [buffer[: self._left]])
        except OSError as error:
            raise_if_short(error)
            raise SourceError(f"the recording cannot be read: {why(error)}") from error
        reach("chunk-read")
        self._hash.update(buffer[:count])
        self._left -= count
        if self._left and not count:
            raise SourceChanged("the recording became shorter while it was read")
        if not self._left:
            self._finish()
        return count

    def _finish(self) -> None:
        self.compare("the recording changed while it was read")
        self._compare_name()
        self.digest = self._hash.digest()

    def _compare_name(self) -> None:
        """Raise unless the name still leads to the file that was read."""
        try:
            ours, named = os.fstat(self._handle), os.stat(self.path)
        except OSError as error:
            raise SourceChanged(f"the recording's name was lost while it was read: {why(error)}") from error
        if not os.path.samestat(ours, named):
            raise SourceChanged("another file took the recording's place while it was read")
