"""Run simulated nights: ``python -m tests.simulation NIGHTS [FIRST_SEED]``."""

import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

import anyio
import structlog

from tests.simulation.night import Night, random_story


async def _moment() -> float:
    return anyio.current_time()


def memory() -> str | None:
    """Return a directory in memory where there is one: kills are simulated, so nothing has to reach a disk."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


def live(seed: int) -> Night:
    """Live through the night of one seed."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        night = Night(random_story(seed), Path(folder) / "jobs.sqlite3")
        night.run()
    return night


def main() -> int:
    """Run the nights asked for, print what was in them, and fail when anything was violated."""
    # A killed handler's last words: their tracebacks take longer than the night.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    nights, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = anyio.run(_moment)
    kills: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    violations: list[str] = []
    for seed in range(first, first + nights):
        night = live(seed)
        kills += night.kills
        faults += night.account.tally.injected
        violations += night.violations
    pace = nights / (anyio.run(_moment) - began)
    sys.stdout.write(f"{nights} nights, {pace:.2f} a second\nkills: {dict(kills)}\nfaults: {dict(faults)}\n")
    sys.stdout.write("\n".join(violations) + f"\n{len(violations)} violations\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
