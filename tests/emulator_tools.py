"""What the tests of the emulator share: a clock that is set by hand, a recording in memory."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Config, File, Recognizer
from batcher.emulator.recognizers import Echo

START = 1_700_000_000_000  #: 2023-11-14, in milliseconds


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> int:
        """Return UTC milliseconds."""
        return self.time

    def pass_ms(self, ms: int) -> None:
        """Let time pass."""
        self.time += ms


class Tape:
    """A recording in memory, as the seam wants it."""

    def __init__(self, content: bytes, chunk: int = 1000) -> None:
        self.content = content
        self.size = len(content)
        self._chunk = chunk

    @property
    def digest(self) -> bytes:
        """SHA-256 of the recording."""
        return hashlib.sha256(self.content).digest()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the recording in pieces."""
        for start in range(0, self.size, self._chunk):
            yield self.content[start : start + self._chunk]


def new_core(clock: HandClock, recognizer: Recognizer | None = None, **knobs: Any) -> Core:
    """Return a core with these knobs turned."""
    return Core(clock, recognizer or Echo(), Knobs(**knobs))


def send(core: Core, reference: str = "r", content: bytes = b"audio", key: str = "key", **config: Any) -> File:
    """Upload a recording the whole way."""
    with core.enter(key).upload(reference, Config(**config)) as upload:
        upload.add(content)
        return upload.accept()
