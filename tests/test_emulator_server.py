"""The emulator on the wire: what only its gRPC face and its server do."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from batcher.emulator.knobs import Knobs
from batcher.emulator.server import EmulatorSettings, RecognizerName, Running, serve
from batcher.errors import UsageError
from batcher.service.stubs import speech_service_pb2 as pb
from batcher.service.stubs import speech_service_pb2_grpc as rpc
from tests.emulator_tools import HandClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Run an emulator whose clock stands still."""
    async with serve(EmulatorSettings(), clock=HandClock()) as emulator:
        yield emulator


@asynccontextmanager
async def connected(running: Running) -> AsyncIterator[rpc.SpeechServiceStub]:
    """Yield bare stubs connected to an emulator."""
    async with grpc.aio.insecure_channel(running.grpc_url.removeprefix("http://")) as channel:
        yield rpc.SpeechServiceStub(channel)  # type: ignore[no-untyped-call]  # generated code


@pytest.fixture
async def stub(running: Running) -> AsyncIterator[rpc.SpeechServiceStub]:
    """Return bare stubs connected to the emulator."""
    async with connected(running) as stub:
        yield stub


def upload(*, key: str = "key", enable_eof: bool = True, eof: bool = True) -> Iterator[pb.TranscribeAsyncRequest]:
    """Yield the messages of an upload."""
    yield pb.TranscribeAsyncRequest(api_key=key, reference_name="r", enable_eof=enable_eof)
    yield pb.TranscribeAsyncRequest(audio=b"some ")
    yield pb.TranscribeAsyncRequest(audio=b"audio")
    if eof:
        yield pb.TranscribeAsyncRequest(eof=True)


async def test_a_stream_that_ends_without_its_mark_creates_nothing(
    stub: rpc.SpeechServiceStub, running: Running
) -> None:
    """A dying client is told from one that has finished."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.TranscribeAsync(upload(eof=False))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert running.core.account("key").stored == 0


async def test_an_old_client_sends_no_end_mark(stub: rpc.SpeechServiceStub, running: Running) -> None:
    """One that never said it would is finished when its stream ends."""
    await stub.TranscribeAsync(upload(enable_eof=False, eof=False))
    [file] = running.core.account("key").files
    assert file.audio.size == 10


async def test_a_stream_without_messages_has_no_key(stub: rpc.SpeechServiceStub) -> None:
    """It is refused like any other call without one."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.TranscribeAsync(iter(()))
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_status_of_one_file_and_of_an_unknown_one(stub: rpc.SpeechServiceStub) -> None:
    """One entry, with the documented words; NOT_FOUND for an id nobody gave."""
    answer = await stub.TranscribeAsync(upload())
    status = await stub.GetTranscribeAsyncStatus(
        pb.GetTranscribeAsyncStatusRequest(api_key="key", file_id=answer.file_id)
    )
    assert [(file.file_id, file.reference_name, file.status) for file in status.files] == [
        (answer.file_id, "r", "QUEUED")
    ]
    assert answer.file_id.isdecimal()
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetTranscribeAsyncStatus(pb.GetTranscribeAsyncStatusRequest(api_key="key", file_id="0"))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_document_comes_with_the_first_message_only() -> None:
    """As the legacy client expects; the metadata say that blanks are words of their own."""
    knobs = Knobs(queue_ms=0, min_work_ms=0, max_work_ms=0, words_per_message=5)
    async with serve(EmulatorSettings(knobs=knobs)) as running, connected(running) as stub:
        config = pb.TranscriptionConfig(document_formatting_config=pb.DocumentFormattingConfig(config_json="{}"))
        first = pb.TranscribeAsyncRequest(api_key="key", config=config)
        answer = await stub.TranscribeAsync(iter([first, pb.TranscribeAsyncRequest(audio=b"x")]))
        request = pb.GetTranscribeAsyncResultRequest(api_key="key", file_id=answer.file_id)
        messages = [message async for message in stub.GetTranscribeAsyncResult(request)]
    assert len(messages) > 2
    assert [message.HasField("document") for message in messages] == [True] + [False] * (len(messages) - 1)
    assert all(message.metadata.explicit_space for message in messages)


async def test_faults_of_the_settings_reach_the_wire() -> None:
    """A plan that loses every answer after the effect leaves one file per upload, and counts what it did."""
    settings = EmulatorSettings(faults="submit.lost-after=1")
    async with serve(settings, clock=HandClock()) as running, connected(running) as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.TranscribeAsync(upload())
        account = running.core.account("key")
        assert account.stored == 1
        assert account.tally.injected == {"submit.lost-after": 1}


async def test_a_port_that_is_taken_is_said(running: Running) -> None:
    """Two emulators never share one."""
    port = int(running.grpc_url.rpartition(":")[2])
    with pytest.raises(UsageError, match=f"127.0.0.1:{port}"):
        async with serve(EmulatorSettings(port=port)):
            pass


async def test_faults_that_make_no_sense_are_said_before_anything_listens() -> None:
    """The error is the one of the fault plan."""
    with pytest.raises(UsageError, match="--faults"):
        async with serve(EmulatorSettings(faults="chaos")):
            pass


async def test_an_emulator_with_whisper_starts_without_loading_its_model() -> None:
    """It listens at once; the model is loaded when the first recording comes."""
    async with serve(EmulatorSettings(recognizer=RecognizerName.WHISPER)) as running:
        assert running.grpc_url.startswith("http://127.0.0.1:")
