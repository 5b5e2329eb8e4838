"""Uploads to the REST face: forms are taken apart as they come, in any pieces, and nothing of a file is kept."""

import hashlib
import resource
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx
import pytest

from batcher.emulator.knobs import RestKnobs
from batcher.emulator.objects import Audio
from batcher.emulator.rest_refusals import RestRefusal
from batcher.emulator.rest_upload import Form
from tests.rest_wire import KEY, Wire, said, wire

pytestmark = pytest.mark.anyio

BOUNDARY = "the-boundary"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"
MIB = 1 << 20


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    """Return one part of a form."""
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def read(body: bytes, size: int) -> tuple[str, bytes, dict[str, str]]:
    """Return the name, the content and the texts of a form that comes in pieces of so many bytes."""
    content = bytearray()
    form = Form(TYPE, content.extend)
    for start in range(0, len(body), size):
        form.write(body[start : start + size])
    return form.finish(), bytes(content), form.texts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_a_form_may_come_in_any_pieces(size: int) -> None:
    """Cut anywhere, it gives the same; a content that looks like a boundary stays content."""
    content = b"\r\n--the-boundar\r\n--" + bytes(range(256)) + b"\r\n\r\n--the-boundary-not"
    body = part("client_reference_id", b"mine") + part("file", content, "a b.wav") + part("other", b"x") + END
    assert read(body, size) == ("a b.wav", content, {"client_reference_id": "mine", "other": "x"})


@pytest.mark.parametrize("name", ["", "ümläut ☃.wav", "a%22b.wav", "..", "x" * 400])
def test_a_file_may_have_any_name(name: str) -> None:
    """It is text; what is allowed is decided elsewhere."""
    assert read(part("file", b"x", name) + END, 1000)[0] == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        END,
        part("client_reference_id", b"x") + END,
        part("file", b"no filename") + END,
        part("file", b"x", "a") + part("file", b"y", "b") + END,
        part("file", b"x", "a"),
        part("file", b"x", "a")[:-3],
        part("client_reference_id", b"\xff") + END,
        part("client_reference_id", b"x" * 100_000) + part("file", b"x", "a") + END,
        f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n".encode() + END,
    ],
)
def test_a_form_that_is_none_fails_the_validation(body: bytes) -> None:
    """Broken, cut short, without a file or with two."""
    with pytest.raises(RestRefusal) as caught:
        read(body, 50)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "kind", ["", "application/json", "multipart/form-data", f"multipart/mixed; boundary={BOUNDARY}"]
)
def test_a_body_of_another_type_fails_the_validation(kind: str) -> None:
    """Only a form with a boundary can be read."""
    with pytest.raises(RestRefusal):
        Form(kind, bytearray().extend)


async def send(api: Wire, pieces: Iterator[bytes]) -> httpx.Response:
    """Send a form in pieces, without saying how long it is."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await anyio.lowlevel.checkpoint()

    return await api.client.post("/files", content=body(), headers={"Content-Type": TYPE}, timeout=60)


async def test_a_form_without_a_length_is_read_to_its_end() -> None:
    """Chunks of any size; the digest is that of the content."""
    async with wire() as api:
        content = bytes(range(256)) * 5000
        body = part("file", content, "a.wav") + END
        answer = await send(api, (body[start : start + 30_000] for start in range(0, len(body), 30_000)))
        assert answer.json()["size"] == len(content)
        assert api.account.files[0].audio.digest == hashlib.sha256(content).digest()


async def test_a_large_file_is_never_held_in_memory() -> None:
    """The peak of this process, which is both ends of it, grows by less than a tenth of the file."""
    async with wire() as api:
        await api.upload(bytes(MIB))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        piece = bytes(MIB)
        head, end = part("file", b"", "a.wav")[:-2], b"\r\n" + END

        def pieces() -> Iterator[bytes]:
            yield head
            yield from (piece for _ in range(256))
            yield end

        answer = await send(api, pieces())
        assert answer.json()["size"] == 256 * MIB
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 25 * 1024, f"{grown} KiB"


async def refusal_after_sending_all(api: Wire, size: int) -> bytes:
    """Send an upload to its last byte before looking for the answer, as simple clients do; return the answer."""
    body = part("file", bytes(size), "a.wav") + END
    url = api.client.base_url
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {TYPE}\r\n"
    async with await anyio.connect_tcp(url.host, url.port or 0) as stream:
        await stream.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return await stream.receive()


async def test_a_refused_upload_is_told_to_a_client_that_sends_it_to_its_end() -> None:
    """What comes after the refusal is read all the same: the connection does not break."""
    async with wire(RestKnobs(files=0)) as api:
        answer = await refusal_after_sending_all(api, 20 * MIB)
        assert answer.startswith(b"HTTP/1.1 429 ")


async def test_a_file_that_is_too_large_is_refused_and_leaves_nothing() -> None:
    """400, at the place of the file, and the connection still serves."""
    async with wire(max_bytes=MIB) as api:
        answer = await api.upload(bytes(3 * MIB))
        assert said(answer) == (400, "invalid_request")
        assert answer.json()["validation_errors"][0]["location"] == "file.file"
        assert api.account.files == []
        assert (await api.upload(bytes(MIB))).status_code == 201


async def test_texts_that_are_too_long_are_refused() -> None:
    """400 for the reference and for the name."""
    async with wire() as api:
        assert said(await api.upload(client_reference_id="x" * 257)) == (400, "invalid_request")
        assert said(await api.upload(filename="x" * 256)) == (400, "invalid_request")


async def test_a_client_that_goes_away_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an upload is no file; the trace knows of it."""
    async with wire() as api:
        over, abandon = anyio.Event(), api.account.abandon

        def noticed(audio: Audio) -> None:
            abandon(audio)
            over.set()

        monkeypatch.setattr(api.account, "abandon", noticed)

        def pieces() -> Iterator[bytes]:
            yield part("file", b"half of it", "a.wav")[:-2]
            raise ConnectionAbortedError

        with pytest.raises(ConnectionAbortedError):
            await send(api, pieces())
        with anyio.fail_after(5):
            await over.wait()
        assert list(api.account.tally.trace) == [("upload", "", "ABORTED")]
        assert api.account.files == []


async def test_a_key_that_is_revoked_while_the_bytes_travel_stores_nothing() -> None:
    """It is asked for again at the end."""
    async with wire() as api:

        def pieces() -> Iterator[bytes]:
            yield part("file", b"x" * 1000, "a.wav")
            api.account.revoked = True
            yield END

        assert said(await send(api, pieces())) == (401, "unauthenticated")
        assert api.account.files == []
