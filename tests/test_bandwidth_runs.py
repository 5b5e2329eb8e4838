"""The limit of bandwidth with the real command, over real sockets and both APIs."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from batcher.emulator.knobs import Knobs
from tests.emulated import Emulated, emulated, emulated_rest, expected, transcripts

QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40, rest=replace(Knobs().rest, requests_per_minute=0))
Emulator = Callable[[Knobs], AbstractContextManager[Emulated[Any]]]
both = pytest.mark.parametrize("emulator", [emulated, emulated_rest])


def make_large_recordings(folder: Path) -> dict[str, bytes]:
    """Write a few recordings that take minutes with the lowest limit; return their contents by name."""
    folder.mkdir()
    contents = {f"{number}.mp3": b"\xff\xfb\x90\x00" + Random(number).randbytes(300_000) for number in range(4)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def statuses(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """Yield what a run with --progress json tells of itself from time to time."""
    assert process.stdout is not None
    for event in map(json.loads, process.stdout):
        if event["event"] == "status":
            yield event


@both
def test_a_limit_lifted_in_the_configuration_holds_while_the_run_goes_on(emulator: Emulator, tmp_path: Path) -> None:
    """What would have taken three minutes ends in a moment; before, the run said what kept it."""
    contents = make_large_recordings(tmp_path / "in")
    config = tmp_path / "batcher.toml"
    config.write_text('bwlimit = "8k"\n')
    arguments = ("run", tmp_path / "in", "-o", tmp_path / "out", "--config", config, "--progress", "json")
    with emulator(QUICK) as service:
        process = service.start(*arguments)
        first = next(statuses(process))
        assert (first["bwlimit"], first["states"]["uploading"]) == (8_000, 4)
        config.write_text('bwlimit = "00:00,off 12:00,off"\n')
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)


@both
def test_a_stop_does_not_wait_for_the_line(emulator: Emulator, tmp_path: Path) -> None:
    """Ctrl-C ends a run whose uploads would take minutes as fast as any other, and the next one sends them."""
    contents = make_large_recordings(tmp_path / "in")
    arguments = ("run", tmp_path / "in", "-o", tmp_path / "out", "--progress", "json", "--settle", "3")
    with emulator(QUICK) as service:
        process = service.start(*arguments, "--bwlimit", "8k")
        next(statuses(process))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=5)
        assert process.returncode == 130, output
        assert service.run(*arguments).returncode == 0
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
