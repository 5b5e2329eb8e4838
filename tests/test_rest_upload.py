"""Uploads over real sockets: what is on the wire, who ends them, and that nothing half-sent is taken for whole."""

import email.policy
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import nullcontext
from email.parser import BytesParser
from typing import cast

import anyio
import pytest
from anyio.abc import SocketStream

from batcher.errors import Kind, SourceError
from batcher.service import CHUNK_BYTES, Audio, rest_upload
from batcher.service.rest import open_rest
from batcher.service.rest_http import Client
from tests.emulator_tools import BrokenTape, Tape
from tests.rest_tools import KEY, a_file, a_transcription, failure, http, listening, no_seal, read_body, read_head, sent

pytestmark = pytest.mark.anyio

FULL = {"error_type": "limit_exceeded", "message": "Total file count limit. Please delete some.", "status_code": 429}


class Zeros:
    """A long recording that is in no memory; it notes how far it was read and whether the reading was ended."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read = 0
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield zeros."""
        chunk = bytes(CHUNK_BYTES)
        try:
            while self.read < self.size:
                self.read += len(chunk)
                yield chunk[: self.size - self.read + len(chunk)]
        finally:
            self.closed = True


class Server:
    """Takes uploads and creations, and notes every connection and request."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[tuple[int, str, dict[str, str], bytes]] = []
        self.torn = 0  #: uploads that never came to their end
        self.tore = anyio.Event()

    async def __call__(self, stream: SocketStream) -> None:
        """Serve one connection."""
        self.connections += 1
        number = self.connections
        while True:
            first, headers, begun = await read_head(stream)
            try:
                body = await self.take(stream, first, headers, begun)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.torn += 1
                self.tore.set()
                raise
            self.requests.append((number, first, headers, body))
            await stream.send(self.answer(first))

    async def take(self, stream: SocketStream, first: str, headers: dict[str, str], begun: bytes) -> bytes:
        """Read the body."""
        return await read_body(stream, headers, begun)

    def answer(self, first: str) -> bytes:
        """Return what is answered."""
        if first.startswith("DELETE"):
            return http(204)
        return http(201, a_file() if "/files" in first else a_transcription())


async def test_what_is_on_the_wire_is_a_form_that_others_read() -> None:
    """Two fields, the file byte by byte, and a length that is known beforehand."""
    server, content = Server(), bytes(range(256)) * 3000 + b"\r\n--batcher-\r\n"
    async with listening(server) as url, open_rest(url, KEY) as rest:
        assert await rest.submit(sent(Tape(content, chunk=100_000), "my-reference"), no_seal) == "job-1/file-1"
    _, first, headers, body = server.requests[0]
    assert (first, headers["content-length"]) == ("POST /v1/files HTTP/1.1", str(len(body)))
    assert "transfer-encoding" not in headers
    assert headers["authorization"] == f"Bearer {KEY}"
    whole = b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n" + body
    parts = list(BytesParser(policy=email.policy.HTTP).parsebytes(whole).iter_parts())
    named = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}
    assert named == {"client_reference_id": b"my-reference", "file": content}
    assert parts[1].get_filename() == "recording"


async def test_boundaries_are_not_to_be_guessed() -> None:
    """A recording must not be able to end its own part."""
    server = Server()
    async with listening(server) as url, open_rest(url, KEY) as rest:
        for _ in range(2):
            await rest.submit(sent(), no_seal)
    boundaries = {headers["content-type"] for _, first, headers, _ in server.requests if "/files" in first}
    assert len(boundaries) == 2


async def test_a_long_recording_is_never_in_memory() -> None:
    """64 MiB pass, and a few pieces are there at a time."""

    class Counting(Server):
        async def take(self, stream: SocketStream, first: str, headers: dict[str, str], begun: bytes) -> bytes:
            left = int(headers["content-length"]) - len(begun)
            while left:
                left -= len(await stream.receive())
            return b""

    async with listening(Counting()) as url, open_rest(url, KEY) as rest:
        await rest.submit(sent(Zeros(1)), no_seal)
        tracemalloc.start()
        await rest.submit(sent(Zeros(64 * 1024 * 1024)), no_seal)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("closing", [False, True])
async def test_an_answer_in_the_middle_ends_the_reading(closing: bool) -> None:
    """A full account need not hear the rest; and its connection is not used again, being in the middle of a file."""
    audio = Zeros(1024 * 1024 * 1024)

    class Refusing(Server):
        async def take(self, stream: SocketStream, first: str, headers: dict[str, str], begun: bytes) -> bytes:
            if int(headers.get("content-length", 0)) < audio.size:
                return await super().take(stream, first, headers, begun)
            await stream.send(http(429, FULL, ["Connection: close"] if closing else []))
            while not closing:
                await stream.receive()
            raise anyio.EndOfStream

    server = Refusing()
    async with listening(server) as url, open_rest(url, KEY) as rest:
        with anyio.fail_after(20):
            assert (await failure(rest.submit(sent(audio), no_seal))).kind in (
                (Kind.FULL, Kind.UNREACHABLE) if closing else (Kind.FULL,)
            )
            assert audio.closed
            assert audio.read < audio.size / 4
            assert await rest.submit(sent(Tape(b"another")), no_seal) == "job-1/file-1"
            await server.tore.wait()
    assert {number for number, *_ in server.requests} == {2}
    assert server.torn == 1


async def test_a_success_in_the_middle_is_none() -> None:
    """What the service has then is a torso."""

    class Hasty(Server):
        async def take(self, stream: SocketStream, first: str, headers: dict[str, str], begun: bytes) -> bytes:
            return b""

    sealed: list[int] = []

    async def seal() -> None:
        sealed.append(1)

    async with listening(Hasty()) as url, open_rest(url, KEY) as rest:
        with anyio.fail_after(20):
            error = await failure(rest.submit(sent(Zeros(1024 * 1024 * 1024)), seal))
    assert (error.kind, sealed) == (Kind.LATER, [])


async def torn_by(audio: Audio, scope: anyio.CancelScope | None = None) -> Server:
    """Submit a recording that does not come to its end, and return the server when it has noticed."""
    server = Server()
    async with listening(server) as url, open_rest(url, KEY) as rest:
        with scope or anyio.CancelScope():
            await rest.submit(sent(audio), no_seal)
        with anyio.fail_after(20):
            await server.tore.wait()
    return server


async def test_a_recording_that_breaks_is_a_torn_upload() -> None:
    """Its error comes out; the connection ends before the length that was promised, so nobody takes it for whole."""

    class Broken(BrokenTape):
        async def chunks(self) -> AsyncIterator[bytes]:
            for _ in range(20):
                yield bytes(100_000)
            raise SourceError("the disk is broken")

    server = Server()
    async with listening(server) as url, open_rest(url, KEY) as rest:
        broken = Broken(b"")
        broken.size = 3_000_000
        with pytest.raises(SourceError, match="the disk is broken"):
            await rest.submit(sent(broken), no_seal)
        with anyio.fail_after(20):
            await server.tore.wait()
    assert server.requests == []


async def test_a_stopped_upload_is_torn_and_its_reading_ended() -> None:
    """At once, and nothing of it goes on in the background."""
    scope = anyio.CancelScope()

    class Stopped(Zeros):
        async def chunks(self) -> AsyncIterator[bytes]:
            async for chunk in super().chunks():
                if self.read > 2_000_000:
                    scope.cancel()
                yield chunk

    audio = Stopped(100_000_000)
    server = await torn_by(audio, scope)
    assert scope.cancelled_caught
    assert audio.closed
    assert server.requests == []


async def test_a_service_that_stops_reading_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time in which nothing moves, however long the upload took before."""
    monkeypatch.setattr(rest_upload, "STALL_SECONDS", 0.2)

    class Deaf(Server):
        async def take(self, stream: SocketStream, first: str, headers: dict[str, str], begun: bytes) -> bytes:
            await anyio.sleep_forever()
            raise AssertionError

    audio = Zeros(100_000_000)
    async with listening(Deaf()) as url, open_rest(url, KEY) as rest:
        with anyio.fail_after(20):
            assert (await failure(rest.submit(sent(audio), no_seal))).kind is Kind.UNREACHABLE
    assert audio.closed


async def test_an_upload_that_never_gets_a_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody asks for its first piece, too: there may be no end to looking up a name."""
    monkeypatch.setattr(rest_upload, "STALL_SECONDS", 0.2)

    class Unconnected:
        async def turn_to_upload(self) -> None:
            """It has its turn at once."""

        async def upload(self, _body: object, _headers: object) -> None:
            await anyio.sleep_forever()

    client = cast("Client", Unconnected())
    upload = rest_upload.Upload(client, "r", Tape(b"audio"), boundary="b", effect=nullcontext())
    with anyio.fail_after(20), pytest.raises(TimeoutError, match="came to a standstill"):
        await upload.run()
    assert not upload.whole


async def test_a_slow_upload_that_moves_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog is put off with every piece: three times its patience is no trouble."""
    monkeypatch.setattr(rest_upload, "STALL_SECONDS", 0.3)

    class Slow(Tape):
        async def chunks(self) -> AsyncIterator[bytes]:
            async for chunk in super().chunks():
                await anyio.sleep(0.1)
                yield chunk

    async with listening(Server()) as url, open_rest(url, KEY) as rest:
        assert await rest.submit(sent(Slow(bytes(10_000), chunk=1000)), no_seal)


async def test_a_service_that_never_answers_an_upload_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the seal, so nothing is uncertain."""
    monkeypatch.setattr(rest_upload, "ANSWER_SECONDS", 0.2)

    class Silent(Server):
        def answer(self, first: str) -> bytes:
            return b""

    async with listening(Silent()) as url, open_rest(url, KEY) as rest:
        with anyio.fail_after(20):
            assert (await failure(rest.submit(sent(), no_seal))).kind is Kind.UNREACHABLE


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_cut_in_the_middle_is_unreachable(reset: bool) -> None:
    """Politely closed or reset."""

    class Cutting(Server):
        async def take(self, stream: SocketStream, first: str, headers: dict[str, str], begun: bytes) -> bytes:
            await stream.receive()
            if reset:
                stream.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER
            raise anyio.EndOfStream

    async with listening(Cutting()) as url, open_rest(url, KEY) as rest:
        with anyio.fail_after(20):
            assert (await failure(rest.submit(sent(Zeros(50_000_000)), no_seal))).kind is Kind.UNREACHABLE


async def test_a_connection_is_used_again_and_there_are_never_more_than_allowed() -> None:
    """One pool for everything."""
    server = Server()
    async with listening(server) as url, open_rest(url, KEY, requests_per_minute=0, connections=3) as rest:
        for _ in range(5):
            await rest.submit(sent(), no_seal)
        assert server.connections == 1
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(rest.delete, "job-1/file-1")
    assert server.connections <= 3
    assert len(server.requests) == 50


async def test_a_deletion_whose_connection_is_lost_is_not_repeated() -> None:
    """Repeating is for the job table, which counts."""

    class Losing(Server):
        def answer(self, first: str) -> bytes:
            if first.startswith("DELETE"):
                raise anyio.EndOfStream
            return super().answer(first)

    server = Losing()
    async with listening(server) as url, open_rest(url, KEY) as rest:
        await rest.submit(sent(), no_seal)
        error = await failure(rest.delete("job-1/file-1"))
        assert (error.kind, str(error)) == (Kind.UNREACHABLE, "ServerDisconnectedError: Server disconnected")
    assert len([first for _, first, *_ in server.requests if first.startswith("DELETE")]) == 1


async def test_nobody_there_is_unreachable() -> None:
    """With the reason."""
    async with listening(Server()) as url:
        pass
    async with open_rest(url, KEY) as rest:
        error = await failure(rest.submit(sent(), no_seal))
        assert (error.kind, error.code) == (Kind.UNREACHABLE, "ClientConnectorError")
        assert "Cannot connect to host 127.0.0.1" in str(error)


async def test_what_is_cut_short_does_not_end_like_what_is_whole() -> None:
    """A connection in the middle of a file would take the next request for the rest of it."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"a piece"
        yield b"another"

    whole = rest_upload.Outgoing(pieces())
    assert [piece async for piece in whole] == [b"a piece", b"another"]
    cut_short = rest_upload.Outgoing(pieces())
    assert await anext(cut_short) == b"a piece"
    await cut_short.aclose()
    with pytest.raises(ConnectionAbortedError):
        await anext(cut_short)
