"""How results are shown: one table for people, or one JSON document."""

import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.fresh import Figures
from benchmarks.goals import Goal, judged


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the figure it shows, and with how many decimals."""

    heading: str
    figure: str
    decimals: int = 0

    def cell(self, row: Figures) -> str:
        """Return what stands in a row; a figure that could not be taken is a dash."""
        value = row[self.figure]
        if isinstance(value, str):
            return value
        return "–" if math.isnan(value) else f"{value:,.{self.decimals}f}"


def machine(*distributions: str) -> str:
    """Return what kind of machine this is, and with which versions it measures."""
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in distributions)]
    return f"{os.cpu_count()} cores, {platform.system()}, {', '.join(versions)}"


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the middle of several runs of one case, figure by figure; words are the same in all."""
    return {
        name: value if isinstance(value, str) else median(run[name] for run in runs) for name, value in runs[0].items()
    }


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark prints."""

    title: str
    columns: Sequence[Column]
    goals: Sequence[Goal] = ()


def show(report: Report, notes: Sequence[str], rows: Sequence[Figures], as_json: bool) -> None:
    """Print the rows, and which of the goals they reach."""
    if as_json:
        print_json(report, notes, rows)
        return
    table = Table(*(column.heading for column in report.columns), box=box.MARKDOWN)
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        table.add_row(*(column.cell(row) for column in report.columns))
    console = Console(width=400, highlight=False, markup=False)
    console.print(report.title, *notes, sep="\n")
    console.print(table)
    console.print(*goal_lines(report, rows), sep="\n")


def goal_lines(report: Report, rows: Sequence[Figures]) -> Iterator[str]:
    """Yield one line for each goal of each case: whether it is reached."""
    columns = {column.figure: column for column in report.columns}
    for case, goal, value in judged(report.goals, rows):
        column = columns[goal.figure]
        verdict = "reached" if goal.reached(value) else "MISSED"
        yield f"- {verdict}: {case}, {column.heading}: {value:,.{column.decimals}f}, should be {goal.words}"


def print_json(report: Report, notes: Sequence[str], rows: Sequence[Figures]) -> None:
    """Print the rows as one JSON document."""
    plain = [{name: None if value != value else value for name, value in row.items()} for row in rows]  # noqa: PLR0124
    goals = [
        {"case": case, "figure": goal.figure, "goal": goal.words, "value": value, "reached": goal.reached(value)}
        for case, goal, value in judged(report.goals, rows)
    ]
    json.dump({"benchmark": report.title, "notes": notes, "rows": plain, "goals": goals}, sys.stdout, indent=2)
    sys.stdout.write("\n")
