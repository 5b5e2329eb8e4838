"""Simulated nights until the first violation: run in the copy of the code that holds a mutant."""

import logging
import sys

import structlog

from tests.simulation.__main__ import live


def main() -> int:
    """Live through so many nights; say what was violated, or which error ended one, and return 1 for either."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for seed in range(int(sys.argv[1])):
        night = live(seed)
        if night.violations:
            sys.stdout.write(f"night {seed}: {night.violations[0]}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
