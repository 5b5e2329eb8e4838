"""batcher beside what a user would write instead: the same recordings, the same emulator, one after the other.

The alternatives are the programs in `benchmarks/alternatives`. They keep nothing: no table, no history, no transcript.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from benchmarks.environments import legacy_python
from benchmarks.fresh import Figures, two_cpus
from benchmarks.goals import Goal
from benchmarks.jobs import (
    JOB_BYTES,
    PENDING,
    Cpus,
    fixed_residence,
    make_recordings,
    requests,
    run_alternative,
    run_batcher,
    status_calls,
)
from benchmarks.table import Column, Report, machine, medians, show

TEMPORARY = Path(tempfile.gettempdir())
NO_PACE = {"rest.requests_per_minute": "0"}

COLUMNS = (
    Column("program", "case"),
    Column("jobs", "jobs"),
    Column("makespan s", "makespan_s", 1),
    Column("ideal ÷ measured", "ratio", 3),
    Column("CPU ms a job", "cpu_ms_per_job", 2),
    Column("times as long as batcher", "makespan_lead", 2),
    Column("times its CPU", "cpu_lead", 2),
    Column("status calls a job", "status_per_job", 2),
    Column("requests a job", "requests_per_job", 1),
    Column("refusals", "refusals"),
    Column("emulator's CPU ms", "service_cpu_ms_per_job", 2),
    Column("others' CPUs", "others_cpus", 2),
)
GOALS = (
    Goal("(?!batcher).*", "makespan_lead", least=1),
    Goal("(?!batcher).*", "cpu_lead", least=1),
)
REPORT = Report("batcher beside its alternatives", COLUMNS, GOALS)


@dataclass(frozen=True, slots=True)
class Peer:
    """One program: what runs it, over which API, with which order or options."""

    api: str
    script: str = ""  #: of the alternatives; empty: batcher itself
    at_once: int = PENDING
    poll_seconds: float = 0.0
    python: Callable[[], Path] = lambda: Path(sys.executable)

    def order(self) -> dict[str, Any]:
        """Return what an alternative is told."""
        return {"at_once": self.at_once, "poll_seconds": self.poll_seconds}


def _threads(poll_seconds: float, at_once: int = PENDING) -> Peer:
    return Peer("grpc", "legacy_threads.py", at_once, poll_seconds, legacy_python)


def _semaphore(poll_seconds: float) -> Peer:
    return Peer("rest", "semaphore.py", PENDING, poll_seconds)


LOOP = "documented loop"
PEERS = {
    LOOP: _threads(2.0, at_once=1),
    "1.x, 100 threads, 2 s": _threads(2.0),
    "1.x, 100 threads, 0.5 s": _threads(0.5),
    "1.x, 100 threads, 0.1 s": _threads(0.1),
    "batcher, gRPC": Peer("grpc"),
    "AsyncSonioxClient, 5 s": _semaphore(5.0),
    "AsyncSonioxClient, 1 s": _semaphore(1.0),
    "AsyncSonioxClient, 0.2 s": _semaphore(0.2),
    "batcher, REST": Peer("rest"),
}
PEER_NAMES = list(PEERS)


@dataclass(frozen=True, slots=True)
class Setting:
    """How everything of one table is measured."""

    jobs: int
    loop_jobs: int  #: of the documented loop, whose figures are then scaled
    residence: float  #: seconds that a job takes at the service
    folder: Path
    cpus: Cpus

    @property
    def ideal(self) -> float:
        """Return the seconds that all jobs take with the window always full."""
        return self.jobs / PENDING * self.residence


async def _row(name: str, setting: Setting) -> Figures:
    """Measure one program."""
    peer, jobs = PEERS[name], setting.loop_jobs if name == LOOP else setting.jobs
    knobs = NO_PACE | fixed_residence(setting.residence)
    with tempfile.TemporaryDirectory(dir=setting.folder, prefix="benchmark-") as place:
        recordings = Path(place) / "in"
        make_recordings(recordings, [JOB_BYTES] * jobs)
        if peer.script:
            order = peer.order() | {"folder": str(recordings)}
            run = await run_alternative(peer.python(), peer.script, order, peer.api, knobs, setting.cpus)
        else:
            pace = ["--requests-per-minute", "0"] if peer.api == "rest" else []
            run = await run_batcher(Path(place), peer.api, pace, knobs, setting.cpus)
    assert run["jobs"] == jobs
    return _figures(name, run, setting)


def _figures(name: str, run: Figures, setting: Setting) -> Figures:
    """Return the figures of a run; those of fewer jobs are scaled, its start is not."""
    seen, jobs = run["service"], run["jobs"]
    times, start = setting.jobs / jobs, run.get("start_cpu_s", 0.0)
    makespan = run["makespan_s"] * times
    return {
        "case": name,
        "jobs": jobs,
        "makespan_s": makespan,
        "ratio": setting.ideal / makespan,
        "cpu_ms_per_job": ((run["cpu_s"] - start) * times + start) * 1000 / setting.jobs,
        "status_per_job": len(status_calls(seen)) / jobs,
        "requests_per_job": requests(seen) / jobs,
        "refusals": sum(seen["report"]["refusals"].values()),
        "service_cpu_ms_per_job": seen["cpu_s"] * 1000 / jobs,
        "others_cpus": run["others_cpus"],
    }


async def _table(names: Sequence[str], setting: Setting, repeat: int) -> list[Figures]:
    """Measure all programs in turn, again and again, so that what else the machine does meets them all alike."""
    runs = [[await _row(name, setting) for name in names] for _ in range(repeat)]
    rows = [medians(of_one) for of_one in zip(*runs, strict=True)]
    return [row | _lead(row, rows) for row in rows]


def _lead(row: Figures, rows: Sequence[Figures]) -> Figures:
    """Return how much longer a program takes, and how much more processor time, than batcher over the same API."""
    own = f"batcher, {'gRPC' if PEERS[row['case']].api == 'grpc' else 'REST'}"
    figures = next((each for each in rows if each["case"] == own), {})
    return {
        name: row[figure] / figures.get(figure, math.nan)
        for name, figure in (("makespan_lead", "makespan_s"), ("cpu_lead", "cpu_ms_per_job"))
    }


def main(
    programs: Annotated[list[str], typer.Option("--program", help="May be repeated.")] = PEER_NAMES,
    jobs: Annotated[int, typer.Option(min=1, help="Recordings.")] = 1000,
    loop_jobs: Annotated[int, typer.Option(min=1, help="Of the documented loop; its figures are scaled.")] = 5,
    residence: Annotated[float, typer.Option(min=0, help="Seconds that a job takes at the service.")] = 2.2,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each program; the table shows medians.")] = 1,
    unpinned: Annotated[bool, typer.Option("--unpinned", help="Leave the processors to the system.")] = False,
    folder: Annotated[Path, typer.Option(help="Where recordings and transcripts are made.")] = TEMPORARY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure batcher beside its alternatives."""
    cpus = Cpus(*((None if unpinned else two_cpus()) or (None, None)))
    setting = Setting(jobs, loop_jobs, residence, folder, cpus)
    rows = anyio.run(_table, programs, setting, repeat)
    notes = [
        machine("grpcio", "aiohttp", "httpx", "aiosqlite", "anyio", "soniox"),
        cpus.note(),
        f"{jobs:,} jobs of {JOB_BYTES:,} bytes, each {residence:g} s at the service; ideal {setting.ideal:.1f} s.",
        f"At most {PENDING} pending. Median of {repeat}.",
        f"The documented loop ran {loop_jobs} jobs; its makespan and CPU are scaled to {jobs:,}.",
        "Requests are not limited by a pace. CPU is the whole program's, its start included.",
    ]
    show(REPORT, notes, rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
