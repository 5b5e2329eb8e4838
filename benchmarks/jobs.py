"""What the job benchmarks share: recordings, a run of a program against an emulator of its own, and what came of it."""

import json
import os
import resource
import sqlite3
import sys
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from time import perf_counter
from typing import Any

import anyio

from batcher.clock import wall_clock
from benchmarks.emulated import KEY
from benchmarks.fresh import Figures, Helper, helper, measured
from benchmarks.gauges import busy_seconds

JOB_BYTES = 10_000  #: of a recording whose length does not matter
HEADER_BYTES = 44  #: of a WAV file
QUEUE_MS = 200  #: of every job's time at the service; the rest is work
OUT_OF_THE_WAY = 1_000_000  #: a limit that nothing reaches

PENDING = 100  #: what an account may hold pending at Soniox


@dataclass(frozen=True, slots=True)
class Cpus:
    """Where the measured program and its service run; None leaves it to the system."""

    client: int | None = None
    service: int | None = None

    def note(self) -> str:
        """Return what a reader has to know of it."""
        pinned = f"Program on CPU {self.client}, emulator on CPU {self.service}."
        return pinned if self.client is not None else "Processes not pinned."


# Recordings.


def make_recordings(folder: Path, sizes: Sequence[int]) -> None:
    """Make one WAV file of noise for every size in bytes: no two are alike, and nothing makes them smaller."""
    folder.mkdir()
    for number, size in enumerate(sizes):
        with wave.open(str(folder / f"{number:06}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(os.urandom((size - HEADER_BYTES) // 2 * 2))


# The service.


def fixed_residence(seconds: float) -> dict[str, str]:
    """Return the knobs with which every job takes so long, from its acceptance to its end."""
    work = round(seconds * 1000) - QUEUE_MS
    if work <= 0:
        return {"queue_ms": "0", "min_work_ms": str(work + QUEUE_MS), "max_work_ms": str(work + QUEUE_MS)}
    return {"queue_ms": str(QUEUE_MS), "min_work_ms": str(work), "max_work_ms": str(work)}


def no_limits() -> dict[str, str]:
    """Return the knobs of a service that refuses nobody."""
    most = str(OUT_OF_THE_WAY)
    return {"pending": most, "stored": most, "rest.files": most, "rest.requests_per_minute": "0"}


@asynccontextmanager
async def emulator(api: str, knobs: Mapping[str, str], cpus: Cpus) -> AsyncIterator[Helper]:
    """Run an emulator for one program; it knows `KEY` only."""
    async with helper("benchmarks.emulated:serve", {"api": api, "knobs": dict(knobs)}, cpus.service) as running:
        yield running


# Programs.


async def program(command: list[str], environment: dict[str, str]) -> Figures:
    """Run a program to its end in this fresh process, and return what it said and cost; it must succeed."""
    began, begun, cpu, busy = wall_clock(), perf_counter(), _children_seconds(), busy_seconds()
    done = await anyio.run_process(command, env={**os.environ, **environment}, stderr=PIPE, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr.decode()[-3000:]}"
    return {
        "began_ms": began,
        "wall_s": perf_counter() - begun,
        "cpu_s": _children_seconds() - cpu,
        "machine_cpu_s": busy_seconds() - busy,
        "output": done.stdout.decode(),
    }


def _children_seconds() -> float:
    """Return the processor time of the programs that ended so far: user and system, all threads."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def run_alternative(
    python: Path, script: str, order: Mapping[str, Any], api: str, knobs: Mapping[str, str], cpus: Cpus
) -> Figures:
    """Run one of the programs of `benchmarks/alternatives`; return its own figures, its cost and the service's view."""
    command = [str(python), str(Path(__file__).parent / "alternatives" / script)]
    async with emulator(api, knobs, cpus) as service:
        order = {**order, "host": service.ready["url"], "key": KEY}
        run = await measured("benchmarks.jobs:program", _arguments([*command, json.dumps(order)]), cpus.client)
        told: Figures = json.loads(run["output"])
        return run | told | await _seen(service, run)


async def run_batcher(
    place: Path, api: str, options: Sequence[str], knobs: Mapping[str, str], cpus: Cpus, *, profile: str = ""
) -> Figures:
    """Run `batcher run` over the recordings in `place`/in; return its own figures, its cost and the service's view."""
    out = place / "out"
    command = [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else []), "-m", "batcher", "run"]
    async with emulator(api, knobs, cpus) as service:
        command += [str(place / "in"), "-o", str(out), "--api", api, "--host", service.ready["url"], *options]
        run = await measured("benchmarks.jobs:program", _arguments(command), cpus.client)
        return run | _table_figures(out, run["began_ms"]) | await _seen(service, run)


def _arguments(command: list[str]) -> Figures:
    return {"command": command, "environment": {"SONIOX_API_KEY": KEY}}


async def _seen(service: Helper, run: Figures) -> Figures:
    """Return what the service says of a run that is over, and how busy the machine was with anything else."""
    seen = await service.end()
    others = max(0.0, run["machine_cpu_s"] - run["cpu_s"] - seen["cpu_s"]) / run["wall_s"]
    return {"service": seen, "others_cpus": others}


_MOMENTS = """
    SELECT min(at) FILTER (WHERE event = 'claimed'), max(at) FILTER (WHERE event = 'completed'), max(at) FROM history
"""


def _table_figures(out: Path, began_ms: int) -> Figures:
    """Return from a batch's own table how long its run took; all of its recordings must be done, in all formats."""
    with closing(sqlite3.connect(f"file:{out}/.batcher/jobs.sqlite3?mode=ro", uri=True)) as table:
        states = dict(table.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())
        ((first, completed, last),) = table.execute(_MOMENTS).fetchall()
    assert set(states) == {"done"}, f"not everything is done: {states}"
    return {
        "jobs": states["done"],
        "start_s": (first - began_ms) / 1000,
        "makespan_s": (completed - first) / 1000,
        "span_s": (last - first) / 1000,
    }


# Figures.


def busiest(times: Sequence[int], seconds: float) -> float:
    """Return the most calls that fell into any stretch of so many seconds, as calls a second."""
    ordered, most, first = sorted(times), 0, 0
    for number, time in enumerate(ordered):
        while ordered[first] <= time - seconds * 1000:
            first += 1
        most = max(most, number + 1 - first)
    return most / seconds


def middle_rate(times: Sequence[int]) -> float:
    """Return how many a minute there were in the middle half of `times` (milliseconds), away from both ends."""
    ordered = sorted(times)
    first, last = len(ordered) // 4, len(ordered) * 3 // 4
    passed = ordered[last] - ordered[first]
    return (last - first) * 60_000 / passed if passed else float("nan")


def status_calls(seen: Figures) -> list[int]:
    """Return the times of all calls that ask how jobs are doing."""
    calls: dict[str, list[int]] = seen["calls"]
    return calls.get("survey", []) + calls.get("status", [])


def requests(seen: Figures) -> int:
    """Return how many requests the service heard, refused ones included."""
    report: Figures = seen["report"]
    return sum(report["requests"].values()) if "requests" in report else sum(report["calls"].values())
