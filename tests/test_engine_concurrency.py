"""Whole runs in virtual time: as many uploads at once as make it faster, and never more than asked for."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median

import anyio
import pytest

from batcher.bandwidth import parse_bandwidth
from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.model import Limits
from batcher.service.simulated import Pace
from tests.engine_bed import KNOBS, Bed
from tests.simulation.__main__ import memory

#: A service that takes its time for every answer, and holds up nothing else.
DISTANT = Pace(least=1.0, most=1.0, bytes_per_second=100_000_000)
ROOMY = replace(KNOBS, pending=2_000, stored=10_000, queue_ms=10, min_work_ms=10, max_work_ms=10)
LIMITS = Limits(2_000, 10_000)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the table, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def failing(one_in: int) -> Callable[[Call], Fault | None]:
    """Return what has one in so many uploads break off."""
    numbers = count(1)

    def trouble(call: Call) -> Fault | None:
        breaks = call is Call.SUBMIT and next(numbers) % one_in == 0
        return Fault(Trouble.REFUSED, "DEADLINE_EXCEEDED") if breaks else None

    return trouble


class Watch:
    """Looks every second how many recordings are being sent."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self.seen: list[int] = []

    async def __call__(self, _engine: Engine) -> None:
        """Look until the run ends."""
        while True:
            await anyio.sleep(1)
            ((number,),) = self._bed.rows("SELECT count(*) FROM job WHERE state IN ('uploading', 'sealed')")
            assert isinstance(number, int)
            self.seen.append(number)


def test_tiny_recordings_and_slow_answers_are_sent_by_the_dozen(folder: Path) -> None:
    """Eight at once would take seven minutes; where more help they are there within half a minute."""
    bed = Bed(folder, *range(1_000, 2_600), knobs=ROOMY, pace=DISTANT)
    watch = Watch(bed)
    assert bed.run(watch, limits=LIMITS) is None
    assert bed.states() == {"done": 1_600}
    assert max(watch.seen) > 40
    assert max(moment for moment, call in bed.calls if call is Call.SUBMIT) < 120


def test_that_some_uploads_come_to_nothing_is_no_reason_for_fewer(folder: Path) -> None:
    """One in thirty is no sign of too many."""
    bed = Bed(folder, *range(1_000, 1_800), knobs=ROOMY, pace=DISTANT)
    bed.trouble = failing(30)
    watch = Watch(bed)
    assert bed.run(watch, limits=LIMITS) is None
    assert bed.states() == {"done": 800}
    assert max(watch.seen) > 20


def test_a_number_asked_for_is_the_most_and_the_least(folder: Path) -> None:
    """However much faster it would be otherwise."""
    bed = Bed(folder, *range(1_000, 1_200), knobs=ROOMY, pace=DISTANT)
    watch = Watch(bed)
    assert bed.run(watch, limits=LIMITS, upload_concurrency=4) is None
    assert max(watch.seen) == 4
    assert bed.world.moment > 50


def test_a_limit_of_bandwidth_needs_no_crowd(folder: Path) -> None:
    """Recordings that share what they may have take no more memory than a few of them."""
    bed = Bed(folder, *range(1_000_000, 1_000_060), knobs=ROOMY, pace=Pace(bytes_per_second=100_000_000))
    watch = Watch(bed)
    assert bed.run(watch, limits=LIMITS, bandwidth=parse_bandwidth("200k")) is None
    assert max(watch.seen) <= 16
    assert median(watch.seen[-100:]) <= 8
    assert bed.world.moment < 60 * 1_000_000 / 200_000 * 1.06


def test_there_are_never_more_than_may_be_pending(folder: Path) -> None:
    """Also when the limit is small, and lowered while it works."""
    knobs = replace(ROOMY, pending=12)
    bed = Bed(folder, *range(1_000, 1_300), knobs=knobs, pace=DISTANT)
    watch = Watch(bed)

    async def lower(engine: Engine) -> None:
        await anyio.sleep_until(20)
        engine.set_limits(Limits(3, 10_000))
        await anyio.sleep_until(30)
        watch.seen.clear()

    assert bed.run(watch, lower, limits=Limits(12, 10_000)) is None
    assert max(watch.seen) <= 3
    assert not bed.account.tally.refusals


def test_limits_that_are_lowered_while_a_run_begins_hold(folder: Path) -> None:
    """The configuration file may change at any moment, also while the table is being opened."""
    bed = Bed(folder, *range(1_000, 1_060), knobs=ROOMY, pace=DISTANT)
    watch = Watch(bed)
    seen: list[bool] = []

    async def lower(engine: Engine) -> None:
        seen.append(engine.pulse() is None)
        engine.set_limits(Limits(3, 10_000))

    assert bed.run(watch, lower, limits=Limits(12, 10_000)) is None
    assert seen == [True]
    assert max(watch.seen) <= 3


def test_uploads_that_break_off_are_fewer_for_a_while(folder: Path) -> None:
    """A line that fails half of them is not answered by as many more."""
    bed = Bed(folder, *range(1_000, 1_600), knobs=ROOMY, pace=DISTANT)
    watch = Watch(bed)
    bed.trouble = failing(2)

    async def mend(_engine: Engine) -> None:
        await anyio.sleep_until(60)
        assert max(watch.seen[20:]) <= 8
        bed.trouble = lambda _call: None

    assert bed.run(watch, mend, limits=LIMITS) is None
    assert bed.states() == {"done": 600}
