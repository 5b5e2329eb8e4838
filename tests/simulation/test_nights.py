"""Nights in virtual time: whatever goes wrong, every recording is transcribed once and nothing stays behind."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.__main__ import memory
from tests.simulation.night import Night, Story, random_story


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the table, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def test_a_quiet_night_ends_with_every_transcript(folder: Path) -> None:
    """Without faults and kills every recording is done and the service is empty."""
    night = Night(Story(1, faults="none", kills=0), folder / "jobs.sqlite3")
    night.run()
    assert night.violations == []


@pytest.mark.parametrize("seed", range(12))
def test_a_night_with_faults_and_kills_loses_and_doubles_nothing(seed: int, folder: Path) -> None:
    """Lost answers, bursts, stale lists and kills anywhere: the promises hold at dawn."""
    night = Night(random_story(seed), folder / "jobs.sqlite3")
    night.run()
    assert night.violations == []


def test_the_same_seed_gives_the_same_night_twice(folder: Path) -> None:
    """A night can be replayed: its trace is a function of its seed."""
    traces = []
    for number in range(2):
        night = Night(random_story(7), folder / f"{number}.sqlite3")
        night.run()
        traces.append(night.trace)
    assert traces[0]
    assert traces[0] == traces[1]
