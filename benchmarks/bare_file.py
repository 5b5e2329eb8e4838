"""How a bare client reads a recording: 256 KiB at a time, each in a thread that also hashes it, and nothing else."""

import asyncio  # noqa: TID251 - a bare client has nothing but the standard library
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from batcher.service import CHUNK_BYTES


class BareFile:
    """A recording, read once."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - `pieces` closes it
        self.hash = hashlib.sha256()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield all of it."""
        with self._file:
            while piece := await asyncio.to_thread(self._step):
                yield piece

    def _step(self) -> bytes:
        piece = self._file.read(CHUNK_BYTES)
        self.hash.update(piece)
        return piece
