"""A server that takes uploads over REST for nothing: it reads and discards, and answers what the client has to hear.

It must cost much less than the client that is measured against it, so it is no web server: bodies are read into one
buffer that all connections share, and nothing of them is looked at. A file is answered after its last byte. Connections
stay open; nobody is expected to send a request before the answer to the one before.
"""

import asyncio  # noqa: TID251 - reading into a buffer of one's own is asyncio's
import json
import ssl
import sys
from socket import AF_INET
from typing import cast

from batcher.files import offload
from benchmarks.fresh import Figures, say
from benchmarks.gauges import cpu_seconds
from benchmarks.link import Link

BUFFER_BYTES = 1024 * 1024
UPLOAD = "POST /v1/files"

_FILE = {"filename": "recording", "size": 0, "created_at": "2024-11-26T00:00:00Z", "client_reference_id": None}
_TRANSCRIPTION = {
    "status": "queued",
    "created_at": "2024-11-26T00:00:00Z",
    "model": "stt-async-v5",
    "audio_url": None,
    "file_id": None,
    "filename": "recording",
    "language_hints": None,
    "enable_speaker_diarization": False,
    "enable_language_identification": False,
    "audio_duration_ms": 0,
    "error_type": None,
    "error_message": None,
    "client_reference_id": None,
}
_COUNT = {"total": 0, "public_api": 0, "playground": 0}


class _Account:
    """What all connections share: the buffer, and what was seen."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.seen: dict[str, int] = {"bytes": 0, "files": 0, "transcriptions": 0}

    def answer(self, call: str) -> Figures:
        """Return the body that a call is answered with, once it was received to its end."""
        if call == UPLOAD:
            self.seen["files"] += 1
            return _FILE | {"id": f"file-{self.seen['files']}"}
        if call == "POST /v1/transcriptions":
            self.seen["transcriptions"] += 1
            return _TRANSCRIPTION | {"id": f"job-{self.seen['transcriptions']}"}
        if call.endswith("/count"):
            return _COUNT
        return {call.rpartition("/")[2]: [], "next_page_cursor": None}


class _Connection(asyncio.BufferedProtocol):
    """One connection, one request after another."""

    def __init__(self, account: _Account) -> None:
        self._account = account
        self._head = b""
        self._call = ""
        self._left = 0  #: bytes of the body still to come
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are written to."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes go; they are seen before any others come."""
        return self._account.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came, and answer a request that is whole."""
        if not self._left:
            nbytes = self._begin(bytes(self._account.buffer[:nbytes]))
        self._left -= nbytes
        self._account.seen["bytes"] += nbytes
        if self._left or self._call == UPLOAD:
            self._take_time(nbytes)
        elif self._call:
            self._answer()

    def _take_time(self, nbytes: int) -> None:
        """Receive nothing more, or answer only, when a link would have carried so much."""
        if wait := self._account.link.wait(nbytes, self._loop.time()):
            self._transport.pause_reading()
            self._loop.call_later(wait, self._go_on)
        elif not self._left:
            self._answer()

    def _go_on(self) -> None:
        self._transport.resume_reading()
        if not self._left:
            self._answer()

    def _begin(self, data: bytes) -> int:
        """Take what belongs to the head, and return how many bytes of the body came with it."""
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return 0
        self._head = b""
        first, *headers = head.decode("ascii").split("\r\n")
        self._call = " ".join(first.partition("?")[0].split()[:2])
        lengths = [line for line in headers if line.lower().startswith("content-length:")]
        self._left = int(lengths[0].partition(":")[2]) if lengths else 0
        return len(body)

    def _answer(self) -> None:
        body = json.dumps(self._account.answer(self._call)).encode()
        status = "201 Created" if self._call.startswith("POST") else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._call = ""
        self._transport.write(head.encode() + body)


async def serve(megabytes_per_second: float, chain: str) -> Figures:
    """Serve on a free port until the standard input ends; return what was seen, and what it cost.

    Args:
        megabytes_per_second: what is taken of all connections together, as of a link; 0 is all that comes.
        chain: a file with private key and certificate, for TLS; empty is without.
    """
    account = _Account(Link(megabytes_per_second))
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(account), "localhost", 0, ssl=_secret(chain) if chain else None, family=AF_INET
    )
    async with server:
        say({"port": server.sockets[0].getsockname()[1]})
        begun = cpu_seconds()
        await offload(sys.stdin.read)
    return account.seen | {"cpu_seconds": cpu_seconds() - begun}


def _secret(chain: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context
