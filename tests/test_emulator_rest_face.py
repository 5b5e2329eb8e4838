"""The REST face on the wire: bodies both ways, pages, errors, tokens with what was asked for."""

from typing import Any
from uuid import UUID

import pytest

from batcher.emulator.knobs import Load, RestKnobs
from batcher.emulator.objects import Failure
from batcher.emulator.recognizers import echo_text, echo_words
from batcher.emulator.rest_models import CURRENT
from batcher.emulator.rest_refusals import Bucket
from tests.emulator_tools import Tape
from tests.rest_wire import Wire, said, wire

pytestmark = pytest.mark.anyio

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_file_looks_as_documented() -> None:
    """Id, name, size, time in UTC with milliseconds, reference; the same from every call that shows it."""
    async with wire() as api:
        answer = await api.upload(b"some audio", "ein Gespräch.wav", client_reference_id="mine")
        file = answer.json()
        assert answer.status_code == 201
        assert file == {
            "id": file["id"],
            "filename": "ein Gespräch.wav",
            "size": 10,
            "created_at": "2023-11-14T22:13:20.000Z",
            "client_reference_id": "mine",
        }
        assert UUID(file["id"]).version == 4
        assert (await api.get(f"/files/{file['id']}")).json() == file
        assert (await api.get("/files")).json() == {"files": [file], "next_page_cursor": None}
        assert (await api.get("/files/count")).json() == {"total": 1, "public_api": 1, "playground": 0}
        gone = await api.delete(f"/files/{file['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert said(await api.delete(f"/files/{file['id']}")) == (404, "file_not_found")


async def test_a_transcription_looks_as_documented() -> None:
    """All options come back, the secret of the webhook masked; times and results appear as it goes on."""
    options = {
        "language_hints": ["en", "de"],
        "enable_speaker_diarization": True,
        "enable_language_identification": True,
        "context": {"text": "a talk", "terms": ["fjord"]},
        "webhook_url": "https://example.com/hook",
        "webhook_auth_header_name": "X-Secret",
        "webhook_auth_header_value": "very secret",
        "client_reference_id": "mine",
    }
    async with wire(bytes_per_second=10) as api:
        file = (await api.upload(bytes(36))).json()
        answer = await api.create(file_id=file["id"], model="stt-async-v3", **options)
        job = answer.json()
        assert answer.status_code == 201
        expected = options | {
            "id": job["id"],
            "status": "queued",
            "created_at": "2023-11-14T22:13:20.000Z",
            "model": CURRENT,
            "filename": "a.wav",
            "audio_url": None,
            "file_id": file["id"],
            "audio_duration_ms": 0,
            "error_type": None,
            "error_message": None,
            "webhook_auth_header_value": "*" * 18,
            "webhook_status_code": None,
        }
        assert job == expected
        api.clock.pass_ms(200)
        expected |= {"status": "processing", "audio_duration_ms": 3600}
        assert (await api.get(f"/transcriptions/{job['id']}")).json() == expected
        api.clock.pass_ms(5000)
        expected["status"] = "completed"
        assert (await api.get("/transcriptions")).json() == {"transcriptions": [expected], "next_page_cursor": None}
        assert (await api.get("/transcriptions/count")).json() == {"total": 1, "public_api": 1, "playground": 0}
        assert (await api.delete(f"/transcriptions/{job['id']}")).status_code == 204


async def test_a_failed_transcription_says_why() -> None:
    """With its type and message, as ``error``."""
    async with wire() as api:
        job = (await api.create()).json()
        api.account.finish(job["id"], Failure("Only noise: \N{SNOWMAN}.", "invalid_audio_file"))
        seen = (await api.get(f"/transcriptions/{job['id']}")).json()
        assert (seen["status"], seen["error_type"]) == ("error", "invalid_audio_file")
        assert seen["error_message"] == "Only noise: \N{SNOWMAN}."


async def tokens_of(api: Wire, **asked: Any) -> list[dict[str, Any]]:
    """Return the tokens of a transcription with these options."""
    answer = await api.get(f"/transcriptions/{await api.completed(**asked)}/transcript")
    return list(answer.json()["tokens"])


async def test_the_tokens_are_the_text_in_pieces() -> None:
    """A blank begins a word, long words come in several pieces, times never run back."""
    async with wire() as api:
        file = (await api.upload(b"some audio")).json()
        job = await api.completed(file_id=file["id"])
        body = (await api.get(f"/transcriptions/{job}/transcript")).json()
        digest = Tape(b"some audio").digest
        assert (body["id"], body["text"]) == (job, echo_text(digest))
        texts = [token["text"] for token in body["tokens"]]
        assert "".join(texts) == body["text"]
        assert texts[:4] == ["echo", " of", " record", "ing"]
        times = [time for token in body["tokens"] for time in (token["start_ms"], token["end_ms"])]
        assert times == sorted(times)
        assert times[-1] == echo_words(digest)[-1].end_ms
        assert {type(token["confidence"]) for token in body["tokens"]} == {float}
        assert {token["speaker"] for token in body["tokens"]} == {None}


async def test_whole_words_and_absent_keys_are_knobs() -> None:
    """By default words come in pieces, and optional keys are there and null."""
    async with wire() as api:
        assert set((await tokens_of(api))[0]) >= {"speaker", "language", "translation_status", "is_audio_event"}
    async with wire(RestKnobs(null_keys=False, piece_letters=0)) as api:
        tokens = await tokens_of(api)
        assert set(tokens[0]) == {"text", "start_ms", "end_ms", "confidence"}
        assert tokens[2]["text"] == " recording"


async def test_speakers_and_languages_come_when_asked_for() -> None:
    """Speakers are texts; the language is the first hint."""
    async with wire() as api:
        asked = {"enable_speaker_diarization": True, "enable_language_identification": True}
        tokens = await tokens_of(api, language_hints=["fr"], **asked)
        assert {token["speaker"] for token in tokens} == {"1", "2"}
        assert {token["language"] for token in tokens} == {"fr"}
        assert {token["translation_status"] for token in tokens} == {None}


async def test_a_translation_follows_what_was_said() -> None:
    """Its tokens are marked, have no times, and are no part of the text."""
    async with wire() as api:
        job = await api.completed(translation={"type": "one_way", "target_language": "de"})
        body = (await api.get(f"/transcriptions/{job}/transcript")).json()
        said_tokens = [token for token in body["tokens"] if token["translation_status"] == "original"]
        translated = [token for token in body["tokens"] if token["translation_status"] == "translation"]
        assert len(said_tokens) + len(translated) == len(body["tokens"])
        assert "".join(token["text"] for token in said_tokens) == body["text"]
        words = "".join(token["text"] for token in translated).split()
        assert words == [f"{word}-de" for word in body["text"].split()]
        assert {(token["language"], token["source_language"]) for token in translated} == {("de", "en")}
        assert {token["start_ms"] for token in translated} == {None}
        assert [token["translation_status"] for token in body["tokens"]].index("translation") < len(said_tokens)


@pytest.mark.parametrize(("hints", "language"), [(["de"], "fr"), (["fr"], "de"), (None, "fr"), (["it"], None)])
async def test_two_languages_are_translated_to_each_other(hints: list[str] | None, language: str | None) -> None:
    """What is in neither language is not translated, and says so."""
    async with wire() as api:
        two_way = {"type": "two_way", "language_a": "de", "language_b": "fr"}
        tokens = await tokens_of(api, language_hints=hints, translation=two_way)
        translated = {token["language"] for token in tokens if token["translation_status"] == "translation"}
        assert translated == ({language} if language else set())
        if language is None:
            assert {token["translation_status"] for token in tokens} == {"none"}


async def test_an_error_is_worded_as_documented() -> None:
    """Status in the body too, entries of the validation, a request id, a link to the documentation."""
    async with wire() as api:
        answer = await api.client.post("/transcriptions", json={"model": "x" * 33, "audio_url": "ftp://x"})
        body = answer.json()
        assert answer.status_code == body["status_code"] == 400
        assert body["error_type"] == "invalid_request"
        assert body["message"].startswith("Your request did not pass validation.")
        assert body["more_info"].endswith("/errors#invalid-request")
        assert UUID(body["request_id"])
        places = {entry["location"]: entry["error_type"] for entry in body["validation_errors"]}
        assert places == {"body.payload.model": "string_too_long", "body.payload.audio_url": "string_pattern_mismatch"}


async def test_the_status_inside_a_body_may_be_wrong() -> None:
    """A knob: the status of the answer is the one to trust."""
    async with wire(RestKnobs(wrong_inner_status=True)) as api:
        answer = await api.get(f"/files/{UNKNOWN}")
        assert (answer.status_code, answer.json()["status_code"]) == (404, 400)


@pytest.mark.parametrize(
    "body",
    [
        {"model": CURRENT},
        {"model": CURRENT, "file_id": UNKNOWN, "audio_url": "http://example.com/a"},
        {"model": CURRENT, "file_id": "not a uuid"},
        {"model": CURRENT, "file_id": UNKNOWN},
        {"audio_url": "http://example.com/a"},
        {"model": None, "audio_url": "http://example.com/a"},
        {"model": "stt-rt-v5", "audio_url": "http://example.com/a"},
        {"model": CURRENT, "audio_url": "http://example.com/a b"},
        {"model": CURRENT, "audio_url": "http://example.com/a", "language_hints": ["en"] * 101},
        {"model": CURRENT, "audio_url": "http://example.com/a", "language_hints": ["x" * 11]},
        {"model": CURRENT, "audio_url": "http://example.com/a", "enable_speaker_diarization": "yes"},
        {"model": CURRENT, "audio_url": "http://example.com/a", "translation": {"type": "one_way"}},
        {"model": CURRENT, "audio_url": "http://example.com/a", "translation": {"type": "two_way", "language_a": "de"}},
        {"model": CURRENT, "audio_url": "http://example.com/a", "context": "x" * 10_001},
        {"model": CURRENT, "audio_url": "http://example.com/a", "context": {"terms": ["x" * 10_001]}},
        {"model": CURRENT, "audio_url": "http://example.com/a", "client_reference_id": "x" * 257},
        {"model": CURRENT, "audio_url": "http://example.com/a", "webhook_url": "http://" + "x" * 250},
        [],
        "text",
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(body: Any) -> None:
    """With 400 and the place that is wrong; nothing is created."""
    async with wire() as api:
        answer = await api.client.post("/transcriptions", json=body)
        assert said(answer) == (400, "invalid_request")
        assert answer.json()["validation_errors"][0]["location"].startswith("body.payload")
        assert api.account.stored == 0


async def test_the_longest_of_everything_is_accepted() -> None:
    """And every option may be null, as the official example sends it."""
    async with wire() as api:
        answer = await api.create(
            language_hints=["x" * 10] * 100,
            client_reference_id="x" * 256,
            context="x" * 10_000,
            webhook_url="http://" + "x" * 249,
            file_id=None,
            audio_url="http://" + "x" * 4089,
            translation=None,
            webhook_auth_header_name=None,
        )
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("body", [b"{", b"\xff", b"", b"[" * 2000, b" " * (1 << 21)])
async def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    """However broken or long it is."""
    async with wire() as api:
        assert said(await api.client.post("/transcriptions", content=body)) == (400, "invalid_request")


async def test_ids_that_are_none_and_paths_that_are_none() -> None:
    """400, 404 and 405 in the same form; 405 names the methods there are. Ids may be written in capitals."""
    async with wire() as api:
        file = (await api.upload()).json()["id"]
        assert (await api.get(f"/files/{file.upper()}")).status_code == 200
        assert said(await api.get("/files/1")) == (400, "invalid_request")
        assert said(await api.get(f"/transcriptions/{UNKNOWN}/transcript")) == (404, "transcription_not_found")
        assert said(await api.get("/nothing")) == (404, "not_found")
        for path, methods in (("/files", {"GET", "HEAD", "POST"}), ("/files/count", {"GET", "HEAD"})):
            answer = await api.delete(path)
            assert said(answer) == (405, "method_not_allowed")
            assert set(answer.headers["allow"].split(", ")) == methods


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic key", "key", ""])
async def test_a_wrong_key_is_told_before_anything_else(header: str) -> None:
    """Nothing of the request matters then."""
    async with wire(keys=frozenset({"key"})) as api:
        for method, path in (("GET", "/files?limit=x"), ("POST", "/files"), ("POST", "/transcriptions")):
            answer = await api.client.request(method, path, headers={"Authorization": header})
            assert said(answer) == (401, "unauthenticated")
            assert answer.json()["message"].startswith("Incorrect API key provided.")
        assert api.account.tally.requests == {}


async def test_permission_comes_before_the_form_and_the_pace() -> None:
    """403 with a type of its own."""
    async with wire(RestKnobs(requests_per_minute=1)) as api:
        api.account.forbidden = frozenset({Bucket.TRANSCRIPTIONS})
        for _ in range(2):
            assert said(await api.client.post("/transcriptions", json={})) == (403, "permission_denied")
        assert (await api.get("/files")).status_code == 200


@pytest.mark.parametrize("retry_after", [False, True])
async def test_too_many_requests_may_say_when_to_come_again(retry_after: bool) -> None:
    """No such header is documented; it is a knob. A full quota never has it."""
    async with wire(RestKnobs(requests_per_minute=2, retry_after=retry_after), pending=0) as api:
        full = await api.create()
        assert said(full) == (429, "limit_exceeded")
        assert "retry-after" not in full.headers
        await api.get("/transcriptions")
        api.clock.pass_ms(10_500)
        answer = await api.get("/transcriptions")
        assert said(answer) == (429, "limit_exceeded")
        assert answer.headers.get("retry-after") == ("50" if retry_after else None)


async def test_counts_know_the_playground() -> None:
    """What was made in the service's web page is only counted."""
    async with wire(RestKnobs(playground=Load(files=2, transcriptions=3))) as api:
        await api.upload()
        assert (await api.get("/files/count")).json() == {"total": 3, "public_api": 1, "playground": 2}
        assert (await api.get("/transcriptions/count")).json()["playground"] == 3


async def test_models_tell_which_name_is_which() -> None:
    """Retired names are aliases; the languages are there."""
    async with wire() as api:
        models = {model["id"]: model for model in (await api.get("/models")).json()["models"]}
        assert models[CURRENT]["aliased_model_id"] is None
        assert models["stt-async-v4"]["aliased_model_id"] == CURRENT
        assert len(models[CURRENT]["languages"]) == 60
