"""The REST service in-process: the real implementation and the emulator's real face, and between them no socket.

The wire in their place takes its time by the event loop's clock and the dice, as the simulated service does, and
breaks where a connection would. Nobody calls webhooks or downloads URLs here: the emulator's errands need sockets.
"""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import httpx
from anyio.abc import TaskGroup
from starlette.types import ASGIApp, Message, Scope

from batcher.clock import Dice
from batcher.emulator.core import Core
from batcher.emulator.faults import PRESETS, FaultPlan, Plan
from batcher.emulator.rest_face import RestFace
from batcher.service import Service
from batcher.service.rest import RestService
from batcher.service.rest_budget import Budget
from batcher.service.rest_http import Client
from batcher.service.shared import Key
from batcher.service.simulated import Pace
from tests.rest_tools import Bridge

HANGING_SECONDS = 3600.0  #: after which an app that never comes to an end is left alone


POLL_SECONDS = 3.0  #: what is polite at the default pace


@asynccontextmanager
async def open_simulated_rest(
    core: Core,
    key: str,
    *,
    dice: Dice | None = None,
    plan: Plan | None = None,
    pace: Pace | None = None,
    requests_per_minute: int = 0,
) -> AsyncIterator[Service]:
    """Yield the REST service of the account `key` of `core`; `plan` says what goes wrong on the way.

    Args:
        core: holds the account; its clock must follow the event loop's time if transcriptions are to end by it.
        key: the account's.
        dice: draws latencies, multipart boundaries and the face's ids.
        plan: nothing goes wrong without one.
        pace: how long requests take on the wire.
        requests_per_minute: the client's own budget for each bucket; 0 is no limit but what refusals teach.
    """
    dice = dice or Dice(0)
    async with (
        open_face(core, dice=dice, plan=plan, pace=pace) as wire,
        open_client(wire, key, dice=dice, requests_per_minute=requests_per_minute) as service,
    ):
        yield service


@asynccontextmanager
async def open_face(
    core: Core, *, dice: Dice, plan: Plan | None = None, pace: Pace | None = None
) -> AsyncIterator["Wire"]:
    """Yield the wire to the REST API of `core`, which any number of clients may share."""
    face = RestFace(core, plan or FaultPlan(PRESETS["none"], dice, core.clock), dice=dice)
    face.abort = cut
    async with open_wire(face.app, dice=dice, pace=pace or Pace()) as wire:
        yield wire


@asynccontextmanager
async def open_client(
    wire: httpx.AsyncBaseTransport,
    key: str,
    *,
    dice: Dice,
    requests_per_minute: int = 0,
    poll_seconds: float = POLL_SECONDS,
) -> AsyncIterator[Service]:
    """Yield the REST service as one process sees it."""
    secret = Key(key)
    client = Client("https://simulated", secret, Budget(requests_per_minute), Bridge(wire))
    try:
        yield RestService(client, secret, dice=dice, poll_seconds=poll_seconds, long_bytes=math.inf)
    finally:
        await client.aclose()


@asynccontextmanager
async def open_wire(app: ASGIApp, *, dice: Dice, pace: Pace) -> AsyncIterator["Wire"]:
    """Yield a wire to `app`. At the end everything that was sent whole has arrived and had its effect.

    An error of the app breaks the connection that it happened on, and comes out at the end: it is a bug.
    """
    try:
        async with anyio.create_task_group() as tasks:
            wire = Wire(app, tasks, dice, pace)
            yield wire
    except BaseExceptionGroup as group:  # the tasks of the wire raise nothing: it is the one error of the block
        error = group.exceptions[0]
        raise error from error.__cause__
    if wire.errors:
        raise wire.errors[0]


def cut(scope: Scope) -> None:
    """End the connection that a request came on, without a goodbye."""
    scope["exchange"].cut()


class Wire(httpx.AsyncBaseTransport):
    """Carries requests to an app of this process and its answers back. Made by `open_wire`.

    As on a network, what was sent whole arrives and has its effect, also when its sender has gone away meanwhile.
    """

    def __init__(self, app: ASGIApp, tasks: TaskGroup, dice: Dice, pace: Pace) -> None:
        self.errors: list[Exception] = []  #: the app's own
        self._app = app
        self._tasks = tasks
        self._dice = dice
        self._pace = pace

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer. Raises httpx.TransportError when none comes."""
        exchange = _Exchange(request, self._pace, self._dice.stream(f"simulated.{request.method}"))
        self._tasks.start_soon(self._serve, exchange, name="simulated request")
        try:
            with anyio.fail_after(request.extensions["timeout"]["read"]):
                await exchange.over.wait()
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer in time") from error
        finally:
            exchange.over.set()
        return exchange.answer()

    async def _serve(self, exchange: "_Exchange") -> None:
        with anyio.move_on_after(HANGING_SECONDS, shield=True):
            try:
                await exchange.travel()
                await self._app(exchange.scope(), exchange.receive, exchange.send)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the app's
                self.errors.append(error)
        exchange.over.set()


class _Exchange:
    """One request and its answer, between the client's task and the app's."""

    def __init__(self, request: httpx.Request, pace: Pace, chance: Random) -> None:
        self.over = anyio.Event()  #: the client waits no longer: it has its answer, was cut off, or left
        self._request = request
        self._pace = pace
        self._chance = chance
        self._body = aiter(request.stream)  # type: ignore[arg-type]
        self._received = False  # the whole request
        self._cut = False
        self._head: Message = {}
        self._content = bytearray()
        self._answered = False

    def scope(self) -> Scope:
        """Return the request's head for the app."""
        request, url = self._request, self._request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": (url.host, url.port),
            "exchange": self,
        }

    async def travel(self, content: bytes | bytearray = b"") -> None:
        """Let the time of one way pass, and that of what is carried."""
        way = self._chance.uniform(self._pace.least, self._pace.most) / 2
        await anyio.sleep(way + len(content) / self._pace.bytes_per_second)

    async def receive(self) -> Message:
        """Return the request's next bytes; after the last ones or a cut, that the client has gone."""
        if self._received or self._cut:
            await self.over.wait()
            return {"type": "http.disconnect"}
        try:
            chunk = await anext(self._body, None)
        except Exception:  # noqa: BLE001 - the sender gave up, and knows why
            self.cut()
            return {"type": "http.disconnect"}
        self._received = chunk is None
        if chunk:
            await anyio.sleep(len(chunk) / self._pace.bytes_per_second)
        return {"type": "http.request", "body": chunk or b"", "more_body": not self._received}

    async def send(self, message: Message) -> None:
        """Take the head of the answer, or the next bytes of it; it reaches the client as a whole."""
        if self._cut:
            return
        if message["type"] == "http.response.start":
            self._head = message
            return
        self._content += message.get("body", b"")
        if not message.get("more_body", False):
            await self.travel(self._content)
            self._answered = True
            self.over.set()

    def cut(self) -> None:
        """Let nothing more through, either way."""
        self._cut = True
        self.over.set()

    def answer(self) -> httpx.Response:
        """Return what the client hears when it is over. Raises httpx.TransportError for less than an answer."""
        if self._answered:
            head = self._head
            return httpx.Response(head["status"], headers=head["headers"], content=bytes(self._content))
        if self._head:
            raise httpx.RemoteProtocolError("the connection ended in the middle of an answer")
        raise httpx.ReadError("the connection ended without an answer")
