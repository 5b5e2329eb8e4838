"""The benchmarks run and print what they promise; what they measure is not judged here."""

import json
import math
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from benchmarks.goals import Goal
from benchmarks.jobs import busiest
from benchmarks.million import until_the_first_upload
from benchmarks.table import Column, Report, goal_lines
from benchmarks.window import LONGEST_S, SHORTEST_S, heavy_tail, makespan

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
SMALL_JOBS = ["--few", "2", "--many", "4"]
FEW_JOBS = ["--jobs", "3", "--loop-jobs", "1", "--residence", "0.05"]
#: Every benchmark, so small that it takes no time.
TINY = [
    ["upload", "--case", "2x300kB", "--rest", "0.05", "--cold", "--tls", "--link", "50", "--unpinned"],
    ["bwlimit", "--case", "2x400k", "--case", "1xoff", "--seconds", "0.3"],
    ["window", "--case", "grpc:4x0.3s", "--case", "rest:2x0.1s/1@6000,longest*10"],
    ["jobs_cpu", *SMALL_JOBS, "--program", "batcher, gRPC"],
    ["million", "--rows", "60", "--jobs", "4", "--turns", "1"],
    ["start", "--turns", "1", "--case", "python", "--case", "batcher --version", "--case", "batcher status"],
    ["peers", *FEW_JOBS, "--program", "batcher, REST", "--program", "AsyncSonioxClient, 0.2 s"],
]


async def output_of(arguments: list[str]) -> str:
    """Run a benchmark and return what it prints."""
    name, *options = arguments
    done = await anyio.run_process([sys.executable, "-m", f"benchmarks.{name}", *options], cwd=ROOT, stderr=None)
    return done.stdout.decode()


def rows_asked_for(arguments: list[str]) -> list[str]:
    """Return the rows that a benchmark was asked for; uploads are measured over both APIs unless one is named."""
    rows = [value for option, value in pairwise(arguments) if option in ("--case", "--program", "--rows")]
    apis = [value for option, value in pairwise(arguments) if option == "--api"] or ["grpc", "rest"]
    return [f"{api}:{row}" for row in rows for api in apis] if arguments[0] == "upload" else rows


def test_every_benchmark_is_tried() -> None:
    """Otherwise one could break unseen."""
    programs = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "typer.Typer(" in path.read_text("utf-8")}
    assert programs == {arguments[0] for arguments in TINY}


@pytest.mark.parametrize("arguments", TINY, ids=" ".join)
async def test_a_benchmark_prints_one_table(arguments: list[str], tmp_path: Path) -> None:
    """A heading, a rule, and a row of figures for every case; and it tidies up."""
    text = await output_of([*arguments, "--folder", str(tmp_path)])
    heading, rule, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert set(rule) == {"|", "-"}
    assert [row.split("|")[1].strip() for row in rows] == rows_asked_for(arguments)
    assert {line.count("|") for line in (heading, rule, *rows)} == {heading.count("|")}
    assert "cores" in text
    assert [each async for each in anyio.Path(tmp_path).iterdir()] == []


async def test_a_benchmark_prints_one_document() -> None:
    """The same figures, for programs; a recording that was sealed before its end would have ended in an error."""
    few = ["upload", "--api", "rest", "--case", "1x1kB", "--case", "2x300kB", "--rest", "0.05", "--repeat", "1"]
    document = json.loads(await output_of([*few, "--json"]))
    assert document["benchmark"]
    assert [row["sealed_whole"] for row in document["rows"]] == [1, 2]
    assert [row["bare_sealed_whole"] for row in document["rows"]] == [1, 2]
    assert all(row["over_bare"] > 0 for row in document["rows"])


def test_a_goal_is_held_against_its_cases_only() -> None:
    """A figure that could not be taken reaches and misses nothing."""
    rows = [{"case": "fast", "ms": 4.0}, {"case": "slow", "ms": 6.0}, {"case": "none", "ms": math.nan}]
    report = Report(
        "A title", [Column("took ms", "ms", 1)], [Goal("fast|slow|none", "ms", most=5), Goal("slow", "ms", 6)]
    )
    assert list(goal_lines(report, rows)) == [
        "- reached: fast, took ms: 4.0, should be at most 5",
        "- MISSED: slow, took ms: 6.0, should be at most 5",
        "- reached: slow, took ms: 6.0, should be at least 6",
    ]


async def test_the_window_is_measured_at_both_ends(tmp_path: Path) -> None:
    """What batcher recorded and what the service saw are of the same jobs, and no window was ever better than ideal."""
    arguments = ["window", "--case", "grpc:6x0.4s", "--folder", str(tmp_path), "--json"]
    (row,) = json.loads(await output_of(arguments))["rows"]
    assert row["pending_peak"] == 6
    assert row["refusals"] == 0
    assert row["requests_per_job"] == 3 + row["status_per_job"]
    assert row["ideal_s"] <= row["makespan_s"]


@pytest.mark.timeout(600)
async def test_an_alternative_has_an_environment_of_its_own(tmp_path: Path) -> None:
    """The 1.x client cannot live beside the 2.x one; the documented loop looks twice at a job that takes a moment."""
    options = ["--folder", str(tmp_path), "--json", "--program", "documented loop"]
    (row,) = json.loads(await output_of(["peers", *FEW_JOBS, *options]))["rows"]
    assert row["jobs"] == 1
    assert row["status_per_job"] == 2
    assert row["makespan_s"] >= 3 * 2  # scaled to three jobs, each with one documented sleep


def test_the_best_order_begins_with_the_longest() -> None:
    """Two places: 3 beside 1 and 2 fit exactly; begun with the short ones, the long one ends late."""
    assert makespan([3, 2, 1], places=2) == 3
    assert makespan([1, 2, 3], places=2) == 4


def test_mixed_lengths_have_a_heavy_tail() -> None:
    """Half of them are of no account, a few take most of the time; they are the same in every run."""
    lengths = heavy_tail(1000)
    assert min(lengths) >= SHORTEST_S
    assert max(lengths) == LONGEST_S
    assert sum(sorted(lengths)[:500]) < sum(lengths) / 10
    assert lengths == heavy_tail(1000) != sorted(lengths)


def test_the_busiest_stretch_is_found_wherever_it_lies() -> None:
    """Three calls within a second, two more far away."""
    assert busiest([0, 9_000, 9_500, 9_999, 20_000], 1.0) == 3
    assert busiest([], 1.0) == 0


@pytest.fixture
def nohup_like() -> Iterator[None]:
    """Have Ctrl-C ignored here and in everything that is started, as a shell does for what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("nohup_like")
async def test_a_run_is_stopped_after_its_first_upload_also_where_the_shell_ignores_ctrl_c(tmp_path: Path) -> None:
    """What was ignored when it began, batcher goes on to ignore."""
    table = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(table)) as conn, conn:
        conn.execute("CREATE TABLE history (id INTEGER PRIMARY KEY, at INTEGER, event TEXT)")
        conn.execute("INSERT INTO history VALUES (1, ?, 'seal')", (2**60,))
    with anyio.fail_after(5):
        await until_the_first_upload(["sleep", "60"], str(table))
