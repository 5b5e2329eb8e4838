"""The legacy gRPC API in front of the core: four RPCs, a refusal becomes the status of the call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import grpc
import grpc.aio

from batcher.emulator import faults
from batcher.emulator.core import Core
from batcher.emulator.faults import Fault, Plan
from batcher.emulator.grpc_messages import config_from, file_status, result_messages
from batcher.emulator.objects import Refusal
from batcher.emulator.tally import Call
from batcher.service.stubs import speech_service_pb2 as pb
from batcher.service.stubs import speech_service_pb2_grpc as rpc

MESSAGE_BYTES = 6 * 1024 * 1024  #: the official client's own limit, each way
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # two emulators on one port would share its clients
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # clients that ping in long silences are welcome
)

_Requests = AsyncIterator[pb.TranscribeAsyncRequest]
_Context = grpc.aio.ServicerContext[object, object]


class GrpcFace(rpc.SpeechServiceServicer):
    """Serves a core; `plan` says what goes wrong on the way."""

    def __init__(self, core: Core, plan: Plan) -> None:
        self._core = core
        self._plan = plan

    async def TranscribeAsync(  # noqa: N802 - the name of the RPC
        self, request_iterator: _Requests, context: _Context
    ) -> pb.TranscribeAsyncResponse:
        """Take an upload: the first message says whose and how, the others bring the audio."""
        async with _refusing(context):
            requests = aiter(request_iterator)
            first = await anext(requests, pb.TranscribeAsyncRequest())
            account, fault = self._core.enter(first.api_key), self._fault(Call.SUBMIT, first.api_key)
            faults.opening(fault)
            with account.upload(first.reference_name, config_from(first.config)) as upload:
                upload.add(first.audio)
                eof, count = first.eof, 0
                while not eof and (request := await anext(requests, None)) is not None:
                    faults.passing(fault, count)
                    upload.add(request.audio)
                    eof, count = request.eof, count + 1
                if first.enable_eof and not eof:
                    raise Refusal("INVALID_ARGUMENT", "The stream ended without its end mark.")
                faults.passed(fault)
                faults.before_effect(fault)
                self._core.enter(first.api_key)  # a key may be revoked while the bytes travel
                file = upload.accept(hidden_ms=faults.hidden_ms(fault))
            await _answer(fault)
        return pb.TranscribeAsyncResponse(file_id=file.id)

    async def GetTranscribeAsyncStatus(  # noqa: N802 - the name of the RPC
        self, request: pb.GetTranscribeAsyncStatusRequest, context: _Context
    ) -> pb.GetTranscribeAsyncStatusResponse:
        """Tell the status of one file, or of all when no id is given."""
        async with _refusing(context):
            account = self._core.enter(request.api_key)
            fault = self._begin(Call.STATUS if request.file_id else Call.SURVEY, request.api_key)
            seen = account.status(request.file_id) if request.file_id else faults.survey(account, fault)
            await _answer(fault)
        return pb.GetTranscribeAsyncStatusResponse(files=[file_status(each) for each in seen])

    async def GetTranscribeAsyncResult(  # noqa: N802 - the name of the RPC
        self, request: pb.GetTranscribeAsyncResultRequest, context: _Context
    ) -> AsyncIterator[pb.GetTranscribeAsyncResultResponse]:
        """Stream the result of a completed file."""
        async with _refusing(context):
            account = self._core.enter(request.api_key)
            fault = self._begin(Call.FETCH, request.api_key)
            file, transcript = account.fetch(request.file_id)
            separate = file.config.separate_channels
            for count, message in enumerate(result_messages(transcript, self._core.knobs, separate=separate)):
                faults.passing(fault, count)
                yield message
            faults.passed(fault)
            await _answer(fault)

    async def DeleteTranscribeAsyncFile(  # noqa: N802 - the name of the RPC
        self, request: pb.DeleteTranscribeAsyncFileRequest, context: _Context
    ) -> pb.DeleteTranscribeAsyncFileResponse:
        """Delete a file."""
        async with _refusing(context):
            account = self._core.enter(request.api_key)
            fault = self._begin(Call.DELETE, request.api_key)
            account.delete(request.file_id)
            await _answer(fault)
        return pb.DeleteTranscribeAsyncFileResponse()

    def _fault(self, call: Call, key: str) -> Fault | None:
        fault = self._plan.decide(call)
        if fault is not None:
            self._core.account(key).tally.injected[f"{call}.{fault.trouble}"] += 1
        return fault

    def _begin(self, call: Call, key: str) -> Fault | None:
        fault = self._fault(call, key)
        faults.opening(fault)
        faults.before_effect(fault)
        return fault


@asynccontextmanager
async def _refusing(context: _Context) -> AsyncIterator[None]:
    """Turn a refusal into the status of the call."""
    try:
        yield
    except Refusal as refusal:
        await context.abort(grpc.StatusCode[refusal.code], refusal.message)


async def _answer(fault: Fault | None) -> None:
    await anyio.sleep(faults.delay_ms(fault) / 1000)
    faults.answering(fault)


@asynccontextmanager
async def listen(face: GrpcFace, port: int) -> AsyncIterator[int]:
    """Serve `face` on loopback and yield the port (0 asks for any free one). Raises RuntimeError when it is taken."""
    server = grpc.aio.server(options=_OPTIONS)
    rpc.add_SpeechServiceServicer_to_server(face, server)  # type: ignore[no-untyped-call]  # generated code
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        with anyio.CancelScope(shield=True):  # bounded by the grace period
            await server.stop(grace=0.2)
