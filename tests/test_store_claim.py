"""The claim: the quota holds inside it, whatever happened before, and the table agrees with a simple model."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batcher.errors import UsageError
from batcher.judgement import Scene, Settle
from batcher.model import Job, Limits, Load, RemoteObject, RemoteStatus, Survey, flac_bytes
from batcher.reference import parse
from batcher.requests import Request, apply_request
from batcher.states import HELD_STATES, NEXT, PENDING_STATES, Event, State, accepts
from batcher.store import jobs, survey, transcripts
from batcher.store.claim import (
    MOST_ASIDE,
    Claim,
    Unseen,
    accept_account,
    begin_session,
    claim,
    held,
    settle_loose,
    unseen,
)
from batcher.transcripts import pack
from tests.store_bench import BATCH, WORDS, Bench, found, open_bench, reference_of

WIDE = Load(100, 100, 100, 10**9)
LIMITS = Limits(100, 100, 100, 10**9)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh table."""
    with open_bench() as opened:
        yield opened


def waiting(bench: Bench, count: int) -> list[Job]:
    """Return so many jobs that wait to be sent."""
    return [bench.examine(bench.new(f"w{number}", 10_000 + number)) for number in range(count)]


def take(bench: Bench, room: Load = WIDE, places: int = 100, busy: tuple[object, ...] = ()) -> list[Job]:
    """Claim."""
    return bench.do(lambda ledger: claim(ledger, bench.batch, LIMITS, room, places, busy)).jobs


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_every_state_that_may_hold_something_takes_room(bench: Bench, state: State) -> None:
    """Whatever may be at the service counts, and pending ones against both limits."""
    waiting(bench, 5)
    for number in range(2):
        bench.bring(bench.new(f"h{number}", number), state)
    pending = 2 if state in PENDING_STATES else 0
    size = sum(bench.job(number).size for number in (6, 7))
    assert bench.do(held) == Load(pending, 2, 2, size)
    assert len(take(bench, Load(100, 4, 100, 10**9))) == 2
    assert take(bench, Load(100, 4, 100, 10**9)) == []


@pytest.mark.parametrize("state", [s for s in State if s not in HELD_STATES and s is not State.WAITING])
def test_no_other_state_takes_room(bench: Bench, state: State) -> None:
    """What holds nothing at the service keeps nobody waiting."""
    waiting(bench, 2)
    bench.bring(bench.new("x", 1), state)
    assert len(take(bench, Load(2, 2, 100, 10**9), places=2)) == 2


@pytest.mark.parametrize(
    ("room", "places", "expected"),
    [
        (WIDE, 3, 3),
        (Load(2, 100, 100, 10**9), 9, 2),
        (Load(100, 1, 100, 10**9), 9, 1),
        (Load(0, 100, 100, 10**9), 9, 0),
        (Load(-5, 100, 100, 10**9), 9, 0),
        (WIDE, 0, 0),
    ],
)
def test_never_more_than_the_smallest_bound(bench: Bench, room: Load, places: int, expected: int) -> None:
    """Room for pending files, room for stored files, free workers: the least of them decides."""
    waiting(bench, 5)
    assert len(take(bench, room, places)) == expected
    assert len(bench.rows("SELECT id FROM job WHERE state = 'uploading'")) == expected


def claimed(bench: Bench, room: Load) -> tuple[list[int], str]:
    """Return the sizes that fit into `room`, and what was lacking for the next one."""
    found = bench.do(lambda ledger: claim(ledger, bench.batch, LIMITS, room, 100))
    return [job.size for job in found.jobs], found.lacking


@pytest.mark.parametrize(
    ("room", "sizes", "lacking"),
    [
        (Load(9, 9, 9, 10**9), [10_000, 10_001, 10_002], ""),
        (Load(2, 9, 9, 10**9), [10_000, 10_001], "pending"),
        (Load(9, 1, 9, 10**9), [10_000], "stored"),
        (Load(9, 9, 2, 10**9), [10_000, 10_001], "files"),
        (Load(9, 9, 9, 20_001), [10_000, 10_001], "bytes"),
        (Load(9, 9, 9, 20_000), [10_000], "bytes"),
        (Load(9, 9, 0, 10**9), [], "files"),
        (Load(9, 9, 9, 9_999), [], "bytes"),
        (Load(0, 9, 9, 10**9), [], "pending"),
    ],
)
def test_each_of_the_four_limits_bounds_the_claim(bench: Bench, room: Load, sizes: list[int], lacking: str) -> None:
    """And the claim says which one it was."""
    waiting(bench, 3)
    assert claimed(bench, room) == (sizes, lacking)


def test_nothing_is_lacking_when_nothing_is_due(bench: Bench) -> None:
    """An empty table is not a full account."""
    assert claimed(bench, Load()) == ([], "")


def test_a_large_recording_is_waited_for_and_not_starved_by_small_ones(bench: Bench) -> None:
    """What would fit if we held nothing is next, however long it takes; what others keep out lets the rest pass."""
    for number, size in enumerate((60, 50, 10)):
        bench.examine(bench.new(f"w{number}", size))
    assert claimed(bench, Load(9, 9, 9, 100)) == ([60], "bytes")
    assert claimed(bench, Load(9, 9, 9, 109)) == ([], "bytes")
    assert claimed(bench, Load(9, 9, 9, 110)) == ([50], "bytes")
    assert claimed(bench, Load(9, 9, 9, 120)) == ([10], "")


def test_a_recording_that_others_leave_no_room_for_lets_the_next_ones_pass(bench: Bench) -> None:
    """Waiting for our own to end would not help it."""
    for number, size in enumerate((500, 10)):
        bench.examine(bench.new(f"w{number}", size))
    assert claimed(bench, Load(9, 9, 9, 100)) == ([10], "")
    assert claimed(bench, Load(9, 9, 9, 100)) == ([], "bytes")


def test_a_recording_larger_than_a_limit_that_was_lowered_is_put_aside(bench: Bench) -> None:
    """No room is ever enough for it, and its twins decide for themselves; the others go on."""
    large = bench.examine(bench.new("large", 500), b"L")
    twin = bench.examine(bench.new("twin", 500), b"L")
    small = bench.examine(bench.new("small", 10))
    assert twin.state is State.TWIN
    limits = Limits(9, 9, 9, 100)
    room = limits.load()
    assert [job.id for job in bench.do(lambda ledger: claim(ledger, bench.batch, limits, room, 9)).jobs] == [small.id]
    room = Load(0, 9, 9, 0)
    assert bench.do(lambda ledger: claim(ledger, bench.batch, limits, room, 9)).jobs == []
    put_aside = bench.job(large.id)
    assert (put_aside.state, put_aside.reason) == (
        State.SKIPPED,
        "500 bytes: all recordings together may have 100",
    )
    assert bench.job(twin.id).state is State.NEW


def test_any_number_of_recordings_may_be_put_aside_so_many_at_a_time(bench: Bench) -> None:
    """Thousands were admitted before the limit was lowered; the last one still fits."""
    bench.scan(*(found(f"w{number}", 500 + number) for number in range(2 * MOST_ASIDE + 1_000)), found("small", 10))
    for job in bench.do(lambda ledger: jobs.in_states(ledger, [State.NEW])):
        bench.examine(job)
    limits = Limits(9, 9, 9, 100)
    full = Load(0, 9, 9, 0)
    for turn in range(1, 13):
        assert bench.do(lambda ledger: claim(ledger, bench.batch, limits, full, 9)) == Claim([], unfinished=True)
        assert bench.rows("SELECT count(*) FROM job WHERE state = 'skipped'") == [(turn * MOST_ASIDE,)]
    assert bench.do(lambda ledger: claim(ledger, bench.batch, limits, full, 9)) == Claim([], "pending")


def test_what_a_job_occupies_is_reckoned_by_the_table(bench: Bench) -> None:
    """As FLAC at most its plain sound; a URL is stored as nothing of ours."""
    job = bench.examine(bench.new("a", 7))
    assert (job.files, job.bytes) == (1, 7)
    bench.do(lambda ledger: ledger.rows("UPDATE job SET convert = 1, duration_ms = 1000"))
    assert bench.job(job.id).bytes == flac_bytes(1000) == 65_536 + 32_000
    bench.do(lambda ledger: ledger.rows("UPDATE job SET duration_ms = NULL"))
    assert bench.job(job.id).bytes == flac_bytes(None) == 65_536 + 32 * 5 * 3_600_000
    bench.do(lambda ledger: ledger.rows("UPDATE job SET convert = 0, size = 0, path = ?", (b"https://a.example/b",)))
    assert (bench.job(job.id).files, bench.job(job.id).bytes) == (0, 0)


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_another_api_is_refused_while_the_first_one_holds_anything(bench: Bench, state: State) -> None:
    """It could not see it, would take it for lost, and have it transcribed and billed again."""
    job = bench.bring(bench.new("h", 1), state)
    with pytest.raises(UsageError, match="1 of this batch may be at the service through its grpc API") as refused:
        bench.do(lambda ledger: begin_session(ledger, "f" * 16, "rest", "account"))
    assert "--api grpc" in refused.value.hint
    assert "--other-account" in refused.value.hint
    bench.do(lambda ledger: ledger.rows("UPDATE job SET state = 'cancelled' WHERE id = ?", (job.id,)))
    bench.do(lambda ledger: begin_session(ledger, "f" * 16, "rest", "account"))
    assert bench.rows("SELECT api FROM batch") == [("rest",)]


def test_another_account_is_noticed_while_something_is_at_the_first(bench: Bench) -> None:
    """It stays on record until it is proven, or accepted, that the batch is there too."""
    begin = partial(begin_session, new_id="f" * 16, api="grpc")
    assert not bench.do(lambda ledger: begin(ledger, account="first")).moved
    job = bench.bring(bench.new("h", 1), State.SUBMITTED)
    for _ in range(2):
        assert bench.do(lambda ledger: begin(ledger, account="second")).moved
    assert bench.do(unseen) == Unseen(1, 0, loose=False)
    bench.do(lambda ledger: accept_account(ledger, "second"))
    assert not bench.do(lambda ledger: begin(ledger, account="second")).moved
    bench.do(lambda ledger: ledger.rows("UPDATE job SET state = 'cancelled' WHERE id = ?", (job.id,)))
    assert not bench.do(lambda ledger: begin(ledger, account="third")).moved


def test_another_api_is_refused_while_leftovers_are_to_be_deleted(bench: Bench) -> None:
    """Nothing may be left behind there."""
    bench.do(lambda ledger: survey.add_extra(ledger, RemoteObject("x", "r", RemoteStatus.COMPLETED)))
    with pytest.raises(UsageError):
        bench.do(lambda ledger: begin_session(ledger, "f" * 16, "rest", "account"))


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_whatever_may_be_at_an_account_only_that_account_can_show(bench: Bench, state: State) -> None:
    """What a transcript is still hoped of, and what is only to be deleted: both are to be looked for there."""
    bench.bring(bench.new("h", 1), state)
    only_deleted = state in (State.CANCELLING, State.UPLOADING)
    assert bench.do(unseen) == Unseen(int(not only_deleted), int(only_deleted), loose=False)
    bench.do(lambda ledger: survey.add_extra(ledger, RemoteObject("x", "r", RemoteStatus.COMPLETED)))
    assert bench.do(unseen).leftovers == 1 + only_deleted


def test_audio_that_may_still_show_up_is_something_that_is_there(bench: Bench) -> None:
    """Only the API and the account that it was sent to can tell, until a look late enough has settled it."""
    begin = partial(begin_session, new_id="f" * 16)
    bench.do(lambda ledger: begin(ledger, api="rest", account="first"))
    bench.do(jobs.mark_loose)
    with pytest.raises(UsageError, match="its audio may be at the service through its rest API") as refused:
        bench.do(lambda ledger: begin(ledger, api="grpc", account="first"))
    assert "--api rest" in refused.value.hint
    assert bench.do(lambda ledger: begin(ledger, api="rest", account="second")).moved
    ((loose_at,),) = bench.rows("SELECT loose_at FROM batch")
    assert isinstance(loose_at, int)
    bench.do(lambda ledger: settle_loose(ledger, loose_at - 1))
    assert bench.do(unseen) == Unseen(0, 0, loose=True)
    bench.do(lambda ledger: settle_loose(ledger, loose_at))
    assert not bench.do(unseen)
    assert not bench.do(lambda ledger: begin(ledger, api="grpc", account="third")).moved


def test_a_claimed_job_has_its_reference_on_record(bench: Bench) -> None:
    """Before a byte is sent the table knows under which name to look for it."""
    (job,) = waiting(bench, 1)
    (claimed,) = take(bench)
    assert claimed == bench.job(job.id)
    assert claimed.reference == reference_of(job, 1)
    read = parse(claimed.reference or "")
    assert read is not None
    assert (read.batch, read.job, read.attempt) == (BATCH, job.id, 1)
    assert (claimed.session, claimed.remote, claimed.sealed_at, claimed.absent_at) == (1, None, None, None)


def test_every_attempt_has_a_reference_of_its_own(bench: Bench) -> None:
    """An answer to an old attempt is never taken for the new one's."""
    waiting(bench, 1)
    seen = set()
    for attempt in range(1, 4):
        (claimed,) = take(bench)
        assert claimed.attempt == attempt
        seen.add(claimed.reference)
        bench.fire(claimed, Event.POSTPONED)
    assert len(seen) == 3


def test_what_must_wait_or_is_in_hand_is_not_claimed(bench: Bench) -> None:
    """Neither takes a place from the others."""
    first, second, third = waiting(bench, 3)
    bench.do(lambda ledger: jobs.defer(ledger, first, ledger.now + 1, 1, "later"))
    assert [job.id for job in take(bench, WIDE, 1, (second.id,))] == [third.id]


def test_a_run_has_a_number_and_the_batch_keeps_its_name(bench: Bench) -> None:
    """An upload of an earlier run is recognised by its session; references stay valid for ever."""
    again = bench.do(lambda ledger: begin_session(ledger, "f" * 16, "grpc", "account"))
    assert (again.id, again.session) == (BATCH, bench.batch.session + 1)


SETTLE = Settle(60_000)
some_job = st.integers(0, 5)
seldom = st.sampled_from([False, False, False, True])
Condition = Callable[["TableAgainstModel"], bool]


def some(*states: State) -> Condition:
    """Return the condition that some job that nobody lost is in one of `states`."""
    return lambda machine: any(state in states for job, state in machine.states.items() if job not in machine.orphans)


class TableAgainstModel(RuleBasedStateMachine):
    """The table and a model of a few lines go through the same night."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.bench = self._stack.enter_context(open_bench())
        self.states: dict[int, State] = {}  # the model
        self.objects: dict[int, RemoteObject] = {}  # the service, by job
        self.missed: set[int] = set()
        self.orphans: set[int] = set()
        self.serial = 0

    def teardown(self) -> None:
        """Close the table."""
        self._stack.close()

    def pick(self, number: int, *states: State) -> Job | None:
        """Return one of the jobs that are in `states`, if there is any."""
        ids = [job for job, state in self.states.items() if state in states and job not in self.orphans]
        return self.bench.job(ids[number % len(ids)]) if ids else None

    def move(self, job: Job | None, event: Event, **facts: object) -> Job | None:
        """Fire in the table and in the model."""
        if job is None:
            return None
        moved = self.bench.fire(job, event, **facts)
        self.states[job.id] = NEXT[job.state, event]
        self._grant_cancel(job)
        return moved

    def _grant_cancel(self, before: Job) -> None:
        state = self.states[before.id]
        if before.cancel_wanted and accepts(state, Event.CANCEL):
            self.states[before.id] = NEXT[state, Event.CANCEL]

    def object_of(self, job: Job) -> RemoteObject:
        """Let the service have made an object of a job."""
        self.serial += 1
        self.objects[job.id] = RemoteObject(f"id-{self.serial}", job.reference or "", RemoteStatus.QUEUED)
        return self.objects[job.id]

    @initialize()
    def begin(self) -> None:
        """Something is there to work on."""
        for _ in range(3):
            self.scan()

    @precondition(lambda self: len(self.states) < 6)
    @rule()
    def scan(self) -> None:
        """Another recording is found."""
        number = len(self.states) + 1
        job = self.bench.examine(self.bench.new(f"{number}", 1000 + number))
        self.states[job.id] = State.WAITING

    @precondition(some(State.WAITING))
    @rule(pending=st.sampled_from([4, 6, 0, 2]), stored=st.sampled_from([8, 5, 0]), places=st.sampled_from([2, 9, 0]))
    def claim(self, pending: int, stored: int, places: int) -> None:
        """Claim within some room."""
        counts = Counter(self.states.values())
        room = min(
            pending - sum(counts[state] for state in PENDING_STATES),
            stored - sum(counts[state] for state in HELD_STATES),
            places,
            counts[State.WAITING],
        )
        claimed = take(self.bench, Load(pending, stored, 100, 10**9), places)
        assert len(claimed) == max(0, room)
        for job in claimed:
            assert self.states[job.id] is State.WAITING
            self.states[job.id] = State.UPLOADING

    @precondition(some(State.UPLOADING))
    @rule(number=some_job, really=seldom)
    def postpone(self, number: int, really: bool) -> None:
        """An upload fails before its seal."""
        if really:
            self.move(self.pick(number, State.UPLOADING), Event.POSTPONED)

    @precondition(some(State.UPLOADING, State.SEALED))
    @rule(number=some_job, answer=st.sampled_from(["accepted", "arrived", "lost", "none yet"]))
    def send(self, number: int, answer: str) -> None:
        """All audio is sent and sealed; the answer comes, or is lost (the upload may have arrived), or is awaited."""
        job = self.pick(number, State.SEALED, State.UPLOADING)
        if job is not None and job.state is State.UPLOADING:
            job = self.move(job, Event.SEAL, **self.bench._facts(job, Event.SEAL))
        if job is None or answer == "none yet":
            return
        if answer == "accepted":
            self.move(job, Event.ACCEPTED, remote=self.object_of(job).id)
            return
        if answer == "arrived":
            self.object_of(job)
        self.move(job, Event.ANSWER_LOST)

    @precondition(lambda self: bool(self.objects))
    @rule(
        number=some_job, status=st.sampled_from([RemoteStatus.COMPLETED, RemoteStatus.COMPLETED, RemoteStatus.FAILED])
    )
    def end(self, number: int, status: RemoteStatus) -> None:
        """The service ends a transcription."""
        at_work = [job for job, listed in self.objects.items() if listed.status is RemoteStatus.QUEUED]
        if at_work:
            job = at_work[number % len(at_work)]
            self.objects[job] = self.objects[job]._replace(status=status, error="broken")

    @precondition(lambda self: bool(self.objects))
    @rule(number=some_job, really=seldom)
    def vanish(self, number: int, really: bool) -> None:
        """Somebody removes an object behind our back."""
        if really:
            del self.objects[list(self.objects)[number % len(self.objects)]]

    @precondition(lambda self: any(state in HELD_STATES for state in self.states.values()))
    @rule(complete=st.sampled_from([True, True, False]))
    def look(self, complete: bool) -> None:
        """List the service, long after everything that happened so far."""
        self.bench.now += 2 * SETTLE.wait_ms
        before = {job: self.bench.job(job) for job in self.states}
        shown = Survey(tuple(self.objects.values()) if complete else (), complete)
        scene = Scene(BATCH, self.bench.batch.session, shown, self.bench.now - 1, self.bench.now, SETTLE)
        self.bench.do(lambda ledger: survey.apply_survey(ledger, scene))
        for job in before.values():
            self._look_at(job, complete=complete)
        assert not self.bench.rows("SELECT * FROM extra")

    def _look_at(self, job: Job, *, complete: bool) -> None:
        listed = self.objects.get(job.id) if complete else None
        event = None
        if job.id in self.orphans:
            self.orphans.discard(job.id)
            event = Event.ANSWER_LOST if job.state is State.SEALED else Event.INTERRUPTED
        elif job.state in (State.UNCERTAIN, State.SUBMITTED, State.COMPLETED):
            event = self._seen(job, listed) if listed else self._not_seen(job, complete=complete)
        if event is not None:
            self.states[job.id] = NEXT[job.state, event]
            self.missed.discard(job.id)
            self._grant_cancel(job)

    def _seen(self, job: Job, listed: RemoteObject) -> Event | None:
        self.missed.discard(job.id)
        if job.state is State.UNCERTAIN:
            return Event.ADOPTED
        if listed.status is RemoteStatus.FAILED:
            return Event.SERVICE_FAILED
        return Event.COMPLETED if listed.status is RemoteStatus.COMPLETED and job.state is State.SUBMITTED else None

    def _not_seen(self, job: Job, *, complete: bool) -> Event | None:
        if complete and job.id in self.missed:
            return Event.ABSENT if job.state is State.UNCERTAIN else Event.VANISHED
        if complete:
            self.missed.add(job.id)
        return None

    @precondition(some(State.COMPLETED))
    @rule(number=some_job)
    def fetch(self, number: int) -> None:
        """A transcript comes home."""
        job = self.pick(number, State.COMPLETED)
        if job is not None:
            self.bench.do(lambda ledger: transcripts.keep(ledger, job, "grpc", WORDS, pack(WORDS)))
            self.states[job.id] = State.STORED

    @precondition(some(State.STORED, State.FAILING, State.CANCELLING))
    @rule(number=some_job)
    def clear(self, number: int) -> None:
        """The remote copy is deleted."""
        job = self.pick(number, State.STORED, State.FAILING, State.CANCELLING)
        if self.move(job, Event.CLEARED) and job is not None:
            self.objects.pop(job.id, None)

    @precondition(some(*HELD_STATES))
    @rule(number=some_job, really=seldom)
    def cancel(self, number: int, really: bool) -> None:
        """A person gives a job up."""
        job = self.pick(number, *State)
        if job is None or not really:
            return
        self.bench.do(lambda ledger: apply_request(ledger, Request("cancel", [job.id])))
        # About to be fetched, and paid for; or over.
        passed_over = (job.state is State.COMPLETED and not job.failures) or job.state is State.FAILING
        if accepts(job.state, Event.CANCEL) and not passed_over:
            self.states[job.id] = NEXT[job.state, Event.CANCEL]

    @precondition(some(State.FAILED, State.CANCELLED))
    @rule(number=some_job)
    def retry(self, number: int) -> None:
        """A person wants it tried again."""
        job = self.pick(number, State.FAILED, State.CANCELLED)
        if job is not None:
            self.bench.do(lambda ledger: apply_request(ledger, Request("retry", [job.id])))
            assert self.bench.examine(self.bench.job(job.id), job.path).state is State.WAITING
            self.states[job.id] = State.WAITING
            self.objects.pop(job.id, None)

    @precondition(some(State.UPLOADING, State.SEALED))
    @rule(really=seldom)
    def restart(self, really: bool) -> None:
        """The process is killed and started again."""
        if not really:
            return
        self.bench.batch = self.bench.do(lambda ledger: begin_session(ledger, "f" * 16, "grpc", "account"))
        under_way = (State.UPLOADING, State.SEALED)
        self.orphans |= {job for job, state in self.states.items() if state in under_way}

    @invariant()
    def the_table_agrees(self) -> None:
        """Every job is where the model has it."""
        rows = self.bench.rows("SELECT id, state FROM job")
        assert {number: State(str(state)) for number, state in rows} == self.states

    @invariant()
    def the_tally_is_right(self) -> None:
        """The totals for display are those of the jobs."""
        rows = self.bench.rows("SELECT state, jobs, bytes, duration_ms FROM tally WHERE jobs <> 0 ORDER BY state")
        counted = "SELECT state, count(*), sum(size), sum(coalesce(duration_ms, 0)) FROM job GROUP BY state"
        assert rows == self.bench.rows(f"{counted} ORDER BY state")

    @invariant()
    def history_is_a_path(self) -> None:
        """From new to where it is, every step legal and where the last one ended."""
        at: dict[object, object] = {}
        for job, source, event, target in self.bench.rows("SELECT job, source, event, target FROM history ORDER BY id"):
            assert at.get(job, State.NEW) == source
            assert NEXT[State(str(source)), Event(str(event))] == target
            at[job] = target
        assert at == self.states

    @invariant()
    def what_ended_holds_nothing(self) -> None:
        """Nothing is leaked: an object is there only while a job that counts it is."""
        for job, listed in self.objects.items():
            assert self.states[job] in HELD_STATES, listed


TestTableAgainstModel = TableAgainstModel.TestCase
TestTableAgainstModel.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


def test_the_longest_may_go_first(bench: Bench) -> None:
    """By what their containers say, and where those are silent by what the size suggests; else as they were found."""
    kinds = ((1_000, 10), (90_000, 11), (None, 32_000), (5_000, 13), (None, 320), (None, 1_600_000))
    for number, (length, size) in enumerate(kinds):
        bench.examine(bench.new(f"w{number}", size), duration_ms=length)

    def longest(places: int) -> list[int]:
        claimed = bench.do(lambda ledger: claim(ledger, bench.batch, LIMITS, WIDE, places, longest_first=True))
        return [job.size for job in claimed.jobs]

    assert longest(2) == [1_600_000, 11]  # 100 s and 90 s
    assert longest(3) == [13, 32_000, 10]  # 5 s, 2 s and 1 s
    assert [job.size for job in take(bench)] == [320]
