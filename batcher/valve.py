"""The valve: what all uploads pass through together, so that they leave some of the line to others."""

from collections.abc import AsyncIterator, Callable

import anyio

from batcher.bandwidth import Bucket, Timetable
from batcher.clock import time_of_day
from batcher.disk import Recording
from batcher.service.shared import reading


class Valve:
    """Lets the bytes of recordings pass no faster than the timetable says, whoever sends them; each in turn.

    Nothing but recordings passes it: what is asked of the service meanwhile, fetched or deleted does not wait.
    """

    def __init__(
        self,
        timetable: Timetable,
        passed: Callable[[int], None] = lambda _count: None,
        clock: Callable[[], float] = time_of_day,
    ) -> None:
        self.timetable = timetable  #: may be replaced at any time
        self._passed = passed
        self._clock = clock
        self._bucket = Bucket()
        self._turn = anyio.Lock()  # those who wait get it in the order in which they came

    @property
    def rate(self) -> int | None:
        """Return how many bytes a second may pass now; None is any number."""
        return self.timetable.rate(self._clock())

    @property
    def binding(self) -> int | None:
        """Return the limit in force if the uploads would be faster without it; any thread may ask."""
        return self.rate if self._bucket.binds else None

    async def take(self, wanted: int) -> int:
        """Wait until some of so many bytes may pass, and return how many.

        With a low limit that is little at a time: no upload waits so long for its next turn that it seems to stand
        still.
        """
        count = wanted if self.rate is None else await self._in_turn(wanted)
        self._passed(count)
        return count

    async def _in_turn(self, wanted: int) -> int:
        async with self._turn:
            while (rate := self.rate) is not None:
                now = anyio.current_time()
                wait = self._bucket.wait(now)
                if wait <= 0:
                    return self._bucket.take(now, wanted, rate)
                await anyio.sleep(wait)
        return wanted  # the limit was lifted while this one waited


class Throttled:
    """A recording that passes through the valve while it is sent."""

    def __init__(self, recording: Recording, valve: Valve) -> None:
        self._recording = recording
        self._valve = valve
        self.size = recording.size

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of everything read."""
        return self._recording.digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the recording's chunks, or smaller pieces of them where the valve lets no more pass."""
        async with reading(self._recording.chunks()) as chunks:
            async for chunk in chunks:
                begin = 0
                while begin < len(chunk):
                    count = await self._valve.take(len(chunk) - begin)
                    yield chunk[begin : begin + count]
                    begin += count
