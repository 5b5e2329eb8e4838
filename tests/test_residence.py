"""When to look again: as soon as enough has ended, and not where nothing can have."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.residence import Ended, Residence, UnderWay


def informed(*seconds: float, shortest: float = 0.1, looks: int = 0) -> Residence:
    """Return what has seen a job end after each of `seconds`, at irregular lengths: nothing can be foreseen."""
    residence = Residence(shortest, looks=looks)
    residence.looked([Ended(1 + 7 * (number % 2), 0.9 * each, each) for number, each in enumerate(seconds)])
    return residence


def some(number: int, oldest: float) -> UnderWay:
    """Return so many jobs under way, of which only the age of the oldest one is known."""
    return UnderWay(number, oldest)


# Without foresight.


@given(
    shortest=st.floats(0.5, 5),
    recent=st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 1e5)), max_size=120),
    each=st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e6)), max_size=50),
    more=st.integers(0, 2000),
    since=st.floats(0, 100),
)
def test_the_next_look_is_polite_and_never_long(
    shortest: float,
    recent: list[tuple[float, float, float]],
    each: list[tuple[float, float]],
    more: int,
    since: float,
) -> None:
    """Between the service's politeness and the longest time a place may stay empty unnoticed."""
    residence = Residence(shortest)
    for length, at_least, longer in recent:
        residence.looked([Ended(length, at_least, at_least + longer)])
    oldest = max((age for _, age in each), default=0.0)
    under_way = UnderWay(len(each) + more, oldest, each) if each or more else None
    assert shortest <= residence.next_look(under_way, since) <= residence.longest_poll


def test_with_nothing_under_way_there_is_no_hurry() -> None:
    """Nothing can end."""
    assert Residence(2).next_look(None, 0) == 20


def test_looks_come_quick_when_jobs_are_about_to_end() -> None:
    """Slow while none can end yet, quick from the time on that the quickest nearly took."""
    residence = informed(100, 120, 140)
    assert residence.next_look(some(100, 0), 0) == 20
    assert residence.next_look(some(100, 80), 0) == pytest.approx(10)
    assert residence.next_look(some(100, 100), 0) == pytest.approx(0.02 * 120 / 3)


def test_looks_are_thinned_out_when_there_were_many_for_what_has_ended() -> None:
    """Jobs that were sent together end together and are worth many looks; of such as end one by one each is not."""
    residence = informed(100, looks=50)
    assert residence.next_look(some(100, 100), 0) == pytest.approx(2 / 3)
    residence.looked([])
    assert residence.next_look(some(100, 100), 0) == pytest.approx(2)
    residence.looked([Ended(each, 90, 100) for each in (1, 8, 1, 8)])
    assert residence.next_look(some(100, 100), 0) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("under_way", "seconds"), [(2000, 2), (100, 2), (50, 4), (40, 5), (1, 5)])
def test_a_look_should_show_two_that_ended_and_not_come_late_for_them(under_way: int, seconds: float) -> None:
    """Two listings of one call each for two jobs are one call a job; a small window is not left empty for it."""
    residence = informed(100, shortest=1.0, looks=1_000)
    assert residence.next_look(some(under_way, 100), 0) == pytest.approx(seconds)


def test_before_anything_is_known_looks_follow_the_age() -> None:
    """A tenth of the oldest job's age is lost at most, and less where many jobs wait for it."""
    residence = Residence(2.0)
    assert residence.next_look(some(1, 5), 0) == 2
    assert residence.next_look(some(1, 60), 0) == pytest.approx(6)
    assert residence.next_look(some(100, 60), 0) == pytest.approx(2.4)
    assert residence.next_look(some(1, 1000), 0) == 20
    assert Residence(0.02).next_look(some(100, 0.1), 0) == pytest.approx(0.1), "nothing is transcribed in less"


# With foresight.


def test_where_all_take_the_same_time_the_next_look_comes_when_one_ends() -> None:
    """However long it is until then, and however long the latest look was ago."""
    residence = Residence(0.02)
    residence.looked([Ended(5, 9.95, 10.05), Ended(60, 9.9, 10.1)])
    assert residence.next_look(UnderWay(1, 7.0, [(600, 7.0)]), 0) == pytest.approx(3.0)
    assert residence.next_look(UnderWay(1, 7.0, [(600, 7.0)]), 1.5) == pytest.approx(4.5)


def test_where_the_length_of_a_recording_tells_the_next_look_comes_when_the_first_one_ends() -> None:
    """A long recording takes longer; which one was sent first does not tell which one ends first."""
    residence = Residence(0.02)
    residence.looked([Ended(100, 9.98, 10.02), Ended(50, 4.99, 5.01)])
    assert residence.next_look(UnderWay(2, 7.0, [(200, 7.0), (30, 0.0)]), 0) == pytest.approx(3.0, abs=0.02)


def test_a_look_waits_for_those_that_end_within_a_moment() -> None:
    """It shows all of them; the first one's place is empty until then, and that costs less than another look."""
    residence = Residence(0.02, looks=1_000)
    residence.looked([Ended(5, 9.95, 10.05)])
    close = UnderWay(3, 8.02, [(5, 8.02), (5, 8.01), (5, 8.0)])
    assert residence.next_look(close, 0) == pytest.approx(2.0)
    apart = UnderWay(3, 8.0, [(5, 8.0), (5, 7.0), (5, 6.0)])
    assert residence.next_look(apart, 0) == pytest.approx(2.0)


def test_what_has_not_ended_when_it_should_have_is_looked_for_all_the_same() -> None:
    """Nobody knows when it will end: it must not wait for the next one that is foreseen."""
    residence = Residence(0.02, looks=1_000)
    residence.looked([Ended(5, 9.95, 10.05)])
    assert residence.next_look(UnderWay(2, 10.5, [(5, 10.5), (5, 2.0)]), 0) == pytest.approx(0.05 * 10.05)


def test_of_too_many_jobs_each_is_not_foreseen() -> None:
    """Then only their number and the oldest one's age are known."""
    residence = Residence(0.02, looks=10_000)
    residence.looked([Ended(5, 9.95, 10.05)])
    assert residence.next_look(some(5_000, 9.5), 0) == pytest.approx(0.02 * 10.05)


# A whole night.


@dataclass
class Night:
    """What looks cost and what they left empty."""

    late: list[float]  #: how long each job's end went unseen, in the order of the ends
    looks: list[float]  #: the time of each

    def lateness(self, first: int = 0) -> float:
        """Return how long an end went unseen on average, from the `first` one on."""
        return fmean(self.late[first:])


def a_night(lengths: Iterable[float], takes: Callable[[float, float], float], places: int = 100) -> Night:
    """Run jobs through so many places, each free again when a look shows its job's end.

    `takes` tells how long a job is at the service, by its recording's length and the time at which it comes.
    """
    residence, waiting, now, before = Residence(0.02), list(lengths)[::-1], 0.0, 0.0
    under_way: list[tuple[float, float, float]] = []  # length, begin, end
    night = Night([], [])
    while waiting or under_way:
        ended = sorted((job for job in under_way if job[2] <= now), key=lambda job: job[2])
        night.late += [now - end for _, _, end in ended]
        residence.looked([Ended(length, max(0.0, before - begin), now - begin) for length, begin, _ in ended])
        under_way = [job for job in under_way if job[2] > now]
        while waiting and len(under_way) < places:
            begin = now + 0.001 * len(under_way)
            under_way.append((waiting[-1], begin, begin + takes(waiting.pop(), begin)))
        night.looks.append(now)
        if under_way:
            each = [(length, now - begin) for length, begin, _ in under_way]
            before, now = now, now + residence.next_look(UnderWay(len(each), max(age for _, age in each), each), 0)
    return night


def test_jobs_that_all_take_the_same_are_seen_at_once_and_with_few_looks() -> None:
    """Once the first hundred have told how long that is."""
    night = a_night([30.0] * 1_000, lambda _length, _now: 30.0)
    assert night.lateness(200) <= 0.003 * 30
    assert len(night.looks) <= 0.3 * 1_000


def test_jobs_that_take_as_long_as_they_are_are_seen_at_once_and_with_few_looks() -> None:
    """A heavy tail, in no order."""
    chance = Random(5)
    lengths = [min(3600.0, 60 * chance.paretovariate(0.7)) for _ in range(1_000)]
    night = a_night(lengths, lambda length, _now: length / 10)
    mean = fmean(lengths) / 10
    assert night.lateness(200) <= 0.01 * mean
    assert len(night.looks) <= 0.8 * 1_000


def test_jobs_that_take_as_long_as_chance_will_are_seen_in_time() -> None:
    """Nothing can be foreseen, and there is no more than one look for each of them."""
    chance = Random(5)
    night = a_night([30.0] * 1_000, lambda _length, _now: chance.expovariate(1 / 30))
    assert night.lateness() <= 0.05 * 30
    assert len(night.looks) <= 1_000


@pytest.mark.parametrize("times", [0.2, 0.5, 2, 5])
def test_a_service_that_becomes_quicker_or_slower_is_followed(times: float) -> None:
    """What was learned holds no longer; a hundred jobs later it is forgotten. Until then no end goes unseen for a round."""
    night = a_night([30.0] * 2_000, lambda _length, now: 30.0 if now < 95 else 30.0 * times)
    assert max(night.late) <= 20
    assert night.lateness() <= 0.05 * 30
    assert night.lateness(1_200) <= 0.01 * 30 * max(1.0, times)
    assert len(night.looks) <= 0.5 * 2_000


def test_a_stuck_job_does_not_cost_the_foresight_of_others() -> None:
    """It is looked for now and then, and they are seen as soon as they end."""
    night = a_night([30.0] * 1_000, lambda _length, now: 3_000.0 if now < 0.0005 else 30.0)
    assert fmean(night.late[200:-1]) <= 0.003 * 30
    while_all = [look for look in night.looks if look < 300]
    assert len(while_all) <= 0.3 * 1_000
