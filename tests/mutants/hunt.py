"""Simulated nights until the first violation: run in the copy of the code that holds a mutant."""

import sys

from tests.simulation.runs import live, silence
from tests.simulation.story import random_story

SHARED = 4  #: every so many nights there are two batchers in the account


def main() -> int:
    """Live through so many nights; say what was violated, or which error ended one, and return 1 for either."""
    silence()
    for seed in range(int(sys.argv[1])):
        night = live(random_story(seed, shared=seed % SHARED == 0))
        if night.violations:
            sys.stdout.write(f"night {seed}: {night.violations[0]}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
