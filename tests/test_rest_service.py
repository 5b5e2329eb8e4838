"""The REST API behind the seam, verb by verb, with answers given by hand."""

import json
from collections.abc import Callable

import anyio
import httpx
import pytest

from batcher.errors import Kind, SourceError
from batcher.files.offload import offload
from batcher.model import RemoteStatus
from batcher.options import Options, Webhook
from batcher.service import Submission, rest, rest_http
from batcher.service.rest import CREATE_TRIES, politeness
from batcher.service.rest_budget import Bucket
from tests.emulator_tools import BrokenTape, Tape
from tests.grpc_tools import Sealing
from tests.rest_tools import (
    KEY,
    Script,
    a_file,
    a_transcription,
    counted,
    failure,
    files,
    no_seal,
    refused,
    said,
    sent,
    service,
    transcriptions,
)

pytestmark = pytest.mark.anyio

PACE = "Requests per minute limit for async transcription has been exceeded for your organization."
PENDING = "The limit of pending transcriptions has been exceeded for your organization."
UPLOADED = said(201, a_file(1))
CREATED = said(201, a_transcription(1))
WHOLE_WAY = ["POST /files", "POST /transcriptions"]


def accepting() -> Script:
    """Return a service that takes everything."""
    script = Script()
    script.add("POST /files", UPLOADED)
    script.add("POST /transcriptions", CREATED)
    script.add("DELETE /files/file-1", said(204))
    script.add("DELETE /transcriptions/job-1", said(204))
    return script


async def test_a_submission_is_an_upload_and_a_transcription_with_one_reference() -> None:
    """Sealed in between; the id is that of both."""
    script, seen_at_seal = accepting(), list[list[str]]()

    async def seal() -> None:
        seen_at_seal.append(list(script.seen))

    remote = await service(script).submit(sent(Tape(b"the audio"), "my-reference", language_hints=("en",)), seal)
    assert (remote, script.seen, seen_at_seal) == ("job-1/file-1", WHOLE_WAY, [["POST /files"]])
    assert script.bodies[0].count(b"\r\n\r\nmy-reference\r\n") == 1
    assert script.bodies[0].count(b"\r\n\r\nthe audio\r\n") == 1
    assert json.loads(script.bodies[1]) == {
        "model": "stt-async-v5",
        "file_id": "file-1",
        "language_hints": ["en"],
        "client_reference_id": "my-reference",
    }


async def test_the_model_that_was_asked_for_is_sent() -> None:
    """And nothing else is made of it."""
    script = accepting()
    await service(script).submit(sent(model="stt-async-preview"), no_seal)
    assert json.loads(script.bodies[1])["model"] == "stt-async-preview"


async def test_a_url_is_submitted_without_an_upload() -> None:
    """The service fetches it; nothing of ours is stored there, and the recording is not read."""
    script = accepting()
    submission = Submission("r", Options(), BrokenTape(b""), audio_url="https://example.com/a.mp3")
    assert await service(script).submit(submission, no_seal) == "job-1/"
    assert script.seen == ["POST /transcriptions"]
    assert json.loads(script.bodies[0])["audio_url"] == "https://example.com/a.mp3"
    assert "file_id" not in json.loads(script.bodies[0])


async def test_a_webhook_goes_with_every_transcription() -> None:
    """Its secret too, and only there."""
    script = accepting()
    webhook = Webhook.model_validate({"url": "https://x/y", "header_name": "X-A", "header_value": "secret"})
    account = service(script, webhook=webhook)
    await account.submit(sent(), no_seal)
    assert json.loads(script.bodies[1])["webhook_auth_header_value"] == "secret"
    assert "secret" not in repr(account)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(429, "limit_exceeded", PENDING), Kind.FULL),
        (refused(400, "invalid_request"), Kind.HOPELESS),
        (refused(402, "organization_balance_exhausted"), Kind.STOP),
        (refused(413, "max_duration_reached"), Kind.HOPELESS),
    ],
)
async def test_a_refused_transcription_takes_its_upload_with_it(answer: httpx.Response, kind: Kind) -> None:
    """The refusal proves that nothing was accepted, so nothing uses the file."""
    script = accepting()
    script.answers["POST /transcriptions"] = [answer]
    assert (await failure(service(script).submit(sent(), no_seal))).kind is kind
    assert script.seen == [*WHOLE_WAY, "DELETE /files/file-1"]


@pytest.mark.parametrize(
    "answer",
    [
        refused(500, "internal_error"),
        refused(408, "request_timeout"),
        httpx.Response(502, text="<html>"),
        httpx.Response(200, text="<html>"),
        said(201, {}),
        said(201, a_transcription(1, id="")),
        httpx.ReadError("cut"),
        httpx.ConnectError("refused"),
        TimeoutError(),
    ],
    ids=str,
)
async def test_an_uncertain_transcription_keeps_its_upload(answer: httpx.Response | Exception) -> None:
    """It may be at work on it."""
    script = accepting()
    script.answers["POST /transcriptions"] = [answer]
    assert (await failure(service(script).submit(sent(), no_seal))).kind is Kind.UNCERTAIN
    assert script.seen == WHOLE_WAY


async def test_an_upload_that_cannot_be_taken_back_is_left_to_the_survey() -> None:
    """The reason of the refusal comes out, not that of the deletion."""
    script = accepting()
    script.answers["POST /transcriptions"] = [refused(429, "limit_exceeded", PENDING)]
    script.answers["DELETE /files/file-1"] = [refused(500, "internal_error")]
    assert (await failure(service(script).submit(sent(), no_seal))).kind is Kind.FULL


async def test_a_failed_seal_takes_the_upload_with_it() -> None:
    """Its error comes out unchanged, and no transcription was asked for."""

    async def seal() -> None:
        raise LookupError("the disk is full")

    script = accepting()
    with pytest.raises(LookupError, match="the disk is full"):
        await service(script).submit(sent(), seal)
    assert script.seen == ["POST /files", "DELETE /files/file-1"]


async def test_a_stop_before_the_seal_takes_the_upload_with_it() -> None:
    """It costs nothing, and it is not left behind."""
    script = accepting()
    with anyio.CancelScope() as scope:

        async def seal() -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

        await service(script).submit(sent(), seal)
    assert scope.cancelled_caught
    assert script.seen == ["POST /files", "DELETE /files/file-1"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(429, "limit_exceeded", "Total file count limit has been exceeded. Please delete some."), Kind.FULL),
        (refused(429, "limit_exceeded", "Requests per minute limit for file management has…"), Kind.RATE),
        (refused(400, "invalid_request"), Kind.HOPELESS),
        (refused(401, "unauthenticated"), Kind.STOP),
        (refused(500, "internal_error"), Kind.LATER),
        (httpx.Response(502, text="<html>"), Kind.UNREACHABLE),
        (httpx.Response(413, text="<html>"), Kind.HOPELESS),
        (httpx.WriteError("cut"), Kind.UNREACHABLE),
        (said(201, {"id": "../etc"}), Kind.LATER),
        (httpx.Response(200, text="<html>"), Kind.LATER),
    ],
    ids=str,
)
async def test_a_refused_upload_is_never_uncertain(answer: httpx.Response | Exception, kind: Kind) -> None:
    """Nothing was sealed, and nothing is transcribed that was not asked for."""
    script, sealed = accepting(), list[int]()
    script.answers["POST /files"] = [answer]

    async def seal() -> None:
        sealed.append(1)

    assert (await failure(service(script).submit(sent(), seal))).kind is kind
    assert (script.seen, sealed) == (["POST /files"], [])


async def test_a_recording_that_fails_is_not_transcribed() -> None:
    """Its error comes out unchanged."""
    script = accepting()
    with pytest.raises(SourceError, match="the disk is broken"):
        await service(script).submit(sent(BrokenTape(b"some audio")), no_seal)
    assert "POST /transcriptions" not in script.seen


async def test_a_transcription_refused_for_the_pace_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are there already: sending them again would cost more than waiting."""
    script = accepting()
    script.answers["POST /transcriptions"] = [refused(429, "limit_exceeded", PACE), CREATED]
    account, paused = service(script), list[Bucket]()
    monkeypatch.setattr(account._client.budget, "refused", lambda bucket, _pause: paused.append(bucket))
    assert await account.submit(sent(), no_seal) == "job-1/file-1"
    assert (script.seen, paused) == ([*WHOLE_WAY, "POST /transcriptions"], [Bucket.TRANSCRIPTIONS])


async def test_a_pace_that_stays_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted neither as the job's fault nor as a full account."""
    script = accepting()
    script.answers["POST /transcriptions"] = [refused(429, "limit_exceeded", PACE)]
    account = service(script)
    monkeypatch.setattr(account._client.budget, "refused", lambda *_: None)
    assert (await failure(account.submit(sent(), no_seal))).kind is Kind.RATE
    assert script.seen == ["POST /files", *["POST /transcriptions"] * CREATE_TRIES, "DELETE /files/file-1"]


@pytest.mark.parametrize(
    ("answer", "pauses"),
    [
        (refused(429, "limit_exceeded", PACE), [None]),
        (httpx.Response(429, json={}, headers={"retry-after": "7"}), [7.0]),
        (httpx.Response(429, text="slow down", headers={"retry-after": "Tue, 26 Nov 2024 00:00:00 GMT"}), [None]),
        (refused(429, "limit_exceeded", PENDING), []),
        (refused(503, "service_unavailable"), []),
    ],
    ids=str,
)
async def test_only_a_refusal_that_may_be_for_the_pace_keeps_requests_waiting(
    answer: httpx.Response, pauses: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that nobody knows has them wait; the wait that the service names is kept."""
    script, noted = Script(), list[float | None]()
    script.add("DELETE /files/file-1", answer)
    account = service(script)
    for heed in ("refused", "pause"):
        monkeypatch.setattr(account._client.budget, heed, lambda _bucket, pause: noted.append(pause))
    await failure(account.delete("/file-1"))
    assert noted == pauses


async def test_both_objects_are_deleted_the_transcription_first() -> None:
    """A file whose transcription stands would be taken from under it."""
    script = accepting()
    await service(script).delete("job-1/file-1")
    assert script.seen == ["DELETE /transcriptions/job-1", "DELETE /files/file-1"]


@pytest.mark.parametrize(
    ("remote", "calls"), [("/file-1", ["DELETE /files/file-1"]), ("job-1/", ["DELETE /transcriptions/job-1"])]
)
async def test_half_an_object_is_deleted_too(remote: str, calls: list[str]) -> None:
    """An upload without a transcription, or a transcription without an upload."""
    script = accepting()
    await service(script).delete(remote)
    assert script.seen == calls


async def test_what_is_already_gone_is_deleted() -> None:
    """The service may have deleted the file with its transcription, or somebody else both."""
    script = Script()
    script.add("DELETE /transcriptions/job-1", refused(404, "transcription_not_found"))
    script.add("DELETE /files/file-1", refused(404, "file_not_found"))
    await service(script).delete("job-1/file-1")
    assert len(script.seen) == 2


async def test_an_id_that_another_api_gave_is_gone() -> None:
    """Nothing is here by it. The service is not asked: it would say that it is no id."""
    script = Script()
    await service(script).delete("3457")
    assert (await failure(service(script).fetch("3457"))).kind is Kind.GONE
    assert script.seen == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(409, "transcription_invalid_state"), Kind.NOT_READY),
        (refused(500, "internal_error"), Kind.LATER),
        (httpx.Response(404, text="<html>"), Kind.UNREACHABLE),
        (httpx.Response(200, text="<html>Log in to this network</html>"), Kind.LATER),
        (httpx.Response(302, headers={"location": "http://hotel/"}), Kind.UNREACHABLE),
    ],
    ids=str,
)
async def test_a_transcription_that_is_not_deleted_keeps_its_file(answer: httpx.Response, kind: Kind) -> None:
    """It may still need it; and whoever else answers deletes nothing."""
    script = accepting()
    script.answers["DELETE /transcriptions/job-1"] = [answer]
    assert (await failure(service(script).delete("job-1/file-1"))).kind is kind
    assert script.seen == ["DELETE /transcriptions/job-1"]


async def test_a_transcript_knows_the_model_that_the_list_told() -> None:
    """It may be another than was asked for, and the transcript itself does not say; unlisted ones are asked for."""
    script = Script()
    script.add("GET /files", files())
    script.add("GET /transcriptions", transcriptions(a_transcription(1, model="stt-async-v6", status="completed")))
    script.add("GET /files/count", counted(0))
    script.add("GET /transcriptions/count", counted(1))
    script.add("GET /transcriptions/job-1/transcript", said(200, {"tokens": [{"text": "Hi"}]}))
    account = service(script)
    script.add("GET /transcriptions/job-1", said(200, a_transcription(1, model="stt-async-v5")))
    assert (await account.fetch("job-1/file-1")).model == "stt-async-v5"
    [seen] = (await account.survey()).objects
    assert seen.status is RemoteStatus.COMPLETED
    assert ((await account.fetch(seen.id)).text, (await account.fetch(seen.id)).model) == ("Hi", "stt-async-v6")


@pytest.mark.parametrize(("words", "beside"), [(10, 0), (10_000, 1)])
async def test_a_long_transcript_is_read_beside_the_loop(
    words: int, beside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short one is not worth a thread; both come out the same."""
    script, threads = Script(), list[object]()

    async def noting(work: Callable[..., object], *args: object) -> object:
        threads.append(work)
        return await offload(work, *args)

    monkeypatch.setattr(rest, "offload", noting)
    script.add("GET /transcriptions/job-1/transcript", said(200, {"tokens": [{"text": " word"}] * words}))
    script.add("GET /transcriptions/job-1", said(200, a_transcription(1)))
    transcript = await service(script).fetch("job-1/")
    assert (len(transcript.parts[0].words), len(threads)) == (words, beside)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(409, "transcription_invalid_state"), Kind.NOT_READY),
        (refused(404, "transcription_not_found"), Kind.GONE),
        (httpx.Response(404, text="<html>"), Kind.UNREACHABLE),
        (httpx.Response(200, text='{"tokens": ['), Kind.LATER),
        (refused(429, "limit_exceeded", PENDING), Kind.RATE),
    ],
    ids=str,
)
async def test_a_transcript_that_is_not_there_is_told(answer: httpx.Response, kind: Kind) -> None:
    """All of it or an error."""
    script = Script()
    script.add("GET /transcriptions/job-1/transcript", answer)
    script.add("GET /transcriptions/job-1", said(200, a_transcription(1)))
    assert (await failure(service(script).fetch("job-1/file-1"))).kind is kind


async def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory."""
    monkeypatch.setattr(rest_http, "MAX_ANSWER_BYTES", 1000)
    script = Script()
    script.add("GET /transcriptions/job-1/transcript", said(200, {"tokens": [], "text": "x" * 2000}))
    error = await failure(service(script).fetch("job-1/"))
    assert (error.kind, str(error)) == (Kind.LATER, "200: the service answered with more than 1000 bytes")


async def test_requests_carry_the_key_and_nothing_shows_it() -> None:
    """Neither the client nor the service nor an error."""
    seen = list[httpx.Headers]()

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return refused(401, "unauthenticated", f"Incorrect API key: {KEY}")

    account = service(answer)
    error = await failure(account.survey())
    assert seen[0]["authorization"] == f"Bearer {KEY}"
    assert seen[0]["user-agent"].startswith("batcher/")
    assert KEY not in f"{error!r} {error} {account!r} {account._client!r} {vars(account)}"


@pytest.mark.parametrize(("per_minute", "seconds"), [(0, 0.1), (200, 3), (500, 1.2), (6000, 0.1), (6, 100)])
def test_a_tenth_of_the_requests_is_spent_on_surveys(per_minute: int, seconds: float) -> None:
    """Whatever the pace, nine in ten move jobs; and nobody looks more often than ten times a second."""
    assert politeness(per_minute) == pytest.approx(seconds)


async def test_who_waits_for_the_turn_of_a_transcription_is_not_sealed() -> None:
    """Nothing of it can have been accepted: a kill or a stop now costs nothing, and the upload is taken back."""
    script = accepting()
    account = service(script)
    account._client.budget.pause(Bucket.TRANSCRIPTIONS, 60)
    sealing = Sealing()
    with anyio.move_on_after(0.05):
        await account.submit(sent(), sealing)
    assert (sealing.count, script.seen) == (0, ["POST /files", "DELETE /files/file-1"])
