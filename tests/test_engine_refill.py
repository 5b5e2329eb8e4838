"""What fills places that have become free goes first, and nothing else waits for it longer than a moment."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from batcher.emulator.tally import Call
from batcher.model import Limits
from batcher.service.simulated import Pace
from batcher.stages.refill import SECONDS, Refill
from tests.engine_bed import KNOBS, Bed
from tests.simulation.__main__ import memory
from tests.simulation.virtual import run_virtually


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the table, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def waited(sent_all: float | None, asked: float = 0.0) -> float:
    """Return how long somebody gave way who asked so long after places had become free.

    They were all filled at `sent_all`, or it takes for ever.
    """

    async def main() -> float:
        refill = Refill()
        refill.begin()

        async def send() -> None:
            if sent_all is not None:
                await anyio.sleep(sent_all)
                refill.sent(more=False)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.sleep(asked)
            refill.sent(more=True)
            began = anyio.current_time()
            await refill.give_way()
            return anyio.current_time() - began
        raise AssertionError

    return run_virtually(main)[0]


def test_others_give_way_until_the_places_are_filled() -> None:
    """And go on at once then."""
    assert waited(0.1) == pytest.approx(0.1)


def test_nobody_gives_way_for_longer_than_a_moment() -> None:
    """Large recordings, or a slow line, fill places for hours."""
    assert waited(None) == pytest.approx(SECONDS)
    assert waited(None, asked=SECONDS - 0.1) == pytest.approx(0.1)
    assert waited(None, asked=3600) == 0


def test_where_no_place_has_become_free_nobody_gives_way() -> None:
    """However much is sent: an account without limits never has one to fill."""

    async def main() -> None:
        refill = Refill()
        refill.sent(more=True)
        await refill.give_way()

    assert run_virtually(main)[1] == 0


def a_run(folder: Path, pace: Pace, places: int, jobs: int) -> Bed:
    """Run so many jobs, which all take five seconds, through so many places."""
    knobs = replace(KNOBS, pending=places, queue_ms=1, min_work_ms=5_000, max_work_ms=5_000)
    bed = Bed(folder, *range(1_000, 1_000 + jobs), knobs=knobs, pace=pace)
    assert bed.run(limits=Limits(places, 5_000)) is None
    assert bed.wrong() == []
    return bed


def begun(bed: Bed, call: Call) -> list[float]:
    """Return when calls of this kind were begun."""
    return [moment for moment, made in bed.calls if made is call]


def test_places_that_have_become_free_are_filled_before_anything_is_fetched(folder: Path) -> None:
    """Twenty end together: their places have the next twenty before one of them is fetched."""
    bed = a_run(folder, Pace(least=0.01, most=0.01, bytes_per_second=1e9), 20, 60)
    submitted, fetched = begun(bed, Call.SUBMIT), begun(bed, Call.FETCH)
    for wave in (20, 40):
        assert submitted[wave + 19] <= fetched[wave - 20]


def test_on_a_slow_line_fetching_waits_a_moment_only(folder: Path) -> None:
    """To fill the places takes ten seconds, and what ended meanwhile is not left lying so long."""
    bed = a_run(folder, Pace(least=2.0, most=2.0, bytes_per_second=1e9), 60, 120)
    fetched, completed = begun(bed, Call.FETCH), bed.rows("SELECT min(at) FROM history WHERE event = 'completed'")
    seen = int(str(completed[0][0])) / 1000 - (bed.world.now() / 1000 - bed.world.moment)
    assert fetched[0] - seen <= SECONDS + 0.1
    assert fetched[0] < begun(bed, Call.SUBMIT)[-1]


def test_what_ended_while_nobody_looked_teaches_nothing(folder: Path) -> None:
    """The run was killed, and an hour later its jobs have ended: they did not take an hour, and the next ones will not."""
    knobs = replace(KNOBS, pending=10, queue_ms=1, min_work_ms=5_000, max_work_ms=5_000)
    bed = Bed(folder, *range(1_000, 1_040), knobs=knobs, pace=Pace(least=0.01, most=0.01, bytes_per_second=1e9))
    bed.run(kill="fetched", limits=Limits(10, 5_000))
    began = bed.world.now() + 3_600_000
    bed.world.moment += 3_600
    assert bed.run(limits=Limits(10, 5_000)) is None
    assert bed.wrong() == []
    ((ended,),) = bed.rows("SELECT max(at) FROM history WHERE event = 'completed'")
    rounds, polite = 3, 2_000
    assert int(str(ended)) - began <= rounds * (5_000 + polite) + 3_000


def test_whoever_gives_way_does_so_once() -> None:
    """Also when places become free again and again."""

    async def main() -> None:
        refill = Refill()
        refill.begin()

        async def begin_again() -> None:
            while True:
                await anyio.sleep(SECONDS / 2)
                refill.begin()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin_again)
            with anyio.fail_after(2 * SECONDS):
                await refill.give_way()
            tasks.cancel_scope.cancel()

    run_virtually(main)
