"""Services for both APIs that mean no good: they repeat secrets, drive terminals, and never come to an end."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from anyio.abc import SocketStream
from anyio.from_thread import start_blocking_portal

from batcher.service.stubs import speech_service_pb2 as pb
from tests.cli_tools import batcher
from tests.grpc_tools import Fake, Requests, serving
from tests.rest_tools import a_file, a_transcription, http, listening, read_body, read_head

FOREIGN = "somebody-elses"
Talk = Callable[[str, bytes], tuple[int, object]]


class RestGossip:
    """Takes uploads, keeps its lists, and says `text` wherever it says anything.

    `refuses` is what it refuses: nothing (then every transcription fails), "create", or "everything".
    """

    def __init__(self, text: str, refuses: str = "") -> None:
        self.text, self.refuses = text, refuses
        self.one_id = False  #: every transcription gets the same id
        self.heard: list[bytes] = []
        self._files: dict[str, dict[str, object]] = {}
        self._works = {"others-1": a_transcription(0, id="others-1", file_id=None, **self._words(FOREIGN + text))}

    def _words(self, reference: str) -> dict[str, object]:
        failed = {"status": "error", "error_type": "odd", "error_message": self.text}
        return {"model": self.text, "client_reference_id": reference, **failed}

    def __call__(self, call: str, body: bytes) -> tuple[int, object]:
        """Answer one call like ``GET /files``."""
        method, _, path = call.partition(" ")
        if self.refuses == "everything":
            return 401, self._refusal(401, "unauthenticated")
        if method == "DELETE":
            name = path.rpartition("/")[2]
            return 204, (self._files.pop(name, None) or self._works.pop(name, None)) and None
        if method == "POST":
            return self._uploaded(body) if path == "/files" else self._created(json.loads(body))
        items = self._files if path.startswith("/files") else self._works
        if path.endswith("/count"):
            return 200, {"total": len(items), "public_api": len(items), "playground": 0}
        return 200, {path.split("?")[0].removeprefix("/"): list(items.values()), "next_page_cursor": None}

    def _refusal(self, status: int, error_type: str) -> dict[str, object]:
        complaint = {"error_type": self.text, "location": self.text, "message": self.text}
        words = {"status_code": status, "error_type": error_type, "message": self.text, "request_id": "1"}
        return words | {"validation_errors": [complaint]}

    def _uploaded(self, body: bytes) -> tuple[int, object]:
        reference = body.partition(b'name="client_reference_id"\r\n\r\n')[2].partition(b"\r\n")[0].decode()
        file = a_file(len(self.heard), client_reference_id=reference)
        self._files[str(file["id"])] = file
        return 201, file

    def _created(self, asked: Mapping[str, Any]) -> tuple[int, object]:
        if self.refuses == "create":
            return 400, self._refusal(400, "invalid_request")
        words = self._words(str(asked["client_reference_id"]))
        made = a_transcription(0 if self.one_id else len(self.heard), file_id=asked["file_id"], **words)
        self._works[str(made["id"])] = made
        return 201, made

    async def serve(self, stream: SocketStream) -> None:
        """Answer every request of a connection."""
        headers = [f"{name}: {self.text}" for name in ("X-Echo", "Server") if self.text.isascii()]
        while True:
            first, known, begun = await read_head(stream)
            body = await read_body(stream, known, begun)
            self.heard.append(body)
            method, target, _ = first.split(" ")
            status, answer = self(f"{method} {target.removeprefix('/v1')}", body)
            await stream.send(http(status, answer, headers if self.text.isprintable() else ()))


class GrpcGossip(Fake):
    """The same over the legacy API."""

    def __init__(self, text: str, refuses: str = "") -> None:
        super().__init__()
        self.text, self.refuses = text, refuses
        self.one_id = False  #: every upload gets the same id
        self._serial = 0
        self._files: dict[str, str] = {"others": FOREIGN + text}
        self.upload, self.answer = self.took, self.told

    async def took(self, requests: Requests, context: Any) -> Any:
        """Take a whole upload, or refuse it."""
        if self.refuses == "everything":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, self.text)
        references = [request.reference_name async for request in requests]
        if self.refuses == "create":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, self.text)
        self._serial += not self.one_id
        name = f"file-{self._serial}"
        self._files[name] = references[0]
        return pb.TranscribeAsyncResponse(file_id=name)

    async def told(self, request: Any, context: Any) -> Any:
        """List every file as failed, or delete one."""
        if self.refuses == "everything":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, self.text)
        if isinstance(request, pb.DeleteTranscribeAsyncFileRequest):
            self._files.pop(request.file_id, None)
            return pb.DeleteTranscribeAsyncFileResponse()
        words = {"status": "FAILED", "error_message": self.text}
        files = [{"file_id": name, "reference_name": label, **words} for name, label in self._files.items()]
        return pb.GetTranscribeAsyncStatusResponse(files=files)


@asynccontextmanager
async def _open(gossip: RestGossip | GrpcGossip) -> AsyncIterator[str]:
    if isinstance(gossip, RestGossip):
        async with listening(gossip.serve) as url:
            yield url
    else:
        async with serving(gossip) as port:
            yield f"http://127.0.0.1:{port}"


@contextmanager
def gossiping(api: str, text: str, refuses: str = "", *, one_id: bool = False) -> Iterator[dict[str, str]]:
    """Run such a service beside the test and yield the environment in which batcher talks to it."""
    gossip = RestGossip(text, refuses) if api == "rest" else GrpcGossip(text, refuses)
    gossip.one_id = one_id
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_open(gossip)) as url:
        settings = {"BATCHER_API": api, "BATCHER_HOST": url, "BATCHER_REQUESTS_PER_MINUTE": "0"}
        yield clean_environment() | settings


def clean_environment() -> dict[str, str]:
    """Return the environment without settings and proxies."""
    names = [name for name in os.environ if not name.startswith("BATCHER_") and "proxy" not in name.lower()]
    return {name: os.environ[name] for name in names} | {"BATCHER_CONFIG": os.devnull}


def call(environment: Mapping[str, str], *arguments: object, **more: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run batcher to its end; what it printed comes as bytes."""
    command = batcher(*arguments)
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, **more
    )


def everything_below(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file below the folders, with what is in it and, as a line of its own, its name."""
    for folder in folders:
        for path in folder.rglob("*"):
            yield path, os.fsencode(path) + b"\n" + (path.read_bytes() if path.is_file() else b"")


# What never ends, over a socket.


def sending(head: bytes, pieces: Callable[[], Iterable[bytes]], *, chunked: bool = True) -> Callable[..., Any]:
    """Return a service that answers every request with `head` and these pieces, and closes the connection."""

    async def handle(stream: SocketStream) -> None:
        _, headers, begun = await read_head(stream)
        await read_body(stream, headers, begun)
        await stream.send(head + (b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" if chunked else b""))
        for piece in pieces():
            await stream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await stream.send(b"0\r\n\r\n" if chunked else b"")

    return handle


class Peak:
    """How much memory a block took more than before it, in MB; nothing where the system does not tell."""

    megabytes = 0.0

    def __enter__(self) -> Self:
        self._known = os.access("/proc/self/clear_refs", os.W_OK)
        if self._known:
            Path("/proc/self/clear_refs").write_text("5")  # begin to measure the highest anew
            self._before = _memory("VmRSS:")
        return self

    def __exit__(self, *_: object) -> None:
        if self._known:
            self.megabytes = _memory("VmHWM:") - self._before


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
