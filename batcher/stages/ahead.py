"""Ahead: where opening takes long, the next recordings are open and begun before there is room for them.

A place at the service that has become free is worth most at once. On a drive over the network a recording takes a
tenth of a second to open; so a few of those that come next are kept open, each with its first chunk read. Here on this
machine it takes less than a millisecond, and this stage does nothing.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

import anyio

from batcher.disk import Recording
from batcher.errors import BatcherError
from batcher.model import Job
from batcher.service.shared import reading
from batcher.stages.context import Context
from batcher.stages.openings import Opened
from batcher.stages.stage import Claimed
from batcher.store import jobs

#: Opening that takes longer is worth being done ahead.
LONG_SECONDS = 0.005
#: A recording that was not wanted for so long is closed again, and opened anew: it may have changed.
KEPT_SECONDS = 30.0


class Ahead:
    """Keeps the recordings open that come next; the upload takes them over."""

    name = "ahead"
    places = 16

    def __init__(self, context: Context) -> None:
        self._context = context
        self.bell = context.bells.ahead
        self._unsuitable: set[int] = set()  #: the upload itself finds out what is wrong with them

    async def claim(self, places: int, busy: Collection[object]) -> Claimed[Job]:
        """Return what the upload takes next, while it has to wait for room. The table is not changed."""
        context = self._context
        if context.draining or not context.lacking or context.openings.seconds < LONG_SECONDS:
            return Claimed()
        room = context.headroom.room(context.clock.now())
        passed_over, longest_first = [*busy, *self._unsuitable], context.plan.longest_first
        work = partial(jobs.due_within, room=room, places=places, busy=passed_over, longest_first=longest_first)
        found = await context.table.transact(work)
        return Claimed([job for job in found if not job.url and not job.convert])

    def key(self, item: Job) -> object:
        """Return the job's id."""
        return item.id

    async def handle(self, item: Job) -> None:
        """Open a recording and keep it until the upload has read it, or nobody wants it."""
        openings = self._context.openings
        opened = openings.ahead[item.id] = Opened(item)
        try:
            async with openings.open(item) as recording, _begun(recording) as opened.recording:
                opened.tried.set()
                await self._keep(opened)
        except BatcherError:
            self._unsuitable.add(item.id)
        finally:
            opened.tried.set()
            openings.ahead.pop(item.id, None)

    async def _keep(self, opened: Opened) -> None:
        """Return when the recording may be closed: also at a stop not before the upload that has it has ended."""
        try:
            with anyio.move_on_after(KEPT_SECONDS):
                await opened.read.wait()
        finally:
            if self._context.openings.ahead.pop(opened.job.id, None) is None:  # the upload has it
                with anyio.CancelScope(shield=True):  # what stops us stops the upload too: it soon ends
                    await opened.read.wait()

    async def broke(self, item: Job, reason: str) -> None:  # noqa: ARG002 - the log has it
        """Leave the recording to the upload."""
        self._unsuitable.add(item.id)


@asynccontextmanager
async def _begun(recording: Recording) -> AsyncIterator[Recording]:
    """Read the first chunk of a recording."""
    async with reading(recording.chunks()) as chunks:
        yield _Begun(recording, await anext(chunks, b""), chunks)


class _Begun:
    """A recording whose first chunk was read."""

    def __init__(self, recording: Recording, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self.size = recording.size
        self._recording = recording
        self._first = first
        self._rest = rest

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of everything read."""
        return self._recording.digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the recording, the first chunk from memory."""
        if self._first:
            yield self._first
        self._first = b""
        async for chunk in self._rest:
            yield chunk
