"""Requests: what a person asks for survives its file, and nothing else passes for one."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import UsageError
from batcher.model import Cause
from batcher.requests import Request, Verb, apply_request
from batcher.states import Event, State, accepts
from tests.store_bench import Bench, open_bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh table."""
    with open_bench() as opened:
        yield opened


verbs: st.SearchStrategy[Verb] = st.sampled_from(["retry", "cancel"])


@given(verb=verbs, jobs=st.lists(st.integers(1, 2**63 - 1)))
def test_a_request_survives_its_file(verb: Verb, jobs: list[int]) -> None:
    """What was left is what is carried out."""
    assert Request.from_json(Request(verb, jobs).to_json()) == Request(verb, jobs)


@pytest.mark.parametrize(
    "text",
    [
        "", "retry", "[]", "null", "7", "{}", '{"verb": "retry"}', '{"jobs": [1]}', '{"verb": "delete", "jobs": [1]}',
        '{"verb": "retry", "jobs": 1}', '{"verb": "retry", "jobs": ["one"]}', '{"verb": "retry", "jobs": [null]}',
        '{"verb": "retry", "jobs": [[1]]}', '{"verb": ["retry"], "jobs": [1]}', '{"verb": {}, "jobs": []}',
        '{"verb": "retry", "jobs": [1e999]}', '{"verb": "retry", "jobs": [NaN]}', '{"verb": "retry", "jobs": "12"}',
        '{"verb": "retry", "jobs": [1.5]}', '{"verb": "retry", "jobs": [9223372036854775808]}',
        '{"verb": "retry", "jobs": [true]}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(text: str) -> None:
    """A file of anything else never ends a run, and never does half of what it says."""
    with pytest.raises(UsageError, match="not a request of batcher"):
        Request.from_json(text)


@given(st.text() | st.recursive(st.integers() | st.text(), st.lists).map(str))
def test_any_text_is_a_request_or_refused(text: str) -> None:
    """Nothing else comes out of reading one."""
    try:
        request = Request.from_json(text)
    except UsageError:
        return
    assert request.verb in ("retry", "cancel")


@pytest.mark.parametrize("state", State)
def test_retry_starts_over_what_ended_without_a_transcript(bench: Bench, state: State) -> None:
    """Failed, cancelled and skipped jobs; all others are passed over, untouched."""
    job = bench.bring(bench.new("a"), state)
    changed = bench.do(lambda ledger: apply_request(ledger, Request("retry", [job.id])))
    after = bench.job(job.id)
    if state in (State.FAILED, State.CANCELLED, State.SKIPPED):
        assert changed == accepts(state, Event.RETRY) == 1
        assert (after.state, after.reason) == (State.NEW, "tried again on request")
    else:
        assert (changed, after) == (0, job)


def test_ids_of_nobody_are_passed_over(bench: Bench) -> None:
    """The rest of the request is carried out, and counted."""
    failed = bench.fire(bench.new("a"), Event.UNREADABLE, cause=Cause.SOURCE)
    count = bench.do(lambda ledger: apply_request(ledger, Request("retry", [99, failed.id, 2**63 - 1, -1, 0])))
    assert count == 1


def test_an_id_named_twice_is_one_job(bench: Bench) -> None:
    """Asking twice is asking once."""
    failed = bench.bring(bench.new("a"), State.FAILED)
    number = failed.id
    assert bench.do(lambda ledger: apply_request(ledger, Request("retry", [number, number]))) == 1
    assert [event for _, event, _ in bench.history(failed)].count("retry") == 1


def test_a_wish_to_cancel_may_be_repeated(bench: Bench) -> None:
    """It stays a wish until it can be granted."""
    job = bench.bring(bench.new("a"), State.SEALED)
    for _ in range(2):
        bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
    assert bench.job(job.id).cancel_wanted
    assert bench.job(job.id).state is State.SEALED
