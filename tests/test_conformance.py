"""The implementations of the service, each through the one suite of `conformance.py`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from batcher.clock import Dice
from batcher.emulator.core import Core
from batcher.emulator.faults import Plan
from batcher.emulator.grpc_face import GrpcFace, listen
from batcher.emulator.rest_server import listen_rest
from batcher.emulator.tally import Call
from batcher.service import Service
from batcher.service.grpc import open_grpc
from batcher.service.rest import open_rest
from batcher.service.simulated import Pace, open_simulated
from tests.conformance import KEY, Conformance, LegacyConformance


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module on one loop (see `one_loop`)."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep the loop open between tests: grpc tidies up after a cancelled call in the loop that made it."""
    yield  # noqa: PT022 - a fixture that returned would let the loop go


class TestSimulated(LegacyConformance):
    """The service in-process."""

    def open(self, core: Core, key: str, plan: Plan) -> AbstractAsyncContextManager[Service]:
        """Open it without latencies."""
        return open_simulated(core, key, plan=plan, pace=Pace(0, 0, 1e12))


class TestGrpc(LegacyConformance):
    """The legacy gRPC API, against the emulator's face on loopback."""

    @asynccontextmanager
    async def open(self, core: Core, key: str, plan: Plan) -> AsyncIterator[Service]:
        """Listen and connect."""
        async with listen(GrpcFace(core, plan), 0) as port, open_grpc(f"http://127.0.0.1:{port}", key) as service:
            yield service


class TestRest(Conformance):
    """The REST API, against the emulator's face on loopback."""

    sending = Call.UPLOAD

    def account(self, core: Core) -> Any:
        """Return the account's REST objects."""
        return core.rest(KEY)

    def native(self, remote: str) -> str:
        """Return the transcription's id."""
        return remote.partition("/")[0]

    @asynccontextmanager
    async def open(self, core: Core, key: str, plan: Plan) -> AsyncIterator[Service]:
        """Listen and connect. Every word comes as one token, so that transcripts can be compared."""
        core.knobs = replace(core.knobs, rest=replace(core.knobs.rest, piece_letters=0))
        async with (
            listen_rest(core, plan, 0, dice=Dice(0)) as port,
            open_rest(f"http://127.0.0.1:{port}", key, requests_per_minute=0) as service,
        ):
            yield service
