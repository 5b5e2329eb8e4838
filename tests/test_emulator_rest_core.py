"""The core's REST objects: files and transcriptions by the clock, what the knobs turn, and what is counted."""

import json

import pytest

from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.objects import Audio, Config, Failure, Outcome, Report
from batcher.emulator.recognizers import Echo, echo
from batcher.emulator.rest_bodies import CreateTranscription
from batcher.emulator.rest_models import ALIASES, CURRENT
from batcher.emulator.rest_refusals import Kind
from batcher.emulator.tally import Call
from batcher.model import RemoteStatus, Transcript
from tests.emulator_tools import HandClock, Tape, create_job, refused_rest, rest_account, store_file

MINUTE = 60_000


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that the test moves."""
    return HandClock()


def test_a_file_and_its_transcription_are_two_objects(clock: HandClock) -> None:
    """Uploaded, created, queued, at work, completed, fetched, both deleted."""
    account = rest_account(clock)
    file = store_file(account, b"a recording")
    job = create_job(account, file)
    assert (job.status, job.filename, account.pending) == (RemoteStatus.QUEUED, "a.wav", 1)
    clock.pass_ms(200)
    assert account.job(job.id).status is RemoteStatus.PROCESSING
    clock.pass_ms(1500)
    done, transcript = account.transcript(job.id)
    assert done is job
    assert transcript == echo(Tape(b"a recording").digest)
    account.delete(job.id)
    assert [kept.id for kept in account.files] == [file.id], "deleting a transcription leaves its file"
    account.delete_file(file.id)
    assert (account.files, account.jobs, account.pending) == ([], [], 0)


def test_the_legacy_files_of_a_key_are_a_list_of_their_own(clock: HandClock) -> None:
    """Neither API shows, counts or limits the other's objects."""
    core = Core(clock, Echo(), Knobs(pending=1))
    with core.enter("key").upload("legacy", Config()) as upload:
        upload.accept()
    create_job(core.enter_rest("key"))
    assert (core.account("key").stored, core.rest("key").stored) == (1, 1)


def test_one_file_serves_several_transcriptions(clock: HandClock) -> None:
    """Each is an object of its own, with the same words."""
    account = rest_account(clock)
    file = store_file(account)
    first, second = create_job(account, file), create_job(account, file)
    clock.pass_ms(5000)
    assert first.id != second.id
    assert account.transcript(first.id)[1] == account.transcript(second.id)[1]


def test_a_url_is_transcribed_too(clock: HandClock) -> None:
    """Without downloads its text is the sound; its last segment is the name; it makes no file."""
    account = rest_account(clock)
    job = create_job(account)
    clock.pass_ms(5000)
    _, transcript = account.transcript(job.id)
    assert transcript == echo(Tape(b"http://example.com/a/talk.mp3?x=1").digest)
    assert (job.filename, account.files) == ("talk.mp3", [])


def test_a_transcript_is_refused_unless_the_transcription_is_completed(clock: HandClock) -> None:
    """Queued, at work and failed ones have none: 409 for all of them."""
    account = rest_account(clock)
    job = create_job(account)
    for _ in range(2):
        refusal = refused_rest(account.transcript, job.id)
        assert (refusal.status, refusal.code) == (409, "transcription_invalid_state")
        clock.pass_ms(250)
    account.finish(job.id, Failure("Noise.", "invalid_audio_file"))
    assert (job.status, job.error_type, job.error) == (RemoteStatus.FAILED, "invalid_audio_file", "Noise.")
    assert refused_rest(account.transcript, job.id).status == 409


@pytest.mark.parametrize("delete_queued", [True, False])
def test_whether_a_queued_transcription_can_be_deleted_is_a_knob(clock: HandClock, delete_queued: bool) -> None:
    """One at work cannot, one that is over can, whatever the knob says."""
    account = rest_account(clock, RestKnobs(delete_queued=delete_queued))
    job = create_job(account)
    if delete_queued:
        account.delete(job.id)
        job = create_job(account)
    else:
        assert refused_rest(account.delete, job.id).status == 409
    clock.pass_ms(200)
    assert refused_rest(account.delete, job.id).status == 409
    clock.pass_ms(5000)
    account.delete(job.id)
    assert refused_rest(account.delete, job.id).code == "transcription_not_found"


def test_deleting_the_file_too_is_a_knob(clock: HandClock) -> None:
    """With the knob a file goes with its transcription."""
    account = rest_account(clock, RestKnobs(cascade=True))
    file = store_file(account)
    job, url = create_job(account, file), create_job(account)
    clock.pass_ms(5000)
    account.delete(url.id)
    account.delete(job.id)
    assert account.files == []


def test_a_file_deleted_early_fails_the_transcription_that_has_not_begun(clock: HandClock) -> None:
    """One that has begun is not disturbed."""
    account = rest_account(clock)
    file = store_file(account)
    begun = create_job(account, file)
    clock.pass_ms(250)
    late = create_job(account, file)
    account.delete_file(file.id)
    clock.pass_ms(5000)
    account.advance()
    assert begun.status is RemoteStatus.COMPLETED
    assert (late.status, late.error_type) == (RemoteStatus.FAILED, "file_not_found")
    assert account.pending == 0


@pytest.mark.parametrize(("verb", "kind"), [("file", "file"), ("delete_file", "file"), ("job", "transcription")])
def test_an_unknown_id_is_not_found(clock: HandClock, verb: str, kind: str) -> None:
    """Of either kind: 404, with the words of the service."""
    refusal = refused_rest(getattr(rest_account(clock), verb), "0")
    assert (refusal.status, refusal.code) == (404, f"{kind}_not_found")
    assert refusal.message.startswith(f"No {kind} with this ID exists")


def test_accounts_know_nothing_of_each_other(clock: HandClock) -> None:
    """An object of one key is not found with another."""
    core = Core(clock, Echo())
    file = store_file(core.enter_rest("one"))
    other = core.enter_rest("two")
    assert refused_rest(other.file, file.id).status == 404
    assert refused_rest(create_job, other, file).invalid[0].location == "body.payload.file_id"


def test_texts_of_an_upload_have_a_length(clock: HandClock) -> None:
    """The longest passes, one more does not."""
    account = rest_account(clock)
    store_file(account, reference="x" * 256, filename="x" * 255)
    assert refused_rest(store_file, account, reference="x" * 257).status == 400
    assert refused_rest(store_file, account, filename="x" * 256).status == 400


@pytest.mark.parametrize("name", [CURRENT, *ALIASES])
def test_retired_models_are_sent_on_to_the_current_one(clock: HandClock, name: str) -> None:
    """Silently: only the answer tells."""
    assert create_job(rest_account(clock), model=name).model == CURRENT


def test_models_that_do_not_exist_and_models_that_are_not_for_everybody(clock: HandClock) -> None:
    """Both are 400, of different types."""
    account = rest_account(clock, RestKnobs(unavailable_models=frozenset({"stt-async-v6"})))
    assert refused_rest(create_job, account, model="stt-rt-v5").invalid[0].location == "body.payload.model"
    assert refused_rest(create_job, account, model="stt-async-v6").code == "model_not_available"


def test_over_long_recordings_fail_by_a_knob(clock: HandClock) -> None:
    """Accepted, then failed, with a type that is itself a knob, because sources disagree."""
    rest = RestKnobs(max_duration_ms=1000, over_long="max_duration_reached")
    account = rest_account(clock, rest, bytes_per_second=10)
    long, short = (
        create_job(account, store_file(account, bytes(11))),
        create_job(account, store_file(account, bytes(10))),
    )
    clock.pass_ms(5000)
    account.advance()
    assert (long.status, long.error_type) == (RemoteStatus.FAILED, "max_duration_reached")
    assert short.status is RemoteStatus.COMPLETED


def test_objects_expire_with_the_retention(clock: HandClock) -> None:
    """Files and transcriptions alike, each at its own time; a queued job of an expired file fails."""
    account = rest_account(clock, retention_ms=MINUTE)
    file = store_file(account)
    clock.pass_ms(MINUTE - 100)
    job = create_job(account, file)
    clock.pass_ms(100)
    account.advance()
    assert (account.files, account.jobs) == ([], [job])
    clock.pass_ms(MINUTE - 1000)
    assert account.job(job.id).error_type == "file_not_found"
    clock.pass_ms(1000)
    assert account.jobs == []


def test_lists_and_counts_lag_together(clock: HandClock) -> None:
    """A young object exists and counts against the limits before a list or a count shows it."""
    account = rest_account(clock, list_lag_ms=1000)
    file, job = store_file(account), create_job(account)
    assert (account.list_files(), account.list_jobs()) == ([], [])
    assert (account.count(Kind.FILE), account.count(Kind.TRANSCRIPTION)) == ((0, 0), (0, 0))
    assert account.file(file.id) is file
    assert (account.pending, account.stored) == (1, 1)
    clock.pass_ms(1000)
    assert (account.list_files(), [seen.job for seen in account.list_jobs()]) == ([file], [job])
    assert account.count(Kind.TRANSCRIPTION) == (1, 0)


def test_what_arrives_late_is_listed_late(clock: HandClock) -> None:
    """An upload or a creation whose answer was lost may show up only later."""
    account = rest_account(clock)
    with account.upload() as upload:
        file = upload.accept("a.wav", "r", hidden_ms=1000)
    account.create(CreateTranscription(model=CURRENT, file_id=file.id), hidden_ms=1000)
    assert (account.list_files(), account.list_jobs(), account.pending) == ([], [], 1)
    clock.pass_ms(1000)
    assert (len(account.list_files()), len(account.list_jobs())) == (1, 1)


def test_foreign_objects_take_room_and_come_and_go(clock: HandClock) -> None:
    """Other clients' transcriptions and files count, are listed with their own reference, and end when told to."""
    account = rest_account(clock)
    ids = account.add_foreign(60)
    clock.pass_ms(100_000)
    assert (account.pending, account.stored) == (60, 60)
    assert len(account.add_foreign(60)) == 40, "the limits hold for other clients too"
    assert len(account.add_foreign(1, force=True)) == 1
    account.finish(ids[0])
    account.finish(ids[1], Failure("no"))
    account.vanish(ids[2])
    assert (account.pending, account.stored) == (98, 100)
    assert {seen.job.reference for seen in account.list_jobs()} == {"other client"}
    account.vanish(account.add_foreign_file(1000))
    assert account.tally.bytes_peak == 1000
    assert account.files == []


def test_an_upload_left_alone_leaves_nothing(clock: HandClock) -> None:
    """A dying client's bytes come to nothing, but the trace knows of them."""
    account = rest_account(clock)
    with account.upload() as upload:
        upload.add(b"half of")
    assert account.files == []
    assert list(account.tally.trace) == [("upload", "", "ABORTED")]


class Slow:
    """A recognizer that wants the recording and answers when the test tells it to."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def wants_audio(self, config: Config) -> bool:
        """Want the recording."""
        return True

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Keep the report for later."""
        self.reports.append(report)


@pytest.mark.parametrize("outcome", [Transcript(()), Failure("noise")])
def test_a_recording_is_kept_while_anybody_needs_it(clock: HandClock, outcome: Outcome) -> None:
    """Its file keeps it, and so does a recognition under way; when both are over it is dropped."""
    slow = Slow()
    account = Core(clock, slow).enter_rest("key")
    file = store_file(account, b"audio")
    first, second = create_job(account, file), create_job(account, file)
    assert file.audio.content is not None
    slow.reports[0](outcome)
    clock.pass_ms(100_000)
    account.advance()
    assert (first.ended is not None, second.status) == (True, RemoteStatus.PROCESSING)
    account.delete_file(file.id)
    assert file.audio.content.read() == b"audio"
    slow.reports[1](outcome)
    assert file.audio.content.closed
    assert second.ended == clock.now()


def test_an_end_that_was_ordered_is_not_changed_by_the_recognizer(clock: HandClock) -> None:
    """What it reports later is too late."""
    slow = Slow()
    account = Core(clock, slow).enter_rest("key")
    job = create_job(account)
    account.finish(job.id, Failure("no"))
    slow.reports[0](Transcript(()))
    assert (job.status, job.error) == (RemoteStatus.FAILED, "no")


def test_what_was_paid_for_stays_in_the_log(clock: HandClock) -> None:
    """Completed transcriptions only, with their length; deleting them changes nothing."""
    account = rest_account(clock, bytes_per_second=10)
    good = create_job(account, store_file(account, bytes(36)), "good")
    bad = create_job(account, None, "bad")
    account.add_foreign(1, work_ms=0)
    account.finish(bad.id, Failure("no"))
    clock.pass_ms(5000)
    account.advance()
    account.delete(good.id)
    assert [(paid.reference, paid.model, paid.duration_ms) for paid in account.usage()] == [("good", CURRENT, 3600)]


def test_the_tally_finds_a_double_submission_and_tells_uploads_apart(clock: HandClock) -> None:
    """Two transcriptions under one reference are paid twice; two files are not."""
    account = rest_account(clock)
    for reference in ("once", "twice", "twice"):
        create_job(account, store_file(account, reference=reference), reference)
    assert account.tally.submitted_twice == ["twice"]
    assert account.tally.uploads == {"once": 1, "twice": 2}


def test_the_trace_tells_calls_and_outcomes(clock: HandClock) -> None:
    """The last calls are kept, with what became of them."""
    account = rest_account(clock, trace=4)
    file = store_file(account)
    job = create_job(account, file)
    account.list_jobs()
    refused_rest(account.transcript, job.id)
    account.delete(job.id)
    assert [call for call, _, _ in account.tally.trace] == ["submit", "survey", "fetch", "delete"]
    assert list(account.tally.trace)[2] == ("fetch", job.id, "transcription_invalid_state")
    assert account.tally.calls[Call.UPLOAD] == 1


def test_the_observer_hears_of_every_change(clock: HandClock) -> None:
    """An oracle placed there sees each change at its instant."""
    heard: list[tuple[str, str]] = []
    core = Core(clock, Echo())
    core.watch_rest(lambda _account, change, item: heard.append((change, type(item).__name__)))
    account = core.enter_rest("key")
    file = store_file(account)
    job = create_job(account, file)
    clock.pass_ms(5000)
    core.advance_rest()
    account.delete(job.id)
    account.vanish(file.id)
    assert heard == [
        ("accepted", "RestFile"),
        ("accepted", "RestJob"),
        ("ended", "RestJob"),
        ("deleted", "RestJob"),
        ("vanished", "RestFile"),
    ]


def test_ids_are_the_same_for_the_same_seed(clock: HandClock) -> None:
    """A night can be replayed, ids and all."""
    first, second = (store_file(rest_account(clock)).id for _ in range(2))
    assert first == second


def test_the_report_is_json_and_keeps_keys_secret(clock: HandClock) -> None:
    """The report says what happened, and no key can be read in it."""
    core = Core(clock, Echo())
    account = core.rest("very secret key")
    create_job(account, store_file(account))
    account.add_foreign(2)
    text = json.dumps(core.report())
    assert "very secret" not in text
    [report] = json.loads(text)["rest_accounts"]
    assert (report["uploads_accepted"], report["transcriptions_accepted"]) == (1, 1)
    assert (report["transcriptions_left"], report["foreign_left"], report["files_left"]) == (3, 2, 1)
    assert (report["pending_peak"], report["files_peak"], report["bytes_peak"]) == (3, 1, 5)
