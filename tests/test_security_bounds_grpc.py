"""A legacy service that never comes to an end: bounded in time and memory, and always an error of the seam."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from batcher.errors import Kind, ServiceError
from batcher.service import Service
from batcher.service import grpc as implementation
from batcher.service.grpc import open_grpc
from batcher.service.grpc_messages import MAX_CHANNELS, MAX_FILES, Fold, survey
from batcher.service.stubs import speech_service_pb2 as pb
from tests.grpc_tools import KEY, Behaviour, Fake, Sealing, aborting, failure, running, sent, serving
from tests.hostile import Peak

pytestmark = pytest.mark.anyio

SECONDS = 30  #: for what takes one or two, when the machine has other things to do
MEGABYTES = 300
MIB = 1024 * 1024
HUGE = "y" * 10 * MIB


@pytest.fixture
def fake() -> Fake:
    """Return a server that accepts everything."""
    return Fake()


@pytest.fixture
async def service(fake: Fake) -> AsyncIterator[Service]:
    """Yield the implementation, connected to `fake`."""
    async with serving(fake) as port, open_grpc(f"http://127.0.0.1:{port}", KEY) as opened:
        yield opened


def streaming(message: pb.GetTranscribeAsyncResultResponse, *, channels: bool = False) -> Behaviour:
    """Return a behaviour that writes a message again and again, each time for another channel if asked to."""

    async def behave(_request: Any, context: Any) -> None:
        while True:
            await context.write(message)
            message.result.channel += channels

    return behave


def result(words: int = 0, *, final: bool = True, **more: Any) -> pb.GetTranscribeAsyncResultResponse:
    """Return one message of a result."""
    body = {"words": [{"text": "word", "is_final": final}] * words}
    return pb.GetTranscribeAsyncResultResponse(result=body, **more)


async def fetched(fake: Fake, service: Service, behaviour: Behaviour) -> ServiceError:
    """Return the error that a fetch ends with; check what it took, and that the call is over."""
    fake.answer = behaviour
    with Peak() as peak, anyio.fail_after(SECONDS):
        error = await failure(service.fetch("1"))
        await fake.ended.wait()
    assert peak.megabytes < MEGABYTES
    return error


@pytest.mark.parametrize("final", [True, False])
async def test_words_without_end_are_cut_off(
    final: bool, fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that a later message takes back count like all others (the real bound is two millions)."""
    monkeypatch.setattr(implementation, "Fold", partial(Fold, max_words=20_000))
    error = await fetched(fake, service, streaming(result(1000, final=final)))
    assert (error.kind, "larger than 20000 words" in str(error)) == (Kind.HOPELESS, True)


async def test_messages_without_words_end_with_the_time_of_a_fetch(
    fake: Fake, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take no memory, and are never silent: a quarter of an hour is the end of it (here, half a second)."""
    monkeypatch.setattr(implementation, "FETCH_SECONDS", 0.5)
    error = await fetched(fake, service, streaming(result()))
    assert (error.kind, error.code) == (Kind.UNREACHABLE, "DEADLINE_EXCEEDED")


async def test_channels_without_end_make_no_sense(fake: Fake, service: Service) -> None:
    """Each would be kept, however little is said in it."""
    behaviour = streaming(result(separate_recognition_per_channel=True), channels=True)
    error = await fetched(fake, service, behaviour)
    assert (error.kind, f"more than {MAX_CHANNELS} channels" in str(error)) == (Kind.LATER, True)


def test_a_list_of_more_files_than_there_can_be_makes_no_sense() -> None:
    """What is made of an entry takes a hundred times its two bytes on the wire."""
    entry = pb.TranscribeAsyncFileStatus(file_id="1")
    assert len(survey([entry] * MAX_FILES).objects) == MAX_FILES
    with pytest.raises(ServiceError) as caught:
        survey([entry] * (MAX_FILES + 1))
    assert caught.value.kind is Kind.LATER


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_giant_answer_is_not_read(compression: grpc.Compression) -> None:
    """Neither as it is nor compressed to a few kilobytes: its real size counts."""
    giant = pb.GetTranscribeAsyncStatusResponse(files=[{"error_message": "x" * 60 * MIB}]).SerializeToString()

    async def answer(*_: Any) -> bytes:
        return giant

    server = grpc.aio.server(compression=compression)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetTranscribeAsyncStatus": grpc.unary_unary_rpc_method_handler(answer)
    }
    name = "soniox.speech_service.SpeechService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    with Peak() as peak, anyio.fail_after(SECONDS):
        async with running(server), open_grpc(f"http://127.0.0.1:{port}", KEY) as service:
            error = await failure(service.survey())
    assert (error.kind, "larger than max" in str(error)) == (Kind.STOP, True)
    assert peak.megabytes < MEGABYTES


async def test_a_reason_of_ten_megabytes_is_not_repeated(fake: Fake, service: Service) -> None:
    """Before anything was accepted: try again, whatever it says."""
    fake.upload = fake.answer = aborting(grpc.StatusCode.INTERNAL, HUGE)
    with Peak() as peak, anyio.fail_after(SECONDS):
        for awaitable in (service.survey(), service.fetch("1"), service.delete("1")):
            error = await failure(awaitable)
            assert error.kind is Kind.LATER
            assert len(str(error)) < 700
    assert peak.megabytes < MEGABYTES


async def test_a_reason_too_long_for_grpc_leaves_a_sealed_upload_uncertain(fake: Fake, service: Service) -> None:
    """Its code is lost with it: the service may have accepted the upload, and then it must not be sent again."""
    fake.upload = aborting(grpc.StatusCode.UNAVAILABLE, HUGE)
    assert (await failure(service.submit(sent(), Sealing()))).kind is Kind.UNCERTAIN


async def test_what_failed_for_ten_megabytes_of_reasons_keeps_a_line_of_it(fake: Fake, service: Service) -> None:
    """The table would keep it for every job."""

    async def failed(_request: Any, _context: Any) -> Any:
        return pb.GetTranscribeAsyncStatusResponse(files=[{"file_id": "1", "status": "FAILED", "error_message": HUGE}])

    fake.answer = failed
    [seen] = (await service.survey()).objects
    assert len(seen.error) == 500
