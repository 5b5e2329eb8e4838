"""Whole runs with a limit of bandwidth, in virtual time: recordings keep to it, and nothing else waits for it."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from batcher.bandwidth import parse_bandwidth
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.service.simulated import Pace
from tests.engine_bed import KNOBS, Bed
from tests.simulation.__main__ import memory

QUICK = Pace(least=0.01, most=0.02, bytes_per_second=100_000_000)
both = pytest.mark.parametrize("api", ["grpc", "rest"])


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the table, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


@both
def test_recordings_take_the_time_that_the_limit_gives_them(api: str, folder: Path) -> None:
    """Through both of the service's APIs; without a limit the same ones are there in a moment."""
    bed = Bed(folder, *range(400_000, 400_010), api=api, pace=QUICK)
    seen: list[int | None] = []

    async def look(engine: Engine) -> None:
        await anyio.sleep_until(20)
        pulse = engine.pulse()
        seen.append(pulse.bwlimit if pulse else None)

    assert bed.run(look, bandwidth=parse_bandwidth("100k")) is None
    assert 40 <= bed.world.moment <= 55
    assert bed.wrong() == []
    assert seen == [100_000]
    for number in range(10):
        bed.change(f"{number:03}.wav", bytes([number]) * 400_000)
    before = bed.world.moment
    assert bed.run() is None
    assert bed.world.moment - before < 20


@both
def test_nothing_but_recordings_waits_for_the_limit(api: str, folder: Path) -> None:
    """While one fills the line for minutes, others are listed, fetched and deleted as ever."""
    bed = Bed(folder, 1_000, 1_001, 1_002, 3_000_000, api=api, pace=QUICK)

    async def look(_engine: Engine) -> None:
        await anyio.sleep_until(30)
        assert bed.states() == {"done": 3, "uploading": 1}

    assert bed.run(look, bandwidth=parse_bandwidth("20k")) is None
    surveys = [moment for moment, call in bed.calls if call is Call.SURVEY]
    assert max(later - earlier for earlier, later in pairwise(surveys)) <= 25
    assert bed.world.moment >= 140
    assert bed.wrong() == []


@both
def test_a_stop_does_not_wait_for_the_limit(api: str, folder: Path) -> None:
    """Recordings that would take hours are let go at once, and the next run sends them."""
    bed = Bed(folder, *range(900_000, 900_016), api=api, pace=QUICK)

    async def stop(engine: Engine) -> None:
        await anyio.sleep_until(10)
        engine.drain()

    assert bed.run(stop, bandwidth=parse_bandwidth("8k")) is None
    assert bed.world.moment <= 10.1
    assert bed.states() == {"waiting": 16}
    assert bed.rows("SELECT max(failures) FROM job") == [(0,)]
    assert bed.run() is None
    assert bed.wrong() == []


def test_another_limit_holds_for_recordings_under_way(folder: Path) -> None:
    """Lifted in the middle, what would have taken an hour is over in a moment; none of it is sent twice."""
    bed = Bed(folder, *range(4_000_000, 4_000_008), pace=QUICK)

    async def lift(engine: Engine) -> None:
        await anyio.sleep_until(60)
        assert bed.states() == {"uploading": 8}
        engine.set_bandwidth(parse_bandwidth("off"))

    assert bed.run(lift, bandwidth=parse_bandwidth("8k")) is None
    assert bed.world.moment <= 90
    assert bed.submissions() == 8
    assert bed.wrong() == []


def test_what_is_sent_in_another_format_keeps_to_the_limit_too(folder: Path) -> None:
    """The copy as FLAC passes the same valve as the recording before."""
    refused = replace(KNOBS, rest=replace(KNOBS.rest, job_errors=(("invalid_audio_file", 1),)))
    bed = Bed(folder, 400_000, api="rest", pace=QUICK, knobs=refused)
    assert bed.run(bandwidth=parse_bandwidth("20k")) is None
    assert "forgiven" in bed.events("000.wav")
    assert bed.world.moment >= 40
    assert bed.state("000.wav") == "done"
