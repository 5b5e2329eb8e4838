"""How many recordings are sent at the same time: found by trying, on lines of every kind, in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import anyio
import pytest
from anyio.abc import TaskGroup

from batcher.bandwidth import Timetable
from batcher.concurrency import FIRST, LEAST_BY_CHOICE, MOST, Concurrency, parse_concurrency
from batcher.service import CHUNK_BYTES
from batcher.valve import Valve
from tests.simulation.virtual import run_virtually

MBIT = 125_000  #: bytes a second
ANY = 10**9


@dataclass
class Line:
    """A line and what is sent over it, as the upload stage sends it."""

    size: Callable[[Random], int]  #: of the next recording
    rate: int | None = None  #: bytes a second that all uploads share
    latency: float = 0.2  #: seconds that an upload takes besides its bytes
    allowed: int = ANY
    supply: Callable[[float], int] = lambda _now: ANY  #: how many there are to send at a moment
    fails: Callable[[int], bool] = lambda _sending: False  #: does an upload come to nothing beside so many?
    places: list[tuple[float, int]] = field(default_factory=list)  #: since when there were how many
    passed: list[tuple[float, int]] = field(default_factory=list)  #: when how many bytes were sent
    ended: list[tuple[float, bool]] = field(
        default_factory=list
    )  #: when an upload ended, and whether it came to nothing

    def run(self, seconds: float, concurrency: Concurrency | None = None, *, later: int | None = None) -> "Line":
        """Send for so long; with `later` the line has another rate in the second half."""
        self._concurrency = concurrency or Concurrency()
        self._chance = Random(1)
        self._sending = 0
        run_virtually(lambda: self._run(seconds, later))
        return self

    async def _run(self, seconds: float, later: int | None) -> None:
        self._valve = Valve(Timetable(((0, self.rate),)), clock=lambda: 0.0)
        self._bell = anyio.Event()
        async with anyio.create_task_group() as group:
            group.cancel_scope.deadline = seconds
            group.start_soon(self._stage, group)
            if later is not None:
                await anyio.sleep(seconds / 2)
                self._valve.timetable = Timetable(((0, later),))

    async def _stage(self, group: TaskGroup) -> None:
        while True:
            self._bell = anyio.Event()
            free = self._observe() - self._sending
            if free > 0:
                await anyio.sleep(0.002)
                claimed = min(free, self.supply(anyio.current_time()))
                self._sending += claimed
                for _ in range(claimed):
                    group.start_soon(self._upload)
                self._observe(short=claimed < free)
            with anyio.move_on_after(5):
                await self._bell.wait()

    def _observe(self, *, short: bool = False) -> int:
        now = anyio.current_time()
        places = self._concurrency.observe(now, self._sending, self.allowed, short=short)
        if not self.places or self.places[-1][1] != places:
            self.places.append((now, places))
        return places

    async def _upload(self) -> None:
        epoch, left = self._concurrency.begin(), self.size(self._chance)
        await anyio.sleep(self.latency / 2)
        failed = self.fails(self._sending)
        if failed:
            await anyio.sleep(5)
            left = 0
        while left:
            count = await self._valve.take(min(left, CHUNK_BYTES))
            self._concurrency.passed(anyio.current_time(), count)
            self.passed.append((anyio.current_time(), count))
            left -= count
        await anyio.sleep(self.latency / 2)
        self._concurrency.ended(anyio.current_time(), epoch, failed=failed)
        self.ended.append((anyio.current_time(), failed))
        self._sending -= 1
        self._bell.set()

    def bytes_a_second(self, begin: float, end: float) -> float:
        """Return the speed in a stretch of time."""
        return sum(count for moment, count in self.passed if begin <= moment < end) / (end - begin)

    def uploads_a_second(self, begin: float, end: float) -> float:
        """Return how many came through in a stretch of time."""
        return sum(begin <= moment < end and not failed for moment, failed in self.ended) / (end - begin)

    def usual(self, begin: float, end: float) -> int:
        """Return the number of places that held for most of a stretch of time."""
        spans: dict[int, float] = {}
        for (since, places), until in zip(self.places, [*(since for since, _ in self.places[1:]), end], strict=True):
            spans[places] = spans.get(places, 0.0) + max(0.0, min(until, end) - max(since, begin))
        return max(spans, key=lambda places: spans[places])


def always(size: int) -> Callable[[Random], int]:
    """Return recordings of one size."""
    return lambda _chance: size


def heavy_tail(chance: Random) -> int:
    """Return a size: most are small, most bytes are in few."""
    return int(min(200e6, max(1e4, chance.paretovariate(0.9) * 1e5)))


@pytest.mark.parametrize("size", [500_000, 5_000_000, 50_000_000])
def test_a_line_that_is_full_needs_few_uploads(size: int) -> None:
    """A hundred megabits shared: it is full from the beginning on, and soon so few fill it that memory is spared."""
    line = Line(always(size), rate=100 * MBIT).run(600)
    assert line.usual(300, 600) <= FIRST
    assert line.bytes_a_second(0, 300) >= 0.95 * 100 * MBIT
    assert line.bytes_a_second(300, 600) >= 0.97 * 100 * MBIT


def test_answers_that_take_long_need_many_uploads() -> None:
    """Tiny recordings, each with a fifth of a second of waiting: the most are soon under way, and stay so."""
    line = Line(always(10_000)).run(120)
    assert line.usual(0, 120) == MOST
    assert line.uploads_a_second(60, 120) >= 0.95 * MOST / (0.2 + 0.002)
    assert line.uploads_a_second(20, 30) >= 0.8 * MOST / (0.2 + 0.002)


def test_tiny_recordings_on_a_line_with_a_limit_need_as_many_as_fill_it() -> None:
    """A megabyte a second of ten kilobytes each are a hundred a second: forty at once, and not the most."""
    line = Line(always(10_000), rate=1_000_000, latency=0.4).run(200)
    assert 30 <= line.usual(100, 200) <= 45
    assert line.bytes_a_second(60, 200) >= 0.95 * 1_000_000


@pytest.mark.parametrize("rate", [10 * MBIT, 200 * MBIT])
def test_recordings_of_all_sizes_fill_the_line(rate: int) -> None:
    """However much what is measured varies by what is sent at the moment."""
    line = Line(heavy_tail, rate=rate).run(400)
    assert line.bytes_a_second(0, 200) >= 0.9 * rate
    assert line.bytes_a_second(200, 400) >= 0.95 * rate


def test_a_line_that_breaks_under_many_uploads_is_spared() -> None:
    """Beside more than ten each one comes to nothing: few are lost to learn it, and it is rarely tried again."""
    line = Line(always(10_000), fails=lambda sending: sending > 10).run(600)
    assert line.usual(60, 600) <= 10
    assert line.uploads_a_second(60, 600) >= 0.7 * 10 / 0.2
    assert sum(failed for _, failed in line.ended) <= 0.005 * len(line.ended)


def test_uploads_that_all_fail_are_halved_once_for_one_mishap() -> None:
    """Not once for each that was under way; and when the line is back, so are they."""
    line = Line(always(10_000), latency=1.0, fails=lambda _sending: 80 <= anyio.current_time() < 81).run(300)
    assert line.usual(50, 80) == MOST
    assert min(places for since, places in line.places if since >= 80) == MOST // 2
    assert line.usual(200, 300) >= 0.9 * MOST


def test_a_line_that_becomes_faster_is_used() -> None:
    """By night it has many times the bandwidth: that shows at once, and no long memory of the day keeps it down."""
    line = Line(always(1_000_000), rate=1_000_000).run(400, later=25_000_000)
    assert line.usual(100, 200) <= FIRST
    assert line.bytes_a_second(220, 240) >= 0.9 * 25_000_000
    assert line.bytes_a_second(240, 400) >= 0.9 * 25_000_000


def test_a_line_that_becomes_slower_does_not_make_them_more() -> None:
    """More uploads do not help there."""
    line = Line(always(1_000_000), rate=25_000_000).run(300, later=1_000_000)
    assert line.usual(200, 300) <= line.usual(50, 150)
    assert line.bytes_a_second(150, 300) >= 0.95 * 1_000_000


@pytest.mark.parametrize(
    "line", [Line(always(5_000_000), rate=100 * MBIT), Line(always(10_000), latency=2)], ids=["full", "slow"]
)
def test_the_number_does_not_swing(line: Line) -> None:
    """Once it is found, other numbers are tried for some seconds every few minutes."""
    line.run(1500)
    changes = [places for since, places in line.places if since >= 600]
    assert len(changes) <= 12
    usual = line.usual(600, 1500)
    assert set(changes) <= {usual, round(usual * 1.5), int(usual / 1.5)}


def test_what_is_measured_while_there_is_little_to_send_counts_for_nothing() -> None:
    """A full account, or the end of the batch, says nothing about the line."""
    line = Line(always(10_000), supply=lambda now: ANY if now < 2 else int(now * 10) % 5 == 0).run(300)
    assert [places for _, places in line.places] == [FIRST]
    assert len(line.ended) > 50


def test_there_are_never_more_than_may_be_pending() -> None:
    """Those that are being sent count against that limit."""
    line = Line(always(10_000), allowed=5).run(100)
    assert max(places for _, places in line.places) == 5


@pytest.mark.parametrize("number", [1, 3, 200])
def test_a_number_that_was_asked_for_holds(number: int) -> None:
    """Whatever is measured, and whatever fails."""
    line = Line(always(10_000), fails=lambda sending: sending > 2).run(300, Concurrency(number, number, number))
    assert [places for _, places in line.places] == [number]


def test_it_never_leaves_its_bounds() -> None:
    """Neither on a line that gets better with each upload, nor on one on which everything fails."""
    for line in (Line(always(10_000), latency=1), Line(always(10_000), fails=lambda _sending: True)):
        line.run(300)
        assert all(1 <= places <= MOST for _, places in line.places)
    assert line.places[-1][1] < LEAST_BY_CHOICE


def test_a_number_or_the_word_can_be_set() -> None:
    """The word is zero inside; what is neither is told apart from a number out of bounds."""
    assert [parse_concurrency(value) for value in ("auto", 0, "12", 12)] == [0, 0, "12", 12]
    with pytest.raises(ValueError, match="a number like 8, or auto"):
        parse_concurrency("many")
