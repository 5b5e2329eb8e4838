"""Kill the real command: ``python -m tests.crash BATCHES [SEED]``.

First every named point is swept through both APIs, and again in recoveries; then so many batches are killed at
random moments while the service loses answers. Fails when anything was violated.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import product

from tests.crash.starter import Starter, starter
from tests.crash.sweep import APIS, Killer, Report, points

WORKERS = 8  #: most of a run is waiting for the service
MOST_SHOWN = 40

Work = Callable[[Killer], None]


def tasks(batches: int) -> dict[str, Work]:
    """Return what is to be done, by a name that its chances are drawn from."""
    work: dict[str, Work] = {}
    for point, api in product(points(), APIS):
        work[f"{api} {point}"] = partial(Killer.sweep, point=point, api=api)
        work[f"{api} {point} in a recovery"] = partial(Killer.sweep_recovery, point=point, api=api)
    return work | {f"batch {number}": Killer.random_batch for number in range(batches)}


def do_all(work: dict[str, Work], seed: str) -> Report:
    """Do everything, several at a time, each worker with a starting process of its own."""
    total, local = Report(), threading.local()
    with ExitStack() as starters:

        def prepare() -> None:
            local.starter = starters.enter_context(starter())

        def do(name: str) -> Report:
            own: Starter = local.starter
            killer = Killer(own, f"{seed} {name}")
            try:
                work[name](killer)
            except Exception as error:  # noqa: BLE001 - a table that cannot be read, say: found, and the others go on
                killer.report.violations.append(f"{name}: {error!r}")
            return killer.report

        with ThreadPoolExecutor(WORKERS, initializer=prepare) as pool:
            for number, report in enumerate(pool.map(do, work), 1):
                total.add(report)
                sys.stderr.write("".join(f"{what}\n" for what in report.violations))
                if sys.stderr.isatty():
                    sys.stderr.write(f"\r{number} of {len(work)} ")
    return total


def table(report: Report) -> Iterable[str]:
    """Yield a line for every point: how far it was swept, kills there, violations; then the moments."""
    heads = "".join(f"{head:>9}" for head in (*APIS, *APIS, "kills", "violated"))
    yield f"{'kill point, swept n = 1 …':27} {'at first':>18}{'in a recovery':>18}"
    yield f"{'':28}{heads}"
    for name in points():
        swept = "".join(f"{counts[name, api]:9}" for counts in (report.swept, report.again) for api in APIS)
        yield f"{name:28}{swept}{report.kills[name]:9}{report.blame[name]:9}"
    yield "killed so many seconds after the start of a run:"
    for name in sorted(report.kills.keys() - set(points())):
        yield f"{name:64}{report.kills[name]:9}{report.blame[name]:9}"


def figures(report: Report, seconds: float) -> Iterable[str]:
    """Yield what was done, in sentences."""
    kills, possible = report.kills.total(), len(points()) ** 2
    yield f"{report.runs} runs, {kills} kills in {seconds:.0f} s: {report.runs / seconds:.2f} runs a second"
    yield f"{report.pairs.total()} kills at a point while recovering from one, {len(report.pairs)} of {possible} pairs of points"
    yield f"jobs when they were killed: {dict(report.states.most_common())}"
    yield f"faults: {dict(report.faults.most_common())}"
    yield f"{report.checked} times a transcript that was deleted at the service was looked for in the table"
    yield from report.violations[:MOST_SHOWN]
    yield f"{len(report.violations)} violations"


def main() -> int:
    """Do it, print it, and say whether it held."""
    if not hasattr(os, "pidfd_open"):
        sys.stdout.write("crash skipped: the kills are timed by a call of Linux\n")
        return 0
    batches, seed = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "0"
    began = time.perf_counter()
    report = do_all(tasks(batches), seed)
    lines = [*table(report), *figures(report, time.perf_counter() - began)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
