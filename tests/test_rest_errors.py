"""What the answers of the REST API mean: the whole table, and everything a call can end with."""

import inspect
import zlib
from collections.abc import Callable

import aiohttp
import httpx
import pytest
import soniox.errors
from pydantic import BaseModel, ValidationError

from batcher.errors import Kind, ServiceError
from batcher.model import Remedy
from batcher.service import Verb
from batcher.service.rest import RestService
from batcher.service.rest_budget import Budget
from batcher.service.rest_errors import (
    ACCOUNT_TYPES,
    BROKEN,
    OTHER,
    PAGE,
    REMEDIES,
    TABLE,
    UNREADABLE,
    hint,
    is_about_pace,
    is_about_room,
    remedy,
    sort,
)
from batcher.service.rest_http import BadAnswer, Client
from batcher.service.shared import Key
from tests.rest_tools import Bridge

H, L, U, S = Kind.HOPELESS, Kind.LATER, Kind.UNREACHABLE, Kind.STOP
UNSURE, FULL, RATE, GONE, WAIT = Kind.UNCERTAIN, Kind.FULL, Kind.RATE, Kind.GONE, Kind.NOT_READY

#: Every error type that the documentation lists for requests, with its status, and what it means before and after
#: the seal, for a listing, a transcript and a deletion.
DOCUMENTED: dict[tuple[int, str], tuple[Kind, ...]] = {
    (400, "invalid_request"): (H, H, S, H, H),
    (400, "invalid_cursor"): (H, H, L, H, H),
    (400, "model_not_available"): (S, S, S, S, S),
    (400, "invalid_stream_state"): (H, H, S, H, H),
    (400, "max_concurrent_streams_reached"): (H, H, S, H, H),
    (401, "unauthenticated"): (S, S, S, S, S),
    (402, "organization_balance_exhausted"): (S, S, S, S, S),
    (402, "organization_monthly_budget_exhausted"): (S, S, S, S, S),
    (402, "project_monthly_budget_exhausted"): (S, S, S, S, S),
    (403, "permission_denied"): (S, S, S, S, S),
    (403, "temp_api_key_session_expired"): (S, S, S, S, S),
    (404, "file_not_found"): (L, UNSURE, L, GONE, GONE),
    (404, "transcription_not_found"): (L, UNSURE, L, GONE, GONE),
    (404, "not_found"): (L, UNSURE, L, GONE, GONE),
    (408, "request_timeout"): (L, UNSURE, L, L, L),
    (409, "transcription_invalid_state"): (L, UNSURE, L, WAIT, WAIT),
    (413, "max_duration_reached"): (H, H, L, L, L),
    (429, "limit_exceeded"): (FULL, FULL, RATE, RATE, RATE),
    (500, "internal_error"): (L, UNSURE, L, L, L),
    (503, "service_unavailable"): (U, UNSURE, U, U, U),
}

PACE = "Requests per minute limit for {} has been exceeded for your {}."
ROOM = (
    "Total file count limit has been exceeded for your organization. Please delete some.",
    "Total file size limit has been exceeded for your project. Please delete some.",
    "Total transcription count limit for your organization has been exceeded. Please delete some.",
    "The limit of pending transcriptions has been exceeded for your organization.",
)


@pytest.mark.parametrize(("answer", "kinds"), DOCUMENTED.items())
def test_every_documented_error_type_is_sorted_for_every_verb(answer: tuple[int, str], kinds: tuple[Kind, ...]) -> None:
    """Written down here a second time, so that the table is not changed by accident."""
    status, error_type = answer
    message = "Please delete some." if status == 429 else "words"
    assert tuple(sort(status, error_type, message, verb) for verb in Verb) == kinds


def test_the_table_lists_no_type_that_is_not_documented() -> None:
    """And every status of the table has a row for types that nobody knows yet."""
    assert {key for key in TABLE if key[1] not in (OTHER, PAGE)} <= set(DOCUMENTED)
    assert {status for status, _ in TABLE} == {status for status, error_type in TABLE if error_type == OTHER}


@pytest.mark.parametrize("error_type", [OTHER, "of tomorrow", *sorted({error_type for _, error_type in DOCUMENTED})])
def test_every_status_with_every_type_is_sorted_as_the_seam_demands(error_type: str) -> None:
    """Never uncertain before the seal, never guessing after it, never a STOP without a hint."""
    for status in (BROKEN, *range(100, 600), 666, 999):
        kinds = {verb: sort(status, error_type, "words", verb) for verb in Verb}
        assert kinds[Verb.SUBMIT] is not UNSURE
        assert kinds[Verb.SUBMIT_SEALED] in (UNSURE, FULL, RATE, H, S)
        if status >= 500 or status == 408 or status < 400:
            assert kinds[Verb.SUBMIT_SEALED] is UNSURE, status
        assert kinds[Verb.SURVEY] is not H
        if S in kinds.values():
            assert hint(status, error_type)


@pytest.mark.parametrize("status", [200, 301, 302, 400, 404, 409, 500, 502, 503])
def test_only_the_services_own_words_prove_that_something_is_gone(status: int) -> None:
    """A gateway that answers 404 with a page of its own deletes nothing."""
    for verb in (Verb.FETCH, Verb.DELETE):
        assert sort(status, OTHER, "<html>", verb) is not GONE


@pytest.mark.parametrize("bucket", ["file management", "async transcription", "model listing", "usage logs"])
@pytest.mark.parametrize("whose", ["organization", "project"])
def test_a_refusal_for_the_pace_says_nothing_about_room(bucket: str, whose: str) -> None:
    """It is RATE for every verb, and slows the requests."""
    message = PACE.format(bucket, whose)
    assert {sort(429, "limit_exceeded", message, verb) for verb in Verb} == {RATE}
    assert (is_about_pace(message), is_about_room(message)) == (True, False)


@pytest.mark.parametrize("message", ROOM)
def test_a_refusal_for_room_says_nothing_about_the_pace(message: str) -> None:
    """It is FULL for what is submitted, and slows nothing."""
    assert sort(429, "limit_exceeded", message, Verb.SUBMIT) is FULL
    assert sort(429, "limit_exceeded", message, Verb.SUBMIT_SEALED) is FULL
    assert (is_about_pace(message), is_about_room(message)) == (False, True)


@pytest.mark.parametrize("message", ["", "Slow down.", "<html>429</html>"])
def test_a_429_that_nobody_knows_may_mean_both(message: str) -> None:
    """Less is held, and nothing is asked for a while."""
    assert sort(429, OTHER, message, Verb.SUBMIT) is FULL
    assert (is_about_pace(message), is_about_room(message)) == (False, False)


@pytest.mark.parametrize("error_type", sorted(ACCOUNT_TYPES))
def test_a_refused_account_is_one_under_whatever_status(error_type: str) -> None:
    """The service's own examples have types under other statuses than their own."""
    assert {sort(400, error_type, "", verb) for verb in Verb} == {S}
    assert sort(500, error_type, "", Verb.SUBMIT_SEALED) is UNSURE


@pytest.mark.parametrize(
    ("error_type", "helps"),
    [
        ("invalid_audio_file", Remedy.CONVERT),
        ("file_not_found", Remedy.AGAIN),
        ("file_download_error", Remedy.NONE),
        ("max_duration_reached", Remedy.NONE),
        ("max_audio_duration_reached", Remedy.NONE),
        ("transcription_output_too_long", Remedy.NONE),
        ("organization_balance_exhausted", Remedy.STOP),
        ("organization_monthly_budget_exhausted", Remedy.STOP),
        ("project_monthly_budget_exhausted", Remedy.STOP),
        ("model_not_available", Remedy.STOP),
        ("internal_error", Remedy.AGAIN),
        ("of tomorrow", Remedy.NONE),
        ("", Remedy.NONE),
    ],
)
def test_every_way_a_job_fails_has_its_remedy(error_type: str, helps: Remedy) -> None:
    """What nobody knows is not paid for again."""
    assert remedy(error_type) is helps
    assert set(REMEDIES) <= {"invalid_audio_file", "max_audio_duration_reached", "transcription_output_too_long"} | {
        "file_download_error",
        *(error_type for _, error_type in DOCUMENTED),
    }


def response(status: int, body: object = None, text: str = "") -> httpx.Response:
    """Return an answer with a body of JSON, or with a text."""
    request = httpx.Request("GET", "http://x/")
    if body is not None:
        return httpx.Response(status, json=body, request=request)
    return httpx.Response(status, text=text, request=request)


def body_of(error_type: str, message: str = "words", **more: object) -> dict[str, object]:
    """Return the service's form of an error, with a status in it that is wrong."""
    return {"status_code": 400, "error_type": error_type, "message": message, "validation_errors": [], **more}


def ended_with(raising: Callable[[], object], verb: Verb = Verb.SURVEY, key: str = "a-key") -> ServiceError:
    """Return what becomes of whatever a call ends with."""
    client = Client("http://127.0.0.1", Key(key), Budget(0), Bridge(httpx.MockTransport(lambda _: httpx.Response(200))))
    with pytest.raises(ServiceError) as caught, RestService(client, Key(key))._sorted(verb):
        raising()
    return caught.value


def raises(error: Exception) -> Callable[[], object]:
    """Return a function that raises `error`."""

    def call() -> object:
        raise error

    return call


@pytest.mark.parametrize(
    "kind", [each for _, each in inspect.getmembers(soniox.errors, inspect.isclass) if issubclass(each, Exception)]
)
def test_every_error_of_the_official_client_is_sorted(kind: type[Exception]) -> None:
    """None of its classes passes the seam, also not those it has no business to raise here."""
    if kind is ValidationError:
        return  # pydantic's, see below
    named: dict[str, object] = {"response": response(429)} if issubclass(kind, soniox.errors.SonioxAPIError) else {}
    error = ended_with(raises(kind("words", **named)), Verb.SUBMIT_SEALED)
    assert error.kind is (FULL if named else UNSURE)


@pytest.mark.parametrize(("answer", "kinds"), DOCUMENTED.items())
def test_every_documented_answer_comes_through_the_official_client(
    answer: tuple[int, str], kinds: tuple[Kind, ...]
) -> None:
    """The status is the answer's own, whatever the body says; 402, 408 and 413, which have no class there, too."""
    status, error_type = answer
    refused = soniox.errors.SonioxAPIError.from_response(response(status, body_of(error_type)))
    for verb, kind in zip(Verb, kinds, strict=True):
        error = ended_with(raises(refused), verb)
        assert error.kind is kind
        assert error.code == f"{status} {error_type}"
        assert str(error) == f"{status} {error_type}: words"
        assert bool(error.hint) is (kind is S)


def network_errors() -> list[Exception]:
    """Return what the system and aiohttp raise when there is no answer."""
    return [
        TimeoutError(),
        ConnectionResetError("reset"),
        BrokenPipeError(),
        aiohttp.ConnectionTimeoutError("slow"),
        aiohttp.SocketTimeoutError("silent"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("short"),
        aiohttp.ClientError(),
    ]


@pytest.mark.parametrize("error", network_errors(), ids=lambda error: type(error).__name__)
def test_no_answer_means_unreachable_before_the_seal_and_uncertain_after_it(error: Exception) -> None:
    """Whatever broke, and wherever."""
    for verb in Verb:
        sorted_error = ended_with(raises(error), verb)
        assert sorted_error.kind is (UNSURE if verb is Verb.SUBMIT_SEALED else U)
        assert sorted_error.code == type(error).__name__


class _Form(BaseModel):
    number: int


@pytest.mark.parametrize(
    "call",
    [
        lambda: _Form.model_validate_json("{}"),
        lambda: response(200, text="<html>").json(),
        raises(BadAnswer("nonsense")),
        raises(zlib.error("not gzip")),
    ],
)
def test_a_success_that_makes_no_sense_is_none(call: Callable[[], object]) -> None:
    """A page of a hotel's network is no list of files."""
    assert ended_with(call, Verb.SURVEY).kind is U
    assert ended_with(call, Verb.SUBMIT_SEALED).kind is UNSURE
    assert ended_with(call).code == str(UNREADABLE)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (response(502, text="<html><body>bad</body></html>"), "502: Bad Gateway"),
        (response(502, text="<!DOCTYPE html>"), "502: Bad Gateway"),
        (response(503, text=""), "503: Service Unavailable"),
        (response(500, text="plain"), "500: plain"),
        (response(500, body=["a", "list"]), "500: Unable to parse API error schema"),
        (
            response(400, body_of("invalid_request", validation_errors=[{"error_type": "missing", "location": "body.payload.model", "message": "is missing"}])),
            "400 invalid_request: words body.payload.model: is missing",
        ),
    ],
)  # fmt: skip
def test_an_answer_of_whatever_form_is_told_on_one_line(answer: httpx.Response, words: str) -> None:
    """Gateways answer in HTML; complaints about fields are the best part of a message."""

    def call() -> None:
        raise soniox.errors.SonioxAPIError.from_response(answer)

    assert str(ended_with(call, Verb.FETCH)) == words


def test_the_key_is_in_no_message() -> None:
    """Should the service have repeated it, in whatever it says."""
    refused = soniox.errors.SonioxAPIError.from_response(response(401, body_of("unauthenticated", "Wrong: my-secret.")))
    error = ended_with(raises(refused), key="my-secret")
    assert "my-secret" not in str(error)
    assert (error.__cause__, error.__suppress_context__) == (None, True)
    assert str(error) == "401 unauthenticated: Wrong: <key>."


def test_a_very_long_message_is_cut() -> None:
    """A gateway may answer with a whole page."""
    refused = soniox.errors.SonioxAPIError.from_response(response(500, text="x" * 10_000))
    assert len(str(ended_with(raises(refused)))) < 600


def test_an_upload_that_somebody_deleted_is_not_the_recordings_fault() -> None:
    """The complaint is about the file's id: the transcription is looked for, and then sent again."""
    words = "Your request did not pass validation. body.payload.file_id: No file with this ID exists in your project."
    assert sort(400, "invalid_request", words, Verb.SUBMIT_SEALED) is Kind.UNCERTAIN
    assert sort(400, "invalid_request", "body.payload.model: Invalid model", Verb.SUBMIT_SEALED) is Kind.HOPELESS
