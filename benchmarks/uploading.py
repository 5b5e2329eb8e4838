"""The measured process of `benchmarks.upload`: it imports what batcher needs for one API, and little else.

The whole path of a submission is measured, from `open_recording` to the accepted attempt. While the uploads run, a
ticker measures the lag of the event loop, and the account is surveyed ten times a second.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio

from batcher.files import Recording, Stat, offload, open_recording
from batcher.options import Options
from batcher.service import Audio, Service, Submission
from benchmarks.fresh import Figures
from benchmarks.gauges import Lag, Memory, busy_seconds, cpu_seconds, milliseconds

SURVEY_PAUSE = 0.1  #: seconds between two surveys


class Program(ABC):
    """A program that uploads: batcher, or the bare client beside it."""

    def __init__(self) -> None:
        self.sealed_whole = 0  #: uploads of which all was read, hashed and sent
        self.surveys: list[float] = []  #: seconds that each took

    @abstractmethod
    async def send(self, path: str) -> None:
        """Upload one recording."""

    @abstractmethod
    async def look(self) -> None:
        """Ask what the account holds."""

    async def send_all(self, paths: Sequence[str]) -> None:
        """Upload recordings all at once."""
        async with anyio.create_task_group() as tasks:
            for path in paths:
                tasks.start_soon(self.send, path)

    async def survey(self) -> None:
        """Look again and again, and note how long it takes."""
        while True:
            begun = perf_counter()
            await self.look()
            self.surveys.append(perf_counter() - begun)
            await anyio.sleep(SURVEY_PAUSE)


class Uploads(Program):
    """Batcher's own way. Recordings are sent as what `shape` makes of them."""

    def __init__(self, service: Service, shape: Callable[[Recording], Audio] = lambda recording: recording) -> None:
        super().__init__()
        self._service = service
        self._shape = shape

    async def send(self, path: str) -> None:
        """Submit one recording as the engine does; the seal must find it read to its end, and proven unchanged."""
        status = await offload(Path(path).stat)
        async with open_recording(os.fsencode(path), Stat(status.st_size, status.st_mtime_ns)) as recording:

            async def seal() -> None:
                assert recording.digest  # there is none before the last byte was read
                self.sealed_whole += 1

            await self._service.submit(Submission("benchmark", Options(), self._shape(recording)), seal)

    async def look(self) -> None:
        """Survey the account."""
        await self._service.survey()


async def once(api: str, url: str, chain: str, paths: Sequence[str], rest_seconds: float) -> Figures:
    """Measure one case in this process, which must be fresh; the first of `paths` is to get warm."""
    async with _connect(api, url, Path(chain) if chain else None) as service:
        return await measure(Uploads(service), paths, rest_seconds)


def _connect(api: str, url: str, ca_file: Path | None) -> AbstractAsyncContextManager[Service]:
    """Return the service, to be entered. Only its own libraries are loaded."""
    if api == "grpc":
        from batcher.service.grpc import open_grpc  # noqa: PLC0415

        return open_grpc(url, "key", ca_file=ca_file)
    from batcher.service.rest import open_rest  # noqa: PLC0415

    return open_rest(url, "key", ca_file=ca_file, requests_per_minute=0)


async def measure(program: Program, paths: Sequence[str], rest_seconds: float) -> Figures:
    """Return what it costs to upload recordings, and how the loop was at rest before; the first is to get warm."""
    warm_up, *recordings = paths
    await program.send(warm_up)
    rest = await watched(program, partial(anyio.sleep, rest_seconds))
    program.sealed_whole = 0
    memory, cpu, busy_before, begun = Memory(), cpu_seconds(), busy_seconds(), perf_counter()
    busy = await watched(program, partial(program.send_all, recordings))
    spent = {
        "wall_s": perf_counter() - begun,
        "cpu_s": cpu_seconds() - cpu,
        "machine_cpu_s": busy_seconds() - busy_before,
    }
    at_rest = {f"rest_{name}": value for name, value in rest.items()}
    taken = {"memory_mb": memory.above_idle() / 1e6, "idle_mb": memory.idle / 1e6, "sealed_whole": program.sealed_whole}
    return at_rest | busy | spent | taken


async def watched(program: Program, work: Callable[[], Awaitable[None]]) -> Figures:
    """Do some work, and return what it did to the loop and to surveys meanwhile."""
    lag = Lag()
    program.surveys = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.run)
        tasks.start_soon(program.survey)
        await work()
        tasks.cancel_scope.cancel()
    return _spread("lag", lag.overruns) | _spread("survey", program.surveys) | {"surveys": len(program.surveys)}


def _spread(name: str, seconds: Sequence[float]) -> Figures:
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"{name}_{word}_ms": milliseconds(seconds, share) for word, share in shares.items()}
