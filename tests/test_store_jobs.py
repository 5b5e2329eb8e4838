"""Jobs in the table: one writer of `state`, its history, what is due, and twins."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from batcher.model import Cause, Job, Part, Remedy, Transcript, Word
from batcher.requests import Request, apply_request
from batcher.stages import poll
from batcher.states import FACTS, NEXT, PENDING_STATES, Event, State, accepts
from batcher.store import admission, claim, jobs, reader, survey, transcripts
from batcher.store.table import Ledger
from batcher.transcripts import pack
from tests.store_bench import WORDS, Bench, open_bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh table."""
    with open_bench() as opened:
        yield opened


def wait_for_twin(bench: Bench) -> tuple[Job, Job]:
    """Return a carrier that is being sent, and a twin of it."""
    carrier = bench.bring(bench.new("a"), State.WAITING)
    carrier = bench.fire(bench.job(carrier.id), Event.CLAIMED, reference="r", attempt=1, digest=b"same", session=1)
    twin = bench.fire(bench.new("b", 2000), Event.TWINNED, twin_of=carrier.id, digest=b"same")
    return carrier, twin


@pytest.mark.parametrize(("source", "event"), NEXT, ids=str)
def test_every_transition_of_the_table_is_possible_in_the_schema(bench: Bench, source: State, event: Event) -> None:
    """With the facts its events bring, no legal transition meets a constraint."""
    job = bench.bring(bench.new("a"), source)
    facts: dict[str, object] = bench._facts(job, event)
    if source is State.TWIN:
        facts["twin_of"] = None
    if event in (Event.SHARED, Event.RECOGNISED):
        facts["transcript"] = bench.transcript(job)
    if event is Event.ADOPTED:
        facts |= {"remote": "x", "digest": b"d", "reference": "r"}
    assert bench.fire(job, event, **facts).state is NEXT[source, event]


@pytest.mark.parametrize("state", State)
def test_an_illegal_transition_is_an_error_and_never_written(bench: Bench, state: State) -> None:
    """What the machine does not know cannot be spelled, from any state."""
    job = bench.bring(bench.new("a"), state)
    past = bench.history(job)
    for event in Event:
        if not accepts(state, event):
            with pytest.raises(KeyError):
                bench.do(lambda ledger, event=event: jobs.fire(ledger, job.id, state, event))  # type: ignore[misc]
    assert bench.job(job.id) == job
    assert bench.history(job) == past


def test_news_that_come_too_late_change_nothing(bench: Bench) -> None:
    """A job that has moved on is not moved again by someone who still believes the old state."""
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    moved = bench.fire(job, Event.COMPLETED)
    past, announced = bench.history(job), len(bench.moves)
    late = bench.do(lambda ledger: jobs.fire(ledger, job.id, State.SUBMITTED, Event.SERVICE_FAILED, "late"))
    assert late is False
    assert bench.job(job.id) == moved
    assert bench.history(job) == past
    assert len(bench.moves) == announced


def test_a_job_that_does_not_exist_is_not_moved(bench: Bench) -> None:
    """An id of nobody is like news that come too late."""
    assert bench.do(lambda ledger: jobs.fire(ledger, 99, State.NEW, Event.ADMITTED)) is False


def test_every_transition_has_its_row_of_history_and_its_announcement(bench: Bench) -> None:
    """What happened, when, in which attempt and why is on record, in the same transaction."""
    job = bench.new("a")
    bench.moves.clear()
    bench.now += 5
    bench.do(lambda ledger: jobs.fire(ledger, job.id, State.NEW, Event.UNREADABLE, "it vanished", {"attempt": 3}))
    row = bench.rows("SELECT job, at, source, event, target, attempt, detail FROM history")
    assert row == [(job.id, bench.now, "new", "unreadable", "failed", 3, "it vanished")]
    (move,) = bench.moves
    assert (move.job, move.at, move.source, move.target) == (job.id, bench.now, State.NEW, State.FAILED)
    failed = bench.job(job.id)
    assert (failed.since, failed.reason) == (bench.now, "it vanished")


def test_a_transaction_that_fails_leaves_no_history(bench: Bench) -> None:
    """State and history are one: both or neither."""
    job = bench.new("a")
    with pytest.raises(sqlite3.IntegrityError):
        bench.fire(job, Event.TWINNED)  # without the twin that the schema demands
    assert bench.history(job) == []
    assert bench.job(job.id).state is State.NEW


def test_only_columns_of_a_job_can_be_set(bench: Bench) -> None:
    """State, identity and times are not facts that a caller may change."""
    job = bench.new("a")
    for name in ("state", "id", "path", "since", "created", "reason", "no_such"):
        with pytest.raises(AssertionError):
            bench.fire(job, Event.ADMITTED, **{name: 1})


def test_starting_over_forgets_everything_of_the_life_before(bench: Bench) -> None:
    """After a retry nothing of the failed attempts decides, but their number goes on."""
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    failed = bench.fire(
        job, Event.VANISHED, cause=Cause.VANISHED, failures=3, forgiven=1, not_before=bench.now + 9, absent_at=5
    )
    bench.do(lambda ledger: jobs.start_over(ledger, failed, Event.RETRY, "again"))
    again = bench.job(job.id)
    assert again.state is State.NEW
    assert (again.failures, again.forgiven, again.not_before, again.absent_at) == (0, 0, 0, None)
    assert (again.cause, again.digest, again.remote, again.sealed_at) == (None, None, None, None)
    assert again.compare
    assert again.attempt == 1


# Twins.


def test_a_twin_shares_the_transcript_in_the_same_transaction(bench: Bench) -> None:
    """As soon as one transcript is committed, every name of the audio has it."""
    carrier, twin = wait_for_twin(bench)
    carrier = bench.bring(carrier, State.STORED)
    shared = bench.job(twin.id)
    assert (shared.state, shared.transcript, shared.twin_of) == (State.RENDERING, carrier.transcript, None)


@pytest.mark.parametrize("cause", [Cause.REFUSED, Cause.SERVICE, Cause.VANISHED])
def test_a_verdict_on_the_audio_holds_for_its_twin(bench: Bench, cause: Cause) -> None:
    """The same audio would fail again, and be paid for again."""
    carrier, twin = wait_for_twin(bench)
    bench.do(lambda ledger: jobs.fire(ledger, carrier.id, carrier.state, Event.REJECTED, "no", {"cause": cause}))
    parted = bench.job(twin.id)
    assert (parted.state, parted.cause, parted.reason, parted.twin_of) == (State.FAILED, cause, "no", None)


def test_a_reason_of_the_carriers_own_sets_its_twin_free(bench: Bench) -> None:
    """A file that cannot be read says nothing about its copy."""
    carrier, twin = wait_for_twin(bench)
    bench.fire(carrier, Event.UNREADABLE, cause=Cause.SOURCE)
    free = bench.job(twin.id)
    assert (free.state, free.compare, free.digest, free.twin_of) == (State.NEW, True, None, None)


def test_a_cancelled_carrier_sets_its_twin_free(bench: Bench) -> None:
    """Giving one name up does not give the other up."""
    carrier, twin = wait_for_twin(bench)
    waiting = bench.fire(carrier, Event.POSTPONED)
    bench.do(lambda ledger: apply_request(ledger, Request("cancel", [waiting.id])))
    assert bench.job(waiting.id).state is State.CANCELLED
    assert bench.job(twin.id).state is State.NEW


def test_a_carrier_that_changed_sets_its_twin_free(bench: Bench) -> None:
    """What it will be now is another audio."""
    carrier, twin = wait_for_twin(bench)
    bench.do(lambda ledger: jobs.start_over(ledger, carrier, Event.SOURCE_CHANGED))
    assert bench.job(twin.id).state is State.NEW


def test_a_carrier_that_waits_again_keeps_its_twin(bench: Bench) -> None:
    """A refusal for now is no reason to part."""
    carrier, twin = wait_for_twin(bench)
    bench.fire(carrier, Event.REFUSED)
    assert bench.job(twin.id).twin_of == carrier.id


# Cancelling.


@pytest.mark.parametrize(
    ("state", "event", "end"),
    [
        (State.UPLOADING, Event.POSTPONED, State.CANCELLED),
        (State.UPLOADING, Event.REFUSED, State.CANCELLED),
        (State.UPLOADING, Event.SOURCE_CHANGED, State.CANCELLED),
        (State.SEALED, Event.REFUSED, State.CANCELLED),
        (State.SEALED, Event.ACCEPTED, State.CANCELLING),
        (State.UNCERTAIN, Event.ADOPTED, State.CANCELLING),
        (State.UNCERTAIN, Event.ABSENT, State.CANCELLED),
    ],
)
def test_a_wish_to_cancel_is_granted_as_soon_as_it_can_be(bench: Bench, state: State, event: Event, end: State) -> None:
    """Where it cannot be at once, the very next transition grants it, in the same transaction."""
    job = bench.bring(bench.new("a"), state)
    assert bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id]))) == 1
    wanted = bench.job(job.id)
    assert (wanted.state, wanted.cancel_wanted) == (state, True)
    facts = {"remote": "x"} if event in (Event.ACCEPTED, Event.ADOPTED) else {}
    assert bench.fire(wanted, event, **facts).state is end


@pytest.mark.parametrize("state", [s for s in State if not FACTS[s].final])
def test_cancelling_means_what_it_says_in_every_state(bench: Bench, state: State) -> None:
    """Done at once, wished for, or passed over where the work is paid for already; never half."""
    job = bench.bring(bench.new("a"), state)
    changed = bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
    after = bench.job(job.id)
    if accepts(state, Event.CANCEL) and state not in (State.COMPLETED, State.FAILING):  # see below
        assert (changed, after.state) == (1, NEXT[state, Event.CANCEL])
    elif state in PENDING_STATES and state is not State.CANCELLING:
        assert (changed, after.cancel_wanted) == (1, True)
    else:
        assert (changed, after) == (0, job)


@pytest.mark.parametrize(
    ("remedy", "forgiven", "end"),
    [
        (Remedy.AGAIN, 0, State.CANCELLING),
        (Remedy.STOP, 0, State.CANCELLING),
        (Remedy.CONVERT, 0, State.CANCELLING),
        (Remedy.AGAIN, 1, State.FAILING),
        (None, 0, State.FAILING),
    ],
)
def test_what_failed_is_cancelled_where_it_would_be_sent_once_more(
    bench: Bench, remedy: Remedy | None, forgiven: int, end: State
) -> None:
    """What is over anyway keeps the reason why it failed."""
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    failing = bench.fire(job, Event.SERVICE_FAILED, cause=Cause.SERVICE, remedy=remedy, forgiven=forgiven)
    changed = bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
    assert (changed, bench.job(failing.id).state) == (end is State.CANCELLING, end)


def test_what_is_cancelled_before_it_is_sent_once_more_is_no_verdict_on_its_twin(bench: Bench) -> None:
    """The twin goes its own way, as after any other cancelling."""
    carrier, twin = wait_for_twin(bench)
    carrier = bench.bring(carrier, State.SUBMITTED)
    bench.fire(carrier, Event.SERVICE_FAILED, cause=Cause.SERVICE, remedy=Remedy.AGAIN)
    bench.do(lambda ledger: apply_request(ledger, Request("cancel", [carrier.id])))
    bench.fire(bench.job(carrier.id), Event.CLEARED)
    assert (bench.job(carrier.id).state, bench.job(twin.id).state) == (State.CANCELLED, State.NEW)


def test_a_wish_to_cancel_outlives_whatever_nobody_asked_for(bench: Bench) -> None:
    """It was sent and could not be read; when it may be tried again, it is not sent."""
    job = bench.bring(bench.new("a"), State.UPLOADING)
    bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
    bench.fire(bench.job(job.id), Event.UNREADABLE, cause=Cause.SOURCE)
    bench.new("a")
    assert bench.job(job.id).state is State.CANCELLED


def test_a_wish_to_cancel_outlives_a_recording_that_changes_while_it_is_sent(bench: Bench) -> None:
    """It is given up as it was meant; a person may want it all the same."""
    job = bench.bring(bench.new("a"), State.UPLOADING)
    bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
    sending = bench.job(job.id)
    bench.do(lambda ledger: jobs.start_over(ledger, sending, Event.SOURCE_CHANGED))
    assert bench.job(job.id).state is State.CANCELLED
    bench.do(lambda ledger: apply_request(ledger, Request("retry", [job.id])))
    assert (bench.job(job.id).state, bench.job(job.id).cancel_wanted) == (State.NEW, False)


@pytest.mark.parametrize("state", [State.WAITING, State.UPLOADING, State.SEALED])
def test_what_is_cancelled_is_sent_when_its_recording_has_changed(bench: Bench, state: State) -> None:
    """Whenever it was cancelled: a scan finds another content under its name, of which nobody has said anything."""
    job = bench.bring(bench.new("a"), state)
    bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
    if state is not State.WAITING:
        bench.fire(bench.job(job.id), Event.REFUSED)
    assert bench.job(job.id).state is State.CANCELLED
    bench.new("a", mtime_ns=2)
    assert (bench.job(job.id).state, bench.job(job.id).cancel_wanted) == (State.NEW, False)


def test_what_fails_while_it_is_to_be_cancelled_is_no_verdict_on_its_twin(bench: Bench) -> None:
    """The wish is granted before it has ended, as if it had come a moment later."""
    carrier, twin = wait_for_twin(bench)
    carrier = bench.bring(carrier, State.SUBMITTED)
    bench.do(lambda ledger: jobs.want_cancel(ledger, carrier))
    bench.fire(carrier, Event.SERVICE_FAILED, cause=Cause.SERVICE, remedy=Remedy.AGAIN)
    assert (bench.job(carrier.id).state, bench.job(carrier.id).cause) == (State.CANCELLING, None)
    bench.fire(bench.job(carrier.id), Event.CLEARED)
    assert (bench.job(carrier.id).state, bench.job(twin.id).state) == (State.CANCELLED, State.NEW)


def test_a_completed_job_is_cancelled_only_when_it_cannot_be_fetched(bench: Bench) -> None:
    """What is paid for is brought home, unless that has failed before."""
    job = bench.bring(bench.new("a"), State.COMPLETED)
    bench.do(lambda ledger: jobs.defer(ledger, job, 0, 3, "the transcript cannot be fetched"))
    assert bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id]))) == 1
    assert bench.job(job.id).state is State.CANCELLING


# What is due.


def test_the_longest_due_comes_first_and_the_filter_before_the_limit(bench: Bench) -> None:
    """Jobs that must wait or are in hand never fill the places of those that need not."""
    made = [bench.bring(bench.new(f"{number}", 1000 + number), State.WAITING) for number in range(8)]
    for job, wait in zip(made, [5_000, -1, 6_000, 0, -2, 7_000, -1, 0], strict=True):
        bench.do(lambda ledger, job=job, wait=wait: jobs.defer(ledger, job, ledger.now + wait, 1, "later"))  # type: ignore[misc]
    order = [made[4], made[1], made[6], made[3], made[7]]

    def due(places: int, busy: list[int]) -> list[int]:
        found = bench.do(lambda ledger: jobs.due(ledger, [State.WAITING], places, busy))
        return [job.id for job in found]

    assert due(9, []) == [job.id for job in order]
    assert due(2, []) == [made[4].id, made[1].id]
    assert due(2, [made[4].id, made[1].id]) == [made[6].id, made[3].id]


def test_states_are_served_in_the_order_given(bench: Bench) -> None:
    """The first state takes the places, what is left goes to the next; never more than asked for."""
    stored = [bench.bring(bench.new(f"s{n}", 10 + n), State.STORED).id for n in range(2)]
    failing = [bench.bring(bench.new(f"f{n}", 20 + n), State.FAILING).id for n in range(3)]

    def due(*states: State, places: int) -> list[int]:
        return [job.id for job in bench.do(lambda ledger: jobs.due(ledger, states, places))]

    assert due(State.STORED, State.FAILING, places=3) == [*stored, failing[0]]
    assert due(State.FAILING, State.STORED, places=4) == [*failing, stored[0]]
    assert due(State.FAILING, State.STORED, places=3) == failing


def test_the_next_due_time_is_the_earliest_to_come(bench: Bench) -> None:
    """A stage sleeps until then; what is due already does not count, nor do other states."""

    def next_due() -> int | None:
        return bench.do(lambda ledger: jobs.next_due(ledger, [State.WAITING, State.STORED]))

    assert next_due() is None
    for number, (state, wait) in enumerate(
        [(State.WAITING, 0), (State.WAITING, 900), (State.STORED, 700), (State.FAILING, 10)]
    ):
        job = bench.bring(bench.new(f"{number}", 10 + number), state)
        bench.do(lambda ledger, job=job, wait=wait: jobs.defer(ledger, job, ledger.now + wait, 0, ""))  # type: ignore[misc]
    assert next_due() == bench.now + 700


def test_deferring_a_job_that_moved_on_does_nothing(bench: Bench) -> None:
    """A late "not yet" does not hold up what comes after."""
    job = bench.bring(bench.new("a"), State.COMPLETED)
    stored = bench.bring(job, State.STORED)
    bench.do(lambda ledger: jobs.defer(ledger, job, ledger.now + 99, 7, "late"))
    assert bench.job(job.id) == stored


def test_counting_and_asking_for_states(bench: Bench) -> None:
    """The quota and the end of a run ask these."""
    for number, state in enumerate([State.WAITING, State.SUBMITTED, State.SUBMITTED]):
        bench.bring(bench.new(f"{number}", 10 + number), state)
    assert bench.do(lambda ledger: jobs.count(ledger, [State.SUBMITTED, State.WAITING])) == 3
    assert bench.do(lambda ledger: jobs.exists(ledger, [State.SUBMITTED]))
    assert not bench.do(lambda ledger: jobs.exists(ledger, [State.DONE, State.FAILED]))
    assert [job.id for job in bench.do(lambda ledger: jobs.in_states(ledger, [State.SUBMITTED]))] == [2, 3]


# How the table is asked. A night has a hundred thousand jobs; no question may read them all.


def statements_of(module: ModuleType) -> list[tuple[str, str]]:
    """Return the SQL constants of a module."""
    texts = [(name, value) for name, value in vars(module).items() if isinstance(value, str)]
    return [
        (f"{module.__name__}.{name}", value)
        for name, value in texts
        if re.match(r"\s*(SELECT|UPDATE|INSERT|DELETE)\b", value)
    ]


HOT = [
    statement
    for module in (jobs, admission, claim, survey, transcripts, poll, reader)
    for statement in statements_of(module)
]


class _Anything(dict[str, object]):
    """Binds any named parameter."""

    def __missing__(self, name: str) -> int:
        return 1


def plan_of(conn: sqlite3.Connection, sql: str) -> list[str]:
    """Return how SQLite would carry a statement out."""
    parameters: object = _Anything() if re.search(r":[a-z_]+", sql) else ("[]",) * sql.count("?")
    rows = conn.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)  # type: ignore[arg-type]
    return [row[3] for row in rows]


def test_the_questions_are_found() -> None:
    """The list below is gathered by itself; it would be empty if constants were called otherwise."""
    assert len(HOT) >= 25


#: What waits, the longest first: that index has nothing else, and is read from its beginning.
IN_ORDER = "SCAN job USING INDEX job_longest"


@pytest.mark.parametrize(("name", "sql"), HOT, ids=[name for name, _ in HOT])
def test_no_question_reads_every_job(bench: Bench, name: str, sql: str) -> None:
    """Every statement finds its jobs by an index."""
    scans = [step for step in plan_of(bench.conn, sql) if step.startswith("SCAN job")]
    assert scans == ([IN_ORDER] if sql is jobs._LONGEST_WITHIN else []), name


@pytest.mark.parametrize("sql", [jobs._DUE, jobs._DUE_WITHIN, jobs._LONGEST_WITHIN])
def test_jobs_come_from_the_index_in_order(bench: Bench, sql: str) -> None:
    """Taking the first few of very many does not sort them all."""
    assert not [step for step in plan_of(bench.conn, sql) if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    "ask", [lambda ledger: jobs.due(ledger, State, 1), lambda ledger: jobs.next_due(ledger, State)]
)
def test_asking_for_one_state_after_the_other_prepares_no_statement_anew(
    bench: Bench, ask: Callable[[Ledger], object]
) -> None:
    """SQLite asks for permission whenever it prepares a statement: the first time, and then never again."""
    prepared: list[int] = []

    def allow(action: int, *_what: object) -> int:
        prepared.append(action)
        return sqlite3.SQLITE_OK

    bench.conn.set_authorizer(allow)
    bench.do(ask)
    assert sqlite3.SQLITE_SELECT in prepared
    prepared.clear()
    bench.do(ask)
    assert sqlite3.SQLITE_SELECT not in prepared


def test_no_statement_of_a_transition_reads_every_job(bench: Bench) -> None:
    """The same holds for what is put together when a job is moved."""
    seen: list[str] = []
    carrier, _ = wait_for_twin(bench)
    bench.conn.set_trace_callback(seen.append)
    bench.bring(carrier, State.DONE)
    bench.conn.set_trace_callback(None)
    asked = [sql for sql in seen if re.match(r"\s*(SELECT|UPDATE|INSERT|DELETE)\b", sql)]
    assert len(asked) > 10
    for sql in asked:
        assert not [step for step in plan_of(bench.conn, sql) if step.startswith("SCAN job")], sql


OTHER_WORDS = Transcript((Part((Word("goodbye"),)),))


def test_a_transcript_just_committed_is_at_hand_as_the_table_has_it(bench: Bench) -> None:
    """What is rendered from it is what a later reading would give."""
    job = bench.bring(bench.new("a.wav"), State.COMPLETED)
    kept = bench.do(lambda ledger: transcripts.keep(ledger, job, "grpc", OTHER_WORDS, pack(OTHER_WORDS)))
    number = bench.job(job.id).transcript
    assert number is not None
    assert kept == bench.do(lambda ledger: transcripts.read(ledger, number))
    assert kept == transcripts.Stored(OTHER_WORDS, "grpc", str(job.reference), str(job.remote), "{}")


def test_a_transcript_that_was_there_first_stays_and_the_new_one_is_not_at_hand(bench: Bench) -> None:
    """Another recording of the same audio has brought it; its words are what the job is rendered from."""
    job = bench.bring(bench.new("a.wav"), State.COMPLETED)
    first = bench.transcript(job)
    assert bench.do(lambda ledger: transcripts.keep(ledger, job, "grpc", OTHER_WORDS, pack(OTHER_WORDS))) is None
    number = bench.job(job.id).transcript
    assert number is not None
    assert number == first
    assert bench.do(lambda ledger: transcripts.read(ledger, number)).transcript == WORDS
