"""Starts the command again and again, and kills it: one process that has imported everything and forks.

Importing takes half a second of a run that would be over in a tenth of one, and a crash test is mostly starts. A
forked run is the same `main` with the same arguments in a process of its own; `fresh` starts a new interpreter
instead, as a person would. The starter runs beside the emulator, so that whatever dies, the service lives.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NoReturn

_SHUTDOWN = 0x8004587D  #: EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  #: what was not synced is lost, the journal included: a power cut


@dataclass(frozen=True, slots=True)
class Start:
    """One run of the command."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    output: str  #: file that takes what it prints
    seconds: float  #: after so long it is killed
    cut: str = ""  #: mount point whose power is cut when the run is killed or over
    fresh: bool = False  #: in a new interpreter


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended."""

    code: int  #: exit code, negative: the signal
    late: bool  #: it was still running when its time was over
    seconds: float

    @property
    def killed(self) -> bool:
        """Tell whether it was killed, from outside or by itself at a named point."""
        return self.code == -signal.SIGKILL


class Starter:
    """The side of the tests: asks the starting process for one run after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, start: Start) -> Ending:
        """Run the command until it ends or is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(start)) + "\n")
        self._process.stdin.flush()
        return Ending(**json.loads(self._process.stdout.readline()))


@contextmanager
def starter(preload: str = "") -> Iterator[Starter]:
    """Run a starting process for the length of the block, with a library loaded before all others if one is given."""
    environment = dict(os.environ) | {"GRPC_VERBOSITY": "NONE"} | ({"LD_PRELOAD": preload} if preload else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.starter"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Starter(process)
        assert process.stdin is not None
        process.stdin.close()


def cut_power(mount: str) -> None:
    """End the file system at once, as a power cut would: what was not synced is gone."""
    handle = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, _SHUTDOWN, _NO_LOG_FLUSH.to_bytes(4, "little"))
    finally:
        os.close(handle)


def main() -> None:
    """Fork a run for every line that comes in."""
    import batcher.cli.run  # noqa: PLC0415 - what every run needs, once
    import batcher.service.grpc  # noqa: PLC0415
    import batcher.service.rest  # noqa: F401, PLC0415

    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_run(Start(**json.loads(line))))) + "\n")
        sys.stdout.flush()


def _run(start: Start) -> Ending:
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        _become(start)
    handle = os.pidfd_open(child)
    late = not select.select([handle], [], [], start.seconds)[0]
    os.close(handle)
    if start.cut:
        cut_power(start.cut)
    if late:
        os.kill(child, signal.SIGKILL)  # nobody has waited for it yet, so the number is still its own
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    # One that ended in the very moment in which its time was over has ended by itself.
    return Ending(code, late and code == -signal.SIGKILL, time.perf_counter() - began)


def _become(start: Start) -> NoReturn:
    """Be the command from here on."""
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(start.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for handle, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(handle, number)
    if start.fresh:
        os.execve(sys.executable, [sys.executable, "-m", "batcher", *start.arguments], dict(start.environment))
    os.environ.clear()
    os.environ.update(start.environment)
    sys.argv = ["batcher", *start.arguments]
    from batcher.__main__ import main as command  # noqa: PLC0415

    code = 1
    try:
        code = command()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the end of a process, where Python itself would print it
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
