"""Run simulated nights: ``python -m tests.simulation NIGHTS [FIRST_SEED]``; ``--help`` tells of the rest."""

import sys

from tests.simulation.runs import main, memory

__all__ = ["memory"]

if __name__ == "__main__":
    sys.exit(main())
