"""Fresh processes: one for every measurement, so that none inherits another's memory, threads or warm-up.

Run as a program it is such a process: it pins itself, calls the function it is given the name of, and prints what that
returns.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from subprocess import PIPE
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

Figures = dict[str, Any]  #: what a process prints: one JSON object


def two_cpus() -> tuple[int, int] | None:
    """Return a processor for the measured process and another for its server, None where there are no two."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (usable[1], usable[0]) if len(usable) > 1 else None


async def measured(function: str, arguments: Figures, cpu: int | None) -> Figures:
    """Return what the coroutine function named ``module:function`` returns in a process of its own."""
    command = _command(function, arguments, cpu)
    done = await anyio.run_process(command, stderr=None)
    answer: Figures = json.loads(done.stdout)
    return answer


class Helper:
    """A process that serves another one: it prints one object when it is ready, and one when its input ends."""

    def __init__(self, ready: Figures, process: Process, lines: TextReceiveStream) -> None:
        self.ready = ready
        self._process = process
        self._lines = lines

    async def end(self) -> Figures:
        """Have it end, and return what it says of itself."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        text = "".join([piece async for piece in self._lines])
        answer: Figures = json.loads(text)
        return answer


@asynccontextmanager
async def helper(function: str, arguments: Figures, cpu: int | None) -> AsyncIterator[Helper]:
    """Run a coroutine function beside; it must print its first object itself, and end when its input does."""
    async with await anyio.open_process(_command(function, arguments, cpu), stdin=PIPE, stderr=None) as process:
        assert process.stdout is not None
        lines = TextReceiveStream(process.stdout)
        first = ""
        while "\n" not in first:
            first += await lines.receive()
        try:
            yield Helper(json.loads(first), process, lines)
        except BaseException:
            process.kill()  # nobody hears any more what it says
            raise


def _command(function: str, arguments: Figures, cpu: int | None) -> list[str]:
    return [sys.executable, "-m", "benchmarks.fresh", function, json.dumps(arguments), json.dumps(cpu)]


def say(figures: Figures) -> None:
    """Print an object for the process that waits for it."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def _be_fresh(function: str, arguments: str, cpu: str) -> None:
    """Be such a process."""
    if json.loads(cpu) is not None:
        os.sched_setaffinity(0, {json.loads(cpu)})
    module, _, name = function.partition(":")

    async def call() -> Figures:
        figures: Figures = await getattr(import_module(module), name)(**json.loads(arguments))
        return figures

    say(anyio.run(call))


if __name__ == "__main__":
    _be_fresh(*sys.argv[1:])
