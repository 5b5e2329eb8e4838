"""All guards that are broken, one by one."""

from tests.mutants.guards_of_lists import WHAT_LISTS_PROVE
from tests.mutants.guards_of_payments import WHAT_IS_PAID
from tests.mutants.guards_of_ways import HOW_IT_GOES
from tests.mutants.mutant import Edit, Mutant

__all__ = ["MUTANTS", "Edit", "Mutant"]

MUTANTS = (*WHAT_LISTS_PROVE, *WHAT_IS_PAID, *HOW_IT_GOES)
