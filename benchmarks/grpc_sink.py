"""A server that takes uploads over gRPC for nothing: it counts and discards messages, and parses none of them.

It is grpc's own, because nothing cheaper speaks its protocol, and costs about as much as the client that is measured
against it.
"""

import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio

from batcher.files import offload
from batcher.service.stubs import speech_service_pb2 as pb
from benchmarks.fresh import Figures, say
from benchmarks.gauges import cpu_seconds
from benchmarks.link import Link

_SERVICE = "soniox.speech_service.SpeechService"
_NO_FILES = pb.GetTranscribeAsyncStatusResponse().SerializeToString()


async def _take(link: Link, seen: dict[str, int], messages: AsyncIterator[bytes], _context: object) -> bytes:
    """Receive an upload to its end, no faster than the link."""
    async for message in messages:
        seen["bytes"] += len(message)
        if wait := link.wait(len(message), anyio.current_time()):
            await anyio.sleep(wait)
    seen["files"] += 1
    return bytes(pb.TranscribeAsyncResponse(file_id=f"file-{seen['files']}").SerializeToString())


async def _look(_request: bytes, _context: object) -> bytes:
    """Tell that there are no files."""
    return bytes(_NO_FILES)


async def serve(megabytes_per_second: float, chain: str) -> Figures:
    """Serve on a free port until the standard input ends; return what was seen, and what it cost.

    Args:
        megabytes_per_second: what is taken of all connections together, as of a link; 0 is all that comes.
        chain: a file with private key and certificate, for TLS; empty is without.
    """
    seen = {"bytes": 0, "files": 0}
    handlers: dict[str, Any] = {
        "TranscribeAsync": grpc.stream_unary_rpc_method_handler(partial(_take, Link(megabytes_per_second), seen)),
        "GetTranscribeAsyncStatus": grpc.unary_unary_rpc_method_handler(_look),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_secure_port("localhost:0", _secret(chain)) if chain else server.add_insecure_port("localhost:0")
    await server.start()
    say({"port": port})
    begun = cpu_seconds()
    await offload(sys.stdin.read)
    spent = cpu_seconds() - begun
    await server.stop(None)
    return seen | {"cpu_seconds": spent}


def _secret(chain: str) -> grpc.ServerCredentials:
    both = Path(chain).read_bytes()
    return grpc.ssl_server_credentials([(both, both)])
