"""Uploads: what half a gigabyte costs, and whether it holds anything up; beside a bare client of the same API.

Every run is a fresh process (`benchmarks.uploading`, `benchmarks.bare_grpc`, `benchmarks.bare_rest`) against a server
of its own (`benchmarks.grpc_sink`, `benchmarks.rest_sink`). Batcher and the bare client take turns.
"""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import typer
from pydantic import ByteSize, TypeAdapter

from benchmarks.certificate import write_chain
from benchmarks.fresh import Figures, helper, measured, two_cpus
from benchmarks.goals import Goal
from benchmarks.table import Column, Report, machine, medians, show

APIS = ["grpc", "rest"]
CASES = ["1x500MB", "16x64MB", "16x500MB"]
TEMPORARY = Path(tempfile.gettempdir())
SMALL_BYTES = 1000
PIECE_BYTES = 1024 * 1024  #: how much of a recording is written at a time

COLUMNS = (
    Column("uploads", "case"),
    Column("wall s", "wall_s", 2),
    Column("MB/s", "mb_per_s"),
    Column("÷ bare", "over_bare", 2),
    Column("÷ link", "over_link", 3),
    Column("CPU s/GB", "cpu_s_per_gb", 2),
    Column("bare", "bare_cpu_s_per_gb", 2),
    Column("sink", "sink_cpu_s_per_gb", 2),
    Column("MB above idle", "memory_mb", 1),
    Column("bare", "bare_memory_mb", 1),
    Column("lag ms: p50", "lag_p50_ms", 1),
    Column("p99", "lag_p99_ms", 1),
    Column("max", "lag_max_ms", 1),
    Column("bare p99", "bare_lag_p99_ms", 1),
    Column("p99 at rest", "rest_lag_p99_ms", 1),
    Column("survey ms: p50", "survey_p50_ms", 1),
    Column("p99", "survey_p99_ms", 1),
    Column("p99 at rest", "rest_survey_p99_ms", 1),
    Column("sealed whole", "sealed_whole"),
    Column("others' CPUs", "others_cpus", 2),
)
GOALS = (
    Goal(".*", "over_bare", least=0.95),
    Goal(".*", "over_link", least=0.98),
    Goal(".*", "memory_mb", most=40),
    Goal(".*:16x.*", "lag_p99_ms", most=15),
)
REPORT = Report("Uploads", COLUMNS, GOALS)


@dataclass(frozen=True, slots=True)
class Case:
    """So many uploads at once over one API, of so many bytes each."""

    api: str
    uploads: int
    size: int  #: bytes
    text: str  #: as it is shown

    @classmethod
    def parse(cls, api: str, text: str) -> "Case":
        """Read ``16x500MB``."""
        uploads, _, size = text.partition("x")
        return cls(api, int(uploads), TypeAdapter(ByteSize).validate_python(size), f"{api}:{text}")

    @property
    def gigabytes(self) -> float:
        """Return all bytes of the recordings in units of 10^9."""
        return self.uploads * self.size / 1e9


@dataclass(frozen=True, slots=True)
class Setting:
    """How all cases of one table are measured."""

    folder: Path  #: where the recordings are made
    cold: bool  #: read from the disk, not from memory
    tls: bool
    link: float  #: MB/s that the sink takes, 0 is all it can
    rest: float  #: seconds for which the idle loop is looked at before
    client_cpu: int | None
    sink_cpu: int | None

    def notes(self) -> list[str]:
        """Return what a reader of the table has to know."""
        pinned = self.client_cpu is not None
        files = "each read from the disk" if self.cold else "one file in memory under as many names"
        return [
            machine("grpcio", "aiohttp", "httpx", "anyio", "soniox"),
            f"Client on CPU {self.client_cpu}, sink on CPU {self.sink_cpu}." if pinned else "Processes not pinned.",
            "Encrypted (TLS)." if self.tls else "Not encrypted.",
            f"Recordings: {files}. The sink takes {f'{self.link:g} MB/s' if self.link else 'all it can'}.",
            "Memory: the peak (VmHWM, set back by clear_refs) less VmRSS before. Lag: overrun of 5 ms sleeps.",
            "Bare: a client that reads 256 KiB in a thread, hashes and sends; ÷ bare: MB/s of batcher by its own.",
        ]


async def _pair(case: Case, setting: Setting, turn: int) -> Figures:
    """Measure batcher and the bare client with the same recordings; every other turn the bare client begins."""
    with tempfile.TemporaryDirectory(dir=setting.folder, prefix="benchmark-") as place:
        paths, chain = _make_recordings(Path(place), case, setting.cold), ""
        if setting.tls:
            chain = f"{place}/chain.pem"
            write_chain(Path(chain))
        order = ("batcher", "bare") if turn % 2 == 0 else ("bare", "batcher")
        runs = {program: await _run(program, case, setting, paths, chain) for program in order}
    return _beside(runs["batcher"], runs["bare"], setting.link) | {"case": case.text}


async def _run(program: str, case: Case, setting: Setting, paths: list[str], chain: str) -> Figures:
    """Measure a program in a fresh process, against a sink of its own."""
    if setting.cold:
        _forget(paths)
    served = {"megabytes_per_second": setting.link, "chain": chain}
    async with helper(f"benchmarks.{case.api}_sink:serve", served, setting.sink_cpu) as sink:
        url = f"{'https' if chain else 'http'}://localhost:{sink.ready['port']}"
        arguments = {"url": url, "chain": chain, "paths": paths, "rest_seconds": setting.rest}
        if program == "bare":
            figures = await measured(f"benchmarks.bare_{case.api}:once", arguments, setting.client_cpu)
        else:
            figures = await measured("benchmarks.uploading:once", {"api": case.api} | arguments, setting.client_cpu)
        seen = await sink.end()
    assert seen["bytes"] > case.uploads * case.size, "the sink received less than was sent"
    return figures | _rates(case, figures, seen)


def _rates(case: Case, figures: Figures, seen: Figures) -> Figures:
    return {
        "mb_per_s": case.gigabytes * 1000 / figures["wall_s"],
        "cpu_s_per_gb": figures["cpu_s"] / case.gigabytes,
        "others_cpus": max(0.0, figures["machine_cpu_s"] - figures["cpu_s"] - seen["cpu_seconds"]) / figures["wall_s"],
        "sink_cpu_s_per_gb": seen["cpu_seconds"] / case.gigabytes,
    }


def _beside(batcher: Figures, bare: Figures, link: float) -> Figures:
    """Return batcher's figures, the bare client's, and the ratios."""
    return {
        **batcher,
        **{f"bare_{name}": value for name, value in bare.items()},
        "over_bare": batcher["mb_per_s"] / bare["mb_per_s"],
        "over_link": batcher["mb_per_s"] / link if link else math.nan,
    }


def _make_recordings(place: Path, case: Case, cold: bool) -> list[str]:
    """Make a small recording to begin with, and those of the case."""
    first, *others = [place / f"{number}.wav" for number in range(case.uploads)]
    _write(first, case.size)
    for path in others:
        if cold:
            _write(path, case.size)
        else:
            path.hardlink_to(first)
    small = place / "small.wav"
    _write(small, SMALL_BYTES)
    return [str(path) for path in (small, first, *others)]


def _write(path: Path, size: int) -> None:
    """Write bytes that nothing on the way can make fewer."""
    piece = os.urandom(PIECE_BYTES)
    with path.open("wb") as file:
        file.writelines(piece[: size - start] for start in range(0, size, PIECE_BYTES))
        file.flush()
        os.fsync(file.fileno())


def _forget(paths: Sequence[str]) -> None:
    """Have the page cache forget recordings."""
    for path in paths:
        with Path(path).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def _table(cases: Sequence[Case], setting: Setting, repeat: int) -> list[Figures]:
    """Measure all cases in turn, again and again, so that what else the machine does meets them all alike."""
    runs = [[await _pair(case, setting, turn) for case in cases] for turn in range(repeat)]
    return [medians(of_one_case) for of_one_case in zip(*runs, strict=True)]


def main(
    apis: Annotated[list[str], typer.Option("--api", help="grpc or rest; may be repeated.")] = APIS,
    cases: Annotated[
        list[str], typer.Option("--case", help="Uploads at once x bytes of each; may be repeated.")
    ] = CASES,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each case; the table shows medians.")] = 1,
    cold: Annotated[bool, typer.Option("--cold", help="Read from the disk instead of from memory.")] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt, as the service itself demands.")] = False,
    link: Annotated[float, typer.Option(min=0, help="MB/s that the sink takes at most; 0 is all it can.")] = 0.0,
    rest: Annotated[float, typer.Option(min=0.01, help="Seconds to look at the idle loop, for comparison.")] = 2.0,
    unpinned: Annotated[bool, typer.Option("--unpinned", help="Leave the processors to the system.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the recordings are made.")] = TEMPORARY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure uploads against a server that discards them, beside a bare client."""
    client_cpu, sink_cpu = (None if unpinned else two_cpus()) or (None, None)
    setting = Setting(folder, cold, tls, link, rest, client_cpu, sink_cpu)
    asked = [Case.parse(api, case) for case in cases for api in apis]
    rows = anyio.run(_table, asked, setting, repeat)
    show(REPORT, [*setting.notes(), f"Median of {repeat}."], rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
