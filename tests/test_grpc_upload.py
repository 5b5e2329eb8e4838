"""The upload through the legacy API: in order, sealed in time, and never in doubt without need."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from batcher.errors import Kind, SourceError
from batcher.service import Service
from batcher.service import grpc as implementation
from batcher.service.grpc import open_grpc
from batcher.service.stubs import speech_service_pb2 as pb
from tests.grpc_tools import KEY, Fake, Requests, Sealing, Tape, aborting, failure, sent, serving

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


async def test_an_upload_is_what_the_service_expects(fake: Fake, service: Service) -> None:
    """Everything but audio first, then audio alone, then the end mark alone; and it is closed."""
    assert await service.submit(sent(dictation=True), Sealing()) == "17"
    first, *audio, last = fake.uploaded
    assert (first.api_key, first.reference_name, first.enable_eof, first.audio) == (KEY, "label", True, b"")
    assert (first.config.enable_dictation, first.config.client_request_reference) == (True, "label")
    assert audio == [pb.TranscribeAsyncRequest(audio=bytes(1000))] * 3
    assert last == pb.TranscribeAsyncRequest(eof=True)
    assert fake.ended.is_set()


async def test_a_large_upload_arrives_whole(fake: Fake, service: Service) -> None:
    """Every byte of many chunks."""
    await service.submit(sent(Tape(20_000_000, 256 * 1024)), Sealing())
    audio = b"".join(request.audio for request in fake.uploaded)
    assert hashlib.sha256(audio).digest() == hashlib.sha256(bytes(20_000_000)).digest()


async def test_the_end_mark_waits_for_the_seal(fake: Fake, service: Service) -> None:
    """When the seal is made all the audio is on its way, and the service gets no more until it is made."""
    arrived: list[bool] = []

    async def look() -> None:
        await fake.got(4)
        await service.survey()  # a round trip on the same connection, behind all that was sent
        arrived.extend(request.eof for request in fake.uploaded)

    await service.submit(sent(), Sealing(look))
    assert arrived == [False] * 4
    assert fake.uploaded[-1].eof


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT])
@pytest.mark.parametrize("after", [1, 20])
async def test_an_early_refusal_keeps_its_code_and_is_not_sealed(
    fake: Fake, service: Service, code: grpc.StatusCode, after: int
) -> None:
    """However the refusal meets the audio on its way; the recording is read no further."""
    fake.upload = aborting(code, "no", after)
    for _ in range(25):
        tape, seal = Tape(20_000_000, 64 * 1024), Sealing()
        error = await failure(service.submit(sent(tape), seal))
        assert (error.code, error.kind is Kind.UNCERTAIN, seal.count, tape.closed) == (code.name, False, 0, True)


async def test_a_refusal_that_came_while_the_recording_was_read_is_not_sealed(fake: Fake, service: Service) -> None:
    """Also when no message was on its way to meet it."""
    refusing = anyio.Event()

    class Slow(Tape):
        async def chunks(self) -> AsyncIterator[bytes]:
            await refusing.wait()
            await service.survey()  # its answers follow the refusal on the same connection
            await service.survey()
            for _ in range(self.size):
                yield b""

    async def refuse(requests: Requests, context: Any) -> None:
        await anext(aiter(requests))
        refusing.set()
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    fake.upload, seal = refuse, Sealing()
    assert (await failure(service.submit(sent(Slow(0)), seal))).kind is Kind.FULL
    assert seal.count == 0


async def test_a_refusal_after_the_seal_is_believed(fake: Fake, service: Service) -> None:
    """A full account after all the bytes is still just full."""
    fake.upload, seal = aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, "full"), Sealing()
    error = await failure(service.submit(sent(), seal))
    assert (error.kind, error.code, str(error), seal.count) == (
        Kind.FULL,
        "RESOURCE_EXHAUSTED",
        "RESOURCE_EXHAUSTED: full",
        1,
    )


async def test_a_lost_answer_is_uncertain_and_nothing_is_sent_twice(fake: Fake, service: Service) -> None:
    """The service stored it and then failed; neither we nor grpc try again."""
    fake.upload = aborting(grpc.StatusCode.UNAVAILABLE)
    assert (await failure(service.submit(sent(), Sealing()))).kind is Kind.UNCERTAIN
    assert fake.calls["upload"] == 1


@pytest.mark.parametrize("error", [SourceError("the disk is broken"), ValueError("a bug")])
async def test_an_error_of_the_recording_comes_out_and_nothing_is_accepted(
    fake: Fake, service: Service, error: Exception
) -> None:
    """The very object; and the service, which has all of it, never gets the end mark."""

    async def fail() -> None:
        await fake.got(4)
        raise error

    seal = Sealing()
    with pytest.raises(type(error)) as caught:
        await service.submit(sent(Tape(then=fail)), seal)
    await fake.ended.wait()
    assert caught.value is error
    assert seal.count == 0
    assert not any(request.eof for request in fake.uploaded)


async def test_an_error_of_the_seal_comes_out_and_nothing_is_accepted(fake: Fake, service: Service) -> None:
    """Without the record there is no end mark."""

    async def fail() -> None:
        await fake.got(4)
        raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        await service.submit(sent(), Sealing(fail))
    await fake.ended.wait()
    assert not any(request.eof for request in fake.uploaded)


async def test_an_answer_before_the_end_is_no_success(fake: Fake, service: Service) -> None:
    """What the service stored is not the recording; sending it again could be billed again."""

    async def hasty(requests: Requests, _context: Any) -> pb.TranscribeAsyncResponse:
        await anext(aiter(requests))
        return pb.TranscribeAsyncResponse(file_id="17")

    fake.upload, seal = hasty, Sealing()
    error = await failure(service.submit(sent(Tape(50_000_000, 256 * 1024)), seal))
    assert (error.kind, seal.count) == (Kind.HOPELESS, 0)


async def test_an_answer_without_an_id_is_uncertain(fake: Fake, service: Service) -> None:
    """Something was accepted, but nobody knows what."""

    async def vague(requests: Requests, context: Any) -> pb.TranscribeAsyncResponse:
        await fake.accept(requests, context)
        return pb.TranscribeAsyncResponse()

    fake.upload = vague
    assert (await failure(service.submit(sent(), Sealing()))).kind is Kind.UNCERTAIN


async def test_an_upload_that_comes_to_a_standstill_ends(
    fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the seal nothing was accepted, and the service is taken to be away."""
    monkeypatch.setattr(implementation, "STALL_SECONDS", 0.2)
    fake.upload, seal = fake.hang, Sealing()
    tape = Tape(50_000_000, 256 * 1024)
    error = await failure(service.submit(sent(tape), seal))
    await fake.ended.wait()
    assert (error.kind, seal.count, tape.closed) == (Kind.UNREACHABLE, 0, True)


async def test_an_answer_that_never_comes_is_uncertain(
    fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the seal the wait is longer, and then nobody knows."""
    monkeypatch.setattr(implementation, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(implementation, "SEALED_SECONDS", 0.4)
    fake.upload = fake.hang

    async def slow() -> None:  # the seal itself has all the time it needs
        await anyio.sleep(0.3)

    assert (await failure(service.submit(sent(), Sealing(slow)))).kind is Kind.UNCERTAIN


@pytest.mark.parametrize("moment", ["audio", "answer"])
async def test_a_cancellation_from_outside_comes_out(fake: Fake, service: Service, moment: str) -> None:
    """As such, and the service sees it."""
    reached = anyio.Event()

    async def waiting(requests: Requests, _context: Any) -> None:
        async for request in requests:
            if moment == "audio" or request.eof:
                reached.set()
                await anyio.sleep_forever()

    fake.upload = waiting
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(service.submit, sent(Tape(50_000_000 if moment == "audio" else 10)), Sealing())
            await reached.wait()
            scope.cancel()
    await fake.ended.wait()
    assert scope.cancelled_caught
