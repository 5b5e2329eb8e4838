"""The real command as a process, and the emulator it talks to as another."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def batcher(*arguments: object) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "batcher", *map(str, arguments)]


@contextmanager
def service(*arguments: str, report: Path | None = None) -> Iterator[Mapping[str, str]]:
    """Run `batcher emulate` and yield the environment of a client."""
    command = batcher("emulate", *(["--report", report] if report else []), *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["grpc"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BATCHER_")}
        try:
            settings = {"BATCHER_API": "grpc", "BATCHER_HOST": url, "BATCHER_CONFIG": os.devnull}
            yield clean | {"SONIOX_API_KEY": "k"} | settings
        finally:
            process.terminate()
        assert process.wait(10) == 0


def call(environment: Mapping[str, str], *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run batcher to its end."""
    return subprocess.run(batcher(*arguments), env=environment, capture_output=True, text=True, check=False)


def events(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """Yield what a run with --progress json says."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def follow(process: "subprocess.Popen[str]", **facts: object) -> dict[str, Any]:
    """Read events until one carries these facts; what was said before is gone."""
    for event in events(process):
        if all(event.get(name) == value for name, value in facts.items()):
            return event
    raise AssertionError(f"the run ended without {facts}: {process.communicate()}")
