"""The fault plan: how it is written down, and that it is the same night for the same seed."""

import pytest

from batcher.clock import Dice
from batcher.emulator import faults
from batcher.emulator.faults import Fault, FaultPlan, FaultSpec, Rates, Trouble
from batcher.emulator.objects import Refusal
from batcher.emulator.tally import Call
from batcher.errors import UsageError
from batcher.model import RemoteStatus
from tests.emulator_tools import HandClock, new_core, send


def draw(spec: FaultSpec, seed: int, calls: int = 400, step_ms: int = 100) -> list[Fault | None]:
    """Return what a plan decides for a row of calls of every verb."""
    clock = HandClock()
    plan = FaultPlan(spec, Dice(seed), clock)
    decided = []
    for number in range(calls):
        decided.append(plan.decide(list(Call)[number % len(Call)]))
        clock.pass_ms(step_ms)
    return decided


def only(name: str) -> FaultSpec:
    """Return a spec in which only one thing goes wrong, always."""
    return FaultSpec(Rates(**{name: 1.0}))


def test_the_same_seed_gives_the_same_faults() -> None:
    """A night can be replayed from its seed, and another seed is another night."""
    spec = faults.parse("many")
    assert draw(spec, 1) == draw(spec, 1)
    assert draw(spec, 1) != draw(spec, 2)


def test_no_faults_is_no_faults() -> None:
    """The default plan leaves every call alone."""
    assert set(draw(faults.parse("none"), 1)) == {None}


def test_many_is_more_than_some() -> None:
    """The presets are ordered."""
    some, many = (sum(fault is not None for fault in draw(faults.parse(name), 1, 5000)) for name in ("some", "many"))
    assert 0 < some < many


def test_a_rate_is_met() -> None:
    """About one call in five is delayed when that is the rate."""
    delayed = sum(fault is not None for fault in draw(faults.parse("delayed=0.2"), 1, 5000))
    assert 900 < delayed < 1100


def test_a_rate_of_one_verb_leaves_the_others_alone() -> None:
    """A rate may be written for one verb, the default for the rest stands before or after it."""
    for text in ("lost-after=0,submit.lost-after=1", "submit.lost-after=1,delayed=0"):
        spec = faults.parse(text)
        assert spec.rates(Call.SUBMIT).lost_after == 1
        assert spec.rates(Call.DELETE).lost_after == 0


def test_lost_means_before_and_after() -> None:
    """The short word sets both."""
    rates = faults.parse("lost=0.05, unavailable=0.02 ,burst-ms=3000").default
    assert (rates.lost_before, rates.lost_after, rates.unavailable) == (0.05, 0.05, 0.02)
    assert faults.parse("burst-ms=3000").burst_ms == 3000


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("lots", "'lots'"),
        ("lost", "name=number"),
        ("looost=1", "lost-before"),
        ("lost=much", "'much'"),
        ("lost=1.5", "from 0 to 1"),
        ("lost=nan", "from 0 to 1"),
        ("sending.lost=1", "'sending'"),
        ("submit.burst-ms=1", "name=number"),
    ],
)
def test_a_spec_that_makes_no_sense_says_why(text: str, word: str) -> None:
    """The message names the wrong word or the words there are."""
    with pytest.raises(UsageError, match=word):
        faults.parse(text)


def test_a_burst_lasts_and_ends() -> None:
    """While a burst lasts every call of its verb is refused with the same code, another verb's are not."""
    clock = HandClock()
    plan = FaultPlan(FaultSpec(by_verb={Call.SURVEY: Rates(unavailable=1)}, burst_ms=10_000), Dice(3), clock)
    first = plan.decide(Call.SURVEY)
    assert first == Fault(Trouble.REFUSED, "UNAVAILABLE")
    plan.spec = FaultSpec()  # no burst begins any more, but one is under way
    clock.pass_ms(1)
    assert plan.decide(Call.SURVEY) == first
    assert plan.decide(Call.FETCH) is None
    clock.pass_ms(10_000)
    assert plan.decide(Call.SURVEY) is None


@pytest.mark.parametrize("name", ["stale", "backwards", "failing"])
def test_lists_have_faults_of_their_own(name: str) -> None:
    """What can only happen to a list happens to nothing else."""
    plan = FaultPlan(only(name), Dice(1), HandClock())
    assert [call for call in Call if plan.decide(call) is not None] == [Call.SURVEY, Call.FILES]


@pytest.mark.parametrize(
    ("name", "calls"), [("late", [Call.SUBMIT, Call.UPLOAD]), ("cut", [Call.SUBMIT, Call.FETCH, Call.UPLOAD])]
)
def test_streams_have_faults_of_their_own(name: str, calls: list[Call]) -> None:
    """Only what travels in pieces can be cut, only an upload can come late."""
    plan = FaultPlan(only(name), Dice(1), HandClock())
    assert [call for call in Call if plan.decide(call) is not None] == calls


@pytest.mark.parametrize(
    ("trouble", "stage"),
    [
        (Trouble.REFUSED, faults.opening),
        (Trouble.LOST_BEFORE, faults.before_effect),
        (Trouble.CUT, faults.passed),
        (Trouble.LOST_AFTER, faults.answering),
        (Trouble.LATE, faults.answering),
    ],
)
def test_each_fault_strikes_at_its_own_stage(trouble: Trouble, stage: object) -> None:
    """No other stage of the call notices it."""
    fault = Fault(trouble, "INTERNAL", 10, cut_after=1)
    struck = []
    for each in (faults.opening, faults.before_effect, faults.passed, faults.answering):
        each(None)
        try:
            each(fault)
        except Refusal as refusal:
            struck.append((each, refusal.code))
    assert struck == [(stage, "INTERNAL")]


def test_a_cut_lets_some_pieces_pass() -> None:
    """The connection dies at the piece it is told to."""
    fault = Fault(Trouble.CUT, cut_after=2)
    faults.passing(fault, 0)
    faults.passing(fault, 1)
    with pytest.raises(Refusal):
        faults.passing(fault, 2)


def test_lists_go_stale_and_backwards() -> None:
    """A stale list is an old one; in a backwards one completed files are at work again, at the service they are not."""
    clock = HandClock()
    core = new_core(clock)
    send(core, "old")
    clock.pass_ms(5000)
    send(core, "new")
    account = core.account("key")
    stale = faults.survey(account, Fault(Trouble.STALE, ms=1000))
    assert [(seen.reference, seen.status) for seen in stale] == [("old", RemoteStatus.COMPLETED)]
    backwards = faults.survey(account, Fault(Trouble.BACKWARDS))
    assert [seen.status for seen in backwards] == [RemoteStatus.QUEUED, RemoteStatus.PROCESSING]
    assert [seen.status for seen in faults.survey(account, None)] == [RemoteStatus.QUEUED, RemoteStatus.COMPLETED]


def test_a_verb_of_two_words_is_spelled_as_it_is_listed() -> None:
    """`delete-file` is one call of the REST API."""
    assert faults.parse("delete-file.lost-after=0.5").rates(Call.DELETE_FILE).lost_after == 0.5
