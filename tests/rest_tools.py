"""What the tests of the REST client share: a service that answers as a test says, over a socket or without one."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from batcher.errors import ServiceError
from batcher.options import Options, Webhook
from batcher.service import Audio, Submission
from batcher.service.rest import RestService
from batcher.service.rest_budget import Budget
from batcher.service.rest_http import Answer as Incoming
from batcher.service.rest_http import Body, Client
from batcher.service.shared import Key
from tests.emulator_tools import Tape

KEY = "a-very-secret-key"
FILE = "84c32fc6-4fb5-4e7a-b656-b5ec70493753"
JOB = "73d4357d-cad2-4338-a60d-ec6f2044f721"
Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class Script:
    """Answers requests without a socket, by method and path, and notes them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.bodies: list[bytes] = []
        self.answers: dict[str, list[httpx.Response | Exception]] = {}

    def add(self, call: str, *answers: httpx.Response | Exception) -> None:
        """Answer this call with these one after another, the last one again and again."""
        self.answers.setdefault(call, []).extend(answers)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.bodies.append(await request.aread())
        call = f"{request.method} {request.url.path.removeprefix('/v1')}"
        self.seen.append(call + (f"?{request.url.query.decode()}" if request.url.query else ""))
        waiting = self.answers[call]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Bridge:
    """A wire to whatever answers httpx's calls. An error of httpx becomes aiohttp's, whose wire this stands for."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport

    @asynccontextmanager
    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, silence: float | None
    ) -> AsyncIterator[Incoming]:
        """Ask, and pass on what comes back as it is."""
        request = httpx.Request(method, url, headers=headers, content=body, extensions={"timeout": {"read": silence}})
        try:
            answer = await self.transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise aiohttp.ClientConnectionError(str(error)) from error
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        yield Incoming(answer.status_code, answer.headers, aiter(answer.stream))

    async def aclose(self) -> None:
        """Close what it leads to."""
        await self.transport.aclose()


def service(script: Answer, *, webhook: Webhook | None = None, per_minute: int = 0) -> RestService:
    """Return a service that asks the script instead of the network."""
    client = Client("http://127.0.0.1", Key(KEY), Budget(per_minute), Bridge(httpx.MockTransport(script)))
    return RestService(client, Key(KEY), webhook)


def said(status: int, body: object = None) -> httpx.Response:
    """Return an answer; a body of JSON, or none."""
    return httpx.Response(status) if body is None else httpx.Response(status, json=body)


def refused(status: int, error_type: str, message: str = "words") -> httpx.Response:
    """Return an error in the service's form."""
    inner = {"status_code": status, "error_type": error_type, "message": message, "validation_errors": []}
    return said(status, inner | {"request_id": "11111111-2222-4333-8444-555555555555"})


def a_file(number: int = 1, **changes: object) -> dict[str, object]:
    """Return a file as the service lists it."""
    return {
        "id": f"file-{number}",
        "filename": "recording",
        "size": 1000 + number,
        "created_at": "2024-11-26T00:00:00.123Z",
        "client_reference_id": f"reference-{number}",
    } | changes


def a_transcription(number: int = 1, **changes: object) -> dict[str, object]:
    """Return a transcription as the service lists it."""
    return {
        "id": f"job-{number}",
        "status": "queued",
        "created_at": "2024-11-26T00:00:00Z",
        "model": "stt-async-v5",
        "audio_url": None,
        "file_id": f"file-{number}",
        "filename": "recording",
        "language_hints": None,
        "enable_speaker_diarization": False,
        "enable_language_identification": False,
        "audio_duration_ms": 0,
        "error_type": None,
        "error_message": None,
        "client_reference_id": f"reference-{number}",
    } | changes


def files(*items: dict[str, object], cursor: str | None = None) -> httpx.Response:
    """Return a page of files."""
    return said(200, {"files": list(items), "next_page_cursor": cursor})


def transcriptions(*items: dict[str, object], cursor: str | None = None) -> httpx.Response:
    """Return a page of transcriptions."""
    return said(200, {"transcriptions": list(items), "next_page_cursor": cursor})


def counted(total: int, playground: int = 0) -> httpx.Response:
    """Return a count."""
    return said(200, {"total": total, "public_api": total - playground, "playground": playground})


def sent(audio: Audio | None = None, reference: str = "label", **options: Any) -> Submission:
    """Return what is submitted."""
    return Submission(reference, Options(**options), audio or Tape(b"some audio"))


async def no_seal() -> None:
    """Seal nothing."""


async def failure(awaitable: Awaitable[Any]) -> ServiceError:
    """Return the error that a verb ends with."""
    with pytest.raises(ServiceError) as caught:
        await awaitable
    return caught.value


@asynccontextmanager
async def listening(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Answer connections byte by byte, as no web server would, and yield the address."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:

        async def served(stream: SocketStream) -> None:
            async with stream:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await handle(stream)

        tasks.start_soon(listener.serve, served)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def read_head(stream: SocketStream) -> tuple[str, dict[str, str], bytes]:
    """Return the request line, the headers by lower-case name, and what came with them of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}, rest


async def read_body(stream: SocketStream, headers: dict[str, str], begun: bytes) -> bytes:
    """Return the whole body."""
    while len(begun) < int(headers.get("content-length", 0)):
        begun += await stream.receive()
    return begun


def http(status: int, body: object = None, headers: Iterable[str] = ()) -> bytes:
    """Return an answer as it goes over the wire."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content
