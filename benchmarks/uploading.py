"""The measured process of `benchmarks.rest_upload`: it imports what batcher needs for it, and little else.

The whole path of a submission is measured, from `open_recording` to the created transcription. While the uploads run, a
ticker measures the lag of the event loop, and the account is surveyed ten times a second.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio

from batcher.files import Recording, Stat, offload, open_recording
from batcher.options import Options
from batcher.service import Audio, Service, Submission
from batcher.service.rest import open_rest
from benchmarks.fresh import Figures
from benchmarks.gauges import Lag, Memory, busy_seconds, cpu_seconds, milliseconds

SURVEY_PAUSE = 0.1  #: seconds between two surveys


class Uploads:
    """The measured work, in its own process. Recordings are sent as what `shape` makes of them."""

    def __init__(self, service: Service, shape: Callable[[Recording], Audio] = lambda recording: recording) -> None:
        self._service = service
        self._shape = shape
        self.sealed_whole = 0
        self.surveys: list[float] = []

    async def send(self, path: str) -> None:
        """Submit one recording as the engine does; the seal must find it read to its end, and proven unchanged."""
        status = await offload(Path(path).stat)
        async with open_recording(os.fsencode(path), Stat(status.st_size, status.st_mtime_ns)) as recording:

            async def seal() -> None:
                assert recording.digest  # there is none before the last byte was read
                self.sealed_whole += 1

            await self._service.submit(Submission("benchmark", Options(), self._shape(recording)), seal)

    async def send_all(self, paths: Sequence[str]) -> None:
        """Submit recordings all at once."""
        async with anyio.create_task_group() as tasks:
            for path in paths:
                tasks.start_soon(self.send, path)

    async def survey(self) -> None:
        """Ask for something small again and again, and note how long it takes."""
        while True:
            begun = perf_counter()
            await self._service.survey()
            self.surveys.append(perf_counter() - begun)
            await anyio.sleep(SURVEY_PAUSE)


async def once(url: str, chain: str, paths: Sequence[str], rest_seconds: float) -> Figures:
    """Measure one case in this process, which must be fresh; the first of `paths` is to get warm."""
    warm_up, *recordings = paths
    ca_file = Path(chain) if chain else None
    async with open_rest(url, "key", ca_file=ca_file, requests_per_minute=0) as service:
        uploads = Uploads(service)
        await uploads.send(warm_up)
        rest = await watched(uploads, partial(anyio.sleep, rest_seconds))
        uploads.sealed_whole = 0
        memory, cpu, busy_before, begun = Memory(), cpu_seconds(), busy_seconds(), perf_counter()
        busy = await watched(uploads, partial(uploads.send_all, recordings))
        spent = {
            "wall_s": perf_counter() - begun,
            "cpu_s": cpu_seconds() - cpu,
            "machine_cpu_s": busy_seconds() - busy_before,
        }
    at_rest = {f"rest_{name}": value for name, value in rest.items()}
    taken = {"memory_mb": memory.above_idle() / 1e6, "idle_mb": memory.idle / 1e6, "sealed_whole": uploads.sealed_whole}
    return at_rest | busy | spent | taken


async def watched(uploads: Uploads, work: Callable[[], Awaitable[None]]) -> Figures:
    """Do some work, and return what it did to the loop and to surveys meanwhile."""
    lag = Lag()
    uploads.surveys = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.run)
        tasks.start_soon(uploads.survey)
        await work()
        tasks.cancel_scope.cancel()
    return _spread("lag", lag.overruns) | _spread("survey", uploads.surveys) | {"surveys": len(uploads.surveys)}


def _spread(name: str, seconds: Sequence[float]) -> Figures:
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"{name}_{word}_ms": milliseconds(seconds, share) for word, share in shares.items()}
