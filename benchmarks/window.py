"""How full the window stays: `batcher run` against an emulator, both over sockets, each in a process of its own.

A case reads ``grpc:1000x2.2s``: the API, the jobs, how long each takes at the service. ``mixed`` instead of a time is 1
to 60 s with a heavy tail; ``/20`` after a time is an account whose bytes hold 20 of the recordings; ``@200`` is the
pace of REST, in requests a minute and bucket, for both sides; ``,longest`` sends the longest first; ``*10`` is an
account with ten times the usual limits.
"""

import heapq
import math
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import typer

from batcher.clock import Dice
from benchmarks.fresh import Figures, two_cpus
from benchmarks.goals import Goal
from benchmarks.jobs import (
    HEADER_BYTES,
    JOB_BYTES,
    PENDING,
    Cpus,
    busiest,
    fixed_residence,
    make_recordings,
    middle_rate,
    requests,
    run_batcher,
    status_calls,
)
from benchmarks.table import Column, Report, machine, medians, show

CASES = [
    "grpc:1000x2.2s",
    "grpc:400x30s",
    "grpc:1000xmixed",
    "grpc:1000xmixed,longest",
    "rest:300x2.2s@200",
    "rest:400x2.2s@2000",
    "rest:80x30s/20",
    "rest:100xmixed@200,longest",
]
TEMPORARY = Path(tempfile.gettempdir())

STORED, FILES, MOST_BYTES = 2_000, 1_000, 10_000_000_000  #: what an account may hold, as PENDING
SHORTEST_S, LONGEST_S, TAIL = 1.0, 60.0, 0.7  #: of mixed lengths, and the exponent of their tail
MIXED_BYTES_A_SECOND = 1000  #: the emulator tells the length of a recording by its size
STEPS = ("submit", "fetch", "delete")  #: of a job, all in REST's busier bucket
STATUS_SECONDS = 10.0  #: over which the pace of gRPC's status calls is averaged

COLUMNS = (
    Column("case", "case"),
    Column("start-up s", "start_s", 2),
    Column("makespan s", "makespan_s", 2),
    Column("ideal s", "ideal_s", 2),
    Column("ideal ÷ measured", "ratio", 3),
    Column("best order s", "best_order_s", 2),
    Column("÷ measured", "order_ratio", 3),
    Column("jobs a minute", "per_minute"),
    Column("÷ what the limit allows", "pace_ratio", 3),
    Column("refusals", "refusals"),
    Column("pending, peak", "pending_peak"),
    Column("status calls a job", "status_per_job", 2),
    Column("a second, at most", "status_per_second", 1),
    Column("listings a minute", "listings_per_minute", 1),
    Column("requests a job", "requests_per_job", 1),
    Column("CPU ms a job", "cpu_ms_per_job", 2),
    Column("emulator's", "service_cpu_ms_per_job", 2),
    Column("others' CPUs", "others_cpus", 2),
)
GOALS = (
    Goal(r"grpc:\d+x2\.2s", "ratio", least=0.95),
    Goal(r"grpc:\d+x30s", "ratio", least=0.985),
    Goal(r"grpc:\d+x[\d.]+s", "status_per_job", most=0.5),
    Goal(r"grpc:\d+x[\d.]+s", "status_per_second", most=10),
    Goal(r"grpc:.*,longest", "order_ratio", least=0.98),
    Goal(r"rest:\d+x[\d.]+s.*", "pace_ratio", least=0.95),
    Goal("rest:.*mixed.*", "order_ratio", least=0.95),  # what binds so few is the longest one of them
    Goal("rest:.*@200(,.*)?", "listings_per_minute", most=20),
    Goal(".*", "refusals", most=0),
)
REPORT = Report("The window of pending jobs", COLUMNS, GOALS)

_CASE = re.compile(r"(grpc|rest):(\d+)x(?:([\d.]+)s(?:/(\d+))?|mixed)(?:@(\d+))?(,longest)?(?:\*(\d+))?")


@dataclass(frozen=True, slots=True)
class Case:
    """So many jobs over one API, each as long at the service as the next in `lengths`."""

    api: str
    lengths: Sequence[float]  #: seconds
    mixed: bool
    pace: int  #: requests a minute in each bucket; 0: any number
    fitting: int  #: recordings that the account has bytes for; 0: any number
    longest_first: bool
    places: int  #: transcriptions that the account may have pending
    text: str  #: as it was asked for

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Read ``grpc:1000x2.2s`` or ``rest:300xmixed@200``."""
        match = _CASE.fullmatch(text)
        if match is None:
            raise typer.BadParameter(f"{text}: must be like grpc:1000x2.2s or rest:300x30s/20@200,longest*10")
        api, jobs, seconds, fitting, pace, longest, times = match.groups()
        lengths = [float(seconds)] * int(jobs) if seconds else heavy_tail(int(jobs))
        places = PENDING * int(times or 1)
        return cls(api, lengths, not seconds, int(pace or 0), int(fitting or 0), bool(longest), places, text)

    @property
    def ideal(self) -> float:
        """Return the seconds that no order can do better than with the window always full."""
        return max(*self.lengths, sum(self.lengths) / self.at_once)

    @property
    def at_once(self) -> int:
        """Return how many jobs the account has room for: as long as one is there, so are its bytes."""
        return min(self.places, self.fitting or self.places)

    @property
    def allowed(self) -> float:
        """Return the jobs a minute that window, bytes and pace allow."""
        window = self.at_once * 60 * len(self.lengths) / sum(self.lengths)
        return min(window, self.pace / len(STEPS)) if self.pace else window

    def sizes(self) -> list[int]:
        """Return the sizes of the recordings in bytes."""
        if not self.mixed:
            return [JOB_BYTES] * len(self.lengths)
        return [round(seconds * MIXED_BYTES_A_SECOND) + HEADER_BYTES for seconds in self.lengths]

    @property
    def bytes(self) -> int:
        """Return what the recordings at the service may have together."""
        return self.fitting * max(self.sizes()) if self.fitting else MOST_BYTES

    def knobs(self) -> dict[str, str]:
        """Return how the emulator behaves: strict about the limits, and as long over a job as it is."""
        times = self.places // PENDING
        strict = {
            "pending": str(self.places),
            "stored": str(STORED * times),
            "rest.files": str(FILES * times),
            "rest.requests_per_minute": str(self.pace),
            "rest.bytes": str(self.bytes),
        }
        if not self.mixed:
            return strict | fixed_residence(self.lengths[0])
        by_size = {"bytes_per_second": str(MIXED_BYTES_A_SECOND), "speed": "1", "max_work_ms": "86400000"}
        return strict | {"queue_ms": "0", "min_work_ms": "0"} | by_size

    def options(self) -> list[str]:
        """Return what `batcher run` is given beside the defaults."""
        times = self.places // PENDING
        limits = ["--max-pending", str(self.places), "--max-stored", str(STORED * times)]
        limits += ["--max-files", str(FILES * times)]
        order = ["--order", "longest"] if self.longest_first else []
        rest = ["--requests-per-minute", str(self.pace), "--max-bytes", str(self.bytes)]
        return limits + order + (rest if self.api == "rest" else [])


def heavy_tail(jobs: int) -> list[float]:
    """Return so many lengths, most of them short, in an order that has nothing to do with them; always the same."""
    lengths = [min(LONGEST_S, SHORTEST_S * ((number + 0.5) / jobs) ** (-1 / TAIL)) for number in range(jobs)]
    Dice(0).stream("order").shuffle(lengths)
    return lengths


def makespan(lengths: Iterable[float], places: int) -> float:
    """Return how long jobs take that go in this order, each into the first free place, at no cost."""
    free = [0.0] * places
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


async def _run(case: Case, folder: Path, cpus: Cpus, profile: str) -> Figures:
    """Measure one case from nothing."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="benchmark-") as place:
        make_recordings(Path(place) / "in", case.sizes())
        run = await run_batcher(Path(place), case.api, case.options(), case.knobs(), cpus, profile=profile)
    assert run["jobs"] == len(case.lengths)
    return _figures(case, run)


def _figures(case: Case, run: Figures) -> Figures:
    seen, jobs = run["service"], len(case.lengths)
    report, looks, minutes = seen["report"], status_calls(seen), run["span_s"] / 60
    steps = [time for call in STEPS for time in seen["calls"][call]]
    per_minute = middle_rate(steps) / len(STEPS)
    best = makespan(sorted(case.lengths, reverse=True), case.at_once)
    return {
        "case": case.text,
        "start_s": run["start_s"],
        "makespan_s": run["makespan_s"],
        "ideal_s": case.ideal,
        "ratio": case.ideal / run["makespan_s"],
        "best_order_s": best,
        "order_ratio": best / run["makespan_s"],
        "per_minute": per_minute,
        "pace_ratio": per_minute / case.allowed,
        "refusals": sum(report["refusals"].values()),
        "pending_peak": report["pending_peak"],
        "status_per_job": len(looks) / jobs,
        "status_per_second": busiest(looks, STATUS_SECONDS),
        "listings_per_minute": len(looks) / max(minutes, math.ulp(1.0)),
        "requests_per_job": requests(seen) / jobs,
        "cpu_ms_per_job": run["cpu_s"] * 1000 / jobs,
        "service_cpu_ms_per_job": seen["cpu_s"] * 1000 / jobs,
        "others_cpus": run["others_cpus"],
        "given_order_s": makespan(case.lengths, case.at_once),
    }


async def _table(cases: Sequence[Case], folder: Path, cpus: Cpus, repeat: int, profile: str) -> list[Figures]:
    """Measure all cases in turn, again and again, so that what else the machine does meets them all alike."""
    runs = [[await _run(case, folder, cpus, profile) for case in cases] for _ in range(repeat)]
    return [medians(of_one_case) for of_one_case in zip(*runs, strict=True)]


def main(
    cases: Annotated[
        list[str],
        typer.Option("--case", help="API:JOBSxSECONDSs or xmixed, /FITTING and @PACE for REST; may be repeated."),
    ] = CASES,
    repeat: Annotated[int, typer.Option(min=1, help="Runs of each case; the table shows medians.")] = 1,
    unpinned: Annotated[bool, typer.Option("--unpinned", help="Leave the processors to the system.")] = False,
    folder: Annotated[Path, typer.Option(help="Where recordings and transcripts are made.")] = TEMPORARY,
    profile: Annotated[str, typer.Option(help="Have cProfile watch batcher, and write what it saw here.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure how full batcher keeps the window of pending jobs."""
    cpus = Cpus(*((None if unpinned else two_cpus()) or (None, None)))
    rows = anyio.run(_table, [Case.parse(case) for case in cases], folder, cpus, repeat, profile)
    notes = [machine("grpcio", "aiohttp", "aiosqlite", "anyio"), cpus.note(), f"Median of {repeat}."]
    show(REPORT, notes, rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
