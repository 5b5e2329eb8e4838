"""The limit of bandwidth over real sockets: how exactly it is kept, and that surveys do not wait for it.

Every case runs in a fresh process (`benchmarks.throttled`) against a server of its own (`benchmarks.rest_sink`). The
case ``off`` is the same uploads without a limit, for comparison.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import typer

from batcher.bandwidth import parse_bandwidth
from benchmarks.fresh import Figures, helper, measured, two_cpus
from benchmarks.goals import Goal
from benchmarks.table import Column, Report, machine, medians, show

CASES = ["1x2M", "16x2M", "64x2M", "16x64k", "1x20M", "16x20M", "16xoff"]
TEMPORARY = Path(tempfile.gettempdir())
SMALL_BYTES = 1000
UNLIMITED_BYTES = 1_000_000_000  #: what is sent of all uploads together where there is no limit

COLUMNS = (
    Column("uploads x limit", "case"),
    Column("wall s", "wall_s", 2),
    Column("MB/s", "mb_per_s", 3),
    Column("worst 10 s, % off", "error_percent", 2),
    Column("burst s", "burst_s", 3),
    Column("shares, % apart", "share_spread_percent", 1),
    Column("CPU s/GB", "cpu_s_per_gb", 2),
    Column("lag ms: p99", "lag_p99_ms", 1),
    Column("survey ms: p50", "survey_p50_ms", 1),
    Column("p99", "survey_p99_ms", 1),
    Column("p50 at rest", "rest_survey_p50_ms", 1),
    Column("p99 at rest", "rest_survey_p99_ms", 1),
    Column("surveys", "surveys"),
    Column("sealed whole", "sealed_whole"),
)
GOALS = (Goal(".*", "error_percent", most=5),)
REPORT = Report("Limit of bandwidth", COLUMNS, GOALS)


@dataclass(frozen=True, slots=True)
class Case:
    """So many uploads at once that share a limit."""

    uploads: int
    limit: str
    text: str  #: as it was asked for

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Read ``16x2M``."""
        uploads, _, limit = text.partition("x")
        return cls(int(uploads), limit, text)

    def size(self, seconds: float) -> int:
        """Return how many bytes each upload has so that all of them take about so long."""
        rate = parse_bandwidth(self.limit).rate(0)
        together = UNLIMITED_BYTES * seconds / 13 if rate is None else rate * seconds
        return max(1, int(together / self.uploads))


async def _run(case: Case, folder: Path, seconds: float, cpus: tuple[int | None, int | None]) -> Figures:
    """Measure one case in a fresh process, against a sink of its own."""
    size = case.size(seconds)
    with tempfile.TemporaryDirectory(dir=folder, prefix="benchmark-") as place:
        paths = _make_recordings(Path(place), case.uploads, size)
        served = {"megabytes_per_second": 0, "chain": ""}
        async with helper("benchmarks.rest_sink:serve", served, cpus[1]) as sink:
            url = f"http://localhost:{sink.ready['port']}"
            arguments = {"url": url, "paths": paths, "limit": case.limit, "rest_seconds": min(5.0, seconds)}
            figures = await measured("benchmarks.throttled:once", arguments, cpus[0])
            seen = await sink.end()
    megabytes = case.uploads * size / 1e6
    assert seen["bytes"] > megabytes * 1e6, "the sink received less than was sent"
    rates = {"mb_per_s": megabytes / figures["wall_s"], "cpu_s_per_gb": figures["cpu_s"] / megabytes * 1000}
    return figures | rates | {"case": case.text}


def _make_recordings(place: Path, uploads: int, size: int) -> list[str]:
    """Make a small recording to begin with, and one of `size` bytes under as many names as there are uploads."""
    small, first, *others = [place / f"{number}.wav" for number in range(uploads + 1)]
    small.write_bytes(os.urandom(SMALL_BYTES))
    first.write_bytes(os.urandom(size))
    for path in others:
        path.hardlink_to(first)
    return [str(path) for path in (small, first, *others)]


async def _table(
    cases: Sequence[Case], folder: Path, seconds: float, cpus: tuple[int | None, int | None], repeat: int
) -> list[Figures]:
    """Measure all cases in turn, again and again, so that what else the machine does meets them all alike."""
    runs = [[await _run(case, folder, seconds, cpus) for case in cases] for _ in range(repeat)]
    return [medians(of_one_case) for of_one_case in zip(*runs, strict=True)]


def main(
    cases: Annotated[
        list[str], typer.Option("--case", help="Uploads at once x their limit together; may be repeated.")
    ] = CASES,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each case; the table shows medians.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each case takes, by its limit.")] = 13.0,
    unpinned: Annotated[bool, typer.Option("--unpinned", help="Leave the processors to the system.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the recordings are made.")] = TEMPORARY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure uploads over REST with a limit of bandwidth against a server that discards them."""
    cpus = (None if unpinned else two_cpus()) or (None, None)
    rows = anyio.run(_table, [Case.parse(case) for case in cases], folder, seconds, cpus, repeat)
    notes = [
        machine("aiohttp", "httpx", "anyio", "soniox"),
        f"Client on CPU {cpus[0]}, sink on CPU {cpus[1]}." if cpus[0] is not None else "Processes not pinned.",
        "Worst 10 s: of all stretches of ten seconds, the one furthest from the limit. Burst: how far any stretch was",
        "ahead of the limit, in seconds of its worth. Shares: largest less smallest, by the middle of the case.",
        f"Median of {repeat}.",
    ]
    show(REPORT, notes, rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
