"""How results are shown: one table for people, or one JSON document."""

import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.fresh import Figures


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


def show(title: str, notes: Sequence[str], columns: Sequence[Column], rows: Sequence[Figures], as_json: bool) -> None:
    """Print the rows."""
    if as_json:
        print_json(title, notes, rows)
        return
    table = Table(*(column.heading for column in columns), box=box.MARKDOWN)
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns))
    console = Console(width=400, highlight=False, markup=False)
    console.print(title, *notes, sep="\n")
    console.print(table)


def print_json(title: str, notes: Sequence[str], rows: Sequence[Figures]) -> None:
    """Print the rows as one JSON document."""
    plain = [{name: None if value != value else value for name, value in row.items()} for row in rows]  # noqa: PLR0124
    json.dump({"benchmark": title, "notes": notes, "rows": plain}, sys.stdout, indent=2)
    sys.stdout.write("\n")
