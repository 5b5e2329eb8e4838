"""The benchmarks run and print what they promise; what they measure is not judged here."""

import json
import sys
from pathlib import Path

import anyio
import pytest

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
#: Every benchmark, so small that it takes no time, and in all the ways in which it can be run.
TINY = [
    ["rest_upload", "--case", "1x1kB", "--case", "2x300kB", "--rest", "0.05"],
    ["rest_upload", "--case", "2x300kB", "--rest", "0.05", "--cold", "--tls", "--link", "50", "--unpinned"],
]


async def output_of(arguments: list[str]) -> str:
    """Run a benchmark and return what it prints."""
    name, *options = arguments
    done = await anyio.run_process([sys.executable, "-m", f"benchmarks.{name}", *options], cwd=ROOT, stderr=None)
    return done.stdout.decode()


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
    assert [row.split("|")[1].strip() for row in rows] == [one for one in arguments if "x" in one and "_" not in one]
    assert {line.count("|") for line in (heading, rule, *rows)} == {heading.count("|")}
    assert "cores" in text
    assert [each async for each in anyio.Path(tmp_path).iterdir()] == []


@pytest.mark.parametrize("arguments", TINY[:1], ids=" ".join)
async def test_a_benchmark_prints_one_document(arguments: list[str]) -> None:
    """The same figures, for programs; a recording that was sealed before its end would have ended in an error."""
    document = json.loads(await output_of([*arguments, "--json", "--repeat", "2"]))
    assert document["benchmark"]
    assert [row["sealed_whole"] for row in document["rows"]] == [1, 2]
