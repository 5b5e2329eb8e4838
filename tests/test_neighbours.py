"""Batches that know nothing of each other at one account: none takes what the others need, none waits for ever."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from batcher.judgement import Judgement
from batcher.model import NOTHING, Limits, Load, RemoteObject, RemoteStatus, Survey
from batcher.options import Options
from batcher.policy import PAUSE_MS, SHARE_HELD_MS, Headroom
from batcher.reference import Reference
from batcher.residence import Ended, Residence
from batcher.shard import Shard
from batcher.sharing import DOOR_MS, PRESUMED_MS, Neighbours
from batcher.stages.context import Context, Plan
from batcher.stages.poll import SHUT_OUT_SECONDS, Outlook, Poll
from batcher.wakeup import Wakeup
from tests.simulation.runs import memory
from tests.simulation.virtual import run_virtually
from tests.test_sharing import LIMITS, PENDING, Machines

OURS, OTHER, THIRD = "8" * 16, "1" * 16, "f" * 16
NOW = 1_790_000_000_000
MINUTE = PRESUMED_MS + 1


def look(*, complete: bool = True, ended: str = "", strangers: int = 0, **pending: int) -> Survey:
    """Return a look that shows so many pending of each batch, one that has `ended`, and some of strangers."""
    batches = {"ours": OURS, "other": OTHER, "third": THIRD}
    names = [batches[name] for name, number in pending.items() for _ in range(number)]
    references = [str(Reference(batch, 1, 1, "a" * 12)) for batch in names] + ["theirs"] * strangers
    objects = [RemoteObject(str(number), reference, RemoteStatus.QUEUED) for number, reference in enumerate(references)]
    if ended:
        reference = str(Reference(batches[ended], 1, 1, "a" * 12))
        objects.append(RemoteObject("ended", reference, RemoteStatus.COMPLETED))
    return Survey(tuple(objects), complete=complete)


def room_beside(neighbours: Neighbours, limits: Load = LIMITS) -> int:
    """Return how many pending the others leave to us."""
    others = [other.held.pending for other in neighbours.others.values()]
    return limits.pending - neighbours.strangers.pending - sum(others) - neighbours.kept(limits).pending


def test_who_is_alone_keeps_nothing_free() -> None:
    """Neither where the account is empty, nor where it is full of our own, or of strangers'."""
    neighbours = Neighbours(OURS)
    for survey in (look(), look(ours=100), look(strangers=90)):
        neighbours.observe(survey, NOW, LIMITS)
        assert neighbours.kept(LIMITS) == NOTHING


def test_one_that_is_kept_small_grows_to_an_equal_part() -> None:
    """To each is left twice the most that it lately held; what it holds beyond its part it may keep until it ends."""
    neighbours, rooms = Neighbours(OURS), []
    for number, other in enumerate((1, 2, 4, 16, 32, 50, 60)):
        neighbours.observe(look(ours=100 - other, other=other), NOW + number, LIMITS)
        rooms.append(room_beside(neighbours))
    assert rooms == [98, 96, 92, 68, 50, 50, 40]


@pytest.mark.parametrize("limit", [2, 3, 7, 100])
def test_two_that_want_all_reckon_alike(limit: int) -> None:
    """Their parts together are the limit: no place stays free, and none is wanted by both."""
    limits, rooms = Load(limit, 2_000, 1_000, 10**10), []
    for batch, seen in ((OURS, look(other=limit)), (OTHER, look(ours=limit))):
        neighbours = Neighbours(batch)
        neighbours.observe(seen, NOW, limits)
        neighbours.observe(look(), NOW + 1, limits)
        rooms.append(room_beside(neighbours, limits))
    assert sum(rooms) == limit
    assert min(rooms) == limit // 2


def test_one_that_needs_little_leaves_the_rest() -> None:
    """What it has not used for a minute is ours; what it lately used is kept for it."""
    neighbours = Neighbours(OURS)
    neighbours.observe(look(other=40), NOW, LIMITS)
    neighbours.observe(look(other=3), NOW + PRESUMED_MS, LIMITS)
    assert room_beside(neighbours) == 50
    neighbours.observe(look(other=3), NOW + MINUTE, LIMITS)
    assert room_beside(neighbours) == 94


def test_one_that_is_done_is_left_nothing_after_a_minute() -> None:
    """It had every chance: places were free. What it has left at the service is no sign of work."""
    neighbours = Neighbours(OURS)
    neighbours.observe(look(other=50), NOW, LIMITS)
    neighbours.observe(look(ended="other"), NOW + PRESUMED_MS, LIMITS)
    assert neighbours.parts == 2
    neighbours.observe(look(ended="other"), NOW + MINUTE, LIMITS)
    assert neighbours.parts == 1
    assert neighbours.kept(LIMITS) == NOTHING


def test_one_that_finds_no_place_is_not_taken_for_done() -> None:
    """Its minute begins when a place becomes free."""
    neighbours = Neighbours(OURS)
    neighbours.observe(look(other=4), NOW, LIMITS)
    neighbours.observe(look(strangers=100), NOW + 10 * MINUTE, LIMITS)
    neighbours.observe(look(), NOW + 11 * MINUTE - 1, LIMITS)
    assert room_beside(neighbours) == 92
    neighbours.observe(look(), NOW + 11 * MINUTE, LIMITS)
    assert room_beside(neighbours) == 100


def test_a_look_that_may_have_missed_something_makes_nobody_smaller() -> None:
    """It shows what is there, and not what is not."""
    neighbours = Neighbours(OURS)
    neighbours.observe(look(other=20, strangers=10), NOW, LIMITS)
    neighbours.observe(look(other=5, complete=False), NOW + 1, LIMITS)
    assert (neighbours.others[OTHER].held.pending, neighbours.strangers.pending) == (20, 10)
    assert room_beside(neighbours) == 50


def test_with_fewer_places_than_batches_they_take_turns() -> None:
    """Whoever had the last place leaves the next one to the other, unless that has let a minute pass."""
    one = Load(1, 5, 5, 10**10)
    neighbours = Neighbours(OURS)
    neighbours.observe(look(other=1), NOW, one)
    neighbours.observe(look(), NOW + 2, one)
    assert neighbours.kept(one) == NOTHING, "we have not had any yet"
    neighbours.observe(look(ours=1), NOW + 4, one, accepted=NOW + 3)
    neighbours.observe(look(), NOW + 6, one, accepted=NOW + 3)
    assert neighbours.kept(one).pending == 1, "now it is the other's turn"
    neighbours.observe(look(ended="other"), NOW + 8, one, accepted=NOW + 3)
    assert neighbours.kept(one) == NOTHING, "it has had it, and it has ended"
    neighbours.observe(look(ours=1), NOW + 10, one, accepted=NOW + 9)
    neighbours.observe(look(), NOW + 10 + MINUTE, one, accepted=NOW + 9)
    assert neighbours.parts == 1, "it does not want any more"


def test_where_there_are_few_places_a_free_one_is_left_for_a_moment_now_and_then() -> None:
    """Whoever has none is not seen; and who has sees first that one became free."""
    one = Load(1, 5, 5, 10**10)
    neighbours, kept = Neighbours(OURS), []
    for survey, passed in (
        (look(), 0),
        (look(ours=1), 1),
        (look(), DOOR_MS - 1),
        (look(), DOOR_MS + 1),
        (look(ours=1), MINUTE + DOOR_MS),
        (look(), MINUTE + DOOR_MS + 1),
        (look(), MINUTE + 2 * DOOR_MS),
        (look(), MINUTE + 2 * DOOR_MS + 1),
    ):
        neighbours.observe(survey, NOW + passed, one)
        kept.append(neighbours.kept(one).pending)
    assert kept == [0, 0, 0, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("places", [4, 100])
def test_where_there_are_more_places_none_is_left_free_for_who_may_come(places: int) -> None:
    """So many become free that it finds one."""
    neighbours, limits = Neighbours(OURS), Load(places, 2_000, 1_000, 10**10)
    for minutes in range(5):
        neighbours.observe(look(), NOW + 2 * minutes * MINUTE, limits)
        assert neighbours.kept(limits) == NOTHING


@pytest.mark.parametrize("thing", ["pending", "stored"])
def test_an_account_is_full_by_whatever_is_used_up(thing: str) -> None:
    """Who finds no place cannot show what it needs, and is not taken for done."""
    limits = replace(Load(100, 2_000, 1_000, 10**10), **{thing: 5})
    neighbours = Neighbours(OURS)
    neighbours.observe(look(other=5), NOW, limits)
    neighbours.observe(look(ours=5), NOW + 10 * MINUTE, limits)
    assert neighbours.parts == 2


# What it means for our room.


def headroom_beside(*surveys: Survey, limits: Limits | None = None) -> Headroom:
    """Return what is known after such looks."""
    headroom = Headroom(limits or Limits(), neighbours=Neighbours(OURS))
    for survey in surveys:
        observe(headroom, survey, NOW)
    return headroom


def observe(headroom: Headroom, survey: Survey, now: int) -> None:
    """Have a look taken note of as a poll does."""
    assert headroom.neighbours is not None
    headroom.neighbours.observe(survey, now, headroom.limits.load())
    foreign, pending = NOTHING, len(survey.objects)
    for each in survey.objects:
        if OURS not in each.reference:
            foreign = foreign.plus(each.load)
    headroom.observe(Judgement(pending=pending, foreign=foreign), now)


def test_other_batches_are_left_their_part_and_no_reserve_for_their_growth() -> None:
    """Two that reserve for each other's growth would take turns at leaving everything to the other."""
    assert headroom_beside(look(), look(other=60)).room(NOW).pending == 40
    assert headroom_beside(look(), look(other=10)).room(NOW).pending == 80
    assert headroom_beside(look(), look(strangers=10)).room(NOW).pending == 70


def test_a_refusal_that_a_newcomer_explains_costs_no_more_than_its_part() -> None:
    """That the account held little a moment later is no sign that it has room for little."""
    headroom = headroom_beside(look(ours=20))
    headroom.refused(NOW)
    later = NOW + 2 * PAUSE_MS
    observe(headroom, look(ours=1, other=1), later)
    assert headroom.room(later).pending == 50
    headroom.refused(later + MINUTE)
    later += MINUTE + 2 * PAUSE_MS
    observe(headroom, look(ours=1, other=1), later)
    assert headroom.room(later).pending == 2, "this one is about something else"


def test_when_the_others_are_done_all_is_ours_again_at_once() -> None:
    """What refusals have taught about them is of no use any more."""
    headroom = headroom_beside(look(ours=50, other=50))
    for step in range(5):
        headroom.refused(NOW + step * MINUTE)
    after = NOW + 5 * MINUTE
    observe(headroom, look(), after)
    observe(headroom, look(), after + MINUTE)
    assert headroom.room(after + MINUTE).pending == 100
    assert headroom.share_held == SHARE_HELD_MS


# When to look.


@pytest.mark.parametrize(
    ("oldest", "unsent", "others", "seconds"),
    [(None, True, 100, SHUT_OUT_SECONDS), (None, True, 99, 20), (None, False, 100, 20), (NOW, True, 100, 20)],
    ids=["shut out", "there is room", "nothing to send", "something is under way"],
)
def test_who_holds_nothing_and_finds_no_room_looks_often(
    oldest: int | None, unsent: bool, others: int, seconds: float
) -> None:
    """Who looks twenty times as often would take every place that becomes free. And only a whole look shows it."""
    residence = Residence(0.05)
    residence.looked([Ended(60, 900, 1_000)])
    headroom, clock = headroom_beside(look(strangers=others)), SimpleNamespace(now=lambda: NOW)
    known = {"headroom": headroom, "clock": clock, "residence": residence, "plan": Plan(Options())}
    context = SimpleNamespace(survey_wanted=False, reach=True, lingering=False, **known)

    async def waits() -> tuple[float, bool]:
        poll = Poll(cast("Context", context))
        poll._outlook = Outlook(oldest, 0, [], None, 1, unsent, collecting=False, unsettled=False, loose=0)
        poll._looked = poll._looked_thoroughly = 0.0
        return poll._until_due(poll._outlook), poll._must_be_thorough()

    assert anyio.run(waits) == (seconds, seconds == SHUT_OUT_SECONDS)


def test_no_wait_is_so_short_that_a_clock_does_not_notice() -> None:
    """Ages are whole milliseconds: a millionth would be left, and waited for, until one is over."""
    asked = 0

    async def waits() -> None:
        bells, service = SimpleNamespace(poll=Wakeup()), SimpleNamespace(poll_seconds=0.02)
        poll = Poll(cast("Context", SimpleNamespace(plan=Plan(Options()), bells=bells, service=service)))
        poll._looked = anyio.current_time()

        async def pause() -> float:
            nonlocal asked
            asked += 1
            assert asked < 10
            return anyio.current_time() - poll._looked + (1.0 if asked == 1 else 1e-6)

        poll._pause = pause  # type: ignore[method-assign]
        await poll._wait()

    assert run_virtually(waits)[1] == pytest.approx(1)
    assert asked == 2


# Whole batches.


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the tables, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


def test_one_that_comes_to_a_full_account_has_its_part_within_seconds(folder: Path) -> None:
    """Nobody need leave a place open for it: one becomes free, and then it is seen."""
    machines = Machines(folder, 900, apart=True)
    machines.run(0, 60)
    tally = machines.account.tally
    assert tally.accepted.total() == 900
    assert tally.pending_peak <= PENDING
    assert tally.quota_refusals <= 9
    first, second = machines.ended
    assert machines.busy(6, 60) >= 0.88, "alone it had all"
    assert machines.busy(70, first - 6) >= 0.85
    assert second - 60 < 1.35 * first, "half of the account is enough to be done in this time"


def test_the_one_that_is_left_has_all_of_it_after_a_minute(folder: Path) -> None:
    """The other one might only have had nothing to send just then."""
    machines = Machines(folder, 1_200, apart=True)
    for path in [path for path in machines.world.files if Shard(1, 2).holds(path.removeprefix(b"/in/"))][30:]:
        del machines.world.files[path]
    machines.run(0, 0)
    first, last = machines.ended
    assert machines.account.tally.pending_peak <= PENDING
    assert machines.busy(first + 66, last - 6) >= 0.85


@pytest.mark.parametrize(
    ("api", "poll_seconds", "begins"), [("grpc", 0.05, (6.3, 7.1, 8.4)), ("rest", 3.0, (5.0,))], ids=["grpc", "rest"]
)
def test_one_that_comes_to_an_account_with_one_place_has_its_turns(
    folder: Path, api: str, poll_seconds: float, begins: tuple[float, ...]
) -> None:
    """Its looks need not meet the moments between two jobs of the other one, which is there first. By chance few do."""
    shares = []
    for begin in begins:
        machines = Machines(Path(tempfile.mkdtemp(dir=folder)), 40, api, poll_seconds, apart=True, pending=1)
        machines.run(0, begin)
        assert machines.account.tally.pending_peak == 1
        first, last = machines.ended
        shares.append(first / last)
    assert median(shares) >= 0.58, "the first was not nearly done when the second began"
