"""Soniox's legacy asynchronous gRPC API behind the seam, through `grpc.aio`.

Every call has a deadline, is cancelled when its caller is, and is over when its verb returns. Nothing is
retried here, neither by us nor by grpc. Request messages carry the key and are therefore never printed.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from anyio import CancelScope, move_on_after
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from batcher.errors import Kind, ServiceError
from batcher.model import Survey, Transcript
from batcher.service import Seal, Service, Submission, Verb
from batcher.service.grpc_channel import DEFAULT_HOST, open_channel
from batcher.service.grpc_errors import hint, sort
from batcher.service.grpc_messages import Fold, audio_message, survey, transcription_config
from batcher.service.shared import Key, hidden, keyless, put_off, reading
from batcher.service.stubs import speech_service_pb2 as pb
from batcher.service.stubs.speech_service_pb2_grpc import SpeechServiceStub

__all__ = ["DEFAULT_HOST", "GrpcService", "open_grpc"]

UNARY_SECONDS = 30  #: a listing or a delete; the longest list of the documented limits takes milliseconds
STALL_SECONDS = 120  #: an upload in which no message moves for that long has failed
SEALED_SECONDS = 300  #: how long the answer to a whole upload may take: giving up early makes it uncertain
IDLE_SECONDS = 60  #: the longest silence within a result
FETCH_SECONDS = 15 * 60  #: a whole result, however many messages it has
CLOSE_SECONDS = 5  #: how long a call that was cancelled, or the connection, may take to end

# The last line of defence behind the watchdog, and what the service is told. It allows for the lowest `--bwlimit`
# shared by the most uploads, so that it can end neither an upload that moves nor the wait after the seal.
_UPLOAD_SECONDS = 600
_UPLOAD_BYTES_A_SECOND = 32

_DETAILS_CHARACTERS = 500  # a service's reason that is longer says nothing more to a person


@asynccontextmanager
async def open_grpc(
    host: str, key: str, *, ca_file: Path | None = None, insecure: bool = False
) -> AsyncIterator[Service]:
    """Yield the service at `host` for the account of `key`; the connection is made by the first call.

    Args:
        host: ``https://NAME[:PORT]``; ``http://`` for this machine only, or anywhere with `insecure`. Empty is
            the service's own, `DEFAULT_HOST`.
        key: the API key, sent with every call.
        ca_file: certificates (PEM) to trust instead of grpc's own list of authorities.
        insecure: allow to send the key over an unencrypted connection to another machine.

    Raises:
        UsageError: `host` or `ca_file` cannot be used.
        AccountRefused: `key` cannot be one.
    """
    secret = Key(key)
    channel = open_channel(host or DEFAULT_HOST, ca_file=ca_file, insecure=insecure)
    try:
        yield GrpcService(channel, secret, secret.account(host or DEFAULT_HOST))
    finally:
        with move_on_after(CLOSE_SECONDS, shield=True):
            await channel.close()


class GrpcService:
    """One connection to the legacy API. Made by `open_grpc`."""

    name = "grpc"
    bare_uploads = False
    slowed = ""
    poll_seconds = 0.02  #: one listing serves all jobs, and costs the service and us about a millisecond

    def __init__(self, channel: grpc.aio.Channel, key: Key, account: str) -> None:
        self.account = account
        self._stub: Any = SpeechServiceStub(channel)  # type: ignore[no-untyped-call]
        self._key = key

    async def submit(self, submission: Submission, seal: Seal) -> str:
        """Send one recording and return its file id; see `Service.submit`."""
        seconds = _UPLOAD_SECONDS + submission.audio.size / _UPLOAD_BYTES_A_SECOND
        async with _ended(self._stub.TranscribeAsync(timeout=seconds)) as call:
            upload = _Upload(call, submission, seal)
            with move_on_after(STALL_SECONDS) as watchdog:
                await upload.run(self._opening(submission), watchdog)
                return await self._file_id(call, upload)
        raise self._error("DEADLINE_EXCEEDED", "the upload came to a standstill", upload.verb)

    def _opening(self, submission: Submission) -> pb.TranscribeAsyncRequest:
        return pb.TranscribeAsyncRequest(
            api_key=self._key.value,
            reference_name=submission.reference,
            config=transcription_config(submission.options, submission.reference),
            enable_eof=True,
        )

    async def _file_id(self, call: Any, upload: "_Upload") -> str:
        response = await self._response(call, upload.verb)
        if upload.verb is Verb.SUBMIT:
            raise self._error("OK", "the service ended the upload before it was whole", upload.verb)
        if not response.file_id or self._key.is_in(response.file_id):
            raise self._error("OK", "the service gave no id", upload.verb)
        return str(response.file_id)

    async def survey(self, *, thorough: bool = True) -> Survey:  # noqa: ARG002 - one call shows everything
        """Return everything the account holds, from one call."""
        request = pb.GetTranscribeAsyncStatusRequest(api_key=self._key.value)
        async with _ended(self._stub.GetTranscribeAsyncStatus(request, timeout=UNARY_SECONDS)) as call:
            seen = survey((await self._response(call, Verb.SURVEY)).files)
            return hidden(keyless(seen, self._key), self._key.hide)

    async def fetch(self, remote: str) -> Transcript:
        """Return the transcript of a completed file; see `Service.fetch`."""
        assert remote, "an empty id would mean every file"
        request = pb.GetTranscribeAsyncResultRequest(api_key=self._key.value, file_id=remote)
        async with _ended(self._stub.GetTranscribeAsyncResult(request, timeout=FETCH_SECONDS)) as call:
            with move_on_after(IDLE_SECONDS) as watchdog:
                return await self._folded(call, watchdog)
        raise self._error("DEADLINE_EXCEEDED", "the transcript came to a standstill", Verb.FETCH)

    async def _folded(self, call: Any, watchdog: CancelScope) -> Transcript:
        fold = Fold()
        if not await _went_through(_read(call, fold, watchdog)):
            raise await self._reason(call, Verb.FETCH)
        return fold.transcript()

    async def delete(self, remote: str) -> None:
        """Remove the file; one that is already gone is success.

        So is an id with a slash, which only the REST API gives, where the service refuses it as no id.
        """
        assert remote, "an empty id would mean every file"
        request = pb.DeleteTranscribeAsyncFileRequest(api_key=self._key.value, file_id=remote)
        async with _ended(self._stub.DeleteTranscribeAsyncFile(request, timeout=UNARY_SECONDS)) as call:
            try:
                await self._response(call, Verb.DELETE)
            except ServiceError as error:
                if error.kind is not Kind.GONE and not (error.kind is Kind.HOPELESS and "/" in remote):
                    raise

    async def _response(self, call: Any, verb: Verb) -> Any:
        """Return the answer to a call that has one.

        The code is awaited first, because awaiting the call itself raises CancelledError also when somebody
        else (the channel's end) cancelled the call, and a task that ends so is missed by nobody.
        """
        if await call.code() is not grpc.StatusCode.OK:
            raise await self._reason(call, verb)
        response = await call
        if response is None:  # how grpc spells bytes that it could not read
            raise self._error("OK", "an answer that cannot be read", verb)
        return response

    async def _reason(self, call: Any, verb: Verb) -> ServiceError:
        """Return why a call ended. grpc's own error is left behind: the service may have put the key into it."""
        return self._error((await call.code()).name, await call.details() or "", verb)

    def _error(self, code: str, details: str, verb: Verb) -> ServiceError:
        kind = sort(code, details, verb)
        words = self._key.hide(details)[:_DETAILS_CHARACTERS] or "no reason given"
        advice = hint(code, details) if kind is Kind.STOP else ""
        return ServiceError(kind, f"{code}: {words}", code=code, hint=advice)


class _Upload:
    """One upload: opening, audio, seal, `eof`. It stops early when the service has ended the call."""

    def __init__(self, call: Any, submission: Submission, seal: Seal) -> None:
        self.verb = Verb.SUBMIT  #: what a failure from here on is a failure of
        self._call = call
        self._audio = submission.audio
        self._seal = seal

    async def run(self, opening: pb.TranscribeAsyncRequest, watchdog: CancelScope) -> None:
        """Send everything. `watchdog` is put off whenever a message moved."""
        if await self._send(opening.SerializeToString()) and await self._send_audio(watchdog) and not self._call.done():
            watchdog.deadline = math.inf  # what is being made durable is not to be interrupted
            await self._seal()
            self.verb = Verb.SUBMIT_SEALED
            put_off(watchdog, SEALED_SECONDS)
            if await self._send(pb.TranscribeAsyncRequest(eof=True).SerializeToString()):
                await _went_through(self._call.done_writing())

    async def _send_audio(self, watchdog: CancelScope) -> bool:
        async with reading(self._audio.chunks()) as chunks:
            async for chunk in chunks:
                put_off(watchdog, STALL_SECONDS)
                if not await self._send(audio_message(chunk)):
                    return False
        return True

    async def _send(self, message: bytes) -> bool:
        """Send one message, as it goes over the wire; False when the call has ended, and its code says why.

        grpc's own `write` replaces the code of a call that the service ended by one it makes up (INTERNAL),
        which would hide a full account; so does handing it an iterator, which also turns an error of the
        recording into a cancellation. The step below `write` does neither.
        """
        if self._call.done() or not await _went_through(self._call.wait_for_connection()):
            return False
        wire = self._call._cython_call  # noqa: SLF001 - see above
        return await _went_through(wire.send_serialized_message(message))


@asynccontextmanager
async def _ended(call: Any) -> AsyncIterator[Any]:
    """Leave no call behind: cancel one that has not ended by itself, and wait for its end.

    A call that is cancelled is never closed from our side, so no service can take it for a whole upload.
    """
    try:
        yield call
    finally:
        if not call.done():
            call.cancel()
            with move_on_after(CLOSE_SECONDS, shield=True):
                await call.code()


async def _read(call: Any, fold: Fold, watchdog: CancelScope) -> None:
    async for message in call:
        fold.add(message)
        put_off(watchdog, IDLE_SECONDS)


async def _went_through(step: Awaitable[None]) -> bool:
    """Take a step of a call; False when the call has ended instead, and its code says why.

    Also when the connection is closed under the call, of which grpc says nothing but CancelledError.
    """
    try:
        await step
    except (grpc.aio.AioRpcError, cygrpc.InternalError):
        return False
    except asyncio.CancelledError:
        if _cancelled_from_outside():
            raise
        return False
    return True


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
