"""The emulator as a server on this machine: settings in, a running service out."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from enum import StrEnum

import anyio

from batcher.clock import Clock, Dice, SystemClock
from batcher.emulator import faults
from batcher.emulator.core import Core
from batcher.emulator.faults import FaultPlan, Plan
from batcher.emulator.grpc_face import GrpcFace, listen
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Recognizer
from batcher.emulator.recognizers import Echo
from batcher.emulator.whisper import Whisper
from batcher.errors import UsageError


class RecognizerName(StrEnum):
    """Where the words come from."""

    ECHO = "echo"  #: derived from the recording's digest, at once
    WHISPER = "whisper"  #: recognised on this machine


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """Everything about a running emulator."""

    port: int = 0  #: of the legacy API on 127.0.0.1; 0: any free one
    rest_port: int = 0  #: of the REST API, likewise
    grpc: bool = True  #: serve the legacy API
    rest: bool = True  #: serve the REST API
    knobs: Knobs = field(default_factory=Knobs)
    recognizer: RecognizerName = RecognizerName.ECHO
    model: str = ""  #: for whisper: a model's name or directory; empty: the small one of the extra `demo`
    language: str = "en"  #: for whisper
    must_decode: bool = False  #: for echo: fail recordings that are not audio
    faults: str = "none"  #: `none`, `some`, `many`, or rates; see `faults.parse`
    seed: int | None = 0  #: of the faults, the shuffled lists and the ids; None is a random one


@dataclass(frozen=True, slots=True)
class Running:
    """An emulator that listens."""

    grpc_url: str  #: empty when that face is switched off
    core: Core
    rest_url: str = ""  #: scheme, host and port, without ``/v1``; empty when that face is switched off


@asynccontextmanager
async def serve(
    settings: EmulatorSettings,
    *,
    clock: Clock | None = None,
    recognizer: Recognizer | None = None,
    plan: Plan | None = None,
) -> AsyncIterator[Running]:
    """Run an emulator for the length of the block. `clock`, `recognizer` and `plan` replace those of the settings.

    Raises:
        UsageError: the settings make no sense, the port is taken, or an extra is not installed.
    """
    clock, dice = clock or SystemClock(), Dice(settings.seed)
    plan = plan or FaultPlan(faults.parse(settings.faults), dice, clock)
    worker = recognizer or _recognizer(settings)
    core = Core(clock, worker, settings.knobs, dice=dice)
    with closing(core):
        async with AsyncExitStack() as faces:
            legacy = (
                await _enter(faces, listen(GrpcFace(core, plan), settings.port), settings.port) if settings.grpc else 0
            )
            rest = await _enter(faces, _rest(core, plan, settings, dice), settings.rest_port) if settings.rest else 0
            async with _working(worker):
                yield Running(_url(legacy), core, _url(rest))


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}" if port else ""


def _rest(core: Core, plan: Plan, settings: EmulatorSettings, dice: Dice) -> AbstractAsyncContextManager[int]:
    for package in ("starlette", "uvicorn", "python_multipart", "httpx"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"the REST face needs {package}", hint="pip install 'batcher[emulator]'")
    from batcher.emulator.rest_server import listen_rest  # noqa: PLC0415 - comes with the extra

    return listen_rest(core, plan, settings.rest_port, dice=dice)


def _recognizer(settings: EmulatorSettings) -> Recognizer:
    if settings.recognizer is RecognizerName.WHISPER:
        return Whisper(settings.model, language=settings.language)
    return Echo(must_decode=settings.must_decode)


@asynccontextmanager
async def _working(recognizer: Recognizer) -> AsyncIterator[None]:
    """Run the recognizer's own task, if it has one."""
    if not isinstance(recognizer, Whisper):
        yield
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recognizer.run, name="emulator whisper")
        yield
        tasks.cancel_scope.cancel()


async def _enter(faces: AsyncExitStack, face: AbstractAsyncContextManager[int], port: int) -> int:
    """Listen; a port that is taken is the user's error, whatever fails later is not."""
    try:
        return await faces.enter_async_context(face)
    except (RuntimeError, OSError) as error:
        raise UsageError(f"cannot listen on 127.0.0.1:{port}", hint="choose another port, or 0") from error
