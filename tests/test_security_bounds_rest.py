"""A REST service that never comes to an end: bounded in time and memory, and always an error of the seam."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from itertools import count, repeat
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from batcher.errors import Kind, ServiceError
from batcher.service import Service, rest_http, rest_upload
from batcher.service.rest import open_rest
from tests.hostile import Peak, sending
from tests.rest_tools import (
    KEY,
    Script,
    a_file,
    counted,
    failure,
    files,
    http,
    listening,
    no_seal,
    read_body,
    read_head,
    said,
    sent,
    service,
    transcriptions,
)  # fmt: skip

pytestmark = pytest.mark.anyio

SECONDS = 30  #: for what takes one or two, when the machine has other things to do
MEGABYTES = 450  #: most of it for what is below every bound by a little
MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"

Ask = Callable[[Service], Awaitable[object]]


async def _survey(rest: Service) -> object:
    return await rest.survey()


async def _fetch(rest: Service) -> object:
    return await rest.fetch("job-1/file-1")


async def _delete(rest: Service) -> object:
    await rest.delete("job-1/file-1")
    return None


async def _submit(rest: Service) -> object:
    return await rest.submit(sent(), no_seal)


VERBS: dict[str, Ask] = {"survey": _survey, "fetch": _fetch, "delete": _delete, "submit": _submit}
#: It is asked again; where it was a list, the service counts as away until then.
NOT_NOW = (Kind.LATER, Kind.UNREACHABLE)
VERB = pytest.mark.parametrize("ask", VERBS.values(), ids=VERBS)


def blanks(times: int = 10**6) -> Iterator[bytes]:
    """Yield JSON's white space, 64 KiB at a time."""
    return repeat(b" " * 65536, times)


def zipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces as gzip."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield from filter(None, map(squeeze.compress, pieces))
    yield squeeze.flush()


def zeros(megabytes: int) -> bytes:
    """Return zeros as gzip, made of one compressed megabyte again and again."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head, block = (squeeze.compress(bytes(MIB)) + squeeze.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return head + block * (megabytes - 1)


TWICE = b"".join(zipped([zeros(3000)]))  #: 3 GB in a few kilobytes


async def ended(handle: Callable[[SocketStream], Awaitable[None]], ask: Ask) -> ServiceError:
    """Return the error that a call to this service ends with; check what it took."""
    with Peak() as peak, anyio.fail_after(SECONDS):
        async with listening(handle) as url, open_rest(url, KEY, requests_per_minute=0) as rest:
            error = await failure(ask(rest))
    assert peak.megabytes < MEGABYTES
    assert len(str(error)) < 700
    return error


@VERB
async def test_an_answer_without_end_is_cut_off(ask: Ask) -> None:
    """Of any verb; nothing was understood, so nothing is known."""
    assert (await ended(sending(OK, blanks), ask)).kind in NOT_NOW


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (OK + b"Content-Encoding: gzip\r\n", lambda: zipped(blanks(10_000))),
        (OK + b"Content-Encoding: gzip, gzip\r\n", lambda: [TWICE]),
        (OK + b"Content-Encoding: br\r\n", lambda: [b"\x00"]),
    ],
    ids=["gzip", "gzip-twice", "unknown-encoding"],
)
async def test_a_compressed_answer_without_end_is_cut_off(head: bytes, pieces: Callable[[], Iterable[bytes]]) -> None:
    """Before its few kilobytes fill the memory."""
    error = await ended(sending(head, pieces), _survey)
    assert (error.kind, "more than" in str(error)) == (Kind.UNREACHABLE, b", gzip" not in head and b"br" not in head)


async def test_one_piece_is_unpacked_no_further_than_anybody_reads() -> None:
    """A tenth of a megabyte on the wire would be a hundred in memory."""
    packed = b"".join(zipped([bytes(100 * MIB)]))

    async def pieces() -> AsyncIterator[bytes]:
        yield packed

    answer = rest_http.Answer(200, {"content-encoding": "gzip"}, pieces())
    with Peak() as peak, pytest.raises(rest_http.BadAnswer, match="more than 1000 bytes"):
        await rest_http._body(answer, 1000)
    assert peak.megabytes < 20


async def test_a_service_that_says_nothing_is_left_before_the_time_of_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transcript may take a quarter of an hour, but not if nothing of it comes for a minute (here: half a second)."""
    known = rest_http.manner_of("GET", "/transcriptions/x/transcript")
    short = rest_http.Manner(known.bucket, known.urgency, known.whole, 0.5)
    monkeypatch.setattr(rest_http, "manner_of", lambda *_: short)

    async def silent(stream: SocketStream) -> None:
        await read_head(stream)
        await anyio.sleep_forever()

    assert (await ended(silent, _fetch)).code == "SocketTimeoutError"


async def test_a_connection_that_is_never_made_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody shakes hands; the time of the request is longer."""
    monkeypatch.setattr(rest_http, "CONNECT_SECONDS", 0.5)

    async def silent(_stream: SocketStream) -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(SECONDS):
        async with listening(silent) as url, open_rest(url.replace("http:", "https:"), KEY) as rest:
            error = await failure(rest.delete("/file-1"))
    assert (error.kind, error.code) == (Kind.UNREACHABLE, "ConnectionTimeoutError")


def lines() -> Iterator[bytes]:
    """Yield headers without end."""
    return (b"X-%d: y\r\n" % number * 100 for number in count())


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (OK, lines),
        (OK + b"X: ", partial(repeat, b"x" * 65536)),
        (b"HTTP/1.1 200 ", blanks),
        (b"", blanks),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", lines),
    ],
    ids=["headers", "one-header", "status-line", "nothing", "trailers"],
)
async def test_headers_without_end_are_cut_off(head: bytes, pieces: Callable[[], Iterable[bytes]]) -> None:
    """The library bounds them; what it raises is sorted like any lost connection."""
    assert (await ended(sending(head, pieces, chunked=False), _survey)).kind is Kind.UNREACHABLE


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (b"", lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", blanks),
        (OK + b"X: ", blanks),
    ],
    ids=["continue", "chunk-extension", "blank-header"],
)
async def test_what_is_no_answer_ends_with_the_time_of_its_request(
    head: bytes, pieces: Callable[[], Iterable[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something comes all the time, and takes no memory: half a minute is the end of it (here, half a second)."""
    hurry(monkeypatch)
    assert (await ended(sending(head, pieces, chunked=False), _survey)).kind is Kind.UNREACHABLE


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every request half a second for everything."""
    patient = rest_http.manner_of

    def manner(method: str, path: str) -> rest_http.Manner:
        known = patient(method, path)
        return rest_http.Manner(known.bucket, known.urgency, 0.5, known.silence)

    monkeypatch.setattr(rest_http, "manner_of", manner)


@pytest.mark.parametrize("ask", [_survey, _fetch, _delete])
async def test_an_answer_that_drips_ends_with_the_time_of_its_request(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never silent for long, and never whole."""
    hurry(monkeypatch)

    async def drip(stream: SocketStream) -> None:
        await read_head(stream)
        await stream.send(OK + b"Content-Length: 1000000\r\n\r\n")
        while True:
            await stream.send(b" ")
            await anyio.sleep(0.05)

    assert (await ended(drip, ask)).kind is Kind.UNREACHABLE


@pytest.mark.parametrize("early", [True, False])
async def test_an_answer_to_an_upload_that_never_ends_is_given_up(early: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it begins after the recording or before it; the watchdog is not put off by its dripping."""
    monkeypatch.setattr(rest_upload, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(rest_upload, "STALL_SECONDS", 0.5)

    async def drip(stream: SocketStream) -> None:
        _, headers, begun = await read_head(stream)
        if not early:
            await read_body(stream, headers, begun)
        await stream.send(b"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await stream.send(b" ")
            await anyio.sleep(0.05)

    assert (await ended(drip, _submit)).kind in (Kind.UNREACHABLE, Kind.UNCERTAIN)


def many(begin: bytes, value: bytes, times: int) -> bytes:
    """Return an object with one long list."""
    return begin + b",".join([value] * times) + b"]}"


BIG = {
    "list": (_survey, many(b'{"next_page_cursor":null,"files":[', b"{}", 3_000_000)),
    "list-just-small-enough": (_survey, many(b'{"next_page_cursor":null,"files":[', b'{"a":"","b":""}', 650_000)),
    "numbers-just-few-enough": (_survey, many(b'{"files":[', b"1", 3_900_000)),
    "tokens": (_fetch, many(b'{"tokens":[', b'{"text":""}', 1_500_000)),
    "brackets-just-few-enough": (_fetch, many(b'{"tokens":[', b"[]", 690_000)),
}


@pytest.mark.parametrize(("ask", "body"), BIG.values(), ids=BIG)
async def test_an_answer_of_millions_of_values_takes_little_memory(ask: Ask, body: bytes) -> None:
    """Each would take a hundred times its bytes; too many are not even parsed."""
    assert (await ended(sending(OK, lambda: [body]), ask)).kind in NOT_NOW


async def test_a_page_of_more_entries_than_were_asked_for_makes_no_sense() -> None:
    """Ten times as many are put up with."""
    for amount, kind in ((10_000, None), (10_001, Kind.UNREACHABLE)):
        script = Script()
        script.add("GET /files", files(*(a_file(number) for number in range(amount))))
        script.add("GET /transcriptions", transcriptions())
        script.add("GET /files/count", counted(amount))
        script.add("GET /transcriptions/count", counted(0))
        rest = service(script)
        if kind is None:
            assert len((await rest.survey()).objects) == amount
        else:
            assert (await failure(rest.survey())).kind is kind


async def test_a_list_whose_pages_never_end_is_left() -> None:
    """Ever new cursors: after many times what an account can hold the look ends, and is not complete."""
    pages = count(1)

    async def answer(request: httpx.Request) -> httpx.Response:
        assert next(pages) < 1000, "it would go on for ever"
        if request.url.path.endswith("/count"):
            return counted(0)
        page = files if "files" in request.url.path else transcriptions
        return page(cursor=f"c{next(pages)}")

    assert not (await service(answer).survey()).complete


@VERB
@pytest.mark.parametrize("status", [401, 500, 503])
async def test_a_refusal_of_ten_megabytes_is_cut_and_stops_nothing(status: int, ask: Ask) -> None:
    """What is cut has not the service's form, so of the 4xx it is a page; whether it had it, another, or none."""
    head = f"HTTP/1.1 {status} X\r\n".encode()
    words = b'{"status_code":1,"error_type":"x","request_id":"1","message":"' + b"m" * 10 * MIB + b'"}'
    for body in (words, b"m" * 10 * MIB):
        assert (await ended(sending(head, partial(iter, [body])), ask)).kind in NOT_NOW


@VERB
@pytest.mark.parametrize("status", [200, 201, 400, 500])
async def test_brackets_in_brackets_are_no_surprise(status: int, ask: Ask) -> None:
    """A parser's stack has an end; running into it is an answer that makes no sense."""
    script = Script()
    body = httpx.Response(status, content=b"[" * 100_000)
    job = "/transcriptions/job-1"
    for call in ("GET /files", "POST /files", f"DELETE {job}", f"GET {job}/transcript", f"GET {job}"):
        script.add(call, body)
    assert await failure(ask(service(script)))


@pytest.mark.parametrize("status", [401, 500, 503])
@pytest.mark.parametrize("piece", [b" " * 65536, b"[" * 65536])
async def test_a_refusal_without_end_is_cut_and_stops_nothing(status: int, piece: bytes) -> None:
    """A quarter of a megabyte of it is read, whatever it is."""
    handle = sending(f"HTTP/1.1 {status} X\r\n".encode(), partial(repeat, piece))
    assert (await ended(handle, _survey)).kind is Kind.UNREACHABLE


async def test_brackets_in_brackets_after_the_seal_are_uncertain() -> None:
    """It may have been accepted."""
    script = Script()
    script.add("POST /files", said(201, a_file()))
    script.add("POST /transcriptions", httpx.Response(201, content=b"[" * 100_000))
    assert (await failure(_submit(service(script)))).kind is Kind.UNCERTAIN


def test_the_hostile_answers_are_answers() -> None:
    """The tools of this file say what they mean to: a whole answer passes."""
    assert b"".join(zipped([b"a", b"b"])).startswith(b"\x1f\x8b")
    assert len(TWICE) < 10_000
    whole: Any = http(200, {})
    assert whole.startswith(OK[:12])
