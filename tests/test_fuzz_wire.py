"""Whatever a service answers: what was asked for, or an error of the seam; and nothing the table could not keep."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batcher.errors import ServiceError
from batcher.model import Survey, Transcript
from batcher.render import FORMATS, render
from batcher.service import Service
from batcher.service.grpc_messages import Fold
from batcher.service.grpc_messages import survey as grpc_survey
from batcher.service.rest_messages import transcript
from batcher.service.stubs import speech_service_pb2 as pb
from batcher.text import UNSAFE
from batcher.transcripts import pack, unpack
from tests.render_tools import ABOUT
from tests.rest_tools import a_file, a_transcription, no_seal, sent, service

FEW = settings(max_examples=120, deadline=None)
LARGEST = 2**63

texts = st.text(st.characters(), max_size=8) | st.sampled_from(["\ud800", "a b", " word", "\x00", "\x1b[2J", "\u202e"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(10**30) | st.just(1e999),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def mutated(valid: dict[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """Return a valid object with some of its values replaced."""
    return st.dictionaries(st.sampled_from(sorted(valid)), json_values, max_size=3).map(lambda change: valid | change)


def pages(name: str, item: dict[str, object]) -> st.SearchStrategy[object]:
    """Return pages of a list, most of them nearly valid. No other page follows."""
    page: dict[str, object] = {name: [], "next_page_cursor": None}
    items = st.lists(mutated(item) | json_values, max_size=3)
    return st.one_of(items.map(lambda found: page | {name: found}), json_values, mutated(page | {name: [item]})).map(
        lambda body: body | {"next_page_cursor": None} if isinstance(body, dict) else body
    )


a_count: dict[str, object] = {"total": 2, "public_api": 2, "playground": 0}
counts = mutated(a_count) | json_values
token: dict[str, object] = {
    "text": " word", "start_ms": 10, "end_ms": 20, "confidence": 0.9, "speaker": "1", "language": "en",
    "translation_status": "original", "source_language": "de", "is_audio_event": True,
}  # fmt: skip
tokens = st.fixed_dictionaries({"tokens": st.lists(mutated(token) | mutated(token) | json_values, max_size=4)})
refusal: dict[str, object] = {
    "status_code": 400, "error_type": "invalid_request", "message": "words", "request_id": "1",
    "validation_errors": [{"error_type": "x", "location": "y", "message": "z"}],
}  # fmt: skip
bodies = (mutated(refusal) | json_values).map(json.dumps).map(str.encode) | st.binary(max_size=20)
statuses = st.sampled_from([200, 201, 204, 301, 400, 401, 402, 404, 408, 409, 413, 429, 500, 503, 599])


def checked(error: ServiceError) -> None:
    """Check that the table can keep the words of an error."""
    assert len(f"{error}{error.hint}".encode()) < 5000


def asked(answers: Callable[[httpx.Request], httpx.Response], ask: Callable[[Service], Awaitable[object]]) -> object:
    """Return what a service that answers so makes of a call; None when it is an error of the seam."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return answers(request)

    async def call() -> object:
        try:
            return await ask(service(answer))
        except ServiceError as error:
            checked(error)
            return None

    return anyio.run(call)


def body(value: object, status: int = 200) -> httpx.Response:
    """Return an answer of JSON, with what JSON has no word for."""
    return httpx.Response(status, content=json.dumps(value).encode())


@FEW
@example({"files": [a_file(1, size=10**30), a_file(2, size=-(10**30))]}, {"transcriptions": []}, a_count)
@given(pages("files", a_file()), pages("transcriptions", a_transcription()), counts)
def test_any_list_is_a_survey_or_an_error(files: object, works: object, count: object) -> None:
    """Whatever is in it, its numbers and its texts fit into the table."""

    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/count"):
            return body(count)
        return body(files if "files" in request.url.path else works)

    found = asked(answers, lambda rest: rest.survey())
    if found is not None:
        assert isinstance(found, Survey)
        kept(found)


def kept(survey: Survey) -> None:
    """Check that the table can keep what a survey holds."""
    for each in survey.objects:
        assert (each.id + each.reference + each.error).encode() is not None
        assert abs(each.created or 0) < LARGEST
        assert 0 <= each.bytes < LARGEST // 10_000


@FEW
@example(400, json.dumps(refusal | {"message": "half \ud800", "error_type": "\udfff"}).encode())
@example(500, b"[" * 100_000)
@given(statuses, bodies)
def test_any_answer_to_anything_is_an_error_or_what_was_asked_for(status: int, content: bytes) -> None:
    """A listing, an upload with its transcription, a transcript, and a deletion."""

    def answers(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=content)

    asked(answers, lambda rest: rest.survey())
    asked(answers, lambda rest: rest.submit(sent(), no_seal))
    asked(answers, lambda rest: rest.fetch("job-1/file-1"))
    asked(answers, lambda rest: rest.delete("job-1/file-1"))


@FEW
@example({"tokens": [token | {"start_ms": 1e999, "end_ms": float("nan"), "confidence": float("inf"), "language": []}]})
@example({"tokens": [token | {"start_ms": "10", "end_ms": [], "speaker": {}, "source_language": 1, "confidence": "x"}]})
@example({"tokens": [token | {"start_ms": 10**400, "confidence": -(10**400)}]})
@given(tokens | mutated({"tokens": [token], "text": "word", "id": "1"}) | json_values)
def test_any_transcript_over_rest_can_be_kept_and_shown(content: object) -> None:
    """Or is an error: what is fetched once is rendered for ever."""
    try:
        found = transcript(json.dumps(content).encode(), "model")
    except ServiceError as error:
        checked(error)
    else:
        shown(found)


def shown(found: Transcript) -> None:
    """Check that a transcript survives the table, and that every format of it is text without tricks."""
    again = unpack(pack(found))
    for name in FORMATS:
        rendered = render(name, again, ABOUT)
        assert rendered == render(name, found, ABOUT)
        assert not set(UNSAFE.findall(rendered.decode())) - set("\n\t\u061c\u200e\u200f\u2028\u2029\x7f")
    json.loads(render("json", found, ABOUT), parse_constant=lambda word: 1 / 0)


int32 = st.integers(-(2**31), 2**31 - 1)
words = st.builds(
    pb.Word,
    text=st.text(max_size=6) | st.sampled_from([" ", "", "\x1b[2J"]),
    start_ms=int32,
    duration_ms=int32,
    is_final=st.booleans(),
    speaker=int32,
    confidence=st.floats(width=32),
)
results = st.builds(
    pb.GetTranscribeAsyncResultResponse,
    result=st.none() | st.builds(pb.Result, words=st.lists(words, max_size=4), channel=st.integers(-1, 3) | int32),
    separate_recognition_per_channel=st.booleans(),
)


@FEW
@given(st.lists(results | st.none(), max_size=4))
def test_any_transcript_over_grpc_can_be_kept_and_shown(messages: list[Any]) -> None:
    """The same."""
    fold = Fold()
    try:
        for message in messages:
            fold.add(message)
        found = fold.transcript()
    except ServiceError as error:
        checked(error)
    else:
        shown(found)


@FEW
@given(st.binary(max_size=80), st.lists(st.binary(max_size=80), max_size=3))
def test_any_bytes_that_are_a_message_can_be_folded(listing: bytes, stream: list[bytes]) -> None:
    """Fields in any order, unknown ones among them."""
    fold = Fold()
    for data in stream:
        message = parsed(pb.GetTranscribeAsyncResultResponse, data)
        try:
            fold.add(message)
        except ServiceError as error:
            checked(error)
    found = parsed(pb.GetTranscribeAsyncStatusResponse, listing)
    if found is not None:
        kept(grpc_survey(found.files))


def parsed(kind: Any, data: bytes) -> Any:
    """Return the message that the bytes are; None, as grpc has it, for none."""
    message = kind()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001 - whatever protobuf raises, grpc catches
        return None
    return message


@FEW
@given(
    st.lists(
        st.builds(
            pb.TranscribeAsyncFileStatus,
            file_id=st.text(max_size=5),
            reference_name=st.text(max_size=5),
            status=st.sampled_from(["QUEUED", "FAILED", "COMPLETED", "", "SOMETHING"]),
            error_message=st.text(max_size=5) | st.just("x" * 10_000),
            created_time=st.none()
            | st.builds(Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1)),
        ),
        max_size=4,
    )
)
def test_any_list_over_grpc_is_a_survey(files: list[Any]) -> None:
    """Complete only if every entry can be acted on."""
    found = grpc_survey(files)
    kept(found)
    assert found.complete == all(each.file_id for each in files)
