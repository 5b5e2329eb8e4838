"""Nights in virtual time: whatever goes wrong, every recording is transcribed once and nothing stays behind."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import structlog

from batcher.model import Limits, Load
from batcher.store import claim
from batcher.store.table import Ledger
from tests.simulation.life import STOP
from tests.simulation.night import Night
from tests.simulation.runs import Count, count, live, report, silence
from tests.simulation.shrink import shrink
from tests.simulation.story import KINDS, LATER_KINDS, Story, random_story

SEEDS = range(40)
SHARED_SEEDS = range(100, 106)
RARE_SEEDS = range(200, 208)

#: Nights that once violated something, each as small as it was made.
REGRESSIONS = [
    Story(55, 38, Limits(100, 100), ("slow", "bursts", "backwards", "files", "suspend"), ends=1, settle_s=120),
    Story(2057, 8, Limits(8, 40), ("files",), ends=5, api="rest", settle_s=300),
    Story(30173, 15, Limits(8, 16, 16, 10_000_000), ("bursts", "failures"), api="rest", settle_s=900),
    Story(1143, 20, Limits(8, 16), ("lists", "failures"), ends=2, settle_s=120),
    Story(20633, 41, Limits(8, 16, 16), ("lists", "failures"), api="rest", settle_s=300, second=6),
    Story(
        50814,
        12,
        Limits(8, 40),
        ("slow", "lists", "quota", "siblings", "retention", "budget", "files", "failures", "clock", "requests"),
        ends=4,
        api="rest",
        settle_s=120,
    ),
    Story(20475, 29, Limits(8, 40, 16, 10_000_000), (), ends=2, api="rest", settle_s=900),
    Story(141, 51, Limits(3, 3), ("slow", "quota", "files", "clock", "torsos"), ends=2, settle_s=120),
    Story(
        439,
        10,
        Limits(3, 15, 3, 2_000_000),
        ("lost", "late", "backwards", "quota", "budget", "unguarded"),
        ends=6,
        api="rest",
        settle_s=120,
    ),
    Story(
        10069,
        23,
        Limits(100, 100, None, 2_000_000),
        ("lost", "late", "bursts", "strangers", "files", "suspend", "stops", "hindsight", "failures"),
        ends=3,
        api="rest",
        settle_s=900,
        second=34,
    ),
    Story(
        56,
        51,
        Limits(100, 500, 100, 10_000_000),
        ("clock", "suspend", "requests", "sluggish"),
        ends=2,
        api="rest",
        settle_s=120,
        second=7,
    ),
    Story(
        56,
        15,
        Limits(1, 500, 100, 10_000_000),
        ("clock", "suspend", "requests", "sluggish", "longest", "straggler"),
        ends=2,
        api="rest",
        settle_s=120,
        second=5,
    ),
    Story(70004035, 69, Limits(8, 8, None, 2_000_000), ("budget", "suspend"), ends=2, api="rest", settle_s=300),
    Story(8001777, 15, Limits(1, 1), ("lists", "files", "torsos", "twins"), settle_s=120),
    Story(7214, 19, Limits(20, 40), ("slow", "overdue", "longest"), ends=3, settle_s=120),
]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """Let the handlers of killed runs log nothing."""
    silence()
    yield
    structlog.reset_defaults()


def test_a_quiet_night_ends_with_every_transcript() -> None:
    """Without faults and kills every recording is done and the service is empty."""
    night = live(Story(1))
    assert night.violations == []
    assert night.kills.total() == 0
    assert night.happened == Counter({"quiet morning": 1})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_night_with_faults_and_kills_loses_and_doubles_nothing(seed: int) -> None:
    """Whatever was drawn for it, the promises hold at every moment and at dawn."""
    assert live(random_story(seed)).violations == []


@pytest.mark.parametrize("story", REGRESSIONS, ids=str)
def test_a_night_that_once_went_wrong_goes_well(story: Story) -> None:
    """What was found once stays found."""
    assert live(story).violations == []


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("torsos", lambda night: len(night.oracle.torsos)),
        ("overdue", lambda night: night.oracle.excused),
        ("stranded", lambda night: night.kills["in an outage"]),
        ("doubt", lambda night: night.kills["in doubt"]),
        ("twins", lambda night: night.happened["file rewrite"]),
    ],
)
def test_what_is_rare_happens_where_it_is_wanted_and_is_survived(kind: str, seen: Callable[[Night], int]) -> None:
    """Torsos, a kill in an outage, something missing in one list: a kind that never happened would prove nothing."""
    nights = [live(Story(seed, kinds=(kind,), ends=4, settle_s=120)) for seed in RARE_SEEDS]
    assert [night.violations for night in nights] == [[]] * len(nights)
    assert sum(map(seen, nights)) > 0


@pytest.mark.parametrize("kinds", [(), ("unguarded",)], ids=["refusing", "counting"])
def test_one_place_too_many_is_noticed_at_once(kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the service refuses or only counts; by what it counts, not by what the table says."""
    monkeypatch.setattr(claim, "held", lambda ledger, whole=claim.held: whole(ledger).minus(Load(0, 1)))
    night = live(Story(3, 20, Limits(10, 5), kinds))
    wanted = "are" if kinds else "would be"
    assert f"stored {wanted} 6, 5 are allowed; nothing explains it" in night.violations[0]
    assert night.quota.over == len(night.violations)


@pytest.mark.parametrize(
    ("kinds", "fact"),
    [
        (("quota unannounced",), "refused: limits lowered"),
        (("strangers", "unguarded"), "counted: somebody came since the list"),
    ],
)
def test_what_is_beyond_a_limit_is_explained_by_nothing_but_what_happened(kinds: tuple[str, ...], fact: str) -> None:
    """Each fact explains so much as there is of it, and every night could have shown one place too many."""
    total = Count()
    for seed in range(204, 210):
        total.add(count(Story(seed, limits=Limits(8, 16, 16), kinds=kinds, api="rest")))
    assert total.violations == {}
    assert set(total.explained) == {fact}
    assert total.tight == total.nights


def test_an_engine_that_leaves_room_empty_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it sends one recording after the other."""

    def lazy(ledger: Ledger, whole: Callable[[Ledger], Load] = claim.held) -> Load:
        held = whole(ledger)
        return held.plus(Load(pending=100 if held.pending else 0))

    monkeypatch.setattr(claim, "held", lazy)
    night = live(random_story(0, shared=True))
    assert "knows of room for more, and leaves it empty" in night.violations[0]


def test_two_batchers_in_one_account_get_along() -> None:
    """Both finish, neither touches what is the other's, and few of their submissions are refused."""
    total = Count()
    for seed in SHARED_SEEDS:
        total.add(count(random_story(seed, shared=True)))
    assert total.violations == {}
    assert total.shared_refused <= 0.15 * total.shared_submissions


@pytest.mark.parametrize(
    "story",
    [
        Story(1, 300, Limits(20, 40), second=300),
        Story(4, 100, Limits(3, 3), second=100),
        Story(8, 60, Limits(3, 6), api="rest", second=60),
        Story(3, 60, Limits(1, 2), api="rest", second=60),
    ],
    ids=["many", "as many as places", "rest", "one place"],
)
def test_of_two_batches_that_could_use_the_whole_account_neither_is_shut_out(story: Story) -> None:
    """In an account where nothing goes wrong; and few submissions are refused."""
    found = count(story)
    assert found.violations == {}
    assert found.refused <= 0.15 * found.submissions


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_the_same_seed_gives_the_same_night_twice(api: str) -> None:
    """A night can be replayed: its trace is a function of its story, whatever happens in it."""
    story = Story(7, 30, Limits(8, 40), (*KINDS, *LATER_KINDS), ends=5, api=api, settle_s=120, second=10)
    if api == "grpc":
        story = story.without("siblings").without("budget")
    first, second = live(story), live(story)
    assert len(first.trace) > 200
    assert first.trace == second.trace


def test_a_night_that_violates_something_is_made_small() -> None:
    """What the violation does not need is left out: kinds, kills, recordings, the second batch."""
    story = replace(random_story(3), recordings=40, kinds=("lost", "cut", "files"), ends=4, second=9)
    small = shrink(story, lambda each: "cut" in each.kinds and each.recordings >= 5 and each.ends >= 1)
    assert small == replace(story, recordings=5, kinds=("cut",), ends=1, second=0)


def test_the_report_tells_what_was_in_the_nights() -> None:
    """Counts of several nights add up, and violations are told with their seeds."""
    total = Count()
    total.add(Count(1, 2.0, 10, lost=1))
    total.add(Count(2, 4.0, 50, kills=Counter({STOP: 1, "second signal": 2, "any await": 7})))
    words = report(total, 1.5, 1)
    assert "3.0 kills and 0.3 stops" in words
    assert "3 nights, 2.00 a second" in words
    assert "lost 1" in words
