"""What batcher's uploads over gRPC are measured beside: the generated stub, fed by an async generator."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from batcher.service.stubs import speech_service_pb2 as pb
from batcher.service.stubs.speech_service_pb2_grpc import SpeechServiceStub
from benchmarks.bare_file import BareFile
from benchmarks.fresh import Figures
from benchmarks.uploading import Program, measure


class BareGrpc(Program):
    """The stub and nothing on top."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._stub: Any = SpeechServiceStub(channel)  # type: ignore[no-untyped-call]

    async def send(self, path: str) -> None:
        """Upload one recording."""
        await self._stub.TranscribeAsync(self._requests(path))

    async def look(self) -> None:
        """List all files."""
        await self._stub.GetTranscribeAsyncStatus(pb.GetTranscribeAsyncStatusRequest(api_key="key"))

    async def _requests(self, path: str) -> AsyncIterator[pb.TranscribeAsyncRequest]:
        yield pb.TranscribeAsyncRequest(api_key="key", reference_name="bare", enable_eof=True)
        file = BareFile(path)
        async for piece in file.pieces():
            yield pb.TranscribeAsyncRequest(audio=piece)
        assert file.hash.digest()
        self.sealed_whole += 1
        yield pb.TranscribeAsyncRequest(eof=True)


async def once(url: str, chain: str, paths: Sequence[str], rest_seconds: float) -> Figures:
    """Measure one case in this process, which must be fresh; the first of `paths` is to get warm."""
    async with _channel(url, chain) as channel:
        return await measure(BareGrpc(channel), paths, rest_seconds)


def _channel(url: str, chain: str) -> grpc.aio.Channel:
    place = urlsplit(url).netloc
    if not chain:
        return grpc.aio.insecure_channel(place)
    return grpc.aio.secure_channel(place, grpc.ssl_channel_credentials(Path(chain).read_bytes()))
