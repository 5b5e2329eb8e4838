"""docs/reliability.md speaks of tests that exist, of modules that exist, and of every row once."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)
]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests of a file, those of classes included."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(each.name for each in functions if each.name.startswith("test_"))


def test_every_row_is_there_once() -> None:
    """From the first to the last, in order, each with what happens, what holds, and how that is known."""
    assert [int(row[0]) for row in ROWS] == list(range(1, 77))
    assert {len(row) for row in ROWS} == {4}
    assert all(cell for row in ROWS for cell in row)


def test_a_row_names_tests_or_says_why_it_cannot_arise() -> None:
    """Nothing else may stand in the last column."""
    for number, _happens, holds, last in ROWS:
        if last == "none":
            assert holds.startswith("Cannot arise: "), number
        else:
            assert all(re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", each) for each in last.split("<br>")), number


def test_every_test_that_is_named_exists() -> None:
    """One that was renamed takes the page along."""
    assert len(NAMED) > 100
    assert [f"{file}::{name}" for file, name in NAMED if name not in names_in(file)] == []


def test_every_module_that_is_named_exists() -> None:
    """A guard that moved takes the page along."""
    named = set(re.findall(r"`(batcher/[\w/.]+)`", PAGE))
    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_link_leads_somewhere() -> None:
    """Relative ones, to files that exist."""
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_all_eight_promises_are_there_with_a_place_for_their_figures() -> None:
    """Each says what it means, what could break it, what guards it, and how to see it."""
    promises = re.findall(r"^### (\d)\. ", PAGE, re.MULTILINE)
    assert promises == list("12345678")
    for words in ("**It means**", "**What could break it:**", "**What guards it:**", "**See it:**", "*Measured:*"):
        assert PAGE.count(words) == 8
