"""Time and chance: the only module that reads the wall clock or draws random numbers.

A simulated night replaces both, so that it runs in virtual time and can be replayed from its seed.
"""

import random
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: Two processes read the same clock's origin within this; a clock that is set moves it by more, or harmlessly little.
ORIGIN_TOLERANCE_MS = 1_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Tells the time of day, for what is stored. Durations are measured with `anyio.current_time`."""

    def now(self) -> int:
        """Return UTC as integer milliseconds since the epoch."""


class RunClock(Clock, Protocol):
    """The clock of a run, whose times are stored and meet those of other runs."""

    def origin(self) -> "Origin":
        """Return where this clock counts from: times of two runs can be compared only if that is the same."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a clock counts from. Between two runs the machine may have been started again, or its clock set."""

    boot: str  #: names the machine's run; empty where nobody can tell
    at: int  #: UTC milliseconds at which it began, by the wall clock of this process's start

    def same(self, other: "Origin") -> bool:
        """Tell whether times by both clocks can be compared; reading two clocks in turn costs some milliseconds."""
        return bool(self.boot) and self.boot == other.boot and abs(self.at - other.at) <= ORIGIN_TOLERANCE_MS


class SystemClock:
    """The machine's time, read once and carried on by the boot clock.

    A wall clock that is set while a night runs can therefore neither shorten nor stretch a wait, and the
    hours of a suspended machine still count.
    """

    def __init__(self) -> None:
        self._offset = time.time() - self._ticks()

    def now(self) -> int:
        """Return UTC as integer milliseconds since the epoch."""
        return int((self._offset + self._ticks()) * 1000)

    def origin(self) -> Origin:
        """Return where this clock counts from."""
        try:
            boot = _BOOT_ID.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            boot = ""
        return Origin(boot, int(self._offset * 1000))

    @staticmethod
    def _ticks() -> float:
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boottime is None else time.clock_gettime(boottime)


def wall_clock() -> int:
    """Return the machine's own idea of UTC now, in milliseconds (for `doctor`, which compares it)."""
    return int(time.time() * 1000)


def time_of_day() -> int:
    """Return how many seconds ago midnight was by the clock on the wall, here and now."""
    now = time.localtime()
    return now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec


class Dice:
    """Named streams of random numbers, all drawn from one seed.

    A new draw in one place does not shift the others, so a seed keeps its night when the code grows.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = secrets.randbits(64) if seed is None else seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """Return the stream called `name`, the same object at every call."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed}:{name}")  # noqa: S311 - not for secrets
        return self._streams[name]
