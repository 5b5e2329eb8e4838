"""What a survey proves: presence by being listed, absence only by two complete lists, and nothing else."""

import pytest

from batcher.judgement import Judgement, Scene, Settle, judge
from batcher.model import Cause, Job, Load, Patience, Remedy, RemoteObject, RemoteStatus, Survey
from batcher.reference import Reference, fingerprint
from batcher.states import HELD_STATES, Event, State

BATCH = "0123456789abcdef"
SETTLE = Settle(900_000)
SINCE = 1_000_000
EARLY = SINCE + SETTLE.wait_ms - 1
LATE = SINCE + SETTLE.wait_ms
SESSION = 3
QUEUED, PROCESSING = RemoteStatus.QUEUED, RemoteStatus.PROCESSING
COMPLETED, FAILED = RemoteStatus.COMPLETED, RemoteStatus.FAILED
TRANSCRIBED = [status for status in RemoteStatus if status is not RemoteStatus.UPLOADED]
LISTABLE = (State.UNCERTAIN, State.SUBMITTED, State.COMPLETED)


def reference(job: int = 7, attempt: int = 2, batch: str = BATCH, mark: str | None = None) -> str:
    """Return the reference of an attempt of the recording that `a_job` describes."""
    return str(Reference(batch, job, attempt, mark or fingerprint(b"/in/a", 1000, 1, "o")))


def a_job(state: State, **changes: object) -> Job:
    """Return job 7 in its second attempt."""
    known = state in (State.SUBMITTED, State.COMPLETED, State.STORED, State.FAILING, State.CANCELLING)
    job = Job(
        id=7, path=b"/in/a", output="a", size=1000, mtime_ns=1, options="o", state=state, since=SINCE, not_before=0,
        failures=0, attempt=2, first_attempt=1, session=SESSION, sealed_at=SINCE, forgiven=0, digest=b"d", earlier=None,
        duration_ms=1, asked=False, reference=reference(), remote="mine" if known else None, compare=False, twin_of=None, cancel_wanted=False,
        absent_at=None, transcript=None, formats="", shown=None, cause=None, reason=None, created=0,
        convert=False, remedy=None, files=1, bytes=1000, remote_status=None, remote_since=None, stuck_at=None,
    )  # fmt: skip
    return job._replace(**changes)  # type: ignore[arg-type]


def listed(status: RemoteStatus = QUEUED, remote: str = "mine", **changes: object) -> RemoteObject:
    """Return an object at the service, by default the one of job 7."""
    return RemoteObject(remote, reference(), status)._replace(**changes)  # type: ignore[arg-type]


def look(
    job: Job | None,
    *objects: RemoteObject,
    began: int = LATE,
    complete: bool = True,
    now: int = 0,
    sealed: bool = False,
) -> Judgement:
    """Judge a list that was begun at `began`; the job's first attempt was `sealed`, or not."""
    seals = {reference(attempt=1): 5} if sealed else {}
    scene = Scene(BATCH, SESSION, Survey(objects, complete), began, now or began + 100, SETTLE, seals=seals)
    return judge(scene, [job] if job else [])


def events(judgement: Judgement) -> list[Event]:
    """Return what it found."""
    return [finding.event for finding in judgement.findings]


# A job that is listed.

SEEN = [
    (State.UPLOADING, QUEUED, []),
    (State.SEALED, QUEUED, []),
    (State.SEALED, COMPLETED, []),
    (State.UNCERTAIN, QUEUED, [Event.ADOPTED]),
    (State.UNCERTAIN, PROCESSING, [Event.ADOPTED]),
    (State.UNCERTAIN, COMPLETED, [Event.ADOPTED]),
    (State.UNCERTAIN, FAILED, [Event.ADOPTED]),
    (State.SUBMITTED, QUEUED, []),
    (State.SUBMITTED, PROCESSING, []),
    (State.SUBMITTED, COMPLETED, [Event.COMPLETED]),
    (State.SUBMITTED, FAILED, [Event.SERVICE_FAILED]),
    (State.COMPLETED, QUEUED, []),
    (State.COMPLETED, PROCESSING, []),
    (State.COMPLETED, COMPLETED, []),
    (State.COMPLETED, FAILED, [Event.SERVICE_FAILED]),
    *[(state, s, []) for state in (State.STORED, State.FAILING, State.CANCELLING) for s in TRANSCRIBED],
]


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(("state", "status", "expected"), SEEN)
def test_what_is_listed_is_there(state: State, status: RemoteStatus, expected: list[Event], complete: bool) -> None:
    """An incomplete list proves presence as well as a complete one, at any time."""
    for began in (EARLY, LATE):
        judgement = look(a_job(state), listed(status), began=began, complete=complete)
        assert events(judgement) == expected
        assert judgement.missed == []
        assert judgement.extras == []


def test_every_held_state_is_judged() -> None:
    """The table above leaves none out."""
    assert {state for state, _, _ in SEEN} == HELD_STATES


def test_adoption_brings_the_id_and_a_clean_slate() -> None:
    """What was uncertain goes on as if the answer had come."""
    found = listed(remote="found")
    (finding,) = look(a_job(State.UNCERTAIN, absent_at=5), found).findings
    fresh = {"absent_at": None, "not_before": 0, "failures": 0, "cause": None}
    known = {"attempt": 2, "sealed_at": SINCE}
    assert finding.facts == {"remote": "found", "reference": found.reference, **known, **fresh}


def test_a_failure_at_the_service_keeps_its_words() -> None:
    """The service's own reason is the job's, or that it gave none."""
    (finding,) = look(a_job(State.SUBMITTED), listed(FAILED, error="bad audio")).findings
    assert (finding.detail, finding.facts) == ("bad audio", {"cause": Cause.SERVICE, "remedy": None})
    (silent,) = look(a_job(State.SUBMITTED), listed(FAILED)).findings
    assert silent.detail


def test_a_job_whose_result_was_not_ready_is_not_hurried() -> None:
    """Reopened for a while, it is not completed again before its time."""
    job = a_job(State.SUBMITTED, not_before=LATE + 500)
    assert events(look(job, listed(COMPLETED), now=LATE + 499)) == []
    assert events(look(job, listed(COMPLETED), now=LATE + 500)) == [Event.COMPLETED]


# A job that is not listed.


@pytest.mark.parametrize("state", LISTABLE)
def test_two_complete_lists_apart_prove_absence_and_one_does_not(state: State) -> None:
    """The first only marks it, a second too soon after decides nothing, the second in time does."""
    first = look(a_job(state))
    assert (events(first), [job.id for job in first.missed]) == ([], [7])
    marked = a_job(state, absent_at=LATE)
    soon = look(marked, began=LATE + SETTLE.apart_ms - 1)
    assert (events(soon), soon.missed) == ([], [])
    proven = look(marked, began=LATE + SETTLE.apart_ms)
    assert events(proven) == [Event.ABSENT if state is State.UNCERTAIN else Event.VANISHED]


@pytest.mark.parametrize("state", LISTABLE)
@pytest.mark.parametrize("absent_at", [None, LATE])
def test_an_incomplete_list_never_proves_absence(state: State, absent_at: int | None) -> None:
    """Not even weeks later."""
    judgement = look(a_job(state, absent_at=absent_at), began=LATE + 10**9, complete=False)
    assert (events(judgement), judgement.missed) == ([], [])


@pytest.mark.parametrize("state", LISTABLE)
def test_a_list_that_was_begun_too_early_never_proves_absence(state: State) -> None:
    """What was sent may still arrive."""
    judgement = look(a_job(state), began=EARLY)
    assert (events(judgement), judgement.missed) == ([], [])


@pytest.mark.parametrize("state", LISTABLE)
def test_a_mark_from_before_the_job_moved_proves_nothing(state: State) -> None:
    """Both lists must be begun long enough after: an older mark is replaced, not believed."""
    for absent_at in (SINCE - 1, SINCE + 1, EARLY):
        judgement = look(a_job(state, absent_at=absent_at), began=LATE + SETTLE.apart_ms)
        assert events(judgement) == []
        assert [job.id for job in judgement.missed] == [7]


@pytest.mark.parametrize("state", [State.SUBMITTED, State.COMPLETED])
@pytest.mark.parametrize("complete", [True, False])
def test_being_seen_again_wipes_the_mark(state: State, complete: bool) -> None:
    """One list that shows it makes the count start anew."""
    judgement = look(a_job(state, absent_at=LATE), listed(), complete=complete)
    assert [job.id for job in judgement.seen_again] == [7]


@pytest.mark.parametrize("state", sorted(HELD_STATES - {*LISTABLE}))
def test_other_states_do_not_need_to_be_listed(state: State) -> None:
    """In hand, or only waiting to be cleared: a list without them means nothing."""
    judgement = look(a_job(state, absent_at=LATE), began=LATE * 2)
    assert (events(judgement), judgement.missed) == ([], [])


@pytest.mark.parametrize(
    ("state", "complete", "passed", "not_shown"),
    [
        (State.SUBMITTED, True, SETTLE.apart_ms, 1),
        (State.COMPLETED, True, SETTLE.apart_ms, 1),
        (State.SUBMITTED, True, SETTLE.apart_ms - 1, 0),
        (State.SUBMITTED, False, SETTLE.apart_ms, 0),
        (State.UNCERTAIN, True, SETTLE.apart_ms, 0),
    ],
)
def test_what_was_accepted_and_is_not_listed_is_told_long_before_it_counts_as_lost(
    state: State, *, complete: bool, passed: int, not_shown: int
) -> None:
    """Lists lag by seconds, and what was never accepted for certain need not be listed."""
    assert look(a_job(state), began=SINCE + passed, complete=complete).not_shown == not_shown
    assert look(a_job(state), listed(), began=SINCE + passed, complete=complete).not_shown == 0


def test_what_is_proven_absent_goes_again_or_is_lost() -> None:
    """An upload that never arrived is sent again; a job the service lost is a person's decision."""
    (absent,) = look(a_job(State.UNCERTAIN, absent_at=LATE), began=2 * LATE).findings
    assert absent.facts == {"absent_at": None, "not_before": 0}
    (vanished,) = look(a_job(State.SUBMITTED, absent_at=LATE), began=2 * LATE).findings
    assert vanished.facts == {"cause": Cause.VANISHED}


@pytest.mark.parametrize(("wait", "apart"), [(900_000, 60_000), (180_000, 60_000), (60_000, 20_000), (0, 0)])
def test_the_lists_lie_a_minute_apart_or_a_third_of_the_wait(wait: int, apart: int) -> None:
    """A short wait asks for less."""
    assert Settle(wait).apart_ms == apart


# Uploads.


@pytest.mark.parametrize(("state", "event"), [(State.UPLOADING, Event.INTERRUPTED), (State.SEALED, Event.ANSWER_LOST)])
@pytest.mark.parametrize("objects", [(), (listed(),), (listed(COMPLETED),)])
def test_an_upload_of_an_earlier_run_is_given_up_by_its_seal(
    state: State, event: Event, objects: tuple[RemoteObject, ...]
) -> None:
    """Sealed it is uncertain, unsealed it goes again; in this look nothing is adopted and nothing deleted."""
    judgement = look(a_job(state, session=SESSION - 1), *objects)
    assert events(judgement) == [event]
    assert judgement.extras == []


@pytest.mark.parametrize("state", [State.UPLOADING, State.SEALED])
def test_an_upload_in_hand_is_left_alone(state: State) -> None:
    """Its object may be listed before its answer is here, and so may older ones: nothing is decided now."""
    judgement = look(a_job(state), listed(COMPLETED), listed(remote="old", reference=reference(attempt=1)))
    assert events(judgement) == []
    assert judgement.extras == []


def test_the_object_of_an_unsealed_upload_is_never_adopted() -> None:
    """It can only be a torso: its end was never announced."""
    job = a_job(State.WAITING, sealed_at=None)
    judgement = look(job, listed(COMPLETED))
    assert events(judgement) == []
    assert [extra.id for extra in judgement.extras] == ["mine"]


# More than one object of a job.


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ((QUEUED, COMPLETED, PROCESSING), 1),
        ((FAILED, QUEUED), 1),
        ((QUEUED, PROCESSING), 1),
        ((FAILED, COMPLETED), 1),
        ((FAILED, FAILED), 0),
    ],
)
def test_of_several_the_furthest_is_kept(statuses: tuple[RemoteStatus, ...], best: int) -> None:
    """When none is known yet. The rest are paid for but of no use: they are only deleted."""
    objects = [listed(status, f"id-{n}", created=n) for n, status in enumerate(statuses)]
    judgement = look(a_job(State.UNCERTAIN), *objects)
    (finding,) = judgement.findings
    assert finding.facts["remote"] == f"id-{best}"
    assert [extra.id for extra in judgement.extras] == [f"id-{n}" for n in range(len(objects)) if n != best]


def test_of_equals_the_oldest_is_kept() -> None:
    """So that every look chooses the same."""
    judgement = look(a_job(State.UNCERTAIN), listed(remote="new", created=2), listed(remote="old", created=1))
    assert judgement.findings[0].facts["remote"] == "old"
    assert [extra.id for extra in judgement.extras] == ["new"]


@pytest.mark.parametrize("status", TRANSCRIBED)
def test_what_an_earlier_attempt_made_is_adopted_when_the_present_one_never_arrived(status: RemoteStatus) -> None:
    """It shows up later than anything could prove, and may be billed, also where the service has failed it."""
    late = listed(status, "late", reference=reference(attempt=1))
    judgement = look(a_job(State.UNCERTAIN, absent_at=LATE), late, began=LATE + SETTLE.apart_ms, sealed=True)
    (finding,) = judgement.findings
    assert (finding.event, finding.facts["reference"]) == (Event.ADOPTED, late.reference)
    assert judgement.extras == []


@pytest.mark.parametrize(("status", "adopted"), [(PROCESSING, True), (FAILED, False)])
@pytest.mark.parametrize("state", [State.UNCERTAIN, State.WAITING])
def test_what_an_attempt_made_that_a_restored_table_does_not_know_is_adopted_unless_it_failed(
    state: State, status: RemoteStatus, *, adopted: bool
) -> None:
    """Nobody knows whether that was sealed: what failed may be a torso."""
    later = listed(status, "later", reference=reference(attempt=3))
    judgement = look(a_job(state, absent_at=LATE), later, began=LATE + SETTLE.apart_ms)
    assert (Event.ADOPTED in events(judgement), judgement.extras == []) == (adopted, adopted)
    attempts = [finding.facts.get("attempt") for finding in judgement.findings]
    assert not adopted or attempts == [3], "the next one has a reference of its own"


@pytest.mark.parametrize(
    ("own", "earlier", "taken", "deleted"),
    [
        (FAILED, COMPLETED, "late", ["mine"]),
        (FAILED, FAILED, "mine", ["late"]),
        (QUEUED, FAILED, "mine", ["late"]),
        (QUEUED, COMPLETED, "mine", ["late"]),
    ],
)
def test_of_two_attempts_of_one_job_one_that_is_good_counts(
    own: RemoteStatus, earlier: RemoteStatus, taken: str, deleted: list[str]
) -> None:
    """One that has come to nothing need not be awaited: the other is paid for, its transcript is there, or may be."""
    late = listed(earlier, "late", reference=reference(attempt=1))
    judgement = look(a_job(State.UNCERTAIN), listed(own), late, sealed=True)
    (finding,) = judgement.findings
    assert (finding.event, finding.facts["remote"]) == (Event.ADOPTED, taken)
    assert [extra.id for extra in judgement.extras] == deleted


def test_bare_audio_of_the_present_attempt_is_in_the_way_once_an_earlier_one_is_adopted() -> None:
    """It was counted as the job's. Later looks need not show it, and the job may be over before one does."""
    late = listed(COMPLETED, "late", reference=reference(attempt=1), files=0)
    bare = listed(RemoteStatus.UPLOADED, files=1, bytes=1000)
    job = a_job(State.UNCERTAIN, absent_at=LATE)
    judgement = look(job, late, bare, began=LATE + SETTLE.apart_ms, sealed=True)
    assert events(judgement) == [Event.ADOPTED]
    assert judgement.extras == [bare]
    assert judgement.foreign == Load(pending=0, stored=1, files=1, bytes=1000)


@pytest.mark.parametrize("absent_at", [None, LATE])
def test_what_an_earlier_attempt_made_waits_while_the_present_one_may_arrive(absent_at: int | None) -> None:
    """It is kept, and takes room of its own; the job keeps its place for the one that may come."""
    late = listed(COMPLETED, "late", reference=reference(attempt=1))
    judgement = look(a_job(State.UNCERTAIN, absent_at=absent_at), late, began=LATE + SETTLE.apart_ms - 1, sealed=True)
    assert (events(judgement), judgement.extras, judgement.foreign.stored) == ([], [], 1)


@pytest.mark.parametrize("status", TRANSCRIBED)
@pytest.mark.parametrize("state", [State.UNCERTAIN, State.WAITING])
def test_the_torso_of_an_earlier_attempt_is_never_adopted(state: State, status: RemoteStatus) -> None:
    """It was not sealed, so its end was never announced: the transcript would be of half a recording."""
    torso = listed(status, "torso", reference=reference(attempt=1))
    judgement = look(a_job(state, absent_at=LATE), torso, began=LATE + SETTLE.apart_ms)
    assert Event.ADOPTED not in events(judgement)
    assert judgement.extras == [torso]


def test_what_was_made_before_the_first_attempt_that_counts_is_only_deleted() -> None:
    """The recording may have changed since without a trace; or it failed, and an old list shows it as it was before."""
    old = listed(PROCESSING, "old", reference=reference(attempt=1))
    job = a_job(State.UNCERTAIN, first_attempt=2, absent_at=LATE)
    judgement = look(job, old, began=LATE + SETTLE.apart_ms, sealed=True)
    assert events(judgement) == [Event.ABSENT]
    assert [extra.id for extra in judgement.extras] == ["old"]


@pytest.mark.parametrize("state", sorted(HELD_STATES - {State.UPLOADING, State.SEALED}))
def test_an_object_of_an_earlier_attempt_is_only_deleted_beside_the_present_one(state: State) -> None:
    """A late arrival, after the job was sent again."""
    judgement = look(a_job(state), listed(), listed(COMPLETED, "late", reference=reference(attempt=1)))
    assert [extra.id for extra in judgement.extras] == ["late"]


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.SUBMITTED, State.STORED, State.DONE, State.FAILED])
def test_a_list_begun_before_the_job_moved_deletes_nothing(state: State) -> None:
    """It shows what was, not what is; the next one tells."""
    for began in (SINCE - 1, SINCE):
        judgement = look(a_job(state), listed(remote="other"), listed(remote="another"), began=began)
        assert judgement.extras == []


def test_a_list_begun_before_the_job_moved_adopts_nothing_for_a_waiting_one() -> None:
    """The object may be one that was just deleted."""
    judgement = look(a_job(State.WAITING), listed(COMPLETED), began=SINCE)
    assert (events(judgement), judgement.extras) == ([], [])


@pytest.mark.parametrize("state", [State.SUBMITTED, State.COMPLETED])
def test_the_object_that_the_job_knows_goes_before_one_that_is_further(state: State) -> None:
    """It is the one that is fetched and deleted; a second of the same reference is only deleted."""
    judgement = look(a_job(state), listed(PROCESSING), listed(COMPLETED, "double"))
    assert events(judgement) == []
    assert [extra.id for extra in judgement.extras] == ["double"]


def test_an_object_is_known_by_its_reference_when_its_other_half_is_gone() -> None:
    """The service then names it otherwise; it is still there, and nobody else's."""
    job = a_job(State.SUBMITTED, remote="work/file")
    judgement = look(job, listed(COMPLETED, "work/"))
    assert events(judgement) == [Event.COMPLETED]
    assert (judgement.extras, judgement.foreign.stored) == ([], 0)


# Audio that nothing transcribes.

BARE = RemoteStatus.UPLOADED


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_bare_audio_of_a_held_jobs_attempt_is_left_to_the_job(state: State) -> None:
    """Its transcription may be under way, or missing from this list only; else the job deletes both."""
    assert look(a_job(state), listed(BARE, "/file")).extras == []


@pytest.mark.parametrize("state", [State.UNCERTAIN, State.SUBMITTED, State.COMPLETED])
def test_bare_audio_proves_nothing_about_its_job(state: State) -> None:
    """It is neither presence, nor a reason not to look further."""
    judgement = look(a_job(state, absent_at=LATE), listed(BARE, "/file"), began=2 * LATE)
    assert events(judgement) == [Event.ABSENT if state is State.UNCERTAIN else Event.VANISHED]
    assert judgement.seen_again == []


@pytest.mark.parametrize("state", sorted({*State} - HELD_STATES))
def test_bare_audio_that_nothing_can_use_is_deleted(state: State) -> None:
    """An upload alone costs nothing but room."""
    judgement = look(a_job(state, digest=b"d"), listed(BARE, "/file"))
    assert [extra.id for extra in judgement.extras] == ["/file"]
    assert events(judgement) == []


@pytest.mark.parametrize("state", LISTABLE)
def test_bare_audio_of_an_earlier_attempt_is_deleted(state: State) -> None:
    """The present attempt has its own."""
    judgement = look(a_job(state), listed(), listed(BARE, "/old", reference=reference(attempt=1)))
    assert [extra.id for extra in judgement.extras] == ["/old"]


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_bare_audio_of_a_held_job_is_not_counted_twice(state: State) -> None:
    """The job counts its file and its bytes already."""
    assert look(a_job(state), listed(BARE, "/file", files=1, bytes=1000)).foreign == Load()
    old = listed(BARE, "/old", reference=reference(attempt=1), files=1, bytes=1000)
    assert look(a_job(state), old).foreign == Load(files=1, bytes=1000)


@pytest.mark.parametrize("remedy", Remedy)
def test_a_failure_carries_what_may_help(remedy: Remedy) -> None:
    """The table keeps it until the service is cleared of the job."""
    (finding,) = look(a_job(State.SUBMITTED), listed(FAILED, remedy=remedy, error="why")).findings
    expected = None if remedy is Remedy.NONE else remedy
    assert (finding.detail, finding.facts) == ("why", {"cause": Cause.SERVICE, "remedy": expected})


# Jobs that are where they are for too long.

PATIENCE = Patience(queued=500, processing=200, ended=100)


def patient(job: Job, *objects: RemoteObject, began: int) -> Judgement:
    """Judge a list with little patience."""
    return judge(Scene(BATCH, SESSION, Survey(objects), began, began, SETTLE, PATIENCE), [job])


def test_what_the_service_says_of_a_submitted_job_is_news_once() -> None:
    """From then on its time in that state is counted."""
    job = a_job(State.SUBMITTED)
    assert patient(job, listed(QUEUED), began=LATE).news == [(job, QUEUED)]
    assert patient(job._replace(remote_status="queued"), listed(QUEUED), began=LATE).news == []
    known = job._replace(remote_status="queued")
    assert patient(known, listed(PROCESSING), began=LATE).news == [(known, PROCESSING)]
    assert patient(job, listed(COMPLETED), began=LATE).news == []


@pytest.mark.parametrize(
    ("state", "said", "limit"),
    [
        (State.SUBMITTED, "queued", 500),
        (State.SUBMITTED, "processing", 200),
        (State.COMPLETED, None, 100),
        (State.STORED, None, 100),
        (State.FAILING, None, 100),
        (State.CANCELLING, None, 100),
    ],
)
def test_a_job_is_stuck_after_the_time_of_its_state(state: State, said: str | None, limit: int) -> None:
    """Noticed once; nothing happens to it for that."""
    job = a_job(state, remote_status=said, remote_since=SINCE if said else None)
    before = patient(job, listed(RemoteStatus(said) if said else COMPLETED), began=SINCE + limit - 1)
    assert before.stuck == []
    late = patient(job, listed(RemoteStatus(said) if said else COMPLETED), began=SINCE + limit)
    assert late.stuck == [job]
    assert Event.ABSENT not in events(late)
    assert patient(job._replace(stuck_at=SINCE), listed(QUEUED), began=SINCE + limit).stuck == []


@pytest.mark.parametrize("state", [State.UPLOADING, State.SEALED, State.UNCERTAIN])
def test_other_states_are_never_stuck(state: State) -> None:
    """They end by themselves: by an answer, by the settle time, or on this machine."""
    assert patient(a_job(state), began=SINCE + 10**9).stuck == []


# Jobs that hold nothing.


def test_a_late_arrival_is_adopted_by_a_job_that_was_not_sent_again() -> None:
    """It is paid for, so it is used: proof of absence was wrong, the seal and the fingerprint are right."""
    (finding,) = look(a_job(State.WAITING, failures=2), listed(PROCESSING, "late")).findings
    assert finding.event is Event.ADOPTED
    expected = {
        "remote": "late",
        "reference": reference(),
        "attempt": 2,
        "not_before": 0,
        "failures": 0,
        "sealed_at": SINCE,
    }
    assert finding.facts == expected | {"absent_at": None, "cause": None}


def test_a_late_arrival_that_the_service_has_failed_is_adopted_too() -> None:
    """It may be billed; the next look has the job fail, instead of sending it again."""
    (finding,) = look(a_job(State.WAITING), listed(FAILED, "late")).findings
    assert (finding.event, finding.facts["remote"]) == (Event.ADOPTED, "late")


@pytest.mark.parametrize("status", TRANSCRIBED)
@pytest.mark.parametrize("sealed_at", [None, SINCE])
def test_what_an_earlier_attempt_made_is_adopted_by_a_job_that_waits_again(
    sealed_at: int | None, status: RemoteStatus
) -> None:
    """Its present attempt came to nothing. The next one is the third, and does not use a reference again."""
    late = listed(status, "late", reference=reference(attempt=1))
    judgement = look(a_job(State.WAITING, sealed_at=sealed_at), late, sealed=True)
    (finding,) = judgement.findings
    assert finding.event is Event.ADOPTED
    assert (finding.facts["reference"], finding.facts["attempt"]) == (late.reference, 2)
    assert finding.facts["sealed_at"] == 5
    assert judgement.extras == []


@pytest.mark.parametrize("changes", [{"mtime_ns": 2}, {"first_attempt": 2}, {"options": "p"}])
def test_what_an_earlier_attempt_made_of_something_else_is_only_deleted(changes: dict[str, object]) -> None:
    """The recording was touched since, or started over, or is to be sent with other options."""
    late = listed(COMPLETED, "late", reference=reference(attempt=1))
    judgement = look(a_job(State.WAITING, sealed_at=None, **changes), late, sealed=True)
    assert (events(judgement), judgement.extras) == ([], [late])


def test_what_was_taken_for_vanished_and_shows_again_is_adopted() -> None:
    """Its transcript is paid for, and not fetched yet."""
    job = a_job(State.FAILED, remote="mine", cause=Cause.VANISHED)
    (finding,) = look(job, listed(COMPLETED)).findings
    assert (finding.event, finding.facts["remote"], finding.facts["cause"]) == (Event.ADOPTED, "mine", None)
    other = listed(COMPLETED, "late", reference=reference(attempt=1))
    assert events(look(job, other, sealed=True)) == [Event.ADOPTED]
    assert events(look(job, other)) == events(look(job, listed(FAILED))) == []


def test_what_was_made_of_a_recording_that_was_found_changed_is_kept_until_it_is_read() -> None:
    """It may only have been touched. What no list should show of it, and what it never sent, is deleted."""
    changed = a_job(State.NEW, mtime_ns=2, first_attempt=3, digest=None, sealed_at=None, earlier=b"d")
    older = listed(COMPLETED, "older", reference=reference(attempt=1))
    assert look(changed, listed(COMPLETED), older).extras == [older]
    assert look(changed._replace(earlier=None), listed(COMPLETED)).extras == [listed(COMPLETED)]


@pytest.mark.parametrize(
    ("digest", "first", "adopted"), [(b"d", 2, True), (b"e", 2, False), (b"d", 3, False)], ids=["same", "other", "sent"]
)
def test_what_was_only_touched_takes_up_what_was_made_of_it(digest: bytes, first: int, adopted: bool) -> None:
    """By its content, whatever its time is now."""
    known = {"cause": Cause.VANISHED, "mtime_ns": 2, "earlier": b"d", "digest": digest, "first_attempt": first}
    judgement = look(a_job(State.FAILED, **known), listed(COMPLETED))
    assert (events(judgement) == [Event.ADOPTED], judgement.extras == []) == (adopted, adopted)


def test_a_table_older_than_the_object_adopts_it() -> None:
    """A restored copy does not pay again for what was sent after it was made, is still there and known by content."""
    (finding,) = look(a_job(State.WAITING, sealed_at=None), listed(reference=reference(attempt=5))).findings
    assert (finding.event, finding.facts["attempt"]) == (Event.ADOPTED, 5)
    assert finding.facts["reference"] == reference(attempt=5)


@pytest.mark.parametrize(
    ("job", "remote"),
    [
        (a_job(State.DONE), listed(COMPLETED)),
        (a_job(State.FAILED, cause=Cause.SERVICE), listed(COMPLETED)),
        (a_job(State.FAILED, cause=Cause.VANISHED), listed(COMPLETED, reference=reference(attempt=1))),
        (a_job(State.FAILED, cause=Cause.VANISHED), listed(FAILED)),
        (a_job(State.CANCELLED), listed()),
        (a_job(State.RENDERING), listed(COMPLETED)),
        (a_job(State.WAITING, sealed_at=None), listed(FAILED, reference=reference(attempt=3))),
        (a_job(State.WAITING), listed(reference=reference(attempt=1))),
        (a_job(State.WAITING), listed(reference=reference(attempt=3, mark="0" * 12))),
        (a_job(State.WAITING, size=1001), listed()),
        (a_job(State.WAITING, mtime_ns=2), listed()),
        (a_job(State.WAITING, options="p"), listed()),
    ],
    ids=[
        "done", "failed", "earlier than vanished", "vanished and failed", "cancelled", "rendering", "failed there",
        "earlier attempt, not sealed", "other fingerprint", "other size", "other time", "other options",
    ],
)  # fmt: skip
def test_what_a_job_cannot_use_is_only_deleted(job: Job, remote: RemoteObject) -> None:
    """It belongs to us and to nobody's future."""
    judgement = look(job, remote)
    assert events(judgement) == []
    assert judgement.extras == [remote]


def test_an_object_of_ours_without_a_job_is_only_deleted() -> None:
    """The table may have been restored from before the recording was found."""
    judgement = look(None, listed(COMPLETED))
    assert [extra.id for extra in judgement.extras] == ["mine"]
    assert (judgement.ours, judgement.foreign.stored) == (1, 1)


# What is not ours.


@pytest.mark.parametrize("label", ["", "other client", reference(batch="f" * 16), "batcher1.x"])
@pytest.mark.parametrize("state", [State.UNCERTAIN, State.WAITING, State.SUBMITTED])
def test_objects_of_others_are_counted_and_never_touched(label: str, state: State) -> None:
    """Neither another client's nor another batch's, even when its job has the same number."""
    judgement = look(a_job(state), listed(COMPLETED, "theirs", reference=label))
    assert events(judgement) == []
    assert judgement.extras == []
    assert (judgement.ours, judgement.foreign.stored, judgement.foreign.pending) == (0, 1, 0)


def test_foreign_objects_count_by_what_they_hold() -> None:
    """Queued and at work are pending; all but bare audio are stored; whatever has a file takes its bytes."""
    objects = [listed(status, status, reference="other", files=1, bytes=7) for status in RemoteStatus]
    judgement = look(None, *objects)
    assert judgement.foreign == Load(pending=2, stored=4, files=5, bytes=35)


@pytest.mark.parametrize("state", sorted(HELD_STATES))
def test_the_object_of_a_held_job_is_not_counted_twice(state: State) -> None:
    """The claim counts the job already."""
    judgement = look(a_job(state), listed(PROCESSING))
    assert (judgement.ours, judgement.foreign.stored, judgement.foreign.pending) == (1, 0, 0)


@pytest.mark.parametrize("state", [State.WAITING, State.DONE, State.FAILED])
def test_the_object_of_a_job_that_holds_nothing_takes_room(state: State) -> None:
    """Nobody else counts it until it is adopted or deleted."""
    judgement = look(a_job(state), listed(PROCESSING))
    assert (judgement.ours, judgement.foreign.stored, judgement.foreign.pending) == (1, 1, 1)


def test_a_second_object_of_a_held_job_takes_room() -> None:
    """The job stands for one."""
    judgement = look(a_job(State.SUBMITTED), listed(), listed(PROCESSING, "late", reference=reference(attempt=1)))
    assert (judgement.ours, judgement.foreign.stored, judgement.foreign.pending) == (2, 1, 1)
