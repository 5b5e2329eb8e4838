"""The implementations of the service, each through the one suite of `conformance.py`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from batcher.emulator.core import Core
from batcher.emulator.faults import Plan
from batcher.emulator.grpc_face import GrpcFace, listen
from batcher.service import Service
from batcher.service.grpc import open_grpc
from batcher.service.simulated import Pace, open_simulated
from tests.conformance import Conformance


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module on one loop (see `one_loop`)."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep the loop open between tests: grpc tidies up after a cancelled call in the loop that made it."""
    yield  # noqa: PT022 - a fixture that returned would let the loop go


class TestSimulated(Conformance):
    """The service in-process."""

    def open(self, core: Core, key: str, plan: Plan) -> AbstractAsyncContextManager[Service]:
        """Open it without latencies."""
        return open_simulated(core, key, plan=plan, pace=Pace(0, 0, 1e12))


class TestGrpc(Conformance):
    """The legacy gRPC API, against the emulator's face on loopback."""

    @asynccontextmanager
    async def open(self, core: Core, key: str, plan: Plan) -> AsyncIterator[Service]:
        """Listen and connect."""
        async with listen(GrpcFace(core, plan), 0) as port, open_grpc(f"http://127.0.0.1:{port}", key) as service:
            yield service
