"""Nothing but the way to the service: batcher's own `Service`, without a table, a scan, or anything written.

What is left is what the libraries of the wire cost, and no program on top of them can cost less.
Argument: JSON with `api`, `host`, `key`, `folder`, `at_once`. Prints JSON: `jobs`, `makespan_s`, `start_cpu_s`.
"""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import perf_counter, process_time

import anyio

from batcher.model import RemoteStatus
from batcher.options import Options
from batcher.service import Service, Submission


class Bytes:
    """A recording in memory."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._content = content

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield it in one piece."""
        yield self._content


async def nothing(_remotes: list[str]) -> None:
    """Take no note of what a listing shows."""


class Looks:
    """One listing after the other, for everybody who waits; `note` hears first which of theirs have ended."""

    def __init__(self, service: Service, note: Callable[[list[str]], Awaitable[None]] = nothing) -> None:
        self._service = service
        self._note = note
        self._waiting: dict[str, anyio.Event] = {}

    async def until_over(self, remote: str) -> None:
        """Return when a listing shows the end of `remote`."""
        over = self._waiting.setdefault(remote, anyio.Event())
        await over.wait()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await anyio.sleep(self._service.poll_seconds)
            objects = (await self._service.survey(thorough=False)).objects if self._waiting else ()
            ended = [each.id for each in objects if each.status is RemoteStatus.COMPLETED and each.id in self._waiting]
            await self._note(ended)
            for remote in ended:
                self._waiting.pop(remote).set()


async def seal() -> None:
    """Make nothing durable."""


def connect(api: str, host: str, key: str, at_once: int) -> AbstractAsyncContextManager[Service]:
    """Return the service, to be entered. Only its own libraries are loaded."""
    if api == "grpc":
        from batcher.service.grpc import open_grpc  # noqa: PLC0415

        return open_grpc(host, key)
    from batcher.service.rest import open_rest  # noqa: PLC0415

    return open_rest(host, key, requests_per_minute=0, connections=at_once)


async def main(api: str, host: str, key: str, folder: str, at_once: int) -> None:
    """Transcribe a folder."""
    paths = sorted(Path(folder).iterdir())  # noqa: ASYNC240 - nothing else runs yet
    places, ends = anyio.CapacityLimiter(at_once), []
    async with connect(api, host, key, at_once) as service, anyio.create_task_group() as looking:
        looks = Looks(service)
        looking.start_soon(looks.run)

        async def one(path: Path) -> None:
            async with places:
                submission = Submission(path.name, Options(), Bytes(path.read_bytes()))  # noqa: ASYNC240 - a cost that is not the point
                remote = await service.submit(submission, seal)
                await looks.until_over(remote)
                ends.append(perf_counter())
                await service.fetch(remote)
                await service.delete(remote)

        began, cpu = perf_counter(), process_time()
        async with anyio.create_task_group() as jobs:
            for path in paths:
                jobs.start_soon(one, path)
        looking.cancel_scope.cancel()
    figures = {"jobs": len(paths), "makespan_s": max(ends) - began, "start_cpu_s": cpu}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    anyio.run(lambda: main(**order))
