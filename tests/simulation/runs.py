"""Many nights: run, counted, and what violates a promise made small."""

import gc
import multiprocessing
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path

import structlog

from tests.simulation.life import STOP
from tests.simulation.night import Night
from tests.simulation.shrink import shrink
from tests.simulation.story import Story, random_story

TRACE_LINES = 40
LITTER = 50_000  #: objects between two looks of the collector; by default they cost one second in fifteen
SILENT = 50  #: above every level: the last words of handlers that were killed take longer than the night


@dataclass(slots=True)
class Count:
    """What was in some nights. Counts of several can be added."""

    nights: int = 0
    hours: float = 0.0  #: of virtual time
    jobs: int = 0
    lost: int = 0
    duplicated: int = 0
    avoidable: int = 0  #: of those that were duplicated, the ones that a look-up could have told of
    leaked: int = 0
    over: int = 0
    recovered: int = 0
    submissions: int = 0
    refused: int = 0  #: of them, for a quota
    shared: int = 0  #: nights with two batchers
    shared_submissions: int = 0
    shared_refused: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    bad: list[Story] = field(default_factory=list)
    excused: int = 0  #: duplicated, but of what was in no list for longer than the settle time
    seconds: float = 0.0  #: of a core
    tight: int = 0  #: nights in which one place more would have been noticed
    unguarded: int = 0  #: nights in which the service only counted
    explained: Counter[str] = field(default_factory=Counter)  #: counts beyond a limit and refusals, by the fact

    def add(self, other: "Count") -> None:
        """Add another count."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def memory() -> str | None:
    """Return a directory in memory where there is one: kills are simulated, so nothing has to reach a disk."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


def live(story: Story) -> Night:
    """Live through one night."""
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        night = Night(story, Path(folder) / "jobs.sqlite3")
        night.run()
    return night


def count(story: Story) -> Count:
    """Live through one night and count what was in it."""
    began = time.process_time()
    night = live(story)
    tally, oracle = night.account.tally, night.oracle
    found = Count(
        1,
        night.world.read() / 3600,
        story.recordings + story.second,
        night.losses,
        oracle.duplicated,
        oracle.avoidable,
        night.leaked,
        night.quota.over,
        oracle.recovered,
        tally.accepted.total() + tally.quota_refusals,
        tally.quota_refusals,
    )
    if story.second:
        found.shared, found.shared_submissions, found.shared_refused = 1, found.submissions, found.refused
    found.kills, found.faults = night.kills, night.happened + tally.injected
    found.violations = Counter(night.violations)
    found.bad = [story] if night.violations else []
    found.tight, found.unguarded = int(night.quota.tight > 0), int("unguarded" in story.kinds)
    found.explained = night.quota.explained
    found.excused, found.seconds = oracle.excused, time.process_time() - began
    return found


def counted(stories: Iterable[Story], jobs: int) -> Iterator[Count]:
    """Yield the counts of nights, lived in so many processes."""
    if jobs == 1:
        yield from map(count, stories)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, settle_in) as pool:
        yield from pool.imap_unordered(count, stories, chunksize=4)


def settle_in() -> None:
    """Make ready a process that does nothing but live through nights: what one of them leaves is little."""
    silence()
    gc.set_threshold(LITTER)


def silence() -> None:
    """Let nothing be logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(SILENT))


def report(total: Count, seconds: float, jobs: int) -> str:
    """Return the figures in words."""
    nights = max(1, total.nights)
    stops = total.kills[STOP]
    ends = f"{(total.kills.total() - stops) / nights:.1f} kills and {stops / nights:.1f} stops"
    counts = f"{total.jobs / nights:.0f} recordings, {ends}"
    wrong = f"lost {total.lost}, duplicated {total.duplicated}, leaked {total.leaked}, over quota {total.over}"
    shared = f"{total.shared_refused} of {total.shared_submissions} in {total.shared} nights with two batchers"
    lines = [
        f"{total.nights} nights, {total.nights / seconds:.2f} a second in {jobs} process(es)",
        f"{total.nights / (total.seconds or seconds):.2f} nights for each second of a core",
        f"on average {counts}, {total.hours / nights:.1f} hours",
        f"{wrong}; submitted twice where a look-up could have told: {total.avoidable}; recovered {total.recovered}",
        f"submitted twice because the first showed up later than the settle time, as written: {total.excused}",
        f"refused for quota: {total.refused} of {total.submissions} submissions, {shared}",
        f"one place too many would have shown in {total.tight} nights; {total.unguarded} with a service that only counts",
        f"beyond a limit, as explained: {_listed(total.explained) or 'nothing'}",
        f"kills and stops: {_listed(total.kills)}",
        f"faults: {_listed(total.faults)}",
        *total.violations,
        f"{total.violations.total()} violations",
    ]
    return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))


def explain(story: Story) -> str:
    """Make a night that violates something small, and return its trace and the line that keeps it."""
    small = shrink(story, lambda each: bool(live(each).violations))
    night = live(small)
    trace = "\n".join(f"    {line}" for line in night.trace[-TRACE_LINES:])
    return (
        f"{trace}\n    {'; '.join(night.violations[:3])}\nAdd this line to REGRESSIONS in test_nights.py:\n    {small},"
    )


def arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("nights", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=0, help="of the first night")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--large", action="store_true", help="a hundred recordings and three kills on average")
    parser.add_argument("--shared", action="store_true", help="two batchers in one account in every night")
    parser.add_argument("--trace", action="store_true", help="print what happened in each night")
    parser.add_argument("--no-shrink", action="store_true", help="leave nights that violate something as they are")
    return parser.parse_args()


def main() -> int:
    """Run the nights asked for, print what was in them, and fail when anything was violated."""
    wish = arguments()
    settle_in()
    draw = partial(random_story, large=wish.large, shared=wish.shared)
    stories = [draw(seed) for seed in range(wish.seed, wish.seed + wish.nights)]
    if wish.trace:
        sys.stdout.writelines("\n".join([repr(story), *live(story).trace, ""]) for story in stories)
    began, total = time.perf_counter(), Count()
    for each in counted(stories, wish.jobs):
        total.add(each)
    sys.stdout.write(report(total, time.perf_counter() - began, wish.jobs) + "\n")
    for story in total.bad[:3]:
        sys.stdout.write(f"{story}\n" if wish.no_shrink else f"{explain(story)}\n")
    return 1 if total.bad else 0
