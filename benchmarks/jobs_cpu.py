"""What a job costs batcher in processor time, the start left out: a long run less a short one.

Everything is on: the table with its history, transcripts, txt and json. No limit binds, and a job is over as soon as
somebody looks. Beside it, the same way to the service without anything around it: what the libraries of the wire cost.
The same once more with the least around it that keeps the promises of a job: what Python costs for them. And, over
REST, the official client under a semaphore, which keeps nothing.
"""

import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import typer

from benchmarks.fresh import Figures, two_cpus
from benchmarks.goals import Goal
from benchmarks.jobs import (
    JOB_BYTES,
    OUT_OF_THE_WAY,
    Cpus,
    fixed_residence,
    make_recordings,
    no_limits,
    requests,
    run_alternative,
    run_batcher,
)
from benchmarks.table import Column, Report, machine, medians, show

TEMPORARY = Path(tempfile.gettempdir())
AT_ONCE = 100  #: of the client under a semaphore, as many as an account may have pending
POLL_SECONDS = 1.0  #: between two looks of that client at one job

COLUMNS = (
    Column("program", "case"),
    Column("jobs", "jobs"),
    Column("CPU ms a job", "cpu_ms_per_job", 2),
    Column("÷ AsyncSonioxClient", "of_client", 2),
    Column("jobs/s", "jobs_per_s"),
    Column("CPU s at the start", "start_cpu_s", 2),
    Column("requests a job", "requests_per_job", 1),
    Column("emulator's CPU ms", "service_cpu_ms_per_job", 2),
    Column("others' CPUs", "others_cpus", 2),
)
GOALS = (
    Goal("batcher, gRPC", "cpu_ms_per_job", most=1.5),
    Goal("batcher, gRPC", "jobs_per_s", least=400),
    Goal("batcher, REST", "of_client", most=0.5),
    Goal("batcher, REST", "jobs_per_s", least=120),
)
REPORT = Report("Processor time of a job", COLUMNS, GOALS)


@dataclass(frozen=True, slots=True)
class Setting:
    """How everything of one table is measured."""

    few: int  #: jobs of the short run
    many: int  #: jobs of the long run
    residence: float  #: seconds that a job takes at the service
    folder: Path
    cpus: Cpus

    def knobs(self) -> dict[str, str]:
        """Return how the emulator behaves."""
        return no_limits() | fixed_residence(self.residence)


async def _batcher(api: str, jobs: int, setting: Setting) -> Figures:
    """Run batcher over so many recordings."""
    most = str(OUT_OF_THE_WAY)
    options = ["--max-pending", most, "--max-stored", most]
    if api == "rest":
        options += ["--max-files", most, "--max-bytes", "1TB", "--requests-per-minute", "0"]
    with tempfile.TemporaryDirectory(dir=setting.folder, prefix="benchmark-") as place:
        make_recordings(Path(place) / "in", [JOB_BYTES] * jobs)
        return await run_batcher(Path(place), api, options, setting.knobs(), setting.cpus)


async def _bare(api: str, jobs: int, setting: Setting) -> Figures:
    """Send so many recordings the way batcher does, and do nothing else."""
    return await _alternative("bare.py", api, jobs, setting, {"api": api, "at_once": AT_ONCE})


async def _keeping(api: str, jobs: int, setting: Setting) -> Figures:
    """Send so many recordings the way batcher does, and keep its promises for each, with nothing else around it."""
    return await _alternative("keeping.py", api, jobs, setting, {"api": api, "at_once": AT_ONCE})


async def _semaphore(api: str, jobs: int, setting: Setting) -> Figures:
    """Run the official client under a semaphore over so many recordings."""
    return await _alternative("semaphore.py", api, jobs, setting, {"at_once": AT_ONCE, "poll_seconds": POLL_SECONDS})


async def _alternative(script: str, api: str, jobs: int, setting: Setting, order: Mapping[str, str | float]) -> Figures:
    """Run one of the alternatives over so many recordings."""
    with tempfile.TemporaryDirectory(dir=setting.folder, prefix="benchmark-") as place:
        recordings = Path(place) / "in"
        make_recordings(recordings, [JOB_BYTES] * jobs)
        whole = {**order, "folder": str(recordings)}
        run = await run_alternative(Path(sys.executable), script, whole, api, setting.knobs(), setting.cpus)
        return run | {"span_s": run["makespan_s"]}


CLIENT = "AsyncSonioxClient"
_PROGRAMS = {
    "batcher, gRPC": (_batcher, "grpc"),
    "batcher, REST": (_batcher, "rest"),
    "bare, gRPC": (_bare, "grpc"),
    "keeping, gRPC": (_keeping, "grpc"),
    "bare, REST": (_bare, "rest"),
    "keeping, REST": (_keeping, "rest"),
    CLIENT: (_semaphore, "rest"),
}
PROGRAM_NAMES = list(_PROGRAMS)


async def _row(name: str, setting: Setting) -> Figures:
    """Measure one program: all figures are of the jobs that the long run has more than the short one."""
    run, api = _PROGRAMS[name]
    short, long = await run(api, setting.few, setting), await run(api, setting.many, setting)
    more = setting.many - setting.few
    calls = requests(long["service"]) - requests(short["service"])
    each = (long["cpu_s"] - short["cpu_s"]) / more
    seconds = long["span_s"] - short["span_s"]
    return {
        "case": name,
        "jobs": setting.many,
        "cpu_ms_per_job": each * 1000,
        "jobs_per_s": more / seconds if seconds > 0 else math.nan,  # so few that both took as long
        "start_cpu_s": short["cpu_s"] - setting.few * each,
        "requests_per_job": calls / more,
        "service_cpu_ms_per_job": (long["service"]["cpu_s"] - short["service"]["cpu_s"]) * 1000 / more,
        "others_cpus": long["others_cpus"],
    }


async def _table(names: Sequence[str], setting: Setting, repeat: int) -> list[Figures]:
    """Measure all programs in turn, again and again."""
    runs = [[await _row(name, setting) for name in names] for _ in range(repeat)]
    rows = [medians(of_one) for of_one in zip(*runs, strict=True)]
    client = next((row["cpu_ms_per_job"] for row in rows if row["case"] == CLIENT), math.nan)
    return [row | {"of_client": row["cpu_ms_per_job"] / client} for row in rows]


def main(
    programs: Annotated[list[str], typer.Option("--program", help="May be repeated.")] = PROGRAM_NAMES,
    few: Annotated[int, typer.Option(min=1, help="Jobs of the short run.")] = 1000,
    many: Annotated[int, typer.Option(min=2, help="Jobs of the long run.")] = 2000,
    residence: Annotated[float, typer.Option(min=0, help="Seconds that a job takes at the service.")] = 0.0,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each program; the table shows medians.")] = 1,
    unpinned: Annotated[bool, typer.Option("--unpinned", help="Leave the processors to the system.")] = False,
    folder: Annotated[Path, typer.Option(help="Where recordings and transcripts are made.")] = TEMPORARY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure the processor time of a job."""
    setting = Setting(few, many, residence, folder, Cpus(*((None if unpinned else two_cpus()) or (None, None))))
    rows = anyio.run(_table, programs, setting, repeat)
    notes = [
        machine("grpcio", "aiohttp", "httpx", "aiosqlite", "anyio", "soniox"),
        setting.cpus.note(),
        f"{many:,} jobs of {JOB_BYTES:,} bytes less {few:,}; a job takes {residence:g} s. Median of {repeat}.",
        f"AsyncSonioxClient: {AT_ONCE} at once, a look at each every {POLL_SECONDS:g} s.",
    ]
    show(REPORT, notes, rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
