"""The emulator's knobs by name, and those of the REST API that make keys, money and single transcriptions fail."""

import io
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import av
import pytest
from pydantic import ValidationError

from batcher.emulator.core import Core
from batcher.emulator.knobs import Container, Knob, Knobs, Load, NoEof, RestKnobs, all_knobs, turned
from batcher.emulator.objects import Failure
from batcher.emulator.recognizers import UNDECODABLE, Echo
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_checks import HEAD_BYTES, container_of
from batcher.emulator.rest_objects import RestJob
from batcher.emulator.rest_refusals import Bucket, Exhausted
from batcher.model import RemoteStatus, Transcript
from tests.emulator_tools import HandClock, create_job, refused_rest, rest_account, store_file
from tests.rest_wire import said, wire

RECORDINGS = Path(__file__).parent.parent / "batcher" / "demo" / "recordings"
M4A = b"\x00\x00\x00\x1cftypM4A \x00\x00\x02\x00 and sound"
MP4 = b"\x00\x00\x00\x1cftypisom\x00\x00\x02\x00 and sound"
FLAC = b"fLaC\x00\x00\x00\x22 and sound"


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that the test moves."""
    return HandClock()


def value(knobs: Knobs, name: str) -> object:
    """Return what a knob is set to."""
    here: object = knobs
    for part in name.split("."):
        here = getattr(here, part)
    return here


def ended(account: RestAccount, clock: HandClock) -> RestJob:
    """Create a transcription and let it end."""
    job = create_job(account)
    clock.pass_ms(10_000)
    return account.job(job.id)


def names_in(group: Any, place: str = "") -> set[str]:
    """Return the names of all fields, those of groups inside with their place."""
    found: set[str] = set()
    for each in fields(group):
        inner = getattr(group, each.name)
        found |= names_in(inner, f"{place}{each.name}.") if is_dataclass(inner) else {place + each.name}
    return found


def rest_report(core: Core) -> dict[str, Any]:
    """Return what is told of the first key."""
    reports: Any = core.report()["rest_accounts"]
    return dict(reports[0])


# By name.


def test_every_field_is_a_knob_with_a_meaning() -> None:
    """A field that is added without a text would be a knob that nobody understands."""
    known = list(all_knobs())
    assert {knob.name for knob in known} == names_in(Knobs())
    assert [knob.name for knob in known if not knob.meaning] == []
    meanings = {knob.name: knob.meaning for knob in known}
    assert meanings["rest.siblings.pending"].startswith("pending transcriptions of other projects")


@pytest.mark.parametrize("knob", list(all_knobs()), ids=lambda knob: knob.name)
def test_a_default_is_spelled_as_it_is_read(knob: Knob) -> None:
    """Whoever copies a line of the list changes nothing."""
    assert turned(Knobs(), knob.name, knob.default) == Knobs()


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("pending", "7", 7),
        ("speed", "0.5", 0.5),
        ("refuse_after_bytes", "yes", True),
        ("rest.delete_queued", "false", False),
        ("parallel", "3", 3),
        ("max_bytes", "none", None),
        ("no_eof", "failed", NoEof.FAILED),
        ("keys", "good, better", frozenset({"good", "better"})),
        ("keys", "", frozenset()),
        ("keys", "none", None),
        ("rest.unavailable_models", "stt-async-v4", frozenset({"stt-async-v4"})),
        ("rest.undecodable", "m4a,mp4", frozenset({Container.M4A, Container.MP4})),
        ("rest.webhook_retry_ms", "1,2", (1, 2)),
        ("rest.job_errors", "internal_error:3,x:1", (("internal_error", 3), ("x", 1))),
        ("rest.siblings.pending", "10", 10),
        ("rest.balance", "0", 0),
        ("rest.pending_text", "Full, sorry.", "Full, sorry."),
    ],
)
def test_a_text_is_read_by_the_type_of_its_knob(name: str, text: str, meant: object) -> None:
    """Numbers, yes and no, lists with commas, nothing at all; every other knob stays as it is."""
    knobs = turned(Knobs(queue_ms=5), name, text)
    assert value(knobs, name) == meant
    assert type(value(knobs, name)) is type(meant)
    default = next(knob.default for knob in all_knobs() if knob.name == name)
    assert turned(knobs, name, default) == Knobs(queue_ms=5)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("pending", "many", "integer"),
        ("pending", "-1", "greater than or equal to 0"),
        ("pending", "none", "integer"),
        ("speed", "0", "greater than 0"),
        ("speed", "inf", "finite"),
        ("bytes_per_second", "0", "greater than or equal to 1"),
        ("parallel", "0", "greater than or equal to 1"),
        ("rest.cascade", "perhaps", "boolean"),
        ("order", "best", "'newest', 'oldest' or 'shuffled'"),
        ("rest.undecodable", "m4a,doc", "'aac'"),
        ("rest.job_errors", "internal_error", "like internal_error:3"),
        ("rest.job_errors", "internal_error:-1", "like internal_error:3"),
        ("rest.siblings.bytes", "1.5", "integer"),
    ],
)
def test_a_text_that_makes_no_sense_is_refused(name: str, text: str, complaint: str) -> None:
    """Before anything listens, and not by a division by zero in the night."""
    with pytest.raises(ValidationError, match=complaint):
        turned(Knobs(), name, text)


# Recordings that cannot be decoded.


def recorded(form: str, codec: str) -> bytes:
    """Return a tenth of a second of silence in a container."""
    target = io.BytesIO()
    with av.open(target, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        for number in range(4):
            frame = av.AudioFrame("s16", "mono", 1024)
            frame.planes[0].update(bytes(2048))
            frame.sample_rate, frame.pts = 48_000, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


@pytest.mark.parametrize(
    ("form", "codec", "container"),
    [
        ("ipod", "aac", Container.M4A),
        ("mp4", "aac", Container.MP4),
        ("adts", "aac", Container.AAC),
        ("aiff", "pcm_s16be", Container.AIFF),
        ("flac", "flac", Container.FLAC),
        ("mp3", "libmp3lame", Container.MP3),
        ("mp2", "mp2", Container.MP3),
        ("ogg", "libopus", Container.OGG),
        ("wav", "pcm_s16le", Container.WAV),
        ("webm", "libopus", Container.WEBM),
    ],
)
def test_the_first_bytes_tell_the_container(form: str, codec: str, container: Container) -> None:
    """As FFmpeg writes them."""
    assert container_of(recorded(form, codec)[:HEAD_BYTES]) is container


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"#!AMR-WB\n", Container.AMR),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Container.ASF),
        (b"\x00\x00\x00\x20ftypM4B ", Container.M4A),
        (b"\xff\xfb\x90\x64", Container.MP3),
        (b"FORM\x00\x00\x00\x00AIFC", Container.AIFF),
        (b"RIFF\x00\x00\x00\x00AVI ", None),
        (b"https://exam", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_containers_that_nothing_here_writes_and_bytes_that_tell_nothing(
    head: bytes, container: Container | None
) -> None:
    """What is no container we know is never taken for one."""
    assert container_of(head) is container


def test_the_containers_of_the_demo_are_told_as_their_names_say() -> None:
    """Real recordings, from several programs."""
    paths = [path for path in RECORDINGS.rglob("*.*") if path.suffix != ".json"]
    assert len(paths) > 8
    for path in paths:
        assert container_of(path.read_bytes()[:HEAD_BYTES]) == path.suffix[1:], path.name


def test_a_container_may_be_taken_and_yet_not_be_decodable(clock: HandClock) -> None:
    """The transcription ends with that error at its usual time; the same as FLAC completes; only that is paid for."""
    account = rest_account(clock, RestKnobs(undecodable=frozenset({Container.M4A})))
    bad = create_job(account, store_file(account, M4A), "bad")
    clock.pass_ms(200)
    assert account.job(bad.id).status is RemoteStatus.PROCESSING
    clock.pass_ms(1500)
    assert account.job(bad.id).status is RemoteStatus.FAILED
    assert bad.outcome == Failure(UNDECODABLE, "invalid_audio_file")
    for reference, content in (("flac", FLAC), ("mp4", MP4), ("short", b"M4A")):
        create_job(account, store_file(account, content), reference)
    clock.pass_ms(10_000)
    assert sorted(paid.reference for paid in account.usage()) == ["flac", "mp4", "short"]


def test_the_container_is_told_from_bytes_that_come_one_by_one(clock: HandClock) -> None:
    """And the recording is not kept for it."""
    account = rest_account(clock, RestKnobs(undecodable=frozenset({Container.M4A})))
    with account.upload() as upload:
        for number in range(len(M4A)):
            upload.add(M4A[number : number + 1])
        file = upload.accept("a.m4a", "r")
    assert file.audio.content is None
    job = create_job(account, file)
    clock.pass_ms(10_000)
    assert account.job(job.id).error_type == "invalid_audio_file"


def test_a_recording_that_a_recognizer_wants_is_dropped_when_it_is_not_asked(clock: HandClock) -> None:
    """Once its file is deleted nobody needs it."""
    knobs = RestKnobs(undecodable=frozenset({Container.M4A}))
    account = Core(clock, Echo(must_decode=True), Knobs(rest=knobs)).enter_rest("key")
    file = store_file(account, M4A)
    create_job(account, file)
    assert file.audio.content is not None
    account.delete_file(file.id)
    assert file.audio.content.closed


def test_a_downloaded_recording_is_looked_at_too_even_when_it_comes_late(clock: HandClock) -> None:
    """Its transcription fails at the latest when it arrives, and is no longer pending."""
    account = rest_account(clock, RestKnobs(undecodable=frozenset({Container.M4A}), fetch_urls=True))
    job = create_job(account)
    clock.pass_ms(10_000)
    assert account.job(job.id).status is RemoteStatus.PROCESSING
    intake = account.intake()
    intake.add(M4A)
    account.arrived(job, intake.audio())
    assert (job.error_type, account.pending) == ("invalid_audio_file", 0)


def test_a_recording_that_arrives_after_its_transcription_was_ended_changes_nothing(clock: HandClock) -> None:
    """Nor does one whose transcription was deleted when it should have been there."""
    account = rest_account(clock, RestKnobs(undecodable=frozenset({Container.M4A}), fetch_urls=True))
    over, gone = create_job(account), create_job(account)
    account.finish(over.id, Transcript(parts=()))
    clock.pass_ms(10_000)
    account.vanish(gone.id)
    for job in (over, gone):
        intake = account.intake()
        intake.add(M4A)
        account.arrived(job, intake.audio())
    assert (over.status, account.pending) == (RemoteStatus.COMPLETED, 0)


# Transcriptions that fail.


def test_the_next_transcriptions_end_with_errors_in_the_order_of_the_knob(clock: HandClock) -> None:
    """Then all is well again; what failed is neither paid for nor logged, and the report counts it."""
    knobs = RestKnobs(job_errors=(("internal_error", 2), ("model_not_available", 1)))
    core = Core(clock, Echo(), Knobs(rest=knobs))
    account = core.enter_rest("key")
    account.add_foreign(work_ms=0)
    jobs = [create_job(account, store_file(account), f"r{number}") for number in range(4)]
    assert [job.status for job in jobs] == [RemoteStatus.QUEUED] * 4
    clock.pass_ms(10_000)
    account.advance()
    assert [job.error_type for job in jobs] == ["internal_error", "internal_error", "model_not_available", None]
    assert jobs[0].error
    assert [paid.reference for paid in account.usage()] == ["r3"]
    report = rest_report(core)
    assert report["injected_faults"] == {"job.internal_error": 2, "job.model_not_available": 1}
    account.job_errors["internal_error"] += 1
    assert ended(account, clock).error_type == "internal_error"
    assert ended(account, clock).error_type is None
    assert ended(core.enter_rest("another"), clock).error_type == "internal_error", "each key has its own"


# Money.


def test_the_money_of_a_key_pays_for_so_many_transcriptions(clock: HandClock) -> None:
    """Then 402, until there is more; files may still be stored, and what is finished fetched and deleted."""
    account = rest_account(clock, RestKnobs(balance=2))
    jobs = [ended(account, clock) for _ in range(2)]
    for _ in range(2):
        refusal = refused_rest(create_job, account, store_file(account))
        assert (refusal.status, refusal.code) == (402, "organization_balance_exhausted")
    assert account.balance_exhausted
    account.transcript(jobs[0].id)
    account.delete(jobs[0].id)
    account.balance = 1
    create_job(account)
    assert refused_rest(create_job, account).status == 402
    account.balance_exhausted = False
    create_job(account)


def test_a_refused_transcription_costs_no_money(clock: HandClock) -> None:
    """Neither for want of room nor for a wrong model."""
    account = rest_account(clock, RestKnobs(balance=2), pending=1)
    create_job(account)
    assert refused_rest(create_job, account).status == 429
    assert refused_rest(create_job, account, model="nonsense").status == 400
    assert account.balance == 1


def test_a_key_may_have_no_money_from_the_start(clock: HandClock) -> None:
    """And if a budget is said to be used up too, that is the answer."""
    account = rest_account(clock, RestKnobs(balance=0))
    assert refused_rest(create_job, account).code == Exhausted.BALANCE
    account.exhausted = Exhausted.PROJECT
    assert refused_rest(create_job, account).code == Exhausted.PROJECT


# Keys.


@pytest.mark.anyio
async def test_a_key_without_permission_may_list_the_models_and_nothing_else() -> None:
    """403 for everything that a batch needs, so that whoever asks for the models only is deceived."""
    knobs = RestKnobs(unpermitted_keys=frozenset({"weak"}))
    async with wire(knobs, key="weak") as api:
        assert (await api.get("/models")).status_code == 200
        for path in ("/files", "/files/count", "/transcriptions", "/usage-logs"):
            assert said(await api.get(path)) == (403, "permission_denied")
        assert said(await api.upload()) == (403, "permission_denied")
        assert said(await api.create()) == (403, "permission_denied")
        assert api.core.rest("weak").tally.refusals == {"permission_denied": 6}
    async with wire(knobs, key="key") as api:
        assert (await api.get("/files")).status_code == 200


def test_the_knobs_of_a_core_may_be_replaced_while_it_runs(clock: HandClock) -> None:
    """Keys are judged by the new ones at once; what a key holds goes by the knobs of its first request."""
    core = Core(clock, Echo(), Knobs())
    old = core.enter_rest("old")
    new = RestKnobs(balance=0, unpermitted_keys=frozenset({"new"}))
    core.knobs = replace(core.knobs, keys=frozenset({"old", "new"}), rest=new)
    create_job(core.enter_rest("old"))
    assert core.enter_rest("old") is old
    assert refused_rest(core.enter_rest, "third").status == 401
    assert refused_rest(core.enter_rest("new").begin, "GET /v1/files", Bucket.FILES).status == 403
    assert refused_rest(create_job, core.enter_rest("new")).status == 402


# What is told at the end.


def test_the_report_of_a_rest_account_says_what_was_held_asked_refused_and_left(clock: HandClock) -> None:
    """Peaks, requests by bucket, refusals by type, references, and what nobody deleted."""
    core = Core(clock, Echo(), Knobs(pending=1, rest=RestKnobs(requests_per_minute=2, siblings=Load(files=3))))
    account = core.enter_rest("key")
    account.begin("GET /v1/models", Bucket.MODELS)
    for _ in range(2):
        account.begin("POST /v1/files", Bucket.FILES)
        store_file(account, b"ten bytes.")
    assert refused_rest(account.begin, "GET /v1/files", Bucket.FILES).status == 429
    create_job(account, account.files[0], "twice")
    refused_rest(create_job, account)
    clock.pass_ms(10_000)
    create_job(account, account.files[0], "twice")
    account.delete_file(account.files[1].id)
    report = rest_report(core)
    expected = {
        "pending_peak": 1,
        "transcriptions_peak": 2,
        "files_peak": 2,
        "bytes_peak": 20,
        "requests_by_bucket": {"model listing": 1, "file management": 3},
        "refusals": {"limit_exceeded": 2},
        "refusals_by_reason": {"requests": 1, "pending": 1},
        "transcriptions_accepted": 2,
        "references_accepted": 1,
        "references_submitted_twice": ["twice"],
        "files_left": 1,
        "transcriptions_left": 2,
        "transcriptions_left_by_status": {"completed": 1, "queued": 1},
    }
    assert {name: report[name] for name in expected} == expected
