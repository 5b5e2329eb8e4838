"""How long commands take that do next to nothing: their start, beside that of Python itself."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from subprocess import DEVNULL
from time import perf_counter
from typing import Annotated

import anyio
import typer

from benchmarks.fresh import Figures, measured
from benchmarks.goals import Goal
from benchmarks.million import make_holes
from benchmarks.table import Column, Report, machine, show

TEMPORARY = Path(tempfile.gettempdir())
RECORDINGS = 100  #: of the batch that is looked at
PYTHON = "python"  #: what all others are compared with

COLUMNS = (
    Column("command", "case"),
    Column("ms", "ms"),
    Column("ms above Python", "above_ms"),
    Column("CPU ms", "cpu_ms"),
)
GOALS = (
    Goal("batcher --version", "above_ms", most=120),
    Goal("batcher status", "above_ms", most=250),
)
REPORT = Report("Start", COLUMNS, GOALS)


def _commands(out: str) -> dict[str, list[str]]:
    batcher = [sys.executable, "-m", "batcher"]
    return {
        PYTHON: [sys.executable, "-c", "pass"],
        "batcher --version": [*batcher, "--version"],
        "batcher --help": [*batcher, "--help"],
        "batcher run --help": [*batcher, "run", "--help"],
        "batcher status": [*batcher, "status", out],
    }


CASES = list(_commands(""))


async def _times(commands: Mapping[str, list[str]], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Run every command in turn, again and again; return seconds and processor seconds. The first turn is left out."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _turn in range(turns + 1):
        for name, command in commands.items():
            begun, cpu = perf_counter(), _children_cpu()
            await anyio.run_process(command, stdout=DEVNULL)
            taken[name].append((perf_counter() - begun, _children_cpu() - cpu))
    return {name: times[1:] for name, times in taken.items()}


def _children_cpu() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def _table(cases: Sequence[str], turns: int, folder: Path) -> list[Figures]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="benchmark-") as place:
        recordings, state = Path(place) / "in", Path(place) / "out" / ".batcher"
        make_holes(recordings, RECORDINGS)
        state.mkdir(parents=True)
        await measured("benchmarks.million:scan", {"recordings": str(recordings), "out": str(state)}, None)
        commands = _commands(str(state.parent))
        taken = await _times({name: commands[name] for name in dict.fromkeys([PYTHON, *cases])}, turns)
    middle = {name: median(seconds for seconds, _ in times) * 1000 for name, times in taken.items()}
    return [
        {
            "case": name,
            "ms": middle[name],
            "above_ms": middle[name] - middle[PYTHON],
            "cpu_ms": median(cpu for _, cpu in taken[name]) * 1000,
        }
        for name in cases
    ]


def main(
    cases: Annotated[list[str], typer.Option("--case", help="One of the commands; may be repeated.")] = CASES,
    turns: Annotated[int, typer.Option(min=1, help="Runs of each command; the table shows medians.")] = 20,
    folder: Annotated[Path, typer.Option(help="Where a batch is made.")] = TEMPORARY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Measure how long commands take to start."""
    rows = anyio.run(_table, cases, turns, folder)
    notes = [machine("typer", "pydantic"), f"Median of {turns}, in turn. `status` is of a batch of {RECORDINGS}."]
    show(REPORT, notes, rows, as_json)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
