"""The REST face on a socket: uvicorn in the event loop that is there, beside whatever else runs in it."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from starlette.types import Scope

from batcher.clock import Dice
from batcher.emulator.core import Core
from batcher.emulator.faults import Plan
from batcher.emulator.rest_errands import Errands
from batcher.emulator.rest_face import RestFace

_GRACE_SECONDS = 1  #: for requests that are under way when the emulator ends


class _Server(uvicorn.Server):
    """Tells when it listens, ends as soon as it is told to, and leaves the signals to the command."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = anyio.Event()
        self._told = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self._told.wait()

    def end(self) -> None:
        """Stop listening and let `serve` return."""
        self._told.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def abort(self, scope: Scope) -> None:
        """End the connection that a request came on, without a goodbye."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None and transport.get_extra_info("peername") == tuple(scope["client"]):
                transport.abort()


@asynccontextmanager
async def listen_rest(core: Core, plan: Plan, port: int, *, dice: Dice) -> AsyncIterator[int]:
    """Serve the REST API on loopback and yield the port (0 asks for any free one). Raises OSError when it is taken."""
    bound = _bind(port)
    server = _server(core, plan, dice)
    with _one_error():
        async with anyio.create_task_group() as errands:
            errands.start_soon(Errands(core).run, name="emulator errands")
            async with anyio.create_task_group() as serving:
                serving.start_soon(_serve, server, bound, name="emulator rest")
                await server.listening.wait()
                try:
                    yield int(bound.getsockname()[1])
                finally:
                    server.end()
            errands.cancel_scope.cancel()


def _bind(port: int) -> socket.socket:
    """Bind a socket. It is made for TCP by name: only then asyncio sends small answers at once, without a wait."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


def _server(core: Core, plan: Plan, dice: Dice) -> _Server:
    face = RestFace(core, plan, dice=dice)
    config = uvicorn.Config(
        face.app,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="none",
        proxy_headers=False,  # they would change the address by which a connection is found
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config)
    face.abort = server.abort
    return server


async def _serve(server: _Server, bound: socket.socket) -> None:
    """Serve until told to stop: a cancellation would leave sockets open."""
    with anyio.CancelScope(shield=True):  # bounded by the grace period
        await server.serve([bound])


@contextmanager
def _one_error() -> Iterator[None]:
    """Let a single error out as it is; task groups wrap it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
