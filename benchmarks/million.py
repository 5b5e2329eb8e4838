"""A table of a million: the scan, going on after a stop, and what a job costs beside all the others.

The recordings are as long as they say and have no content (holes in the file system); nobody reads those that are
done. All but a hundredth are done: their rows, transcripts, histories and outputs are there, made without the service.
"""

import os
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from time import perf_counter
from types import SimpleNamespace
from typing import Annotated, Any

import anyio
import typer

from batcher.clock import SystemClock, wall_clock
from batcher.files import WalkRules, gather
from batcher.local_disk import LocalDisk
from batcher.model import FileBounds
from batcher.options import Options
from batcher.stages.context import Bells, Plan
from batcher.stages.scan import scan as scan_stage
from batcher.store.claim import begin_session
from batcher.store.db import open_database
from batcher.store.table import Table
from benchmarks.emulated import KEY
from benchmarks.finished import Finished
from benchmarks.fresh import Figures, measured, two_cpus
from benchmarks.gauges import Memory
from benchmarks.goals import Goal
from benchmarks.jobs import Cpus, emulator, fixed_residence, no_limits
from benchmarks.table import Column, Report, machine, medians, show

TEMPORARY = Path(tempfile.gettempdir())
IN_A_DIRECTORY = 1_000
#: Bytes of the last recording; each one before it has one more, so that all sizes differ. Those that are sent are the
#: last ones: they cost as much in a large batch as in a small one.
SMALLEST = 10_000
DONE_SHARE = 0.99
MEGABYTE = 1_000_000
UPLOADS_SECONDS = 10.0  #: how long a run may take to its first upload

COLUMNS = (
    Column("rows", "rows"),
    Column("scan: files/s", "files_per_s"),
    Column("MB above idle", "scan_mb", 1),
    Column("resume: s to the first upload", "resume_s", 2),
    Column("status s", "status_s", 2),
    Column("bare Python s", "python_s", 2),
    Column("CPU ms a job", "cpu_ms_per_job", 2),
    Column("÷ of the smallest", "cost_ratio", 2),
)
GOALS = (
    Goal("1,000,000", "files_per_s", least=40_000),
    Goal("1,000,000", "scan_mb", most=150),
    Goal("1,000,000", "resume_s", most=2),
    Goal("1,000,000", "status_s", most=0.3),
    Goal("1,000,000", "cost_ratio", most=1.1),
)
REPORT = Report("A million recordings", COLUMNS, GOALS)


# What is measured, each in a fresh process.


async def scan(recordings: str, out: str) -> Figures:
    """Bring all recordings into a new table; return how many a second, and the memory above idle."""
    memory = Memory()
    rules, bounds = WalkRules(), FileBounds()
    disk = LocalDisk(gather([recordings]), Path(out), Path(out), rules=rules, bounds=bounds, raw=False)
    async with open_database(Path(out) / "jobs.sqlite3") as database:
        table = Table(database, SystemClock())
        await table.transact(partial(begin_session, new_id=f"{1:016x}", api="rest", account=""))
        plan, scanned = Plan(Options()), anyio.Event()
        context: Any = SimpleNamespace(plan=plan, table=table, disk=disk, bells=Bells(), scanned=scanned, deferred=[])
        begun = perf_counter()
        await scan_stage(context)
        seconds = perf_counter() - begun
        ((found,),) = await table.transact(lambda ledger: ledger.rows("SELECT count(*) FROM job"))
    assert isinstance(found, int)
    return {"files_per_s": found / seconds, "scan_mb": memory.above_idle() / MEGABYTE}


async def until_the_first_upload(command: list[str], database: str) -> Figures:
    """Start a run, and stop it after its first upload; return how long that took from the start of the process."""
    began = wall_clock()
    environment = {**os.environ, "SONIOX_API_KEY": KEY}
    async with await anyio.open_process(command, env=environment, stdout=DEVNULL) as run:
        with anyio.fail_after(UPLOADS_SECONDS):
            sealed = await _first_upload(database, began)
        run.terminate()  # and not SIGINT, which a shell has what runs in the background ignore
    return {"resume_s": (sealed - began) / 1000}


async def _first_upload(database: str, began: int) -> int:
    """Wait until the table tells of an upload; it knows when that was."""
    while True:
        await anyio.sleep(0.2)
        if (at := _sealed(database, began)) is not None:
            return at


def _sealed(database: str, began: int) -> int | None:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as table:
        sql = (
            "SELECT min(at) FROM history WHERE id > (SELECT max(id) FROM history) - 10000 AND event = 'seal' AND at > ?"
        )
        ((at,),) = table.execute(sql, (began,)).fetchall()
    return int(at) if at is not None else None


# One size of a batch.


class Batch:
    """Recordings and outputs of one size of a batch."""

    def __init__(self, place: Path, rows: int, turns: int, cpus: Cpus) -> None:
        self.recordings, self.out = place / "in", place / "out"
        self._rows, self._turns, self._cpus = rows, turns, cpus
        self._database = self.out / ".batcher" / "jobs.sqlite3"
        make_holes(self.recordings, rows)
        self._database.parent.mkdir(parents=True)

    async def figures(self, jobs: int) -> Figures:
        """Measure everything."""
        found = await self._scan()
        finished = Finished(self._database, self.out)
        finished.make(round(self._rows * DONE_SHARE))
        return {
            "case": f"{self._rows:,}",
            "rows": self._rows,
            **found,
            **await self._resume(),
            "status_s": await self._seconds([sys.executable, "-m", "batcher", "status", str(self.out)]),
            "python_s": await self._seconds([sys.executable, "-c", "pass"]),
            "cpu_ms_per_job": await self._cost(finished, jobs),
        }

    async def _scan(self) -> Figures:
        arguments = {"recordings": str(self.recordings), "out": str(self._database.parent)}
        return await measured("benchmarks.million:scan", arguments, None)

    async def _resume(self) -> Figures:
        async with emulator("rest", no_limits() | fixed_residence(60.0), self._cpus) as service:
            command = [*self._run(service.ready["url"]), str(self.recordings)]
            arguments = {"command": command, "database": str(self._database)}
            figures = await measured("benchmarks.million:until_the_first_upload", arguments, None)
            await service.end()
        return figures

    async def _seconds(self, command: list[str]) -> float:
        arguments = _arguments(command)
        runs = [await measured("benchmarks.jobs:program", arguments, self._cpus.client) for _ in range(self._turns)]
        return float(medians([{"wall_s": run["wall_s"]} for run in runs])["wall_s"])

    async def _cost(self, finished: Finished, jobs: int) -> float:
        """Return the processor time of a job, in milliseconds: of a long run less a short one, over a list of both."""
        spent = [await self._cpu(finished, number) for number in (jobs, 3 * jobs)]
        return (spent[1] - spent[0]) * 1000 / (2 * jobs)

    async def _cpu(self, finished: Finished, jobs: int) -> float:
        listed = self.out.parent / "list.txt"
        listed.write_text("\n".join(finished.leave_waiting(jobs)))
        async with emulator("rest", no_limits() | fixed_residence(0.1), self._cpus) as service:
            command = [*self._run(service.ready["url"]), "--files-from", str(listed), "--requests-per-minute", "0"]
            run = await measured("benchmarks.jobs:program", _arguments(command), self._cpus.client)
            await service.end()
        assert not finished.unfinished(), "not everything is done"
        return float(run["cpu_s"])

    def _run(self, host: str) -> list[str]:
        options = ["-o", str(self.out), "-f", "txt", "--host", host, "--progress", "none"]
        return [sys.executable, "-m", "batcher", "run", *options]


def _arguments(command: list[str]) -> Figures:
    return {"command": command, "environment": {"SONIOX_API_KEY": KEY}}


def make_holes(folder: Path, number: int) -> None:
    """Make so many recordings without content, no two of one size."""
    for index in range(number):
        directory = folder / f"{index // IN_A_DIRECTORY:04}"
        if index % IN_A_DIRECTORY == 0:
            directory.mkdir(parents=True)
        handle = os.open(directory / f"{index:07}.wav", os.O_CREAT | os.O_WRONLY, 0o600)
        os.ftruncate(handle, SMALLEST + number - 1 - index)
        os.close(handle)


async def _table(sizes: Sequence[int], jobs: int, turns: int, folder: Path, cpus: Cpus) -> list[Figures]:
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder, prefix="benchmark-") as place:
            rows.append(await Batch(Path(place), size, turns, cpus).figures(jobs))
    for row in rows:
        row["cost_ratio"] = row["cpu_ms_per_job"] / rows[0]["cpu_ms_per_job"]
    return rows


def main(
    sizes: Annotated[list[int], typer.Option("--rows", help="Recordings in the batch; may be repeated.")] = [  # noqa: B006 - typer copies it
        2_000,
        1_000_000,
    ],
    jobs: Annotated[int, typer.Option(min=1, help="Jobs of the short run by which the cost is taken.")] = 400,
    turns: Annotated[int, typer.Option(min=1, help="Runs of a quick command; the middle one counts.")] = 5,
    folder: Annotated[Path, typer.Option(help="Where recordings and outputs are made.")] = TEMPORARY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure a batch of a million recordings beside a small one."""
    cpus = Cpus(*(two_cpus() or (None, None)))
    rows = anyio.run(_table, sizes, jobs, turns, folder, cpus)
    notes = [machine("aiosqlite", "anyio"), cpus.note(), f"SQLite {sqlite3.sqlite_version}."]
    show(REPORT, notes, rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
