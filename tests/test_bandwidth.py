"""The limit of bandwidth: how it is written, how exactly it is kept, and that it never holds up a stop."""

import itertools
import math
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random

import anyio
import pytest

from batcher.bandwidth import LEAST_RATE, Bucket, Timetable, check_bandwidth, parse_bandwidth
from batcher.clock import time_of_day
from batcher.service import CHUNK_BYTES
from batcher.service.shared import reading
from batcher.valve import Throttled, Valve
from tests.simulation.virtual import run_virtually

OFFICE = "08:00,512k 23:00,off"
MEGABYTE = 1_000_000
Passed = list[tuple[float, int, int]]  # when, how many bytes, of which upload


# How it is written.


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("2M", [(0, 2_000_000)]),
        ("2MiB", [(0, 2 << 20)]),
        ("8000", [(0, 8_000)]),
        ("", [(0, None)]),
        ("off", [(0, None)]),
        (" OFF ", [(0, None)]),
        (OFFICE, [(28_800, 512_000), (82_800, None)]),
        ("23:00,off  8:00,512k", [(28_800, 512_000), (82_800, None)]),
        ("00:00,1M", [(0, 1_000_000)]),
    ],
)
def test_a_limit_is_written_as_other_tools_have_it(text: str, entries: list[tuple[int, int | None]]) -> None:
    """A size a second, nothing, or a timetable whose entries may stand in any order."""
    assert parse_bandwidth(text) == Timetable(tuple(entries))
    assert check_bandwidth(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast", "like 2M, off, or a timetable"),
        ("2M 3M", "like 2M, off, or a timetable"),
        ("08:00", "like 2M, off, or a timetable"),
        ("08:00,", "like 2M, off, or a timetable"),
        ("08:00,512k,1M", "like 2M, off, or a timetable"),
        ("Mon-08:00,512k", "like 2M, off, or a timetable"),
        ("24:00,512k", "from 00:00 to 23:59, not 24:00"),
        ("08:60,512k", "from 00:00 to 23:59, not 08:60"),
        ("08:00,512k 8:00,off", "one limit for each time of day"),
        ("512", "at least 8k a second, or off"),
        ("0", "at least 8k a second, or off"),
        ("08:00,7999", "at least 8k a second, or off"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    """Also the 512 of somebody who is used to kilobytes: the night would be over before the first recording."""
    with pytest.raises(ValueError, match=words):
        check_bandwidth(text)


def test_a_number_of_bytes_may_stand_without_quotes() -> None:
    """As every size in the configuration file; what is neither text nor number is left to be refused there."""
    assert check_bandwidth(2_000_000) == "2000000"
    assert check_bandwidth(True) is True
    assert check_bandwidth(["2M"]) == ["2M"]


@pytest.mark.parametrize(
    ("clock", "rate"),
    [
        ("00:00", 90_000),
        ("07:59", 90_000),
        ("08:00", 512_000),
        ("18:00", None),
        ("22:59", None),
        ("23:00", 90_000),
        ("23:59", 90_000),
    ],
)
def test_an_entry_holds_until_the_next_one_also_around_midnight(clock: str, rate: int | None) -> None:
    """The evening's limit is that of the small hours."""
    hours, minutes = map(int, clock.split(":"))
    assert parse_bandwidth("08:00,512k 18:00,off 23:00,90k").rate(hours * 3600 + minutes * 60) == rate


def test_the_time_of_day_is_the_one_on_the_wall() -> None:
    """Seconds since midnight, in the zone of this machine."""
    assert 0 <= time_of_day() < 86_400


# How exactly it is kept.


class Blank:
    """A recording of so many bytes that reads itself at once."""

    digest = b"digest"

    def __init__(self, size: int) -> None:
        self.size = size
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        try:
            for start in range(0, self.size, CHUNK_BYTES):
                yield bytes(min(CHUNK_BYTES, self.size - start))
        finally:
            self.closed = True


def sent(
    uploads: int,
    seconds: float,
    timetable: str,
    *,
    clock: Callable[[], float] = lambda: 0.0,
    network: Callable[[int], float] = lambda _upload: 0.0,
) -> Passed:
    """Return what passed while so many uploads, each as large as can be, were sent for so long in virtual time.

    `network` says how many seconds the network takes for a piece of an upload.
    """
    passed: Passed = []

    async def upload(number: int, valve: Valve) -> None:
        async for chunk in Throttled(Blank(10**12), valve).chunks():
            passed.append((anyio.current_time(), len(chunk), number))
            await anyio.sleep(network(number))

    async def main() -> None:
        valve = Valve(parse_bandwidth(timetable), clock=clock)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for number in range(uploads):
                    group.start_soon(upload, number, valve)

    run_virtually(main)
    return passed


def within(passed: Passed, begin: float, end: float) -> int:
    """Return how many bytes passed in a stretch of time."""
    return sum(count for moment, count, _ in passed if begin <= moment < end)


def largest_excess(passed: Passed, rate: float) -> float:
    """Return the largest number of bytes by which any stretch of time was ahead of the rate."""
    ahead = most = 0.0
    before = -math.inf
    for moment, count, _ in passed:
        ahead = max(0.0, ahead - (moment - before) * rate) + count
        most, before = max(most, ahead), moment
    return most


@pytest.mark.parametrize("uploads", [1, 2, 7, 16, 64, 200])
@pytest.mark.parametrize("limit", ["8k", "100k", "2M", "50M"])
def test_the_limit_is_kept_within_a_twentieth_over_any_ten_seconds(uploads: int, limit: str) -> None:
    """Whatever the number of uploads; and never a burst of more than a quarter of a second's worth beyond it."""
    rate = parse_bandwidth(limit).rate(0)
    assert rate is not None
    passed = sent(uploads, 30, limit, network=lambda _upload: 0.001)
    for begin in (0, 5, 12.5, 20):
        assert within(passed, begin, begin + 10) == pytest.approx(10 * rate, rel=0.05)
    assert largest_excess(passed, rate) <= rate / 4 + 1


@pytest.mark.parametrize("uploads", [1, 16])
def test_timers_that_are_late_do_not_make_it_slower(uploads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has other work wakes everybody some milliseconds late; that is made up for."""
    sleep, chance = anyio.sleep, Random(0)
    monkeypatch.setattr("batcher.valve.anyio.sleep", lambda seconds: sleep(seconds + chance.expovariate(100)))
    passed = sent(uploads, 20, "20M")
    assert within(passed, 0, 10) == pytest.approx(200 * MEGABYTE, rel=0.05)
    assert within(passed, 10, 20) == pytest.approx(200 * MEGABYTE, rel=0.05)
    assert largest_excess(passed, 20 * MEGABYTE) <= 5 * MEGABYTE + 1


def test_no_upload_is_preferred() -> None:
    """Each gets its share, also beside those whose network is slower, as far as they can use it."""
    passed = sent(10, 20, "1M", network=lambda number: 0.5 if number == 0 else 0.0)
    shares = [sum(count for _, count, of in passed if of == number) for number in range(10)]
    assert max(shares[1:]) - min(shares[1:]) <= MEGABYTE / 16
    assert shares[0] < min(shares[1:])
    assert sum(shares) == pytest.approx(20 * MEGABYTE, rel=0.05)


@pytest.mark.parametrize("uploads", [1, 200])
def test_no_upload_waits_so_long_that_it_seems_to_stand_still(uploads: int) -> None:
    """Uploads end after two minutes in which nothing moves: with the lowest limit and the most uploads nobody does."""
    passed = sent(uploads, 120, str(LEAST_RATE))
    for number in range(uploads):
        moments = [0.0, *(moment for moment, _, of in passed if of == number), 120.0]
        assert max(later - earlier for earlier, later in itertools.pairwise(moments)) <= 15


def test_without_a_limit_nothing_is_cut_and_nothing_waits() -> None:
    """Chunks pass as they are."""
    passed: list[int] = []

    async def main() -> list[int]:
        valve = Valve(parse_bandwidth("off"), passed.append)
        return [len(chunk) async for chunk in Throttled(Blank(CHUNK_BYTES + 5), valve).chunks()]

    assert run_virtually(main) == ([CHUNK_BYTES, 5], 0.0)
    assert passed == [CHUNK_BYTES, 5]


# When it changes.


def test_a_timetable_is_followed_while_uploads_are_under_way() -> None:
    """Over midnight too: three uploads see the evening's limit, the night's and none at all."""
    passed = sent(
        3,
        40,
        "23:59,100k 00:00,1M",
        clock=lambda: (86_380 + anyio.current_time()) % 86_400,  # the first entry ends after 20 seconds
    )
    assert within(passed, 0, 10) == pytest.approx(10 * 100_000, rel=0.05)
    assert within(passed, 10, 20) == pytest.approx(10 * 100_000, rel=0.05)
    assert within(passed, 20, 30) == pytest.approx(10 * 1_000_000, rel=0.05)
    assert within(passed, 20, 20.5) <= 0.75 * 1_000_000
    assert within(passed, 30, 40) == pytest.approx(10 * 1_000_000, rel=0.05)


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(["8k", "10M", "off"], 2)))
def test_another_limit_holds_at_once_also_for_those_who_wait(before: str, after: str) -> None:
    """Not only when whole chunks of the old one have passed."""
    moments: list[tuple[float, int]] = []

    async def upload(valve: Valve) -> None:
        async for chunk in Throttled(Blank(10**12), valve).chunks():
            moments.append((anyio.current_time(), len(chunk)))
            await anyio.sleep(0.01)

    async def main() -> None:
        valve = Valve(parse_bandwidth(before), clock=lambda: 0.0)
        with anyio.move_on_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(upload, valve)
                await anyio.sleep(10)
                valve.timetable = parse_bandwidth(after)

    run_virtually(main)
    expected = {"8k": 80_000, "10M": 100_000_000, "off": 4 * 1_000 * CHUNK_BYTES}
    later = sum(count for moment, count in moments if moment >= 10)
    assert later == pytest.approx(expected[after], rel=0.05)


def test_what_binds_is_told_apart_from_what_does_not() -> None:
    """A limit that the network does not reach is none to speak of."""

    async def told(network: float, timetable: str) -> int | None:
        valve = Valve(parse_bandwidth(timetable), clock=lambda: 0.0)
        with anyio.move_on_after(10):
            async for _ in Throttled(Blank(10**12), valve).chunks():
                await anyio.sleep(network)
        return valve.binding

    assert run_virtually(lambda: told(0.001, "1M"))[0] == MEGABYTE
    assert run_virtually(lambda: told(0.1, "1M"))[0] is None
    assert run_virtually(lambda: told(0.001, "off"))[0] is None


# When it ends.


def test_an_upload_that_is_given_up_while_it_waits_is_gone_at_once() -> None:
    """And in nobody's way: the others have its share, and the file is closed."""
    recordings = [Blank(10**9) for _ in range(4)]
    passed: list[int] = []

    async def upload(recording: Blank, valve: Valve, scope: anyio.CancelScope) -> None:
        with scope:
            async with reading(Throttled(recording, valve).chunks()) as chunks:
                async for _ in chunks:
                    pass
        assert recording.closed
        assert anyio.current_time() == 5

    async def main() -> None:
        valve, given_up = Valve(parse_bandwidth("8k"), passed.append, lambda: 0.0), anyio.CancelScope()
        async with anyio.create_task_group() as group:
            for recording in recordings:
                scope = given_up if recording is recordings[0] else anyio.CancelScope()
                group.start_soon(upload, recording, valve, scope)
            await anyio.sleep(5)
            given_up.cancel()
            passed.clear()
            await anyio.sleep(10)
            assert recordings[0].closed
            group.cancel_scope.cancel()

    run_virtually(main)
    assert sum(passed) == pytest.approx(80_000, rel=0.05)
    assert all(recording.closed for recording in recordings)


def test_a_throttled_recording_is_the_recording() -> None:
    """Not a byte more, less, or elsewhere."""
    content = Random(1).randbytes(700_001)

    class Known(Blank):
        async def chunks(self) -> AsyncIterator[bytes]:
            for start in range(0, self.size, CHUNK_BYTES):
                yield content[start : start + CHUNK_BYTES]

    async def main() -> Sequence[bytes]:
        throttled = Throttled(Known(len(content)), Valve(parse_bandwidth("1M"), clock=lambda: 0.0))
        assert (throttled.size, throttled.digest) == (len(content), b"digest")
        return [piece async for piece in throttled.chunks()]

    pieces, _ = run_virtually(main)
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= MEGABYTE / 16


def test_a_bucket_saves_little() -> None:
    """After an hour without uploads the first moment is not an hour's worth."""
    bucket, now, passed = Bucket(), 3_600.0, 0
    while bucket.wait(now) == 0:
        passed += bucket.take(now, 10**9, MEGABYTE)
    assert passed <= MEGABYTE / 4 + 1
