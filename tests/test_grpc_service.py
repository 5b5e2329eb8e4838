"""What the legacy API's implementation lists, fetches and deletes, and what it never says."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from batcher.errors import Kind
from batcher.service import Service
from batcher.service import grpc as implementation
from batcher.service.grpc import open_grpc
from batcher.service.stubs import speech_service_pb2 as pb
from tests.grpc_tools import KEY, Fake, Sealing, Tape, aborting, failure, running, sent, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def fake() -> Fake:
    """Return a server that accepts everything."""
    return Fake()


@pytest.fixture
async def service(fake: Fake) -> AsyncIterator[Service]:
    """Yield the implementation, connected to `fake`."""
    async with serving(fake) as port, open_grpc(f"http://127.0.0.1:{port}", KEY) as opened:
        yield opened


async def test_a_connection_closed_under_a_call_is_an_error(fake: Fake) -> None:
    """A cancellation that nobody asked for would end the task without a word."""
    kinds: list[Kind] = []
    seal = Sealing()
    fake.upload = fake.answer = fake.hang

    async def note(awaitable: Awaitable[Any]) -> None:
        kinds.append((await failure(awaitable)).kind)

    async with AsyncExitStack() as stack, anyio.create_task_group() as group:
        port = await stack.enter_async_context(serving(fake))
        opened = open_grpc(f"http://127.0.0.1:{port}", KEY)
        service = await opened.__aenter__()
        for awaitable in (
            service.submit(sent(Tape(50_000_000)), Sealing()),
            service.submit(sent(), seal),
            service.survey(),
            service.fetch("1"),
            service.delete("1"),
        ):
            group.start_soon(note, awaitable)
        while fake.calls.total() < 5 or not seal.count:
            await anyio.lowlevel.checkpoint()
        await opened.__aexit__(None, None, None)
    assert Counter(kinds) == {Kind.LATER: 4, Kind.UNCERTAIN: 1}


async def test_a_service_that_is_not_there_is_unreachable() -> None:
    """For every verb."""
    async with serving(Fake()) as port:
        pass
    async with open_grpc(f"http://127.0.0.1:{port}", KEY) as service:
        seal = Sealing()
        for awaitable in (service.submit(sent(), seal), service.survey(), service.fetch("1"), service.delete("1")):
            assert (await failure(awaitable)).kind is Kind.UNREACHABLE
        assert seal.count == 0


async def test_one_call_lists_everything(fake: Fake, service: Service) -> None:
    """It names no file, and a list far above grpc's usual bound is read."""

    async def many(request: Any, _context: Any) -> Any:
        assert request == pb.GetTranscribeAsyncStatusRequest(api_key=KEY)
        entry = {"status": "COMPLETED", "reference_name": "x" * 256, "error_message": "y" * 10_000}
        return pb.GetTranscribeAsyncStatusResponse(files=[{"file_id": str(i), **entry} for i in range(2000)])

    fake.answer = many
    assert len((await service.survey()).objects) == 2000
    assert fake.calls == {"status": 1}


async def test_an_answer_that_cannot_be_read_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no message: unknown, never empty."""
    caplog.set_level(logging.CRITICAL + 1, "grpc")

    async def garbage(*_: Any) -> bytes:
        return b"\xff\xff\xff"

    async def garbage_stream(*_: Any) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "TranscribeAsync": grpc.stream_unary_rpc_method_handler(garbage),
        "GetTranscribeAsyncStatus": grpc.unary_unary_rpc_method_handler(garbage),
        "GetTranscribeAsyncResult": grpc.unary_stream_rpc_method_handler(garbage_stream),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("soniox.speech_service.SpeechService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    async with running(server), open_grpc(f"http://127.0.0.1:{port}", KEY) as service:
        for awaitable in (service.survey(), service.fetch("1")):
            assert (await failure(awaitable)).kind is Kind.LATER
        assert (await failure(service.submit(sent(Tape(0)), Sealing()))).kind in {Kind.UNCERTAIN, Kind.HOPELESS}


def result(text: str) -> pb.GetTranscribeAsyncResultResponse:
    """Return one message of a result."""
    return pb.GetTranscribeAsyncResultResponse(result={"words": [{"text": text, "is_final": True}]})


async def test_a_result_is_folded_from_all_its_messages(fake: Fake, service: Service) -> None:
    """The messages of one id."""

    async def stream(request: Any, context: Any) -> None:
        assert (request.api_key, request.file_id) == (KEY, "17")
        for text in ("one", " ", "two"):
            await context.write(result(text))

    fake.answer = stream
    assert (await service.fetch("17")).text == "one two"


async def test_a_result_that_breaks_off_is_no_transcript(fake: Fake, service: Service) -> None:
    """What came is a transcript cut short, and looks like a whole one."""

    async def broken(_request: Any, context: Any) -> None:
        await context.write(result("one"))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "restart")

    fake.answer = broken
    assert (await failure(service.fetch("17"))).kind is Kind.UNREACHABLE


async def test_a_result_that_comes_to_a_standstill_ends(
    fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is taken to be away."""
    monkeypatch.setattr(implementation, "IDLE_SECONDS", 0.2)

    async def stalling(request: Any, context: Any) -> None:
        await context.write(result("one"))
        await fake.hang()

    fake.answer = stalling
    assert (await failure(service.fetch("17"))).kind is Kind.UNREACHABLE
    await fake.ended.wait()


async def test_a_result_that_keeps_coming_may_take_its_time(
    fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only silence counts, not the whole length."""
    monkeypatch.setattr(implementation, "IDLE_SECONDS", 0.4)

    async def slow(_request: Any, context: Any) -> None:
        for text in ("one", " ", "two"):
            await anyio.sleep(0.2)
            await context.write(result(text))

    fake.answer = slow
    assert (await service.fetch("17")).text == "one two"


async def test_a_listing_that_never_answers_ends(fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call has a deadline of its own."""
    monkeypatch.setattr(implementation, "UNARY_SECONDS", 0.2)
    fake.answer = fake.hang
    for awaitable in (service.survey(), service.delete("17")):
        error = await failure(awaitable)
        assert (error.kind, error.code) == (Kind.UNREACHABLE, "DEADLINE_EXCEEDED")


async def test_a_delete_of_what_is_gone_succeeds(fake: Fake, service: Service) -> None:
    """What is still being transcribed is not ready; the id is the one asked for."""
    fake.answer = aborting(grpc.StatusCode.NOT_FOUND)
    await service.delete("17")
    fake.answer = aborting(grpc.StatusCode.FAILED_PRECONDITION)
    assert (await failure(service.delete("17"))).kind is Kind.NOT_READY

    async def deleted(request: Any, _context: Any) -> Any:
        assert (request.api_key, request.file_id) == (KEY, "17")
        return pb.DeleteTranscribeAsyncFileResponse()

    fake.answer = deleted
    await service.delete("17")


async def test_an_id_that_the_other_api_gave_is_gone_where_it_is_refused(fake: Fake, service: Service) -> None:
    """Nothing is here by it. An id of this API's own that is refused is not taken for gone."""
    fake.answer = aborting(grpc.StatusCode.INVALID_ARGUMENT, "not a file id")
    await service.delete("0f4300f1-3fc3-4282-9740-8c0494b061b4/")
    assert (await failure(service.delete("17"))).kind is Kind.HOPELESS
    fake.answer = aborting(grpc.StatusCode.UNAVAILABLE)
    assert (await failure(service.delete("0f4300f1-3fc3-4282-9740-8c0494b061b4/"))).kind is Kind.UNREACHABLE


@pytest.mark.parametrize("verb", ["fetch", "delete"])
async def test_no_id_never_means_every_file(service: Service, verb: str) -> None:
    """To the service an empty id is all of them."""
    with pytest.raises(AssertionError):
        await getattr(service, verb)("")


async def test_the_key_never_shows(fake: Fake, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the service's own words, not in a representation, not in the chain of an error, not in a log."""
    caplog.set_level(logging.DEBUG)
    fake.upload = fake.answer = aborting(grpc.StatusCode.UNAUTHENTICATED, f"bad key {KEY} {'x' * 5000}")
    for awaitable in (service.submit(sent(), Sealing()), service.survey(), service.fetch("1"), service.delete("1")):
        error = await failure(awaitable)
        assert (error.kind, "SONIOX_API_KEY" in error.hint) == (Kind.STOP, True)
        assert str(error).startswith("UNAUTHENTICATED: bad key <key> x")
        assert len(str(error)) < 600
        assert (error.__cause__, error.__context__) == (None, None)
    assert KEY not in repr(service) + repr(vars(service)) + caplog.text
