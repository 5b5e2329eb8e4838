"""The pace of requests: never too many in any minute, fewer after a refusal, and the urgent ones first."""

from collections.abc import Iterable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.service.rest_budget import (
    LEAST_PER_MINUTE,
    PAUSE_SECONDS,
    RECOVERY_SECONDS,
    Bucket,
    Budget,
    Pace,
    Urgency,
)


def run(pace: Pace, start: float, seconds: float) -> list[float]:
    """Return when requests go if there are always more."""
    now, sent = start, []
    while now < start + seconds:
        wait = pace.wait(now)
        now += wait
        if not wait:
            pace.take(now)
            sent.append(now)
            assert len(sent) < 100_000
    return sent


def busiest_minute(sent: Iterable[float]) -> int:
    """Return the largest number of requests in any minute."""
    times = list(sent)
    return max(sum(start <= time < start + 60 for time in times) for start in times)


@pytest.mark.parametrize("per_minute", [6, 20, 200, 500])
def test_no_minute_holds_more_than_allowed(per_minute: int) -> None:
    """Wherever it begins; and all but a fiftieth of what is allowed is used."""
    sent = run(Pace(per_minute), 1_000_000.5, 600)
    assert busiest_minute(sent) <= per_minute
    assert len(sent) >= 0.98 * 10 * per_minute


def test_a_little_goes_at_once() -> None:
    """A pause is made up for, by half of a minute's requests at most."""
    pace = Pace(200)
    assert len(run(pace, 0, 0.01)) == 100
    pace.wait(3600)
    assert len(run(pace, 3600, 0.01)) == 100


def test_without_a_limit_nothing_waits() -> None:
    """0 is what only refusals teach."""
    pace = Pace(0)
    for _ in range(1000):
        assert pace.wait(5) == 0
        pace.take(5)


@pytest.mark.parametrize(
    ("per_minute", "a_second", "half"), [(600, 10, 300), (600, 2, 100), (0, 10, 300), (0, 1, 100), (200, 0, 100)]
)
def test_a_refusal_halves_the_pace(per_minute: int, a_second: int, half: int) -> None:
    """What is allowed, or what was sent; few requests are no measure of what the service allows."""
    pace = Pace(per_minute)
    for second in range(60):
        for _ in range(a_second):
            pace.take(second)
    pace.refused(60)
    assert pace.wait(60) == PAUSE_SECONDS
    after = run(pace, 60, 70)
    assert after[0] == 60 + PAUSE_SECONDS
    assert 0.8 * half <= busiest_minute(after) <= 1.2 * half  # a little has come back


def test_one_refusal_among_the_first_requests_costs_minutes_and_no_night() -> None:
    """Other clients of the organisation had used this minute up."""
    pace = Pace(200)
    pace.take(0)
    pace.refused(1)
    assert len(run(pace, 1, 600)) >= 0.75 * 10 * 200


def test_a_refusal_for_what_may_be_the_pace_only_pauses() -> None:
    """Its text is not known, and it may be about room."""
    pace = Pace(200)
    pace.pause(0)
    after = run(pace, 0, 70)
    assert after[0] == PAUSE_SECONDS
    assert len(after) >= 190


def test_refusals_of_one_moment_are_one() -> None:
    """Sixteen requests that were on the way do not stop everything."""
    once, often = Pace(200), Pace(200)
    for pace in (once, often):
        run(pace, 0, 60)
    once.refused(60)
    for _ in range(16):
        often.refused(60.5)
    assert len(run(once, 60, 120)) == pytest.approx(len(run(often, 60, 120)), abs=2)


def test_a_wait_that_the_service_asks_for_is_kept() -> None:
    """Up to a minute; an hour would be a mistake of somebody's."""
    pace = Pace(200)
    pace.refused(0, 30)
    assert pace.wait(0) == 30
    other = Pace(200)
    other.refused(0, 3600)
    assert other.wait(0) == 60


def test_the_pace_comes_back_slowly() -> None:
    """Doubling in five minutes, up to what the settings allow and no further."""
    pace = Pace(200)
    run(pace, 0, 60)
    pace.refused(60)
    slow = run(pace, 60, 60)
    fast = run(pace, 60 + 2 * RECOVERY_SECONDS, 60)
    assert len(slow) < 110 < len(fast)
    assert busiest_minute(run(pace, 10_000, 300)) <= 200


def test_it_never_stands_still() -> None:
    """However often the service refuses."""
    pace = Pace(200)
    for minute in range(100):
        pace.refused(minute * 20.0)
    now = 2000.0 + 60
    assert len(run(pace, now, 600)) >= 10 * LEAST_PER_MINUTE / 2


@given(
    st.lists(st.tuples(st.sampled_from(["take", "refused", "rest"]), st.floats(0, 100)), max_size=60),
    st.sampled_from([0, 6, 200]),
)
def test_waiting_as_long_as_it_says_is_enough(steps: list[tuple[str, float]], per_minute: int) -> None:
    """Whatever happened before: no caller waits twice, and none forever."""
    pace, now = Pace(per_minute), 1e6
    for what, seconds in steps:
        now += seconds if what == "rest" else 0
        if what == "refused":
            pace.refused(now)
        wait = pace.wait(now)
        assert 0 <= wait <= 75
        now += wait
        assert pace.wait(now) == 0
        if what == "take":
            pace.take(now)


@pytest.mark.anyio
async def test_the_urgent_go_first_and_the_others_in_order() -> None:
    """Deletes free quota and are starved by nothing; the others, surveys too, starve nobody."""
    budget, order = Budget(0), list[str]()
    bucket = Bucket.FILES
    budget.refused(bucket, 1)
    pace = budget._lines[bucket].pace

    async def ask(name: str, urgency: Urgency) -> None:
        await budget.turn(bucket, urgency)
        order.append(name)

    async with anyio.create_task_group() as tasks:
        for name, urgency in (
            ("upload 1", Urgency.UPLOAD),
            ("upload 2", Urgency.UPLOAD),
            ("fetch", Urgency.FETCH),
            ("survey", Urgency.SURVEY),
            ("delete 1", Urgency.DELETE),
            ("delete 2", Urgency.DELETE),
        ):
            tasks.start_soon(ask, name, urgency)
        await anyio.wait_all_tasks_blocked()
        assert (order, budget.waiting(bucket)) == ([], 6)
        pace._quiet_until, pace._limit = 0, float("inf")
        budget._lines[bucket]._moved.set()
    assert order == ["delete 1", "delete 2", "upload 1", "upload 2", "fetch", "survey"]


@pytest.mark.anyio
async def test_everybody_has_a_turn() -> None:
    """Who is not the first waits for the first, not for the clock."""
    budget = Budget(1200)
    gone: list[int] = []

    async def ask(number: int) -> None:
        await budget.turn(Bucket.FILES, Urgency.UPLOAD)
        gone.append(number)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for number in range(130):
                tasks.start_soon(ask, number)
    assert gone == list(range(130))


@pytest.mark.anyio
async def test_who_gives_up_waiting_is_not_waited_for() -> None:
    """A cancelled caller leaves the line, also from its head."""
    budget = Budget(0)
    budget.refused(Bucket.FILES, 60)
    pace = budget._lines[Bucket.FILES].pace
    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(0.01):
            await budget.turn(Bucket.FILES, Urgency.DELETE)
        tasks.start_soon(budget.turn, Bucket.FILES, Urgency.UPLOAD)
        await anyio.wait_all_tasks_blocked()
        assert budget.waiting(Bucket.FILES) == 1
        pace._quiet_until, pace._limit = 0, float("inf")
        budget._lines[Bucket.FILES]._moved.set()
    assert budget.waiting(Bucket.FILES) == 0


@pytest.mark.anyio
async def test_the_two_buckets_do_not_wait_for_each_other() -> None:
    """The service counts them apart."""
    budget = Budget(0)
    budget.refused(Bucket.FILES, 60)
    with anyio.fail_after(5):
        await budget.turn(Bucket.TRANSCRIPTIONS, Urgency.UPLOAD)
