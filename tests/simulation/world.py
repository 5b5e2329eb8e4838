"""The world of a simulated night: what survives when batcher is killed."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.lowlevel import checkpoint

from batcher.clock import Origin
from batcher.disk import Recording
from batcher.errors import MachineRefuses, SourceChanged, SourceError
from batcher.files import OutputError
from batcher.model import Job
from batcher.requests import Request
from batcher.service import CHUNK_BYTES
from batcher.states import Event
from batcher.store.admission import Candidate, Examined
from batcher.wakeup import Wakeup

EPOCH_MS = 1_790_000_000_000
FLAC = b"fLaC"  #: stands before what was converted


class Killed(BaseException):
    """The process is gone; nothing of it may have any effect any more."""


@dataclass(slots=True)
class File:
    """A recording on the simulated disk."""

    content: bytes
    mtime_ns: int = 1
    denied: bool = False  #: it may not be read


@dataclass(slots=True)
class World:
    """Files, outputs and time; `moment` goes on from life to life."""

    files: dict[bytes, File] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    moment: float = 0.0
    read: Callable[[], float] = lambda: 0.0
    slept: float = 0.0  #: for how many seconds the machine was suspended: timers stood still, clocks did not
    requests: dict[str, Request] = field(default_factory=dict)  #: what `retry` and `cancel` left
    left: Wakeup = field(default_factory=Wakeup)  #: rung when they leave something
    room: int | None = None  #: how many more writes the disk takes before it is full; None: any number

    def now(self) -> int:
        """Return UTC milliseconds: the epoch of all nights plus the virtual time."""
        return EPOCH_MS + int((self.read() + self.slept) * 1000)

    def origin(self) -> Origin:
        """Return where the clock counts from: all night long the same."""
        return Origin("night", EPOCH_MS)

    def refuses(self) -> bool:
        """Take one write, or tell that the disk is full."""
        if self.room is None:
            return False
        self.room = max(-1, self.room - 1)
        return self.room < 0


class SimulatedRecording:
    """A recording that is read in virtual time and notices when the file changes meanwhile."""

    def __init__(self, world: World, job: Job) -> None:
        self._world = world
        self._job = job
        self._content = _find(world, job).content
        self._sent = FLAC + self._content if job.convert else self._content
        self.size = len(self._sent)
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of everything read; of the original, when something else is sent."""
        assert self._digest is not None
        return self._digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content; the last chunk only when the file is still what the table knows."""
        for start in range(0, self.size, CHUNK_BYTES):
            await anyio.sleep(0.01)
            if start + CHUNK_BYTES >= self.size:
                _find(self._world, self._job)
                self._digest = hashlib.sha256(self._content).digest()
            yield self._sent[start : start + CHUNK_BYTES]


def _find(world: World, job: Job) -> File:
    file = world.files.get(job.path)
    if file is None:
        raise SourceError("the recording has vanished")
    if file.denied:
        raise SourceError("permission denied")
    if (len(file.content), file.mtime_ns) != (job.size, job.mtime_ns):
        raise SourceChanged("the recording changed")
    return file


class SimulatedDisk:
    """The `Disk` of one life. After the kill nothing passes."""

    def __init__(self, world: World, alive: Callable[[], None]) -> None:
        self._world = world
        self._alive = alive

    async def roots(self) -> list[bytes]:
        """Return the one input."""
        return [b"/in"]

    def folder_name(self, root: bytes) -> str:
        """Return the root's own name."""
        return root.decode().strip("/")

    async def scan(self, prefixes: dict[bytes, str]) -> AsyncIterator[list[Candidate]]:
        """Yield the recordings in small batches, each as it is when it is come upon."""
        paths, files = sorted(self._world.files), self._world.files
        for start in range(0, len(paths), 20):
            await anyio.sleep(0.05)
            yield [_candidate(path, files[path]) for path in paths[start : start + 20] if path in files]

    async def examine(self, jobs: Sequence[Job]) -> list[Examined]:
        """Look into recordings: those that begin with ``bad`` are not audio."""
        await anyio.sleep(0.01)
        return [self._examine(job) for job in jobs]

    def _examine(self, job: Job) -> Examined:
        file = self._world.files.get(job.path)
        if file is None or file.denied:
            why = "it has vanished" if file is None else "permission denied"
            return Examined(job, job.size, job.mtime_ns, verdict=Event.UNREADABLE, reason=why)
        size, verdict = len(file.content), Event.UNSUITABLE if file.content.startswith(b"bad") else None
        digest = hashlib.sha256(file.content).digest() if job.compare else None
        reason = "not audio" if verdict else None
        return Examined(job, size, file.mtime_ns, digest, size // 16, verdict, reason)

    @asynccontextmanager
    async def recording(self, job: Job) -> AsyncIterator[Recording]:
        """Open a recording."""
        yield SimulatedRecording(self._world, job)

    async def write(self, outputs: Sequence[tuple[str, bytes]], *, replace: bool) -> None:
        """Write outputs, each whole or not at all."""
        await anyio.sleep(0.005)
        for name, data in outputs:
            self._alive()
            if self._world.refuses():
                raise MachineRefuses("no space left on the disk")
            if not replace and self._world.outputs.get(name, data) != data:
                raise OutputError(f"{name} is in the way")
            self._world.outputs[name] = data

    async def missing(self, outputs: Sequence[str]) -> list[str]:
        """Return those of the outputs that are not there."""
        return [name for name in outputs if name not in self._world.outputs]

    async def requests(self) -> dict[str, Request]:
        """Return what a person left, when there is something: a look every second for nothing costs much."""
        while not self._world.requests:
            await self._world.left.arm().wait()
        return dict(self._world.requests)

    async def asked(self) -> bool:
        """Tell whether a person left anything."""
        return bool(self._world.requests)

    async def drop_request(self, name: str) -> bool:
        """Forget it; but not when the run has ended: a thread is not gone to any more then."""
        await checkpoint()
        self._alive()
        return bool(self._world.requests.pop(name))

    async def free_bytes(self) -> int:
        """Return plenty, or nothing at all."""
        full = self._world.room is not None and self._world.room < 0
        return 0 if full else 10**12


def _candidate(path: bytes, file: File) -> Candidate:
    return Candidate(path, path.decode().removeprefix("/in/"), len(file.content), file.mtime_ns)
