"""What a survey proves is written down, and objects of no use are kept in mind until they are gone."""

from collections.abc import Iterator

import pytest

from batcher.judgement import Judgement, Scene, Settle
from batcher.model import Job, RemoteObject, RemoteStatus, Survey
from batcher.states import Event, State
from batcher.store import survey
from tests.store_bench import BATCH, Bench, digest_of, open_bench

SETTLE = Settle(60_000)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Return a fresh table."""
    with open_bench() as opened:
        yield opened


def look(bench: Bench, *objects: RemoteObject, took: int = 0) -> Judgement:
    """List the service, a settling time after the last look; it `took` so many milliseconds."""
    bench.now += SETTLE.wait_ms + 1
    scene = Scene(BATCH, bench.batch.session, Survey(objects), bench.now - took, bench.now, SETTLE)
    return bench.do(lambda ledger: survey.apply_survey(ledger, scene))


def of(job: Job, remote: str = "") -> RemoteObject:
    """Return an object of a job at the service."""
    return RemoteObject(remote or job.remote or "", job.reference or "", RemoteStatus.PROCESSING)


def test_a_job_that_is_seen_again_was_never_missed(bench: Bench) -> None:
    """Two lists without it prove nothing when one in between showed it."""
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    look(bench)
    assert bench.job(job.id).absent_at == bench.now
    look(bench, of(job))
    assert bench.job(job.id).absent_at is None
    look(bench)
    assert bench.job(job.id).state is State.SUBMITTED
    look(bench)
    assert (bench.job(job.id).state, bench.job(job.id).cause) == (State.FAILED, "vanished")


def sent_in_vain(bench: Bench, *, sealed: bool) -> tuple[Job, RemoteObject]:
    """Return a job that waits after its second attempt was cut short, and the first, which shows up only now."""
    first = bench.bring(bench.new("a"), State.SEALED if sealed else State.UPLOADING)
    lost = (Event.ANSWER_LOST, Event.ABSENT) if sealed else (Event.INTERRUPTED,)
    job = first
    for event in lost:
        job = bench.fire(job, event)
    bench.bring(job, State.UPLOADING)
    digest = first.digest or digest_of(first.path)  # by now it may be known, for another recording of this size
    return bench.fire(bench.job(job.id), Event.INTERRUPTED, sealed_at=None, digest=digest), of(first, "late")


def test_what_an_earlier_attempt_made_is_a_jobs_own_from_then_on(bench: Bench) -> None:
    """Every later look knows it, also when it was gone for a while; the number of the attempt does not go back."""
    job, late = sent_in_vain(bench, sealed=True)
    for _ in range(2):
        assert look(bench, late).extras == []
        known = bench.job(job.id)
        assert (known.state, known.remote, known.attempt) == (State.SUBMITTED, "late", 2)
    look(bench)
    look(bench)
    assert bench.job(job.id).cause == "vanished"
    look(bench, late)
    assert bench.job(job.id).state is State.SUBMITTED
    assert bench.rows("SELECT count(*) FROM extra") == [(0,)]


def test_the_latest_attempt_is_taken_up_when_the_earlier_one_was_and_is_gone(bench: Bench) -> None:
    """A job that has taken up its first attempt may come back to its second one, which was sealed as well."""
    job, late = sent_in_vain(bench, sealed=True)
    second = bench.bring(bench.bring(bench.job(job.id), State.UNCERTAIN), State.WAITING)
    look(bench, late)
    look(bench)
    look(bench)
    assert bench.job(job.id).cause == "vanished"
    look(bench, of(second, "second"))
    assert (bench.job(job.id).state, bench.job(job.id).remote) == (State.SUBMITTED, "second")


def test_the_torso_of_an_earlier_attempt_is_nobodys_own(bench: Bench) -> None:
    """By the history it was never sealed, whatever the service makes of it: neither while the job waits, nor after."""
    job, torso = sent_in_vain(bench, sealed=False)
    assert look(bench, torso).extras == [torso]
    bench.bring(bench.job(job.id), State.UNCERTAIN)
    look(bench, torso)
    look(bench, torso)
    assert (bench.job(job.id).state, bench.job(job.id).remote) == (State.WAITING, None)


def test_a_job_is_not_sent_while_something_of_it_is_to_be_deleted_and_something_else_is_there(bench: Bench) -> None:
    """Audio alone was listed first. Once it is deleted the job takes up the transcription, which came later."""
    job, late = sent_in_vain(bench, sealed=True)
    audio = late._replace(id="audio", status=RemoteStatus.UPLOADED)
    look(bench, audio)
    look(bench, late, took=20_000)
    waiting = bench.job(job.id)
    assert waiting.state is State.WAITING
    assert waiting.not_before == bench.now + survey.HELD_BACK_MS + 40_000, "the next look may take as long"
    assert waiting.reason == "what it left at the service is being deleted first"
    bench.do(lambda ledger: survey.drop_extra(ledger, "audio"))
    look(bench, late)
    assert bench.job(job.id).state is State.SUBMITTED


def test_what_the_present_attempt_made_is_kept_while_what_it_would_give_way_to_is_being_deleted(bench: Bench) -> None:
    """Else neither would be left, and what the service has failed would be sent once more by itself."""
    job, late = sent_in_vain(bench, sealed=True)
    look(bench, late._replace(id="audio", status=RemoteStatus.UPLOADED))
    second = bench.bring(bench.job(job.id), State.UNCERTAIN)
    failed = of(second, "second")._replace(status=RemoteStatus.FAILED, error="no speech")
    look(bench, late, failed)
    assert (bench.job(job.id).state, bench.rows("SELECT remote FROM extra")) == (State.UNCERTAIN, [("audio",)])
    bench.do(lambda ledger: survey.drop_extra(ledger, "audio"))
    look(bench, failed)
    assert bench.job(job.id).state is State.SUBMITTED


def test_what_is_to_be_deleted_is_adopted_by_nobody(bench: Bench) -> None:
    """Its deletion may be under way, or done and only not answered. When it is gone, the job is proven absent."""
    job = bench.bring(bench.new("a"), State.UNCERTAIN)
    there = of(job, "remote")
    bench.do(lambda ledger: survey.add_extra(ledger, there))
    look(bench, there)
    assert bench.job(job.id).state is State.UNCERTAIN
    bench.do(lambda ledger: survey.drop_extra(ledger, "remote"))
    look(bench)
    look(bench)
    assert bench.job(job.id).state is State.WAITING


def test_a_survey_is_judged_by_the_table_as_it_is_now(bench: Bench) -> None:
    """What moved while the list was made is not moved back."""
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    done = bench.bring(job, State.STORED)
    listed = RemoteObject(job.remote or "", job.reference or "", RemoteStatus.COMPLETED)
    assert look(bench, listed).findings == []
    assert bench.job(job.id) == done


def test_jobs_that_only_an_object_names_are_judged_too(bench: Bench) -> None:
    """A finished job's forgotten object is found by its reference and remembered for deletion, once."""
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    failed = bench.fire(job, Event.VANISHED)
    for _ in range(2):
        look(bench, of(failed))
    assert bench.rows("SELECT remote, reference FROM extra") == [(failed.remote, failed.reference)]


def test_extras_are_due_in_turn_and_forgotten_when_gone(bench: Bench) -> None:
    """One in hand or put off never takes the place of another."""
    for number in range(4):
        extra = RemoteObject(f"x{number}", "r", RemoteStatus.COMPLETED)
        bench.do(lambda ledger, extra=extra: survey.add_extra(ledger, extra))  # type: ignore[misc]
    bench.do(lambda ledger: survey.defer_extra(ledger, "x0", bench.now + 500))
    due = bench.do(lambda ledger: survey.due_extras(ledger, 2, ["x1"]))
    assert due == [("x2", 0), ("x3", 0)]
    assert bench.do(survey.next_due_extra) == bench.now + 500
    for number in range(1, 4):
        bench.do(lambda ledger, number=number: survey.drop_extra(ledger, f"x{number}"))  # type: ignore[misc]
    assert bench.do(survey.any_extra)
    bench.now += 500
    assert bench.do(lambda ledger: survey.due_extras(ledger, 9, [])) == [("x0", 1)]
    assert bench.do(survey.next_due_extra) is None


def test_a_batch_is_unfinished_while_a_job_or_an_extra_is_left(bench: Bench) -> None:
    """Nothing is leaked: objects without a job keep the run going as well."""
    assert bench.do(survey.unfinished) == 0
    job = bench.bring(bench.new("a"), State.SUBMITTED)
    bench.do(lambda ledger: survey.add_extra(ledger, of(job, "x")))
    assert bench.do(survey.unfinished) == 2
    bench.bring(job, State.DONE)
    assert bench.do(survey.unfinished) == 1
    bench.do(lambda ledger: survey.drop_extra(ledger, "x"))
    assert bench.do(survey.unfinished) == 0


def test_an_id_that_another_job_has_is_not_adopted(bench: Bench) -> None:
    """A mistake of the service's: nobody can tell whose it is, and the batch goes on without deciding."""
    first = bench.bring(bench.new("a", 1), State.SUBMITTED)
    second = bench.bring(bench.new("b", 2), State.UNCERTAIN)
    listed = RemoteObject(first.remote or "", second.reference or "", RemoteStatus.QUEUED)
    look(bench, listed)
    assert bench.job(second.id).state is State.UNCERTAIN
    assert bench.job(first.id).remote == first.remote
