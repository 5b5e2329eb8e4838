"""A server of the legacy API that does as it is told, and what the tests of its client share."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from batcher.errors import ServiceError
from batcher.options import Options
from batcher.service import Submission
from batcher.service.stubs import speech_service_pb2 as pb
from batcher.service.stubs import speech_service_pb2_grpc as rpc

KEY = "a-very-secret-key"
Requests = AsyncIterator[pb.TranscribeAsyncRequest]
Behaviour = Callable[..., Any]


class Fake(rpc.SpeechServiceServicer):
    """Notes what it is sent and answers with what the test put in its place."""

    def __init__(self) -> None:
        self.uploaded: list[pb.TranscribeAsyncRequest] = []
        self.ended = anyio.Event()  #: a call is over
        self.calls: Counter[str] = Counter()
        self.upload: Behaviour = self.accept
        self.answer: Behaviour = self.nothing

    async def accept(self, requests: Requests, _context: Any) -> Any:
        """Take the whole upload."""
        async for request in requests:
            self.uploaded.append(request)
        return pb.TranscribeAsyncResponse(file_id="17")

    async def got(self, count: int) -> None:
        """Wait until so many messages of an upload have arrived."""
        while len(self.uploaded) < count:
            await anyio.lowlevel.checkpoint()

    async def nothing(self, _request: Any, _context: Any) -> Any:
        """Answer with an empty message."""
        return pb.GetTranscribeAsyncStatusResponse()

    async def hang(self, *_: Any) -> Any:
        """Never answer."""
        await anyio.sleep_forever()

    async def TranscribeAsync(self, requests: Requests, context: Any) -> Any:  # noqa: N802
        """Do what `upload` says."""
        return await self._noting("upload", self.upload(requests, context))

    async def GetTranscribeAsyncStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Do what `answer` says."""
        return await self._noting("status", self.answer(request, context))

    async def DeleteTranscribeAsyncFile(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Do what `answer` says."""
        return await self._noting("delete", self.answer(request, context))

    async def GetTranscribeAsyncResult(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Send the messages that `answer` writes."""
        await self._noting("result", self.answer(request, context))

    async def _noting(self, call: str, doing: Awaitable[Any]) -> Any:
        self.calls[call] += 1
        try:
            return await doing
        finally:
            self.ended.set()


@asynccontextmanager
async def running(server: grpc.aio.Server) -> AsyncIterator[None]:
    """Run `server`, and end only when all it began has ended.

    What grpc delivers after the end of its event loop would break the next test's.
    """
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
        left = [task for task in asyncio.all_tasks() if "cygrpc" in repr(task)]
        if left:
            await asyncio.wait(left, timeout=5)


@asynccontextmanager
async def serving(fake: Fake) -> AsyncIterator[int]:
    """Serve `fake` on loopback and yield the port."""
    server = grpc.aio.server()
    rpc.add_SpeechServiceServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    async with running(server):
        yield port


class Tape:
    """A recording in memory, which may end in an error."""

    def __init__(self, size: int = 3000, chunk: int = 1000, then: Callable[[], Awaitable[None]] | None = None) -> None:
        self.size, self._chunk, self._then = size, chunk, then
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield zeros."""
        try:
            for start in range(0, self.size, self._chunk):
                yield bytes(min(self._chunk, self.size - start))
            if self._then:
                await self._then()
        finally:
            self.closed = True


class Sealing:
    """A seal that notes when it was made."""

    def __init__(self, then: Callable[[], Awaitable[None]] | None = None) -> None:
        self.count, self._then = 0, then

    async def __call__(self) -> None:
        """Seal."""
        self.count += 1
        if self._then:
            await self._then()


def aborting(code: grpc.StatusCode, details: str = "", after: int | None = None) -> Behaviour:
    """Return a behaviour that refuses: an upload after so many messages (None: all), anything else at once."""

    async def behave(request: Any, context: Any) -> None:
        count = 0
        if hasattr(request, "__aiter__"):
            async for _ in request:
                count += 1
                if count == after:
                    break
        await context.abort(code, details)

    return behave


async def failure(awaitable: Awaitable[Any]) -> ServiceError:
    """Return the error that a verb ends with."""
    with pytest.raises(ServiceError) as caught:
        await awaitable
    return caught.value


def sent(audio: Any = None, reference: str = "label", **options: Any) -> Submission:
    """Return what is submitted."""
    return Submission(reference, Options(**options), audio or Tape())
