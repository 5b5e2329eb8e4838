"""Broken guards that the simulated nights must find: three in turn; `make mutants` hunts all of them."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import batcher
from tests.mutants import hunt as nights
from tests.mutants.__main__ import ROOT, hunt, judge
from tests.mutants.guards import MUTANTS, Mutant
from tests.simulation.runs import live
from tests.simulation.story import Story

QUICK = [mutant for mutant in MUTANTS if mutant.nights <= 4 and not mutant.hunter]
NIGHTS = 60  #: what four nights found before is not missed by so many, whatever is drawn for them since
IN_TURN = 3


def in_turn() -> list[Mutant]:
    """Return the mutants whose turn it is: others whenever the code has changed, the same for the same code."""
    code = sha256()
    for path in sorted(Path(batcher.__file__).parent.rglob("*.py")):
        code.update(path.read_bytes())
    first = int.from_bytes(code.digest()[:4]) % len(QUICK)
    return [QUICK[(first + number) % len(QUICK)] for number in range(IN_TURN)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_guard_stands_where_its_mutant_looks_for_it(mutant: Mutant) -> None:
    """A guard that was rewritten takes its mutant along."""
    assert [(ROOT / edit.path).read_text("utf-8").count(edit.before) for edit in mutant.edits] == [1] * len(
        mutant.edits
    )


def test_there_are_mutants_of_many_guards() -> None:
    """Each does something else."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.timeout(400)  # its work is bounded by nights, not by time, and the machine may be busy
@pytest.mark.parametrize("mutant", in_turn(), ids=lambda mutant: mutant.name)
def test_a_broken_guard_is_found_within_a_few_nights(mutant: Mutant) -> None:
    """A simulation that does not notice it would prove nothing."""
    assert hunt(mutant, NIGHTS).caught


BY_NIGHTS = Mutant("hunted by nights", "a.py", "", "")
BY_TEST = Mutant("hunted by a test", "a.py", "", "", hunter="tests/test_a.py::test_it")


@pytest.mark.parametrize(
    ("mutant", "code", "out", "err", "word"),
    [
        (BY_NIGHTS, nights.FOUND, "night 3: seed 3 at 1.0: paid twice\n", "", "caught"),
        (BY_NIGHTS, nights.FOUND, "night 3: seed 3 at 1.0: broke: KeyError('a')\n", "", "caught"),
        (BY_NIGHTS, nights.HARNESS, "harness: seed 3: AssertionError()\n", "", "BROKEN"),
        (BY_NIGHTS, 1, "", "Traceback:\nImportError: no module\n", "BROKEN"),
        (BY_NIGHTS, 1, "night 3: seed 3 at 1.0: paid twice\n", "Traceback:\nKeyError\n", "BROKEN"),
        (BY_NIGHTS, 0, "", "", "SURVIVED"),
        (BY_TEST, 1, "FAILED tests/test_a.py::test_it[one] - assert 1 == 2\n1 failed\n", "", "caught"),
        (BY_TEST, 1, "FAILED tests/test_a.py::test_it - Failed: Timeout (>120.0s)\n", "", "BROKEN"),
        (BY_TEST, 1, "ERROR tests/test_a.py::test_it - fixture\n1 error\n", "", "BROKEN"),
        (BY_TEST, 1, "FAILED tests/test_a.py::test_it_not - assert 1 == 2\n", "", "BROKEN"),
        (BY_TEST, 2, "ERROR tests/test_a.py\n1 error during collection\n", "", "BROKEN"),
        (BY_TEST, 4, "", "ERROR: not found: tests/test_a.py::test_it\n", "BROKEN"),
        (BY_TEST, 0, "1 passed\n", "", "SURVIVED"),
    ],
)
def test_only_a_violation_or_the_named_test_catches_a_mutant(
    mutant: Mutant, code: int, out: str, err: str, word: str
) -> None:
    """An import error, an error in the simulation itself, a test that cannot be collected and a timeout are none."""
    verdict = judge(mutant, code, out, err)
    assert (verdict.word, bool(verdict.told)) == (word, word != "SURVIVED")


@pytest.mark.parametrize(
    ("mark", "broken"),
    [("batcher/states.py", ""), ("tests/simulation/oracle.py", "ZeroDivisionError('division by zero')")],
)
def test_a_night_tells_an_error_of_the_product_from_one_of_its_own(
    mark: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one is a catch; the other proves nothing."""
    code = compile("def fail(*_arguments, **_named): 1 / 0", str(ROOT / mark), "exec")
    names: dict[str, object] = {}
    exec(code, names)
    monkeypatch.setattr("batcher.engine.begin_session", names["fail"])
    night = live(Story(1, recordings=1))
    assert night.broken == broken
    assert "broke: ZeroDivisionError" in night.violations[0]


def test_a_reader_that_goes_away_ends_the_hunt_without_a_traceback() -> None:
    """As with ``python -m tests.mutants | head -1``."""
    quick = (
        "import sys; from tests.mutants import __main__ as m; m.hunt = lambda mutant: m.Verdict('caught', 'x' * 9000)"
    )
    command = f'"{sys.executable}" -c "{quick}; sys.exit(m.main([]))" | head -1'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("caught")
    assert done.stderr == ""
