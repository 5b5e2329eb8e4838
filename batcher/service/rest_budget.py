"""The pace of requests: so many a minute in each of the service's buckets, and fewer after it said 429.

The service counts requests a minute for file management and for transcriptions apart, for the whole
organisation, and does not document how many. `Pace` is the arithmetic, without a clock; `Budget` lets callers
wait for their turn, the urgent ones first.
"""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heapify, heappush

import anyio

MINUTE = 60.0
BURST_SHARE = 0.5  #: of a minute's requests may go at once; the rest is spread
WINDOW = 61.0  #: seconds that hold a minute's requests at most; on their way some fall behind others by up to a second
LEAST_PER_MINUTE = 6.0  #: however often the service refuses
USUAL_PER_MINUTE = 200.0  #: what a client may be expected to be allowed
RECOVERY_SECONDS = 300.0  #: in which a pace that was halved doubles again
REFUSALS_COUNT_ONCE = 10.0  #: refusals within so many seconds are one: their requests were already on the way
PAUSE_SECONDS = 10.0  #: how long nothing is sent after a refusal that says no time itself
LONGEST_PAUSE = 60.0

CROWD = 4  #: when so many wait for their turn, it is the pace that holds them up

_ROUNDING = 1e-9  # a clock that passes exactly the time that was asked for must be enough


class Bucket(StrEnum):
    """What the service counts apart."""

    FILES = "files"
    TRANSCRIPTIONS = "transcriptions"


class Urgency(StrEnum):
    """What a request is for, and so who goes first when there is not enough for all.

    Deletes free quota, so nothing starves them. All others go in the order in which they asked: surveys come again
    and again, and if they went first, a slow pace would leave turns for nothing else.
    """

    DELETE = "delete"
    SURVEY = "survey"
    CREATE = "create"
    FETCH = "fetch"
    UPLOAD = "upload"

    @property
    def rank(self) -> int:
        """Return whose turn comes first: the lower one's."""
        return 0 if self is Urgency.DELETE else 1


@dataclass(slots=True)
class Pace:
    """One bucket: when the next request may go. Times are seconds of whatever clock the caller has.

    `per_minute` is what the settings allow, 0 is no limit of ours. No minute holds more, and no moment more than the
    burst. A refusal halves what is allowed or what was sent in the minute before it, whichever is less; few requests
    are no measure, because a refusal among them is about what other clients sent.
    """

    per_minute: float
    _limit: float = field(init=False)  # allowed a minute, as of `_at`
    _tokens: float = field(init=False)
    _at: float = -math.inf
    _quiet_until: float = -math.inf
    _refused_at: float = -math.inf
    _sent: deque[float] = field(default_factory=deque)  # in the latest minute
    _window: deque[float] = field(default_factory=deque)  # in the latest window, and after the latest refusal

    def __post_init__(self) -> None:
        self.per_minute = self.per_minute or math.inf
        self._limit = self.per_minute
        self._tokens = self._burst

    def wait(self, now: float) -> float:
        """Return in how many seconds the next request may go; 0 is now."""
        self._refill(now)
        quiet = max(0.0, self._quiet_until - now, self._crowded(now))
        if self._tokens >= 1 - _ROUNDING or self._limit == math.inf:
            return quiet
        return max(quiet, (1 - self._tokens) / self._rate)

    def take(self, now: float) -> None:
        """Note that a request goes now."""
        self._refill(now)
        self._tokens -= 1
        self._sent.append(now)
        self._window.append(now)

    def pause(self, now: float, asked: float | None = None) -> None:
        """Note that the service refused for something; `asked` is how many seconds it asked for, if it did."""
        self._refill(now)
        seconds = PAUSE_SECONDS if asked is None else min(max(asked, 1.0), LONGEST_PAUSE)
        self._quiet_until = max(self._quiet_until, now + seconds)

    def refused(self, now: float, asked: float | None = None) -> None:
        """Note that the service refused for the pace."""
        self.pause(now, asked)
        if now - self._refused_at > REFUSALS_COUNT_ONCE:
            self._refused_at = now
            self._limit = max(LEAST_PER_MINUTE, min(self._limit, max(len(self._sent), USUAL_PER_MINUTE)) / 2)
            self._window.clear()
        self._tokens = 0.0

    @property
    def allowed(self) -> float:
        """Return how many requests a minute are allowed now."""
        return self._limit

    @property
    def _burst(self) -> float:
        return max(1.0, self._limit * BURST_SHARE)

    @property
    def _rate(self) -> float:
        """Return by how many requests a second a burst comes back."""
        return self._limit / MINUTE

    def _crowded(self, now: float) -> float:
        """Return for how long the window is full."""
        over = -1 if self._limit == math.inf else len(self._window) - int(self._limit)
        return self._window[over] + WINDOW - now if over >= 0 else 0.0

    def _refill(self, now: float) -> None:
        _forget(self._sent, now - MINUTE)
        _forget(self._window, now - WINDOW)
        passed = 0.0 if self._at == -math.inf else max(0.0, now - self._at)
        self._at = now
        if self._limit == math.inf:
            return
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._limit = min(self.per_minute, self._limit * 2 ** (passed / RECOVERY_SECONDS))


def _forget(times: deque[float], until: float) -> None:
    while times and times[0] <= until + _ROUNDING:
        times.popleft()


class Budget:
    """Lets every request wait for its turn."""

    def __init__(self, per_minute: float) -> None:
        self._lines = {bucket: _Line(Pace(per_minute)) for bucket in Bucket}

    async def turn(self, bucket: Bucket, urgency: Urgency) -> None:
        """Wait until a request may go, after all more urgent ones and all that asked before."""
        await self._lines[bucket].turn(urgency)

    def refused(self, bucket: Bucket, pause: float | None = None) -> None:
        """Note that the service refused a request for the pace; see `Pace.refused`."""
        self._lines[bucket].pace.refused(anyio.current_time(), pause)

    def pause(self, bucket: Bucket, pause: float | None = None) -> None:
        """Note that the service refused a request for what may be the pace; see `Pace.pause`."""
        self._lines[bucket].pace.pause(anyio.current_time(), pause)

    @property
    def pace(self) -> float:
        """Return how many requests a minute are allowed where so many wait that it shows, or 0."""
        crowded = [line.pace.allowed for line in self._lines.values() if len(line.tickets) >= CROWD]
        return min((pace for pace in crowded if pace < math.inf), default=0.0)

    def waiting(self, bucket: Bucket) -> int:
        """Return how many requests wait for their turn."""
        return len(self._lines[bucket].tickets)


class _Line:
    """Who waits for one bucket: only the first one watches the clock, the others wait for him to go."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.tickets: list[tuple[int, int]] = []
        self._serial = 0
        self._moved = anyio.Event()

    async def turn(self, urgency: Urgency) -> None:
        with self._queued(urgency) as ticket:
            while self.tickets[0] != ticket or self._left():
                with anyio.move_on_after(self._left() if self.tickets[0] == ticket else None):
                    await self._moved.wait()
            self.pace.take(anyio.current_time())

    def _left(self) -> float:
        return self.pace.wait(anyio.current_time())

    @contextmanager
    def _queued(self, urgency: Urgency) -> Iterator[tuple[int, int]]:
        ticket = (urgency.rank, self._serial)
        self._serial += 1
        heappush(self.tickets, ticket)
        try:
            yield ticket
        finally:
            self.tickets.remove(ticket)
            heapify(self.tickets)
            self._moved.set()
            self._moved = anyio.Event()
