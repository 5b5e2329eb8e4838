"""Simulated nights until the first violation: run in the copy of the code that holds a mutant.

The kinds of trouble that are named after the number of nights are part of every one of them.

Prints one line and ends with a code of its own, which nothing but a night gives: `FOUND` for a violation (an error of
the product that ended a night is one), `HARNESS` for a night that the simulation itself broke, 0 for neither.
"""

import sys

from tests.simulation.runs import live, silence
from tests.simulation.story import random_story

SHARED = 4  #: every so many nights there are two batchers in the account
FOUND, HARNESS = 10, 11  #: codes that Python itself never ends with


def main() -> int:
    """Live through so many nights; say what was violated."""
    silence()
    nights, *wanted = sys.argv[1:]
    for seed in range(int(nights)):
        night = live(random_story(seed, shared=seed % SHARED == 0, wanted=wanted))
        if night.broken:
            sys.stdout.write(f"harness: seed {seed}: {night.broken}\n")
            return HARNESS
        if night.violations:
            sys.stdout.write(f"night {seed}: {night.violations[0]}\n")
            return FOUND
    return 0


if __name__ == "__main__":
    sys.exit(main())
