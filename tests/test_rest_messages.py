"""The messages of the REST API: what an option becomes, what a list and a transcript say."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from soniox.types import CreateTranscriptionPayload

from batcher.errors import Kind, ServiceError
from batcher.model import Part, Remedy, RemoteObject, RemoteStatus, Transcript, Word
from batcher.options import Options, Webhook
from batcher.service.rest_messages import (
    FilesPage,
    ListedFile,
    ListedTranscription,
    TranscriptionsPage,
    is_id,
    join_id,
    joined,
    split_id,
    transcript,
    transcription_config,
)
from batcher.transcripts import pack, unpack
from tests.rest_tools import FILE, JOB, a_file, a_transcription
from tests.test_options import REST


def payload(options: dict[str, Any], webhook: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a creation with these options says."""
    config = transcription_config(Options.model_validate(options), Webhook.model_validate(webhook or {}))
    whole = CreateTranscriptionPayload.model_validate({"file_id": FILE, **config.model_dump(exclude_none=True)})
    return whole.model_dump(exclude_none=True, exclude={"file_id", "model"})


def test_what_was_left_alone_is_not_sent() -> None:
    """The service's defaults hold then, today's and tomorrow's."""
    assert payload({}) == {}


def test_every_option_is_spelled_as_the_service_does() -> None:
    """Names and forms are those of its description."""
    assert payload(REST) == {
        "language_hints": ["en", "de"],
        "language_hints_strict": True,
        "enable_speaker_diarization": True,
        "enable_language_identification": True,
        "translation": {"type": "two_way", "language_a": "en", "language_b": "de"},
        "context": {
            "general": [{"key": "domain", "value": "medicine"}],
            "text": "A talk with a patient.",
            "terms": ["acetylsalicylic"],
            "translation_terms": [{"source": "ward", "target": "Station"}],
        },
    }


def test_a_translation_into_one_language_names_only_that() -> None:
    """The other fields are not there, which is not the same as empty."""
    assert payload({"translation": {"type": "one_way", "target_language": "fr"}}) == {
        "translation": {"type": "one_way", "target_language": "fr"}
    }


def test_a_webhook_is_sent_with_its_secret() -> None:
    """And only here."""
    webhook = {"url": "https://example.com/hook?batch=7", "header_name": "X-Secret", "header_value": "s"}
    assert payload({}, webhook) == {
        "webhook_url": "https://example.com/hook?batch=7",
        "webhook_auth_header_name": "X-Secret",
        "webhook_auth_header_value": "s",
    }


def seen(*items: dict[str, object], stored: tuple[dict[str, object], ...] = ()) -> tuple[RemoteObject, ...]:
    """Return what a list of these transcriptions and files says."""
    jobs = TranscriptionsPage.model_validate({"transcriptions": items}).items
    return joined(FilesPage.model_validate({"files": stored}).items, jobs)


def test_a_transcription_and_its_file_are_one_object() -> None:
    """With the reference of the transcription, and what its file occupies."""
    [both] = seen(a_transcription(7), stored=(a_file(7),))
    created = int(datetime(2024, 11, 26, tzinfo=UTC).timestamp() * 1000)
    assert both == RemoteObject("job-7/file-7", "reference-7", RemoteStatus.QUEUED, "", created, 1007, 1)


def test_a_file_that_nothing_transcribes_is_an_object_of_its_own() -> None:
    """It is not pending, and no attempt can complete with it."""
    [alone] = seen(stored=(a_file(3),))
    assert (alone.id, alone.reference, alone.status) == ("/file-3", "reference-3", RemoteStatus.UPLOADED)
    assert (alone.bytes, alone.files, alone.status.pending) == (1003, 1, False)
    assert alone.created == int(datetime(2024, 11, 26, tzinfo=UTC).timestamp() * 1000) + 123


def test_a_transcription_without_a_listed_file_keeps_its_id() -> None:
    """The file was made after the list of files, or deleted, or there never was one."""
    lost, from_url = seen(a_transcription(1), a_transcription(2, file_id=None, audio_url="https://x"))
    assert [(each.id, each.bytes, each.files) for each in (lost, from_url)] == [
        ("job-1/file-1", 0, 0),
        ("job-2/", 0, 0),
    ]


def test_a_file_of_several_transcriptions_is_counted_once() -> None:
    """The sums are the account's."""
    first, second = seen(a_transcription(1), a_transcription(2, file_id="file-1"), stored=(a_file(1),))
    assert (first.id, second.id) == ("job-1/file-1", "job-2/file-1")
    assert (first.bytes + second.bytes, first.files + second.files) == (1001, 1)


@pytest.mark.parametrize(
    ("status", "means"),
    [
        ("queued", RemoteStatus.QUEUED),
        ("processing", RemoteStatus.PROCESSING),
        ("completed", RemoteStatus.COMPLETED),
        ("error", RemoteStatus.FAILED),
        ("downloading", RemoteStatus.PROCESSING),
        ("", RemoteStatus.PROCESSING),
    ],
)
def test_every_status_means_something(status: str, means: RemoteStatus) -> None:
    """One that nobody knows yet is work in progress, and spoils no list."""
    [each] = seen(a_transcription(status=status))
    assert each.status is means


def test_a_failed_transcription_says_why_and_what_may_help() -> None:
    """Type and text; one that did not fail says neither."""
    failed: dict[str, Any] = {"error_type": "invalid_audio_file", "error_message": "Cannot decode."}
    broken, running = seen(a_transcription(status="error", **failed), a_transcription(2, **failed))
    assert (broken.error, broken.remedy) == ("invalid_audio_file: Cannot decode.", Remedy.CONVERT)
    assert (running.error, running.remedy) == ("", Remedy.NONE)


def test_a_list_with_little_in_it_is_still_a_list() -> None:
    """What is optional may be absent or null, what is new is passed over."""
    page = TranscriptionsPage.model_validate_json('{"transcriptions":[{"id":"a","status":"queued","priority":9}]}')
    assert (page.items, page.next_page_cursor) == ([ListedTranscription(id="a", status="queued")], None)
    assert FilesPage.model_validate_json('{"files":[{"id":"a"}]}').items == [ListedFile(id="a")]


@pytest.mark.parametrize(
    ("remote", "good"),
    [
        (f"{JOB}/{FILE}", True),
        (f"/{FILE}", True),
        (f"{JOB}/", True),
        ("/", False),
        ("", False),
        ("a/../b", False),
        ("a/b?c", False),
        ("a/b c", False),
        ("a/b/c", False),
        ("3457", False),
        ("x" * 65 + "/", False),
    ],
)
def test_an_id_that_would_lead_elsewhere_is_none(remote: str, good: bool) -> None:
    """What comes from the service goes into paths."""
    assert is_id(remote) is good


@pytest.mark.parametrize(("job", "file"), [(JOB, FILE), ("", FILE), (JOB, "")])
def test_ids_are_joined_and_split(job: str, file: str) -> None:
    """Either may be missing."""
    assert split_id(join_id(job, file)) == (job, file)


def token(**keys: object) -> dict[str, object]:
    """Return a token with all its keys, null unless given."""
    names = ("start_ms", "end_ms", "confidence", "speaker", "language", "is_audio_event", "translation_status")
    return dict.fromkeys((*names, "source_language")) | {"text": " word"} | keys


def read(*tokens: dict[str, object]) -> Part:
    """Return the words of an answer with these tokens."""
    [part] = transcript(json.dumps({"id": JOB, "text": "…", "tokens": tokens}).encode(), "m").parts
    return part


def test_a_confidence_that_is_no_number_is_unknown() -> None:
    """To Python True is a number, to JSON it is none."""
    assert [
        word.confidence for word in read(token(confidence=True), token(confidence=1), token(confidence="1")).words
    ] == [
        None,
        1,
        None,
    ]


def test_a_token_becomes_a_word() -> None:
    """With everything that it says."""
    said = token(start_ms=120, end_ms=250, confidence=0.97, speaker="1", language="en", translation_status="none")
    assert read(said).words == (Word(" word", 120, 250, 0.97, "1", "en"),)


def test_a_sound_is_told_from_a_word_and_survives_the_table() -> None:
    """Laughter is no word."""
    part = read(token(text="[laughter]", is_audio_event=True), token(is_audio_event=False))
    assert [word.is_audio_event for word in part.words] == [True, False]
    assert unpack(pack(Transcript((part,)))).parts == (part,)


def test_a_translation_is_told_from_what_was_spoken() -> None:
    """It has no times, but a language it comes from."""
    spoken = token(text="Hello", start_ms=1, end_ms=2, language="en", translation_status="original")
    translated = token(text="Hallo", language="de", source_language="en", translation_status="translation")
    words = read(spoken, translated).words
    assert words == (
        Word("Hello", 1, 2, language="en", translation="original"),
        Word("Hallo", language="de", translation="translation", source_language="en"),
    )


def test_absent_keys_and_null_keys_mean_the_same() -> None:
    """The service does one or the other."""
    assert read(token()) == read({"text": " word"}) == Part((Word(" word"),))


@pytest.mark.parametrize("tokens", ["[]", "null"])
def test_silence_is_an_empty_transcript(tokens: str) -> None:
    """And no error."""
    answer = transcript(f'{{"id":"x","text":"","tokens":{tokens}}}'.encode(), "stt-async-v5")
    assert (answer.text, answer.parts, answer.model) == ("", (Part(()),), "stt-async-v5")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"tokens":7}',
        b'{"tokens":["a"]}',
        b'{"tokens":[{"start_ms":1}]}',
        b'{"tokens":[{"text":null}]}',
        b'{"tokens":[{"text":"a"}',
        b"\xff",
    ],
)
def test_a_transcript_that_makes_no_sense_is_asked_for_again(body: bytes) -> None:
    """Never taken for an empty or a short one."""
    with pytest.raises(ServiceError) as caught:
        transcript(body, "")
    assert caught.value.kind is Kind.LATER


def test_a_translated_transcript_survives_the_table() -> None:
    """What is stored is read back equal, also beside words that know nothing of translations."""
    body = {"tokens": [token(translation_status="translation", language="de", source_language="en"), token()]}
    whole = transcript(json.dumps(body).encode(), "m")
    assert unpack(pack(whole)) == whole
