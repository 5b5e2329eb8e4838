"""One file on its way to the service, streamed from the disk.

Beside the official client, whose upload reads the file while nothing else can run, and gives up after 30 s.
"""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from batcher.service import Audio
from batcher.service.rest_http import BROKEN_CALLS, UNREADABLE_ANSWERS, Client
from batcher.service.shared import reading

STALL_SECONDS = 120.0  #: an upload in which no chunk is taken for that long has failed
ANSWER_SECONDS = 300.0  #: how long the answer to a whole upload may take
FILENAME = "recording"  #: opaque: the service tells formats by their content, and names are nobody's business


class Upload:
    """One upload. It ends early when the service has answered, and with it the reading of the file."""

    def __init__(
        self, client: Client, reference: str, audio: Audio, *, boundary: str, effect: AbstractContextManager[None]
    ) -> None:
        self._client = client
        self._audio = audio
        self._effect = effect
        self._effects = ExitStack()  #: holds `effect` from the last byte to the answer
        self._head, self._tail = _frame(reference, boundary)
        self._headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + audio.size + len(self._tail)),
        }
        self._feeding = anyio.CancelScope()
        self._watchdog = anyio.CancelScope()
        self._response: httpx.Response | None = None
        self._failure: Exception | None = None
        self.whole = False  #: every byte was taken to be sent

    async def run(self) -> httpx.Response:
        """Send the file and return the answer; an error of the recording comes out unchanged."""
        await self._client.turn_to_upload()
        with self._effects, self._watchdog, _alone():
            feeder, body = anyio.create_memory_object_stream[bytes](0)
            with body:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._post, _Body(body, self))
                    with feeder, self._feeding:
                        await self._feed(feeder)
        if self._failure is not None:
            raise self._failure
        if self._response is None:
            raise TimeoutError("the upload came to a standstill")
        return self._response

    async def _feed(self, feeder: MemoryObjectSendStream[bytes]) -> None:
        self._put_off(STALL_SECONDS)
        await feeder.send(self._head)
        async with reading(self._audio.chunks()) as chunks:
            async for chunk in chunks:
                await feeder.send(chunk)
                self._put_off(STALL_SECONDS)
        self._effects.enter_context(self._effect)
        await feeder.send(self._tail)
        self.whole = True
        self._put_off(ANSWER_SECONDS)

    def _put_off(self, seconds: float) -> None:
        self._watchdog.deadline = anyio.current_time() + seconds

    async def _post(self, body: "_Body") -> None:
        try:
            self._response = await self._client.upload(body, self._headers)
        except (*UNREADABLE_ANSWERS, *BROKEN_CALLS) as error:
            self._failure = error
        finally:
            self._watchdog.deadline = math.inf
            self._feeding.cancel()


class _Body(AsyncIterator[bytes]):
    """What is sent. Cut short it ends in an error, so that nobody takes it, or its connection, for whole."""

    def __init__(self, pieces: MemoryObjectReceiveStream[bytes], upload: Upload) -> None:
        self._pieces = pieces
        self._upload = upload

    async def __anext__(self) -> bytes:
        try:
            return await self._pieces.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            if self._upload.whole:
                raise StopAsyncIteration from None
            raise ConnectionAbortedError("the upload was given up") from None


def _frame(reference: str, boundary: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the bytes of the file."""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="client_reference_id"\r\n\r\n{reference}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{FILENAME}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


@contextmanager
def _alone() -> Iterator[None]:
    """Let the one error of a task group come out as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from error.__cause__
