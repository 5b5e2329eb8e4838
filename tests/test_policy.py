"""Decisions as pure functions: waiting, what a failure means, how much room there is, when to look."""

from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import Kind
from batcher.judgement import Finding, Judgement
from batcher.model import NO_LIMIT, NOTHING, Job, Limits, Load, Remedy
from batcher.policy import (
    BACKOFF_CAP_MS,
    BACKOFF_FIRST_MS,
    IDENTICAL_REFUSALS,
    LOOK_LATE_MS,
    PAUSE_MS,
    REFUSALS_COUNT_ONCE_MS,
    SHARE_HELD_LONGEST_MS,
    SHARE_HELD_MS,
    SHARE_RECOVERS_MS,
    SMALLEST_SHARE,
    SURVEY_FRESH_LONGEST_MS,
    SURVEY_FRESH_MS,
    Headroom,
    Refusals,
    backoff_ms,
    second_chance,
    submission_failed,
)
from batcher.shard import Shard
from batcher.sharing import Company
from batcher.states import Event, State, accepts
from tests.test_judgement import a_job

NOW = 1_790_000_000_000


class _Fixed(Random):
    """Chance that always falls the same way."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    def random(self) -> float:
        """Return the value."""
        return self._value


# Waiting.


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_the_back_off_is_half_certain_half_chance(failures: int, chance: float) -> None:
    """Never less than half of its ceiling, never more than all of it, and never more than the cap."""
    ceiling = backoff_ms(failures, _Fixed(1))
    wait = backoff_ms(failures, _Fixed(chance))
    assert ceiling // 2 <= wait <= ceiling <= BACKOFF_CAP_MS
    assert wait >= BACKOFF_FIRST_MS // 2


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_more_failures_never_mean_a_shorter_wait(failures: int, chance: float) -> None:
    """The ceiling doubles until it reaches the cap."""
    once, more = backoff_ms(failures, _Fixed(chance)), backoff_ms(failures + 1, _Fixed(chance))
    assert more >= once
    assert backoff_ms(failures + 1, _Fixed(1)) == min(BACKOFF_CAP_MS, 2 * backoff_ms(failures, _Fixed(1)))


# What a failed submission means.


@given(kind=st.sampled_from(Kind), sealed=st.booleans())
def test_every_failure_has_a_legal_meaning(kind: Kind, sealed: bool) -> None:
    """Whatever the service says, the job has a way on from where it is."""
    assert accepts(State.SEALED if sealed else State.UPLOADING, submission_failed(kind, sealed))


@pytest.mark.parametrize("kind", Kind)
def test_before_the_seal_nothing_is_uncertain(kind: Kind) -> None:
    """Nothing can have been accepted: the job waits, or is refused for good."""
    expected = {Kind.HOPELESS: Event.REJECTED, Kind.FULL: Event.REFUSED, Kind.RATE: Event.REFUSED}
    assert submission_failed(kind, sealed=False) is expected.get(kind, Event.POSTPONED)


@pytest.mark.parametrize("kind", Kind)
def test_after_the_seal_only_an_explicit_refusal_is_certain(kind: Kind) -> None:
    """Everything else has to be looked up before anything is sent again."""
    refused = dict.fromkeys((Kind.FULL, Kind.RATE, Kind.STOP), Event.REFUSED)
    expected = {Kind.HOPELESS: Event.REJECTED} | refused
    assert submission_failed(kind, sealed=True) is expected.get(kind, Event.ANSWER_LOST)


def test_as_many_identical_refusals_stop_the_batch() -> None:
    """Not one less, and reasons are counted apart."""
    refusals = Refusals()
    assert not any(refusals.refused("wrong model") for _ in range(IDENTICAL_REFUSALS - 1))
    assert not refusals.refused("bad audio")
    assert refusals.refused("wrong model")


def test_after_one_success_refusals_are_the_recordings_own() -> None:
    """The settings work, so nothing is stopped any more."""
    refusals = Refusals()
    refusals.success()
    assert not any(refusals.refused("wrong model") for _ in range(5 * IDENTICAL_REFUSALS))


# Room.


def seen(pending: int, stored: int | None = None) -> Judgement:
    """Return a judgement that found so many foreign objects."""
    return Judgement(foreign=Load(pending, pending if stored is None else stored))


def test_nothing_known_is_no_room() -> None:
    """A failed headroom check is no headroom."""
    assert Headroom(Limits()).room(NOW) == NOTHING


def test_a_stale_listing_is_no_room() -> None:
    """What was true half a minute ago says nothing."""
    headroom = Headroom(Limits())
    headroom.observe(seen(0), NOW)
    assert headroom.room(NOW + SURVEY_FRESH_MS) == Load(100, 2000, NO_LIMIT, NO_LIMIT)
    assert headroom.room(NOW + SURVEY_FRESH_MS + 1) == NOTHING


def test_a_listing_that_took_long_may_be_older() -> None:
    """At a slow pace of requests no listing would ever be young enough."""
    headroom = Headroom(Limits())
    headroom.observe(seen(0), NOW, took=100_000)
    assert headroom.room(NOW + 200_000).pending == 100
    assert headroom.room(NOW + 200_001) == NOTHING


def test_a_listing_stays_young_until_politeness_allows_the_next() -> None:
    """Of 16 shards each looks every 50 s: nothing would be sent for the rest of the time."""
    headroom = Headroom(Limits(), looks_apart_ms=50_000)
    headroom.observe(seen(0), NOW, took=1_000)
    assert headroom.room(NOW + 51_000 + LOOK_LATE_MS).pending == 100
    assert headroom.room(NOW + 51_001 + LOOK_LATE_MS) == NOTHING


def test_a_list_in_whose_middle_the_machine_slept_is_not_gone_by_for_hours() -> None:
    """It took eight hours by the clock; others went on meanwhile."""
    headroom = Headroom(Limits(100, 2000))
    headroom.observe(seen(0), NOW, took=8 * 3_600_000)
    assert headroom.room(NOW + SURVEY_FRESH_LONGEST_MS).pending == 100
    assert headroom.room(NOW + SURVEY_FRESH_LONGEST_MS + 1) == NOTHING


@given(
    pending=st.integers(1, 500), stored=st.integers(1, 5000),
    others=st.integers(0, 600), held=st.integers(0, 6000),
)  # fmt: skip
def test_what_others_hold_is_taken_off(pending: int, stored: int, others: int, held: int) -> None:
    """Ours and theirs together never exceed either limit."""
    headroom = Headroom(Limits(pending, stored))
    headroom.observe(seen(others, held), NOW)
    assert headroom.room(NOW) == Load(pending - others, stored - held, NO_LIMIT, NO_LIMIT)


@given(growths=st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_the_reserve_follows_how_fast_others_grow(growths: list[int]) -> None:
    """Twice their largest recent growth is left free for them; the first listing is no growth."""
    headroom = Headroom(Limits(1000, 10_000))
    total = 50
    headroom.observe(seen(total), NOW)
    assert headroom.room(NOW).pending == 1000 - total
    for growth in growths:
        total += growth
        headroom.observe(seen(total), NOW)
    assert headroom.room(NOW).pending <= 1000 - total - 2 * growths[-1]
    assert headroom.room(NOW).pending >= 1000 - total - 2 * max(growths)
    assert headroom.room(NOW).stored == 10_000 - total - (1000 - total - headroom.room(NOW).pending)


@given(step=st.sampled_from([Load(1, 0, 0, 0), Load(0, 1, 0, 0), Load(0, 0, 1, 0), Load(0, 0, 0, 9)]))
def test_each_thing_has_a_reserve_of_its_own(step: Load) -> None:
    """Others who store a large file leave no fewer places for pending ones."""
    limits = Limits(100, 100, 100, 100)
    headroom = Headroom(limits)
    headroom.observe(Judgement(), NOW)
    headroom.observe(Judgement(foreign=step), NOW)
    assert headroom.room(NOW) == limits.load().minus(step).minus(step).minus(step)


def test_an_incomplete_listing_is_no_start() -> None:
    """What it does not show may be there."""
    headroom = Headroom(Limits())
    headroom.observe(seen(3), NOW, complete=False)
    assert headroom.room(NOW) == NOTHING


def test_an_incomplete_listing_raises_what_others_hold_and_never_lowers_it() -> None:
    """It shows what is there, not what is not; and it is young enough to decide on."""
    headroom = Headroom(Limits())
    headroom.observe(seen(10), NOW)
    later = NOW + SURVEY_FRESH_MS + 1
    headroom.observe(seen(4, 30), later, complete=False)
    room = headroom.room(later)
    assert (room.pending, room.stored) == (90, 1970)
    headroom.observe(seen(4, 4), later)
    assert (headroom.room(later).pending, headroom.room(later).stored) == (96, 1996)


def test_whatever_is_learned_makes_reckoned_room_old() -> None:
    """A claim that waits for its turn to write must not fill it; while a listing is applied nothing is claimed."""
    headroom = Headroom(Limits())
    versions = [headroom.version]
    headroom.doubt(NOW)
    versions.append(headroom.version)
    headroom.judge()
    versions.append(headroom.version)
    assert headroom.judging
    headroom.observe(seen(0), NOW)
    versions.append(headroom.version)
    assert sorted(set(versions)) == versions
    assert not headroom.judging


def test_what_refusals_teach_binds_a_shard_too() -> None:
    """Its part shrinks with the share: of half of the account each of four shards takes an eighth."""
    headroom = Headroom(Limits(), Company(Shard(1, 4), "8" * 16, NOW))
    headroom.observe(seen(0), NOW)
    assert headroom.room(NOW).pending == 25
    headroom.refused(NOW, "full")
    later = NOW + 2 * PAUSE_MS
    headroom.observe(Judgement(pending=80), later)
    assert headroom.room(later) == Load(13, 500, NO_LIMIT // 4, NO_LIMIT // 4)
    headroom.observe(seen(95), later)
    assert headroom.room(later).pending == 5


def test_doubt_means_looking_again_first() -> None:
    """An upload that failed may take room; a list that was under way, or that shows only half, does not tell."""
    headroom = Headroom(Limits())
    headroom.observe(seen(0), NOW)
    headroom.doubt(NOW + 5)
    assert headroom.room(NOW + 5) == NOTHING
    headroom.observe(seen(0), NOW + 4)
    assert headroom.room(NOW + 6) == NOTHING
    headroom.observe(seen(0), NOW + 5, complete=False)
    assert headroom.room(NOW + 6) == NOTHING
    headroom.observe(seen(0), NOW + 5)
    assert headroom.room(NOW + 6).pending == 100


@pytest.mark.parametrize("swing", [1, 2, 5, 9])
@pytest.mark.parametrize("up", [1, 2, 7])
@pytest.mark.parametrize("down", [1, 3, 8, 12, 13, 20, 50])
def test_whoever_only_comes_and_goes_never_keeps_the_last_place(swing: int, up: int, down: int) -> None:
    """One place is always free; however the looks fall, it is ours now and then, and not only once."""
    headroom = Headroom(Limits(10, 2_000))
    rooms = []
    for look in range(1_000):
        others = 9 if look % (up + down) < up else 9 - swing
        headroom.observe(seen(others), NOW)
        rooms.append(headroom.room(NOW).pending > 0)
    assert any(rooms[-(up + down) :])


def test_whoever_fills_the_account_at_once_leaves_its_last_place_within_a_few_looks() -> None:
    """A reserve for another hundred would take an hour to fade, and there is no room for them."""
    headroom = Headroom(Limits())
    headroom.observe(seen(0), NOW)
    for look in range(1, 16):
        headroom.observe(seen(98), NOW + look)
    assert headroom.room(NOW + 15).pending == 2


def test_the_reserve_fades_to_nothing() -> None:
    """Others who stopped growing are not given way to for ever, and those who shrink need no reserve."""
    headroom = Headroom(Limits())
    headroom.observe(seen(0), NOW)
    headroom.observe(seen(20), NOW)
    rooms = []
    for _ in range(60):
        headroom.observe(seen(20), NOW)
        rooms.append(headroom.room(NOW).pending)
    assert rooms == sorted(rooms)
    assert rooms[0] < 80
    assert rooms[-1] == 80
    headroom.observe(seen(0), NOW)
    assert headroom.room(NOW).pending == 100


def full(pending: int) -> Judgement:
    """Return what a listing tells that shows so many pending objects, all ours."""
    return Judgement(pending=pending)


def test_a_refusal_halves_our_share_once_for_its_moment() -> None:
    """Sixteen workers refused together are one refusal; the next one counts ten seconds later."""
    headroom = Headroom(Limits())
    for step in range(16):
        headroom.refused(NOW + step)
    headroom.observe(full(100), NOW + PAUSE_MS + 16)
    assert headroom.room(NOW + PAUSE_MS + 16).pending == 50
    headroom.refused(NOW + REFUSALS_COUNT_ONCE_MS)
    headroom.observe(full(100), NOW + REFUSALS_COUNT_ONCE_MS + PAUSE_MS)
    assert headroom.room(NOW + REFUSALS_COUNT_ONCE_MS + PAUSE_MS).pending == 50
    later = NOW + 2 * REFUSALS_COUNT_ONCE_MS
    headroom.refused(later)
    headroom.observe(full(100), later + PAUSE_MS)
    assert headroom.room(later + PAUSE_MS).pending == 25


def test_a_refusal_teaches_how_much_the_account_holds() -> None:
    """An account that shows six pending objects when it refuses has room for about six."""
    headroom = Headroom(Limits())
    headroom.refused(NOW)
    headroom.observe(full(6), NOW + 100)
    assert headroom.room(NOW + PAUSE_MS).pending <= 7
    headroom.observe(full(0), NOW + PAUSE_MS)
    assert headroom.room(NOW + PAUSE_MS).pending >= 6, "only the first listing after a refusal teaches"


def test_half_of_what_has_ended_since_was_pending_when_it_was_refused() -> None:
    """Short jobs are over when the next listing comes, and would be sent one by one for it from then on."""
    headroom = Headroom(Limits())
    headroom.refused(NOW)
    ended = [
        Finding(a_job(State.SUBMITTED), event) for event in (Event.COMPLETED, Event.COMPLETED, Event.SERVICE_FAILED)
    ]
    gone = [Finding(a_job(State.COMPLETED), Event.SERVICE_FAILED), Finding(a_job(State.UNCERTAIN), Event.ABSENT)]
    headroom.observe(Judgement(pending=2, findings=ended + gone), NOW + 100)
    assert headroom.room(NOW + PAUSE_MS).pending == 3


def test_nothing_is_claimed_in_the_moment_after_a_refusal() -> None:
    """What was refused now would be refused again."""
    headroom = Headroom(Limits())
    headroom.refused(NOW)
    headroom.observe(full(6), NOW + 100)
    assert headroom.paused(NOW + PAUSE_MS - 1)
    assert headroom.room(NOW + PAUSE_MS - 1) == NOTHING
    assert not headroom.paused(NOW + PAUSE_MS)


def test_after_a_refusal_nothing_is_claimed_before_a_new_listing() -> None:
    """The one before it was wrong."""
    headroom = Headroom(Limits())
    headroom.observe(seen(0), NOW)
    headroom.refused(NOW)
    later = NOW + 2 * PAUSE_MS
    assert not headroom.paused(later)
    assert headroom.room(NOW) == headroom.room(later) == NOTHING
    headroom.observe(seen(0), later)
    assert headroom.room(later).pending


@given(refusals=st.integers(1, 60))
def test_our_share_is_held_and_then_recovers_within_ten_minutes(refusals: int) -> None:
    """However often we were refused, some share is left, and after a while all of it is ours again."""
    headroom = Headroom(Limits())
    now = NOW
    for _ in range(refusals):
        now += REFUSALS_COUNT_ONCE_MS + 1
        headroom.refused(now)
    headroom.observe(full(100), now)
    assert headroom.room(now + PAUSE_MS).pending >= ceil(100 * SMALLEST_SHARE)
    held = now + headroom.share_held
    cut = headroom.share
    headroom.observe(full(0), held)
    assert headroom.room(held).pending == ceil(100 * cut), "held as long as it says"
    headroom.observe(full(0), held + SHARE_RECOVERS_MS)
    assert headroom.room(held + SHARE_RECOVERS_MS).pending == 100


def test_a_share_that_proves_too_much_again_and_again_is_held_longer_each_time() -> None:
    """What lists never show (other projects of the organisation) is not asked for over and over."""
    headroom = Headroom(Limits())
    held, now = [], NOW
    for _ in range(8):
        now += REFUSALS_COUNT_ONCE_MS + 1
        headroom.refused(now)
        held.append(headroom.share_held)
    assert held[0] == SHARE_HELD_MS
    assert held == sorted(held)
    assert held[-1] == SHARE_HELD_LONGEST_MS
    now += SHARE_HELD_LONGEST_MS + SHARE_RECOVERS_MS
    headroom.refused(now)
    assert headroom.share_held == SHARE_HELD_MS, "once recovered, a refusal is a first one again"


@given(pending=st.integers(1, 300), refusals=st.integers(1, 30))
def test_some_room_is_always_left_to_try(pending: int, refusals: int) -> None:
    """Even with a limit of one, the share never shuts us out."""
    headroom = Headroom(Limits(pending, 2000))
    now = NOW
    for _ in range(refusals):
        now += REFUSALS_COUNT_ONCE_MS + 1
        headroom.refused(now)
    headroom.observe(full(0), now)
    assert 1 <= headroom.room(now + PAUSE_MS).pending <= pending


# Once more.


def failing(**changes: object) -> Job:
    """Return a job that the service failed."""
    return a_job(State.FAILING, **changes)


@pytest.mark.parametrize(
    ("job", "may_convert", "chance"),
    [
        (failing(), True, None),
        (failing(remedy=Remedy.AGAIN), True, {"forgiven": 1}),
        (failing(remedy=Remedy.AGAIN, forgiven=1), True, None),
        (failing(remedy=Remedy.CONVERT), True, {"convert": 1}),
        (failing(remedy=Remedy.CONVERT, forgiven=1), True, {"convert": 1}),
        (failing(remedy=Remedy.CONVERT), False, None),
        (failing(remedy=Remedy.CONVERT, convert=True), True, None),
        (failing(remedy=Remedy.CONVERT, path=b"https://x.example/a.m4a"), True, None),
        (failing(remedy=Remedy.STOP, forgiven=1), True, {}),
        (a_job(State.CANCELLING, remedy=Remedy.AGAIN), True, None),
    ],
)
def test_what_the_service_failed_is_sent_once_more_only_for_a_reason(
    job: Job, may_convert: bool, chance: dict[str, object] | None
) -> None:
    """It may be billed again, so each reason counts once; what failed for the account's sake was not transcribed."""
    assert second_chance(job, may_convert=may_convert) == chance
