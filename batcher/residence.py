"""How long the service takes for a job, learned from those that ended, and from that when to look again.

Looking costs a call and shows every job; not looking leaves a place at the service empty. All times are seconds.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

#: So many jobs should have ended between two looks, and how long that may take: shares of a mean residence.
JOBS_A_LOOK = 2
LEAST_WAIT, MOST_WAIT = 0.02, 0.05
#: Jobs that were sent together end together. As long as no more looks were needed than these, and so many for each job
#: that has ended, they come this many times as often.
EAGER_LOOKS, EAGER_LOOKS_A_JOB, EAGER_TIMES = 50, 0.4, 3
#: The first look that can show something comes when the oldest job is there for this share of what the quickest took.
NEARLY = 0.9
#: Before anything is known they are so far apart at least; who transcribes in less is found out with the second hundred.
FIRST_LOOKS_SECONDS = 0.1
#: What is expected is relied upon as long as what was seen contradicts it by no more than this share of a mean residence.
RELIABLE = 0.05
#: What has not ended when it should have is looked for again when it is late by so much more.
OVERDUE_SHARE = 0.05
#: So exactly it is known when the service accepted a job: its answer has a way to go, and to be committed.
ACCEPTED_WITHIN = 0.01


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that a look showed completed, and the look before it did not, if there was one since the job was sent."""

    length: float  #: of its recording
    at_least: float  #: it took longer than this
    at_most: float  #: it took no longer than this


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The jobs that are at the service."""

    number: int
    oldest: float  #: for how long the oldest one has been there
    each: Sequence[tuple[float, float]] = ()  #: the length and the age of each; nothing when they are too many


@dataclass(frozen=True, slots=True)
class Expectation:
    """How long jobs take: all of them alike, or in proportion to their length."""

    alike: float = 0.0
    proportion: float = 0.0
    contradiction: float = float("inf")  #: by so much some took longer than others that should have taken as long
    late: float = float("inf")  #: how much later or earlier they were seen to end, on average

    def of(self, length: float) -> float:
        """Return how long a job with a recording of this length is expected to be at the service."""
        return self.alike + self.proportion * length


@dataclass(slots=True)
class Residence:
    """Learns how long jobs are at the service, and tells when the next look pays."""

    shortest_poll: float
    longest_poll: float = 20.0
    recent: deque[Ended] = field(default_factory=lambda: deque(maxlen=100))
    looks: int = 0  #: since the first job ended
    ended: int = 0
    mean: float = 0.0
    expectation: Expectation = field(default_factory=Expectation)

    def looked(self, ended: Sequence[Ended]) -> None:
        """Learn from a look that was answered which jobs it was the first one to show completed."""
        self.looks += bool(self.recent)
        self.ended += len(ended)
        self.recent.extend(ended)
        if ended:
            self.mean = fmean(job.at_most for job in self.recent)
            models = _alike(self.recent, self.shortest_poll), _in_proportion(self.recent, self.shortest_poll)
            self.expectation = min(models, key=lambda model: (model.contradiction, model.late))

    def next_look(self, under_way: UnderWay | None, since: float) -> float:
        """Return how long after the latest look the next one is due, when that was `since` seconds ago.

        Where it is foreseen when jobs end, it comes when enough of them should have; one that is late by then is looked
        for again when it is late by a twentieth more. Jobs that have become quicker are noticed when those before them
        would have ended, a hundred jobs later nothing of that is left. Else it waits until two jobs can have ended, or a
        third of that while there were few looks, but never longer than a twentieth of a mean residence. Before anything is
        known, twice that share of the oldest job's age.
        """
        if under_way is None:
            return self.longest_poll
        wait = self._foreseen(under_way, since) if self._reliable else self._unforeseen(under_way)
        return min(max(wait, self.shortest_poll), self.longest_poll)

    @property
    def _reliable(self) -> bool:
        return self.expectation.contradiction <= RELIABLE * self.mean

    def _foreseen(self, under_way: UnderWay, since: float) -> float:
        if not under_way.each:
            return self._unforeseen(under_way)
        left = sorted(self.expectation.of(length) - age for length, age in under_way.each)
        ahead = [seconds for seconds in left if seconds > -since]
        overdue = left[: len(left) - len(ahead)]
        waits = [since + _worth_a_look(ahead, self._apart(under_way))] if ahead else []
        if overdue:
            waits.append(max(self._apart(under_way), OVERDUE_SHARE * -overdue[-1]))
        return min(waits)

    def _unforeseen(self, under_way: UnderWay) -> float:
        if not self.recent:
            return max(FIRST_LOOKS_SECONDS, 2 * _share(under_way) * under_way.oldest)
        quickest = min(job.at_most for job in self.recent)
        soonest = min(NEARLY * quickest, _alike(self.recent, self.shortest_poll).alike)
        return max(self._apart(under_way), soonest - under_way.oldest)

    def _apart(self, under_way: UnderWay) -> float:
        """Return how far looks are apart: so long places may be empty together for the sake of one look."""
        eager = self.looks <= EAGER_LOOKS + EAGER_LOOKS_A_JOB * self.ended
        return _share(under_way) * self.mean / (EAGER_TIMES if eager else 1)


def _share(under_way: UnderWay) -> float:
    return max(LEAST_WAIT, min(MOST_WAIT, JOBS_A_LOOK / max(1, under_way.number)))


def _worth_a_look(ends: Sequence[float], empty: float) -> float:
    """Return at which of these ends, in their order, a look pays.

    It does where the places that have become free by then would be empty for so long, all together, until the next end.
    """
    for places, (end, following) in enumerate(pairwise(ends), 1):
        if places * (following - end) >= empty:
            return end
    return ends[-1]


# What is expected lies in the middle between the longest time that was too short for a job to end, and the shortest in
# which one had: every look that comes too early or too late brings the two closer. When they are so close that the next
# look could not come in between, one that comes too early costs more than it can tell.


def _alike(recent: Sequence[Ended], shortest_poll: float) -> Expectation:
    too_short = max(job.at_least - ACCEPTED_WITHIN for job in recent)
    enough = min(job.at_most + ACCEPTED_WITHIN for job in recent)
    alike = _between(too_short, enough, shortest_poll)
    late = fmean(abs(job.at_most - alike) for job in recent)
    return Expectation(alike=alike, contradiction=max(0.0, too_short - enough), late=late)


def _in_proportion(recent: Sequence[Ended], shortest_poll: float) -> Expectation:
    if not all(job.length for job in recent):
        return Expectation()
    length = fmean(job.length for job in recent)
    too_short = max((job.at_least - ACCEPTED_WITHIN) / job.length for job in recent)
    enough = min((job.at_most + ACCEPTED_WITHIN) / job.length for job in recent)
    proportion = _between(too_short, enough, shortest_poll / length)
    late = fmean(abs(job.at_most - proportion * job.length) for job in recent)
    return Expectation(proportion=proportion, contradiction=max(0.0, too_short - enough) * length, late=late)


def _between(too_short: float, enough: float, too_close: float) -> float:
    return enough if 0 <= enough - too_short <= too_close else (too_short + enough) / 2
