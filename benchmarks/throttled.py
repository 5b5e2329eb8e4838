"""The measured process of `benchmarks.bwlimit`: uploads through the valve, and what came of the limit."""

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

import anyio

from batcher.bandwidth import parse_bandwidth
from batcher.disk import Recording
from batcher.service.rest import open_rest
from batcher.valve import Throttled, Valve
from benchmarks.fresh import Figures
from benchmarks.gauges import cpu_seconds
from benchmarks.uploading import Uploads, watched

WINDOW_SECONDS = 10.0  #: over which the limit should be kept
STEP_SECONDS = 0.5  #: by which that is looked at

Passed = list[tuple[float, int, int]]  #: when, how many bytes, of which upload


class _Noted(Throttled):
    """A recording that notes when its pieces were let through."""

    def __init__(self, recording: Recording, valve: Valve, number: int, passed: Passed) -> None:
        super().__init__(recording, valve)
        self._number, self._noted = number, passed

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        async for piece in super().chunks():
            self._noted.append((anyio.current_time(), len(piece), self._number))
            yield piece


async def once(url: str, paths: Sequence[str], limit: str, rest_seconds: float) -> Figures:
    """Measure one case in this process, which must be fresh; the first of `paths` is to get warm."""
    warm_up, *recordings = paths
    passed: Passed = []
    numbers = itertools.count()
    valve = Valve(parse_bandwidth("off"))
    async with open_rest(url, "key", requests_per_minute=0, connections=len(paths) + 8) as service:
        uploads = Uploads(service, lambda recording: _Noted(recording, valve, next(numbers), passed))
        await uploads.send(warm_up)
        rest = await watched(uploads, partial(anyio.sleep, rest_seconds))
        passed.clear()
        uploads.sealed_whole = 0
        valve.timetable = parse_bandwidth(limit)
        begun, cpu = anyio.current_time(), cpu_seconds()
        busy = await watched(uploads, partial(uploads.send_all, recordings))
        spent = {"wall_s": anyio.current_time() - begun, "cpu_s": cpu_seconds() - cpu}
    rate = valve.rate or sum(count for _, count, _ in passed) / spent["wall_s"]
    kept = _kept(passed, rate, len(recordings)) if limit != "off" else dict.fromkeys(_FIGURES, float("nan"))
    spent["sealed_whole"] = uploads.sealed_whole
    return {f"rest_{name}": value for name, value in rest.items()} | busy | spent | kept


_FIGURES = ("error_percent", "burst_s", "share_spread_percent")


def _kept(passed: Passed, rate: float, uploads: int) -> Figures:
    """Return how well the limit was kept, by the worst ten seconds, the largest burst and the shares."""
    begun, ended = passed[0][0], passed[-1][0]
    errors = [abs(amount / rate / WINDOW_SECONDS - 1) for amount in _windows(passed, begun, ended)]
    middle = begun + (ended - begun) / 2
    shares = [0] * uploads
    for moment, count, number in passed:
        shares[number - 1] += count if moment < middle else 0  # number 0 was sent to get warm
    return {
        "error_percent": 100 * max(errors, default=float("nan")),
        "burst_s": _largest_excess(passed, rate) / rate,
        "share_spread_percent": 100 * (max(shares) - min(shares)) / (sum(shares) / uploads),
    }


def _windows(passed: Passed, begun: float, ended: float) -> Iterator[int]:
    """Yield how many bytes passed in each stretch of ten seconds."""
    start = begun
    while start + WINDOW_SECONDS <= ended:
        yield sum(count for moment, count, _ in passed if start <= moment < start + WINDOW_SECONDS)
        start += STEP_SECONDS


def _largest_excess(passed: Passed, rate: float) -> float:
    """Return the largest number of bytes by which any stretch of time was ahead of the rate."""
    ahead, most, before = 0.0, 0.0, passed[0][0]
    for moment, count, _ in passed:
        ahead = max(0.0, ahead - (moment - before) * rate) + count
        most, before = max(most, ahead), moment
    return most
