"""Opening recordings: when it is their turn, or before, to be taken over then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from anyio import Event, current_time

from batcher.disk import Disk, Recording
from batcher.model import Job

#: How much the latest opening counts for how long it takes.
SMOOTHING = 0.2


@dataclass(slots=True)
class Opened:
    """A recording that is opened before there is room for it."""

    job: Job  #: as it was then
    recording: Recording | None = None  #: None also when it cannot be opened
    tried: Event = field(default_factory=Event)  #: it is open, or cannot be opened
    read: Event = field(default_factory=Event)  #: nobody reads it any more


@dataclass(slots=True)
class Openings:
    """The recordings that are open or being opened ahead, and how long opening takes."""

    disk: Disk
    ahead: dict[int, Opened] = field(default_factory=dict)  #: by job; who takes one out sets its `read` in the end
    seconds: float = 0.0  #: how long opening one takes lately

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Recording]:
        """Open a recording now."""
        began = current_time()
        async with self.disk.recording(job) as recording:
            if not job.convert:
                self.seconds += SMOOTHING * (current_time() - began - self.seconds)
            yield recording

    @asynccontextmanager
    async def recording(self, job: Job) -> AsyncIterator[Recording]:
        """Take over a recording that was opened ahead, or open it now."""
        opened = self.ahead.pop(job.id, None)
        try:
            if opened is not None and (recording := await _when_open(opened, job)):
                yield recording
            else:
                async with self.open(job) as recording:
                    yield recording
        finally:
            if opened is not None:
                opened.read.set()


async def _when_open(opened: Opened, job: Job) -> Recording | None:
    """Return a recording that is opened ahead as soon as it is open, or None where the job needs another one."""
    await opened.tried.wait()
    return opened.recording if _as_it_was(opened.job, job) else None


def _as_it_was(before: Job, now: Job) -> bool:
    """Tell whether a job is about the very same recording as before."""
    return (before.size, before.mtime_ns, before.convert) == (now.size, now.mtime_ns, now.convert)
