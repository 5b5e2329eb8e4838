"""A page in place of the service: a hotel's network, a gateway, a firewall, a host that is another one.

It never has the form of the service's own refusals, so it is not the service that speaks: it is waited for, as in any
outage, whatever the number on the page.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from starlette.responses import HTMLResponse, Response

from batcher.cli.meter import why_waiting
from batcher.emulator import rest_face
from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.errors import AccountRefused, Kind
from batcher.model import Limits
from batcher.service import Verb
from batcher.service.grpc import open_grpc
from batcher.service.rest import open_rest
from batcher.service.rest_errors import OTHER, sort
from batcher.stages.poll import NEVER_REACHED_SECONDS
from batcher.store.reader import Counts
from tests.engine_bed import Bed
from tests.grpc_tools import failure as grpc_failure
from tests.rest_tools import KEY, Script, failure, listening, no_seal, read_head, said, sent, service
from tests.test_engine import AWAY, HOUR, at, folder

__all__ = ["folder"]  # the fixture

PAGE = "<html><head><title>No</title></head><body><h1>No</h1></body></html>"
NUMBERS = [400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 411, 417, 421, 431, 444, 451, 460, 499]
AS_MANY = pytest.mark.parametrize("status", [200, 401, 403, 451, 500])


def paged(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Have the gateway before the emulated service answer with this number."""

    def page(_status: int) -> Response:
        return HTMLResponse(PAGE, status)

    monkeypatch.setattr(rest_face, "gateway_response", page)


# What one means.


@pytest.mark.parametrize("status", NUMBERS)
def test_a_page_is_an_outage_whatever_its_number(status: int) -> None:
    """Nothing is refused by it, nothing is failed by it, and after the seal nothing is proven by it."""
    kinds = {verb: sort(status, OTHER, "Forbidden", verb) for verb in Verb}
    assert kinds.pop(Verb.SUBMIT_SEALED) is Kind.UNCERTAIN
    assert set(kinds.values()) == {Kind.UNREACHABLE}


def test_a_gateway_that_takes_no_body_so_large_fails_that_recording() -> None:
    """It would say so every time; of anything else that is asked it says nothing."""
    kinds = [sort(413, OTHER, "Request Entity Too Large", verb) for verb in Verb]
    assert kinds == [Kind.HOPELESS, Kind.UNCERTAIN, *[Kind.UNREACHABLE] * 3]


OTHERS_FORMS = [
    httpx.Response(403, text=PAGE),
    httpx.Response(403),
    httpx.Response(403, json={"message": "Forbidden"}),
    httpx.Response(403, json={"status_code": 403, "message": "Forbidden"}),
    httpx.Response(403, json={"error_code": 403, "error_message": "Forbidden"}),
    httpx.Response(403, json={"status_code": 403, "error_type": "", "message": "Forbidden"}),
    httpx.Response(403, json="Forbidden"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("answer", OTHERS_FORMS, ids=range(len(OTHERS_FORMS)))
async def test_what_has_not_the_services_form_is_a_page(answer: httpx.Response) -> None:
    """HTML, nothing at all, and the JSON of other gateways; it is told, and whose words they are not."""
    script = Script()
    for call in ("GET /files", "POST /files"):
        script.add(call, answer)
    rest = service(script)
    for ask in (rest.survey, lambda: rest.submit(sent(), no_seal)):
        error = await failure(ask())
        assert (error.kind, error.answered) == (Kind.UNREACHABLE, False)
        assert str(error).startswith("403: ")
        assert str(error).endswith("(not the service's own words)")


@pytest.mark.anyio
async def test_a_transcription_that_a_page_answers_is_uncertain_and_keeps_its_upload() -> None:
    """The service may have got it, and the page stand for its lost answer."""
    script = Script()
    script.add("POST /files", said(201, {"id": "file-1"}))
    script.add("POST /transcriptions", httpx.Response(403, text=PAGE))
    assert (await failure(service(script).submit(sent(), no_seal))).kind is Kind.UNCERTAIN
    assert script.seen == ["POST /files", "POST /transcriptions"]


# Nights.


@AS_MANY
def test_pages_all_night_are_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Few calls meanwhile, no job's failures counted, and as soon as the service is back all goes on."""
    paged(monkeypatch, status)
    bed = Bed(folder, *range(1_000, 1_040), api="rest")
    back = 8 * HOUR
    counted: list[object] = []
    shown: list[str] = []
    bed.trouble = lambda _call: AWAY if 20 <= anyio.current_time() < back else None

    async def watch(engine: Engine) -> None:
        await anyio.sleep_until(back - 1)
        counted.extend(bed.rows("SELECT max(failures) FROM job"))
        shown.append(why_waiting(Counts({}), engine.pulse()))

    assert bed.run(watch, limits=Limits(5, 10)) is None
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 40
    assert counted == [(0,)]
    assert shown[0].startswith(f"the service does not answer: {status}: ")
    assert sum(HOUR <= moment < back for moment, _ in bed.calls) <= 7 * 70


def test_a_page_in_the_place_of_an_answer_costs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first transcription was not made: it is looked for, and then sent again, once."""
    paged(monkeypatch, 403)
    bed = Bed(folder, 1_000, api="rest")
    left = [Fault(Trouble.REFUSED, "UNAVAILABLE")]
    bed.trouble = lambda call: left.pop() if call is Call.SUBMIT and left else None
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.rest.tally.accepted.total() == 1
    assert "uncertain" in [state for (state,) in bed.rows("SELECT target FROM history")]


@AS_MANY
def test_a_host_that_only_has_pages_is_told_after_two_minutes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It was never the service, so it is not waited for all night; nothing is failed for it."""
    paged(monkeypatch, status)
    bed = Bed(folder, *range(1_000, 1_005), api="rest")
    bed.trouble = lambda _call: AWAY
    stopped = bed.run()
    assert isinstance(stopped, AccountRefused)
    assert NEVER_REACHED_SECONDS <= bed.world.moment <= NEVER_REACHED_SECONDS + 65
    assert f"never reached in 120 seconds: {status}: " in str(stopped)
    assert ("(not the service's own words)" in str(stopped)) == (status // 100 == 4)
    assert "--host" in stopped.hint
    assert bed.states() == {"waiting": 5}


def test_a_key_revoked_in_the_middle_of_the_night_stops_it_at_once(folder: Path) -> None:
    """That is said in the service's own form."""
    bed = Bed(folder, *range(1_000, 1_030), api="rest")

    def revoke() -> None:
        bed.rest.revoked = True

    stopped = bed.run(at(5, revoke))
    assert isinstance(stopped, AccountRefused)
    assert "SONIOX_API_KEY" in stopped.hint
    assert bed.world.moment < 60


# Over real sockets.


def http1_page(status: int) -> bytes:
    """Return a page as a web server sends it."""
    return f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(PAGE)}\r\n\r\n{PAGE}".encode()


@pytest.mark.anyio
async def test_an_upload_that_a_page_cuts_short_left_nothing() -> None:
    """A gateway answers before it has read everything: nobody needs to look for what it took."""

    async def handle(stream: SocketStream) -> None:
        await read_head(stream)
        await stream.send(http1_page(403))

    class Slow:
        size = 3

        async def chunks(self) -> AsyncIterator[bytes]:
            yield b"ab"
            await anyio.sleep_forever()

    async with listening(handle) as host, open_rest(host, KEY, requests_per_minute=0) as rest:
        error = await failure(rest.submit(sent(Slow()), no_seal))
        assert (error.kind, error.loose) == (Kind.UNREACHABLE, False)


DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6  # HTTP/2's frames, and their flags:
END_STREAM = ACKNOWLEDGED = 1
END_HEADERS = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame as it goes over the wire."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: str, value: str) -> bytes:
    """Return a header that no table of the compression is needed for."""
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def http2_pages(status: int) -> Callable[[SocketStream], Awaitable[None]]:
    """Return a server that answers every HTTP/2 request with a page."""
    head = header(":status", str(status)) + header("content-type", "text/html")

    async def pages(stream: SocketStream) -> None:
        wire = BufferedByteReceiveStream(stream)
        await wire.receive_exactly(24)  # what every client begins with
        await stream.send(frame(SETTINGS, 0, 0))
        while True:
            front = await wire.receive_exactly(9)
            payload = await wire.receive_exactly(int.from_bytes(front[:3], "big"))
            kind, flags, number = front[3], front[4], int.from_bytes(front[5:], "big")
            if kind == SETTINGS and not flags & ACKNOWLEDGED:
                await stream.send(frame(SETTINGS, ACKNOWLEDGED, 0))
            elif kind == PING and not flags & ACKNOWLEDGED:
                await stream.send(frame(PING, ACKNOWLEDGED, 0, payload))
            elif kind == HEADERS:
                page = frame(DATA, END_STREAM, number, PAGE.encode())
                await stream.send(frame(HEADERS, END_HEADERS, number, head) + page)

    async def handle(stream: SocketStream) -> None:
        with suppress(anyio.IncompleteRead):  # until the client goes
            await pages(stream)

    return handle


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 429, 451, 502])
async def test_a_page_over_grpc_is_an_outage_too(status: int) -> None:
    """The library makes a code of its number, and says so; the service has refused nobody."""
    async with listening(http2_pages(status)) as host, open_grpc(host, KEY) as legacy:
        error = await grpc_failure(legacy.survey())
        assert (error.kind, error.answered) == (Kind.UNREACHABLE, False)
        assert str(error).endswith(f"Received http2 header with status: {status}")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 401, 403, 404])
async def test_a_web_server_that_knows_no_grpc_is_an_outage(status: int) -> None:
    """It speaks an older HTTP, at which grpc ends the connection."""

    async def handle(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(http1_page(status))

    async with listening(handle) as host, open_grpc(host, KEY) as legacy:
        assert (await grpc_failure(legacy.survey())).kind is Kind.UNREACHABLE
