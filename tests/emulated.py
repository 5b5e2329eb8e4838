"""A running emulator that a test can look into, and the real command as a process."""

import gc
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO, TextIOWrapper
from pathlib import Path
from random import Random
from typing import Generic, TypeVar
from unittest.mock import patch

from anyio.from_thread import BlockingPortal, start_blocking_portal

from batcher.cli.app import main
from batcher.emulator.account import Account
from batcher.emulator.knobs import Knobs
from batcher.emulator.recognizers import echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.server import EmulatorSettings, Running, serve

KEY = "a-key-of-the-tests"
T = TypeVar("T")


A = TypeVar("A", Account, RestAccount)


@contextmanager
def _own_process(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Give the command what a process of its own would have, and take it back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    mask = os.umask(0o077)
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", command),
        patch.object(gc, "freeze"),  # what it leaves is garbage here
    ):
        try:
            yield
        finally:
            os.umask(mask)
            for number, handler in handlers.items():
                signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Emulated(Generic[A]):
    """An emulator on a loop of its own thread, behind real sockets."""

    url: str
    api: str
    account: A
    portal: BlockingPortal

    def ask(self, question: Callable[[A], T]) -> T:
        """Run a function of the account on the emulator's own thread, so that nothing changes meanwhile."""
        return self.portal.call(question, self.account)

    def command(self, *arguments: str | Path) -> list[str]:
        """Return a command line of batcher."""
        return [sys.executable, "-m", "batcher", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """Return the environment in which batcher talks to this emulator."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BATCHER_")}
        settings = {"BATCHER_HOST": self.url, "BATCHER_API": self.api, "BATCHER_REQUESTS_PER_MINUTE": "0"}
        return clean | {"SONIOX_API_KEY": KEY} | settings

    def run(self, *arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run batcher to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def call(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run batcher to its end in this process, which takes a tenth of the time of one of its own."""
        streams = [TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2)]
        command = ["batcher", *map(str, arguments)]
        with (
            _own_process(command, self.environment()),
            redirect_stdout(streams[0]),
            redirect_stderr(streams[1]),
        ):
            code = main(command[1:])
        said, complained = (each.buffer.getvalue().decode() for each in streams)
        return subprocess.CompletedProcess(command, code, said, complained)

    def start_killed_at(self, point: str, count: int, *arguments: str | Path) -> "subprocess.Popen[str]":
        """Start batcher so that it kills itself when it reaches `point` for the `count`-th time."""
        return self.start(*arguments, environment={"BATCHER_KILL": f"{point}:{count}"})

    def start(self, *arguments: str | Path, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start batcher and go on."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment() | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@contextmanager
def _running(knobs: Knobs | None) -> Iterator[tuple[Running, BlockingPortal]]:
    settings = EmulatorSettings(knobs=knobs or Knobs())
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(settings)) as running,
    ):
        yield running, portal


@contextmanager
def emulated(knobs: Knobs | None = None) -> Iterator[Emulated[Account]]:
    """Run an emulator with the echo recognizer for the length of the block; batcher talks gRPC with it."""
    with _running(knobs) as (running, portal):
        yield Emulated(running.grpc_url, "grpc", running.core.account(KEY), portal)


@contextmanager
def emulated_rest(knobs: Knobs | None = None) -> Iterator[Emulated[RestAccount]]:
    """Run an emulator as `emulated` does; batcher talks REST with it."""
    with _running(knobs) as (running, portal):
        yield Emulated(running.rest_url, "rest", running.core.rest(KEY), portal)


def make_recordings(folder: Path, count: int, *, seed: int = 0) -> dict[str, bytes]:
    """Write so many short recordings, all different, in sub-directories; return their contents by relative name."""
    chance = Random(seed)
    made = {}
    for number in range(count):
        name = f"{number % 7}/recording-{number:04}.wav"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(chance.randbytes(1600 + 2 * (number % 50)))
        made[name] = path.read_bytes()
    return made


def transcripts(out: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the text of every recording's transcript, by relative name."""
    return {name: json.loads((out / f"{name}.json").read_text("utf-8"))["text"] for name in names}


def expected(contents: dict[str, bytes]) -> dict[str, str]:
    """Return what the echo recognizer makes of the contents."""
    return {name: echo_text(sha256(content).digest()) for name, content in contents.items()}
