"""Whole runs of the real command over REST against the emulator: killed at every point, and gone on with."""

import signal
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from tests.emulated import emulated_rest, expected, make_recordings, transcripts
from tests.rest_runs import QUICK, accepted, left, run

POINTS = [
    "claimed",
    "after-seal",
    "transcript-committed",
]  # `make crash` sweeps them all, and a second time in the recovery


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_same_command_goes_on(tmp_path: Path, point: str) -> None:
    """Complete, nothing transcribed twice, nothing left behind: neither transcriptions nor files."""
    contents = make_recordings(tmp_path / "in", 8)
    with emulated_rest(QUICK) as emulator:
        killed = emulator.start_killed_at(point, 3, "run", tmp_path / "in", "-o", tmp_path / "out", "--settle", "2")
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        result = run(emulator, tmp_path, "--settle", "2")
        assert result.returncode == 0, result.stdout + result.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        assert emulator.ask(accepted) == 8
        assert emulator.ask(left) == []


def test_a_batch_under_way_through_one_api_is_not_continued_through_the_other(tmp_path: Path) -> None:
    """The other one could not see what is at the service, and would have it transcribed again."""
    make_recordings(tmp_path / "in", 4)
    with emulated_rest(replace(QUICK, min_work_ms=3_600_000, max_work_ms=3_600_000)) as emulator:
        process = emulator.start("run", tmp_path / "in", "-o", tmp_path / "out")
        pause = Event()
        while emulator.ask(accepted) < 4:
            pause.wait(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
        assert process.returncode == 143
        other = run(emulator, tmp_path, "--api", "grpc")
        assert other.returncode == 2, other.stdout + other.stderr
        assert "--api rest" in other.stderr
