"""Signals: the first winds a run up, the second ends it at once, and neither costs anything."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher.cli.signals import Leaving
from tests.cli_tools import batcher, call, follow, service
from tests.emulated import make_recordings

#: Answers to uploads take up to half a minute: a run that is asked to stop has to wait for them.
SLOW_ANSWERS = ("--faults", "submit.delayed=1,delay-ms=30000", "--seed", "7")


def start(environment: Mapping[str, str], folder: Path, *more: str) -> "subprocess.Popen[str]":
    """Start a run that tells in JSON what it does."""
    command = batcher("run", folder / "in", "-o", folder / "out", "--settle", "2", "--progress", "json", *more)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def moment() -> float:
    """Return the time on a clock that only goes forward, in seconds."""
    return anyio.current_time()


def account(report: Path) -> dict[str, Any]:
    """Return what the emulator says of its only account."""
    (found,) = json.loads(report.read_text())["accounts"]
    return dict(found)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_one_signal_ends_a_run_in_order_and_the_same_command_completes_it(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """What is at the service stays there, the summary says how to go on, and nothing is sent twice."""
    make_recordings(tmp_path / "in", 4)
    report = tmp_path / "report.json"
    with service(report=report) as environment:
        process = start(environment, tmp_path, "--max-pending", "2")
        follow(process, event="job", to="submitted")
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
        summary = json.loads(output.splitlines()[-1])
        assert process.returncode == summary["exit_code"] == code
        assert summary["states"]["done"] < 4
        assert (summary["waiting"], summary["scanned"], summary["quotas"]["pending"]["limit"]) == (None, True, 2)

        again = call(environment, "run", tmp_path / "in", "-o", tmp_path / "out", "--settle", "2")
        assert again.returncode == 0, again.stderr
        assert again.stdout.startswith("done 4 ")
    assert account(report)["uploads_accepted"] == 4
    assert account(report)["files_left"] == 0


def test_a_second_signal_ends_the_run_within_a_second(tmp_path: Path) -> None:
    """Although answers are still awaited; the next run asks the service what became of them."""
    make_recordings(tmp_path / "in", 6)
    report = tmp_path / "report.json"
    with service(*SLOW_ANSWERS, report=report) as environment:
        process = start(environment, tmp_path, "--log-level", "debug")
        log = tmp_path / "out" / ".batcher" / "log.jsonl"
        await_line(log, '"event_name": "seal"')
        process.send_signal(signal.SIGINT)
        await_line(log, '"event": "signal"')
        assert process.poll() is None
        began = anyio.run(moment)
        while process.poll() is None:  # as a person does who is in a hurry
            process.send_signal(signal.SIGINT)
            os.sched_yield()
        assert process.wait(10) == 130
        assert anyio.run(moment) - began < 1.0
        process.communicate()


class SetClock:
    """A clock that a test sets, in milliseconds."""

    at = 1_000

    def now(self) -> int:
        """Return the time."""
        return self.at


@pytest.mark.parametrize(
    ("first", "second", "apart", "leaves"),
    [
        (signal.SIGINT, signal.SIGINT, 10, False),
        (signal.SIGINT, signal.SIGINT, 60, True),
        (signal.SIGINT, signal.SIGINT, 150, True),
        (signal.SIGTERM, signal.SIGHUP, 150, False),
        (signal.SIGTERM, signal.SIGTERM, 150, False),
        (signal.SIGINT, signal.SIGTERM, 150, False),
        (signal.SIGTERM, signal.SIGINT, 150, False),
        (signal.SIGTERM, signal.SIGHUP, 310, True),
        (signal.SIGINT, signal.SIGTERM, 310, True),
    ],
)
def test_what_comes_at_once_is_one_signal_but_a_person_counts_twice(
    first: signal.Signals, second: signal.Signals, apart: int, leaves: bool
) -> None:
    """A service manager sends several together, `timeout` the same one twice; nobody else is so quick."""
    clock = SetClock()
    leaving = Leaving(clock)
    leaving.heard(first)
    clock.at += apart
    assert leaving.is_second(second) is leaves


def test_one_kill_of_several_signals_is_one(tmp_path: Path) -> None:
    """The run winds up, and says how it ended."""
    make_recordings(tmp_path / "in", 4)
    with service(report=tmp_path / "report.json") as environment:
        process = start(environment, tmp_path, "--max-pending", "2")
        follow(process, event="job", to="submitted")
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 143
        assert json.loads(output.splitlines()[-1])["exit_code"] == 143


def await_line(path: Path, text: str) -> None:
    """Wait until a file that is being written holds this; the test's own timeout bounds it."""
    while not path.exists():
        os.sched_yield()
    with path.open() as file:
        while text not in file.readline():
            os.sched_yield()


def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    """A signal that was ignored when the run began stays ignored."""
    make_recordings(tmp_path / "in", 2)
    with service(report=tmp_path / "report.json") as environment:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            process = start(environment, tmp_path)
        finally:
            signal.signal(signal.SIGHUP, before)
        follow(process, event="job", to="submitted")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=20)
        assert process.returncode == 0
