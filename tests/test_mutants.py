"""Broken guards that the simulated nights must find: three in turn; `make mutants` hunts all of them."""

from hashlib import sha256
from pathlib import Path

import pytest

import batcher
from tests.mutants.__main__ import ROOT, hunt
from tests.mutants.guards import MUTANTS, Mutant

QUICK = [mutant for mutant in MUTANTS if mutant.nights <= 12 and not mutant.hunter]
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
    assert (ROOT / mutant.path).read_text("utf-8").count(mutant.before) == 1


def test_there_are_mutants_of_many_guards() -> None:
    """Each does something else."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.timeout(400)  # its work is bounded by nights, not by time, and the machine may be busy
@pytest.mark.parametrize("mutant", in_turn(), ids=lambda mutant: mutant.name)
def test_a_broken_guard_is_found_within_a_few_nights(mutant: Mutant) -> None:
    """A simulation that does not notice it would prove nothing."""
    assert hunt(mutant, 2 * mutant.nights)
