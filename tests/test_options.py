"""The transcription options: what is refused, in which words, and what the fingerprint depends on."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from batcher.errors import UsageError
from batcher.options import (
    GRPC_MODELS,
    GRPC_ONLY,
    LANGUAGES,
    RAW_FORMATS,
    REST_ONLY,
    ContextEntry,
    ContextFact,
    ContextTranslation,
    Options,
    SpokenContext,
    Storage,
    Translation,
    Webhook,
    check_for_grpc,
    check_for_rest,
)

EVERYTHING: dict[str, Any] = {
    "model": "en_v2",
    "speech_context": [{"phrases": ["acetylsalicylic", "Öl"], "boost": 5}],
    "speech_context_name": "clinic",
    "speaker_diarization": True,
    "min_speakers": 1,
    "max_speakers": 3,
    "speaker_identification": True,
    "speaker_names": ["first", "second"],
    "profanity_filter": True,
    "moderation_phrases": ["secret"],
    "dictation": True,
    "separate_channels": True,
    "audio_format": "pcm_s16le",
    "sample_rate": 16000,
    "channels": 2,
    "document_formatting": '{"a": 1}',
    "storage": {
        "object_id": "x",
        "title": "t",
        "metadata": {"k": "v"},
        "datetime": "2024-05-31T14:00:00Z",
        "disable_store_audio": True,
        "disable_store_transcript": True,
    },
    "language_hints": ["en", "de"],
    "language_hints_strict": True,
    "language_identification": True,
    "translation": {"type": "two_way", "language_a": "en", "language_b": "de"},
    "context": {
        "general": [{"key": "domain", "value": "medicine"}],
        "text": "A talk with a patient.",
        "terms": ["acetylsalicylic"],
        "translation_terms": [{"source": "ward", "target": "Station"}],
    },
}
REST: dict[str, Any] = {name: EVERYTHING[name] for name in ("speaker_diarization", *REST_ONLY)}


def test_every_option_survives_json() -> None:
    """What is written to the table is read back equal, and the example above sets every field there is."""
    options = Options.model_validate(EVERYTHING)
    assert set(EVERYTHING) == set(Options.model_fields)
    assert set(EVERYTHING["storage"]) == set(Storage.model_fields)
    assert options.model_dump(exclude_defaults=True).keys() == EVERYTHING.keys()
    assert Options.from_json(options.to_json()) == options


def test_nothing_set_is_an_empty_object() -> None:
    """The fingerprint of no options is a constant of the format: stored references depend on it."""
    assert Options().to_json() == "{}"
    assert Options().fingerprint() == "01e7b720ff566d53"
    assert Options(storage=Storage(), min_speakers=0, speech_context=()).fingerprint() == Options().fingerprint()


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_each_option_changes_the_fingerprint(name: str) -> None:
    """No option that is set is left out of the fingerprint (here: by leaving out each in turn)."""
    whole = Options.model_validate(EVERYTHING)
    default = Options.model_fields[name].default
    assert whole.model_copy(update={name: default}).fingerprint() != whole.fingerprint()


def test_blanks_in_the_document_formatting_change_nothing() -> None:
    """A reformatted JSON text must not make every recording be paid for again."""
    dense, airy = Options(document_formatting='{"a":1,"b":2}'), Options(document_formatting='{ "b": 2, "a": 1 }')
    assert dense.fingerprint() == airy.fingerprint()
    assert dense.fingerprint() != Options(document_formatting='{"a":1,"b":3}').fingerprint()


def test_a_whole_number_boost_is_the_same_as_a_fraction() -> None:
    """`boost = 5` and `boost = 5.0` ask for the same."""
    texts = [json.dumps({"speech_context": [{"phrases": ["a"], "boost": boost}]}) for boost in (5, 5.0)]
    assert len({Options.from_json(text).fingerprint() for text in texts}) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"min_speakers": 2}, "need speaker_diarization = true"),
        ({"max_speakers": 2}, "need speaker_diarization = true"),
        ({"speaker_diarization": True, "min_speakers": 3, "max_speakers": 2}, r"min_speakers \(3\) is more than"),
        ({"speaker_diarization": True, "min_speakers": -1}, "greater than or equal to 0"),
        ({"speaker_diarization": True, "max_speakers": 2**31}, "less than or equal to"),
        ({"speaker_identification": True, "speaker_names": ["a"]}, "speaker_identification needs speaker_diarization"),
        ({"speaker_identification": True, "speaker_diarization": True}, "need each other"),
        ({"speaker_names": ["a"], "speaker_diarization": True}, "need each other"),
        ({"model": "ko_v2", "speaker_diarization": True}, "ko_v2 cannot tell speakers apart; use one of en_v2"),
        ({"audio_format": "mp3"}, "'mp3' is not a raw encoding"),
        ({"audio_format": "mulaw"}, "raw audio needs sample_rate"),
        ({"audio_format": "mulaw", "sample_rate": 8000}, "raw audio needs sample_rate"),
        ({"audio_format": "mulaw", "sample_rate": 1999, "channels": 1}, "raw audio needs sample_rate"),
        ({"audio_format": "mulaw", "sample_rate": 96001, "channels": 1}, "raw audio needs sample_rate"),
        ({"audio_format": "mulaw", "sample_rate": 8000, "channels": 9}, "raw audio needs sample_rate"),
        ({"sample_rate": 8000}, "they need audio_format"),
        ({"channels": 1}, "they need audio_format"),
        ({"document_formatting": "{"}, "is not JSON"),
        ({"speech_context": [{"phrases": []}]}, "at least 1 item"),
        ({"speech_context": [{"phrases": [" "]}]}, "at least 1 character"),
        ({"speech_context": [{"phrases": ["a"], "boost": float("nan")}]}, "finite number"),
        ({"storage": {"datetime": "yesterday"}}, "RFC 3339"),
        ({"storage": {"datetime": "2024-05-31T14:00:00"}}, "RFC 3339"),
        ({"storage": {"datetime": "2024-02-31T14:00:00Z"}}, "RFC 3339"),
        ({"storage": {"datetime": "0001-01-01T00:00:00+05:00"}}, "RFC 3339"),
        ({"diarisation": True}, "Extra inputs are not permitted"),
        ({"storage": {"name": "x"}}, "Extra inputs are not permitted"),
        ({"model": "\udcff"}, "not valid Unicode"),
        ({"language_hints": ["english"]}, "'english' is none of the service's languages: af, ar, az"),
        ({"language_hints": ["xx"]}, "'xx' is none"),
        ({"language_hints": ["en"] * 101}, "at most 100 items"),
        ({"language_hints_strict": True}, "needs language_hints"),
        ({"translation": {"type": "one_way"}}, "type one_way takes target_language, and nothing else"),
        ({"translation": {"type": "one_way", "target_language": "xx"}}, "'xx' is none"),
        ({"translation": {"type": "two_way", "language_a": "en"}}, "takes language_a and language_b"),
        (
            {"translation": {"type": "two_way", "language_a": "en", "language_b": "de", "target_language": "fr"}},
            "and nothing else",
        ),
        ({"translation": {"type": "two_way", "language_a": "en", "language_b": "en"}}, "are the same"),
        ({"translation": {"target_language": "de"}}, "a translation without type takes no language"),
        ({"translation": {"type": "three_way"}}, "'one_way' or 'two_way'"),
        ({"context": {"text": "x" * 10_001}}, "10,013 characters is too long"),
        ({"context": {"text": "x" * 9_000, "terms": ["y" * 1_001]}}, "is too long"),
        ({"context": {"general": {"domain": "x" * 10_000}}}, "is too long"),
        ({"context": {"terms": ["ab"] * 1_700}}, "is too long"),
        ({"context": {"terms": [" "]}}, "at least 1 character"),
        ({"context": {"translation_terms": {"ward": "Station"}}}, "need a translation"),
        ({"context": {"words": ["a"]}}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_plain_words(given: dict[str, Any], words: str) -> None:
    """A wrong option is said when it is read, with the name of what to mend."""
    with pytest.raises(ValidationError, match=words):
        Options.model_validate(given)


@pytest.mark.parametrize("model", ["", "en_v2", "en_v2_lowlatency", "stt-async-v5"])
def test_speakers_are_told_apart_by_models_not_known_to_lack_it(model: str) -> None:
    """The REST API's models have the feature, so only the models known to lack it are refused."""
    assert Options(model=model, speaker_diarization=True, max_speakers=2).max_speakers == 2


@pytest.mark.parametrize("raw", RAW_FORMATS)
def test_each_raw_encoding_is_taken_with_its_rate_and_channels(raw: str) -> None:
    """The bounds of rate and channels themselves are allowed."""
    Options(audio_format=raw, sample_rate=2000, channels=1)
    Options(audio_format=raw, sample_rate=96000, channels=8)


def test_a_date_of_a_toml_file_is_taken() -> None:
    """TOML has dates of its own; they mean the same as the text."""
    storage = Storage.model_validate({"datetime": datetime(2024, 5, 31, 14, tzinfo=UTC)})
    assert storage.datetime == "2024-05-31T14:00:00+00:00"


def test_the_legacy_api_knows_its_models() -> None:
    """All sixteen models and none at all pass; the REST API's do not."""
    for model in ("", *GRPC_MODELS):
        check_for_grpc(Options(model=model))
    assert len(GRPC_MODELS) == 16
    with pytest.raises(UsageError, match="'stt-async-v5' is not one of the gRPC API's models") as caught:
        check_for_grpc(Options(model="stt-async-v5"))
    assert "en_v2" in caught.value.hint


def test_both_apis_refuse_what_only_the_other_has() -> None:
    """Every option is of one of them or of both, and the refusal names all that is wrong."""
    shared = set(Options.model_fields) - set(GRPC_ONLY) - set(REST_ONLY)
    assert shared == {"model", "speaker_diarization"}
    everything = Options.model_validate(EVERYTHING)
    with pytest.raises(UsageError, match=f"^the REST API has no {', '.join(GRPC_ONLY)}$"):
        check_for_rest(everything)
    with pytest.raises(UsageError, match=f"^the gRPC API has no {', '.join(REST_ONLY)}$"):
        check_for_grpc(everything)


def test_each_api_takes_all_of_its_own() -> None:
    """Also all at once."""
    check_for_rest(Options.model_validate(REST | {"model": "stt-async-v5"}))
    check_for_rest(Options())
    check_for_grpc(Options.model_validate({name: EVERYTHING[name] for name in EVERYTHING if name not in REST_ONLY}))


@pytest.mark.parametrize("model", ["en_v2", "stt-rt-v4", "x" * 33])
def test_models_that_rest_cannot_have_are_refused(model: str) -> None:
    """New ones come without a new batcher, so only what cannot be meant is."""
    with pytest.raises(UsageError, match="is not one of the REST API's models"):
        check_for_rest(Options(model=model))


def test_a_context_may_be_written_as_tables() -> None:
    """Which is shorter in a TOML file, and means the same."""
    short = SpokenContext.model_validate({"general": {"domain": "medicine"}, "translation_terms": {"ward": "Station"}})
    assert short.general == (ContextFact(key="domain", value="medicine"),)
    assert short.translation_terms == (ContextTranslation(source="ward", target="Station"),)


@pytest.mark.parametrize(("characters", "taken"), [(3_934, True), (3_935, False)])
def test_a_context_is_measured_whole_as_it_is_sent(characters: int, taken: bool) -> None:
    """The service counts tokens of all of it, names and brackets too; about 10,000 characters are what it takes."""
    general = [{"key": "k" * 1_000, "value": "v" * 2_000}]
    facts = {"text": "ü" * characters, "terms": ["y" * 3_000], "general": general}
    if taken:
        sent = SpokenContext.model_validate(facts).model_dump(exclude_defaults=True)
        assert len(json.dumps(sent, ensure_ascii=False)) == 10_000
    else:
        with pytest.raises(ValidationError, match="10,001 characters is too long"):
            SpokenContext.model_validate(facts)


def test_all_sixty_languages_are_known() -> None:
    """However they are written."""
    assert len(LANGUAGES) == 60
    assert Options(language_hints=tuple(sorted(LANGUAGES))).language_hints == tuple(sorted(LANGUAGES))
    assert Options(language_hints=(" EN",)).language_hints == ("en",)


SECRET = "a-secret-of-the-webhook"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "ftp://example.com"}, "must begin with https://"),
        ({"url": "https://example.com/a b"}, "must begin with https://"),
        ({"url": "https://example.com/" + "x" * 250}, "at most 256 characters"),
        ({"url": "https://example.com", "header_name": "X-Secret"}, "needs a name, a value and a URL"),
        ({"url": "https://example.com", "header_value": SECRET}, "needs a name, a value and a URL"),
        ({"header_name": "X-Secret", "header_value": SECRET}, "needs a name, a value and a URL"),
        ({"url": "https://x", "header_name": "X Secret", "header_value": SECRET}, "characters that no header can have"),
        ({"url": "https://x", "header_name": "X", "header_value": SECRET + "\n"}, "characters that no header can have"),
        ({"url": "https://x", "header_name": "X", "header_value": SECRET * 20}, "longer than 256"),
    ],
)
def test_a_webhook_that_cannot_be_meant_is_refused_without_its_secret(given: dict[str, Any], words: str) -> None:
    """In plain words, which go to a terminal and a log."""
    with pytest.raises(ValidationError, match=words) as caught:
        Webhook.model_validate(given)
    assert SECRET not in str(caught.value)


def test_a_webhooks_secret_shows_nowhere() -> None:
    """And nothing of a webhook is among the options, so it enters neither a fingerprint nor the table."""
    webhook = Webhook.model_validate({"url": "https://x", "header_name": "X", "header_value": SECRET})
    assert webhook.header_value.get_secret_value() == SECRET
    assert SECRET not in repr(webhook) + str(webhook) + webhook.model_dump_json() + str(webhook.model_dump())
    assert not [name for name in Options.model_fields if "webhook" in name]


@pytest.mark.parametrize(
    "model",
    [Options, Storage, ContextEntry, Translation, SpokenContext, ContextFact, ContextTranslation, Webhook],
)
def test_every_option_describes_itself(model: type[BaseModel]) -> None:
    """The commented configuration file is written from these sentences."""
    for name, info in model.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


def test_options_never_change() -> None:
    """They are shared between jobs."""
    with pytest.raises(ValidationError, match="frozen"):
        Options().model = "en_v2"  # type: ignore[misc, unused-ignore]


def test_options_are_read_without_the_heavy_libraries() -> None:
    """Reading a configuration must not load a client of the service."""
    probe = "import sys, batcher.options; print([m for m in ('grpc', 'asyncio', 'google.protobuf', 'soniox', 'httpx', 'aiohttp') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
