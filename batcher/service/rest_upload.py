"""One file on its way to the service, streamed from the disk.

Beside the official client, whose upload reads the file while nothing else can run, and gives up after 30 s.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, ExitStack

import anyio
import httpx

from batcher.service import Audio
from batcher.service.rest_http import Client
from batcher.service.shared import put_off, reading

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
        self._watchdog = anyio.CancelScope()
        self.whole = False  #: every byte was taken to be sent

    async def run(self) -> httpx.Response:
        """Send the file and return the answer; an error of the recording comes out unchanged."""
        await self._client.turn_to_upload()
        with self._effects, self._watchdog:
            body = Outgoing(self._pieces())
            put_off(self._watchdog, STALL_SECONDS)
            try:
                return await self._client.upload(body, self._headers)
            finally:
                self._watchdog.deadline = math.inf
                await body.aclose()  # what is wrong with the recording counts for more than how the call ended
        raise TimeoutError("the upload came to a standstill")

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what is sent; whoever asks for the next piece has taken the one before."""
        yield self._head
        async with reading(self._audio.chunks()) as chunks:
            async for chunk in chunks:
                put_off(self._watchdog, STALL_SECONDS)
                yield chunk
        self._effects.enter_context(self._effect)
        self.whole = True
        put_off(self._watchdog, ANSWER_SECONDS)
        yield self._tail


class Outgoing(AsyncIterator[bytes]):
    """What is sent, piece by piece, in a task of the HTTP library's own.

    Cut short it ends in an error, so that nobody takes it, or its connection, for whole. What the error was, `aclose`
    tells: the library would make it one of its own. It may also go on asking for a while when the call has ended; then it
    gets nothing more.
    """

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces = pieces
        self._patience = anyio.CancelScope()  #: of whoever asks for the next piece
        self._asking = False
        self._given_up = False
        self._over = anyio.Event()  #: it is given up, and nobody asks any more
        self._failure: Exception | None = None

    async def __anext__(self) -> bytes:
        if not self._given_up:
            self._asking = True
            try:
                with anyio.CancelScope() as self._patience:
                    return await anext(self._pieces)
            except StopAsyncIteration:
                raise
            except Exception as error:  # noqa: BLE001 - raised where it belongs, by `aclose`
                self._given_up, self._failure = True, error
            finally:
                self._asking = False
                if self._given_up:
                    self._over.set()
        raise ConnectionAbortedError("the upload was given up")

    async def aclose(self) -> None:
        """End the reading at once, and raise what it may have failed with."""
        self._given_up = True
        self._patience.cancel()
        with anyio.CancelScope(shield=True):
            if self._asking:
                await self._over.wait()
            await self._pieces.aclose()
        if self._failure is not None:
            raise self._failure from self._failure.__cause__  # and not from what the library made of it


def _frame(reference: str, boundary: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the bytes of the file."""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="client_reference_id"\r\n\r\n{reference}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{FILENAME}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()
