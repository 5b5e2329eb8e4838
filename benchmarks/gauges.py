"""What a measured process reads off itself: processor time, peak memory, and how long its event loop was held up."""

import math
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import anyio

TICK_SECONDS = 0.005  #: how long the ticker sleeps; what it oversleeps is the lag

_MACHINE = Path("/proc/stat")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that `share` of them do not exceed (nearest rank); NaN of none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """Return a percentile of durations in milliseconds."""
    return percentile(seconds, share) * 1000


class Lag:
    """Ticks beside other tasks and notes by how many seconds each sleep overran.

    A stall is one long tick however long it is: read the maximum beside the percentiles. The loop's own timer is
    exact to a millisecond, so half of one is no lag.
    """

    def __init__(self) -> None:
        self.overruns: list[float] = []

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            begun = perf_counter()
            await anyio.sleep(TICK_SECONDS)
            self.overruns.append(perf_counter() - begun - TICK_SECONDS)


class Memory:
    """The peak of resident memory above what was resident when this was made; Linux only, NaN elsewhere.

    The kernel keeps the peak (VmHWM) and sets it back when asked to (clear_refs), so no spike falls between samples.
    """

    def __init__(self) -> None:
        self.idle = math.nan  #: bytes resident at the beginning
        if _CLEAR.exists():
            _CLEAR.write_text(_RESET_PEAK)
            self.idle = _status("VmRSS")

    def above_idle(self) -> float:
        """Return the peak so far, in bytes above the beginning."""
        return math.nan if math.isnan(self.idle) else _status("VmHWM") - self.idle


def _status(field: str) -> float:
    """Return a field of the process's status in bytes."""
    lines = (line.split() for line in _STATUS.read_text("ascii").splitlines())
    return next(1024.0 * int(words[1]) for words in lines if words[0] == f"{field}:")


def cpu_seconds() -> float:
    """Return the processor time of this process so far: user and system, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def busy_seconds() -> float:
    """Return the processor time of the whole machine so far, with what a host withheld; Linux only, NaN elsewhere."""
    if not _MACHINE.exists():
        return math.nan
    user, nice, system, _idle, _waiting, *rest = map(int, _MACHINE.read_text("ascii").split("\n")[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
