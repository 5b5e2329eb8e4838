"""What the whole runs over REST share."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Event

from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.rest_account import RestAccount
from tests.emulated import Emulated

FREE = RestKnobs(requests_per_minute=0)
QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40, rest=FREE)


def left(account: RestAccount) -> list[str]:
    """Return what of ours is left at the service."""
    return [item.id for item in (*account.files, *account.jobs) if not item.foreign]


def accepted(account: RestAccount) -> int:
    """Return how many transcriptions the service has accepted so far."""
    return account.tally.accepted.total()


def run(emulator: Emulated[RestAccount], folder: Path, *more: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run batcher on the recordings of a test."""
    return emulator.call("run", folder / "in", "-o", folder / "out", *more)


def until(emulator: Emulated[RestAccount], holds: Callable[[RestAccount], bool]) -> None:
    """Wait until something holds at the service; the test's own timeout bounds it."""
    pause = Event()
    while not emulator.ask(holds):
        pause.wait(0.02)
