"""Nights in virtual time: whatever goes wrong, every recording is transcribed once and nothing stays behind."""

from pathlib import Path

import pytest

from tests.simulation.night import Night, Story, random_story


def test_a_quiet_night_ends_with_every_transcript(tmp_path: Path) -> None:
    """Without faults and kills every recording is done and the service is empty."""
    night = Night(Story(1, faults="none", kills=0), tmp_path / "jobs.sqlite3")
    night.run()
    assert night.violations == []


@pytest.mark.parametrize("seed", range(20))
def test_a_night_with_faults_and_kills_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    """Lost answers, bursts, stale lists and kills anywhere: the promises hold at dawn."""
    night = Night(random_story(seed), tmp_path / "jobs.sqlite3")
    night.run()
    assert night.violations == []


def test_the_same_seed_gives_the_same_night_twice(tmp_path: Path) -> None:
    """A night can be replayed: its trace is a function of its seed."""
    traces = []
    for number in range(2):
        night = Night(random_story(7), tmp_path / f"{number}.sqlite3")
        night.run()
        traces.append(night.trace)
    assert traces[0]
    assert traces[0] == traces[1]
