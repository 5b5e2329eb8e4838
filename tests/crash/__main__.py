"""Kill the real command: ``python -m tests.crash BATCHES [SEED]``.

First every named point is swept through both APIs, and again in recoveries, in fair weather and while the service
loses answers; then so many batches are killed at random moments and points. With fewer batches than `WHOLE` the sweeps
are cut short as well. Fails when anything was violated, and when a point was never reached.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from itertools import product

from tests.crash.starter import Starter, starter
from tests.crash.sweep import APIS, Killer, Report, Sweep, points, sweeps

WORKERS = 12  #: most of a run is waiting for the service
MOST_SHOWN = 40
WHOLE = 100  #: from so many batches on every sweep goes on until a run ends unharmed
TOLD = 25  #: batches between two lines of progress

Work = Callable[[Killer], None]


def most_hits(batches: int) -> int | None:
    """Return how often a sweep kills at each point at most: 1 with up to 24 batches, …; None: to its end."""
    return None if batches >= WHOLE else 1 + batches // 25


def tasks(batches: int) -> dict[str, Work]:
    """Return what is to be done, by a name that its chances are drawn from."""
    most = most_hits(batches)
    work: dict[str, Work] = {str(sweep): partial(Killer.sweep, sweep=sweep, most=most) for sweep in sweeps()}
    return work | {f"batch {number}": Killer.random_batch for number in range(batches)}


def do_all(work: dict[str, Work], seed: str) -> Report:
    """Do everything, several at a time, each worker with a starting process of its own."""
    total = Report()
    for number, (name, report) in enumerate(_done(work, seed), 1):
        total.add(report)
        sys.stderr.write("".join(f"{what}\n" for what in report.violations))
        sys.stderr.write(progress(f"{number} of {len(work)}", name, report, terminal=sys.stderr.isatty()))
        sys.stderr.flush()
    return total


def _done(work: dict[str, Work], seed: str) -> Iterator[tuple[str, Report]]:
    """Do everything, and yield what was done as soon as it is."""
    local = threading.local()
    with ExitStack() as starters:

        def prepare() -> None:
            local.starter = starters.enter_context(starter())

        def do(name: str) -> tuple[str, Report]:
            own: Starter = local.starter
            killer = Killer(own, f"{seed} {name}")
            try:
                work[name](killer)
            except Exception as error:  # noqa: BLE001 - a table that cannot be read, say: found, and the others go on
                killer.report.violations.append(f"{name}: {error!r}")
            return name, killer.report

        with ThreadPoolExecutor(WORKERS, initializer=prepare) as pool:
            for future in as_completed([pool.submit(do, name) for name in work]):
                yield future.result()


def progress(part: str, name: str, report: Report, *, terminal: bool) -> str:
    """Return how far it is: over and over in one line of a terminal, elsewhere a line now and then."""
    if terminal:
        return f"\r{part} "
    kind, _, number = name.partition(" ")
    if kind == "batch" and (int(number) + 1) % TOLD:
        return ""
    return f"{part}: {name}, {report.kills.total()} kills, {len(report.violations)} violations\n"


def table(report: Report) -> Iterable[str]:
    """Yield a line for every point: how far it was swept, kills there, violations; then the moments."""
    ways = list(product((False, True), (False, True)))
    yield f"{'kill point, swept n = 1 …':28}{'at first':>16}{'with faults':>16}{'in a recovery':>16}{'with faults':>16}"
    yield f"{'':28}{''.join(f'{api:>8}' for _ in ways for api in APIS)}{'kills':>8}{'violated':>9}"
    for name in points():
        each = [Sweep(name, api, recovery, faults) for recovery, faults in ways for api in APIS]
        swept = "".join(f"{report.swept[sweep] if sweep.possible else '-':>8}" for sweep in each)
        yield f"{name:28}{swept}{report.kills[name]:8}{report.blame[name]:9}"
    yield "killed so many seconds after the start of a run:"
    for name in sorted(report.kills.keys() - set(points())):
        yield f"{name:92}{report.kills[name]:8}{report.blame[name]:9}"


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
    if most := most_hits(batches):
        lines.append(f"no sweep went beyond n = {most}: to its end each goes with N = {WHOLE} or more")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
