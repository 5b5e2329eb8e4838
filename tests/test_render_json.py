"""The json format: everything known, for programs, as its schema says."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.model import Part, Transcript, Word
from batcher.render import About, render
from tests.render_tools import ABOUT, any_transcript, one_voice, words

SCHEMA = json.loads((files("batcher.render") / "transcript.schema.json").read_text())
FULL = About(
    name="talk.mp3",
    path=b"/recordings/talk.mp3",
    size=12345,
    sha256="ab" * 32,
    duration_ms=61_000,
    options={"model": "en_v2", "phrases": ["harbour"], "nothing": None},
    api="grpc",
    model="en_v2",
    reference="batcher1.0123456789abcdef.1.1.0123456789ab",
    remote="f-1",
    batch="0123456789abcdef",
    times={"submitted": 1_700_000_000_000},
    version="9.9.9",
)
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
}


def loaded(transcript: Transcript, about: About = ABOUT) -> Any:
    """Return the rendered document, read as strictly as JSON can be."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(render("json", transcript, about), parse_constant=refuse)


def check(value: Any, schema: dict[str, Any], place: str = "$") -> None:
    """Hold `value` against the keywords of JSON Schema that ours uses; a key it does not declare is an error."""
    if "const" in schema:
        assert value == schema["const"], place
        return
    assert value in schema.get("enum", [value]), place
    assert isinstance(value, TYPES[schema["type"]]), place
    assert not isinstance(value, bool), place
    assert value >= schema.get("minimum", value) if isinstance(value, int) else True, place
    if isinstance(value, str):
        assert re.search(schema.get("pattern", ""), value), place
    if isinstance(value, list):
        for index, item in enumerate(value):
            check(item, schema["items"], f"{place}[{index}]")
    if isinstance(value, dict):
        check_object(value, schema, place)


def check_object(value: dict[str, Any], schema: dict[str, Any], place: str) -> None:
    """Hold an object against what the schema says of its keys; without a word about them, any will do."""
    assert set(schema.get("required", ())) <= set(value), place
    for key, inner in value.items():
        if key in schema.get("properties", {}):
            check(inner, schema["properties"][key], f"{place}.{key}")
        elif "additionalProperties" in schema:
            check(inner, schema["additionalProperties"], f"{place}.{key}")
        else:
            assert "properties" not in schema, f"{place}.{key} is not declared"


def test_everything_known_is_written() -> None:
    """The document is complete, in an order a person can read."""
    part = Part((Word("Hello", 0, 500, 0.9, "1", "en"), Word(".")), 1, {"1": "Ada"})
    document = loaded(Transcript((part,), model="en_v2_answer", document={"sections": []}), FULL)
    assert list(document) == [
        "schema", "source", "options", "service", "times", "text", "parts", "document", "batcher",
    ]  # fmt: skip
    assert document == {
        "schema": "batcher.transcript/1",
        "source": {
            "name": "talk.mp3",
            "path": "/recordings/talk.mp3",
            "size": 12345,
            "sha256": "ab" * 32,
            "duration_ms": 61_000,
        },
        "options": {"model": "en_v2", "phrases": ["harbour"], "nothing": None},
        "service": {"api": "grpc", "model": "en_v2_answer", "reference": FULL.reference, "id": "f-1"},
        "times": {"submitted": "2023-11-14T22:13:20.000Z"},
        "text": "Hello.",
        "parts": [
            {
                "channel": 1,
                "speakers": {"1": "Ada"},
                "words": [
                    {
                        "text": "Hello",
                        "start_ms": 0,
                        "end_ms": 500,
                        "confidence": 0.9,
                        "speaker": "1",
                        "language": "en",
                    },
                    {"text": "."},
                ],
            },
        ],
        "document": {"sections": []},
        "batcher": {"version": "9.9.9", "batch": "0123456789abcdef"},
    }
    check(document, SCHEMA)


def test_what_is_unknown_is_left_out() -> None:
    """No null, no empty string: a key that is there has a value."""
    document = loaded(Transcript((Part((Word("Hello"),)),)))
    assert document["source"] == {"name": "talk.mp3", "path": "/recordings/talk.mp3", "size": 12345}
    assert document["service"] == {}
    assert not {"times", "document", "translation_text"} & set(document)
    assert document["parts"] == [{"words": [{"text": "Hello"}]}]


def test_the_schema_finds_what_does_not_belong() -> None:
    """The check of these tests can fail: a wrong type, a missing key, a key nobody declared."""
    good = loaded(one_voice(words("Hello.")))
    check(good, SCHEMA)
    wrong = [good | {"schema": "other/1"}, good | {"surprise": 1}, good | {"text": 7}, good | {"parts": [{}]}]
    wrong.append(good | {"parts": [{"words": [{"text": "Hello.", "translation": "none"}]}]})
    for document in wrong:
        with pytest.raises(AssertionError):
            check(document, SCHEMA)


def test_a_translation_is_told_from_what_was_spoken() -> None:
    """Each has its text, one line per part; every word says which it is and from which language it comes."""
    said = (Word("Hello", 0, 500, 0.9, "1", "en", "original"), Word(" Berlin", 500, 900, 0.9, "1", "de"))
    translation = Word("Hallo", None, None, 0.8, "1", "de", "translation", "en")
    document = loaded(Transcript((Part((said[0], translation, said[1])), Part((Word("Hm."),)))))
    check(document, SCHEMA)
    keys = list(document)
    assert keys[keys.index("text") :] == ["text", "translation_text", "parts", "batcher"]
    assert document["text"] == "Hello Berlin\nHm."
    assert document["translation_text"] == "Hallo\n"
    spoken = {"start_ms": 0, "end_ms": 500, "confidence": 0.9, "speaker": "1", "language": "en"}
    assert document["parts"][0]["words"][:2] == [
        {"text": "Hello", **spoken, "translation": "original"},
        {
            "text": "Hallo",
            "confidence": 0.8,
            "speaker": "1",
            "language": "de",
            "translation": "translation",
            "source_language": "en",
        },
    ]
    assert "translation" not in document["parts"][0]["words"][2]


@given(any_transcript)
def test_any_transcript_obeys_the_schema_and_keeps_its_words(transcript: Transcript) -> None:
    """The service's texts come back exactly, control characters and all."""
    document = loaded(transcript, FULL)
    check(document, SCHEMA)
    assert document["text"] == transcript.text
    assert document.get("translation_text", "") == transcript.translation_text
    written = [[word["text"] for word in part["words"]] for part in document["parts"]]
    assert written == [[word.text for word in part.words] for part in transcript.parts]


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "L"])))
def test_unsafe_characters_are_escaped_and_exact(text: str) -> None:
    """The bytes can be shown on a terminal; what they mean is what the service sent."""
    raw = render("json", Transcript((Part((Word(text),)),), separator=" "), ABOUT).decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", raw)
    read = json.loads(raw)["parts"][0]["words"][0]["text"]
    assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def test_a_path_that_is_not_utf8_is_readable_and_exact() -> None:
    """People see it escaped; programs have the bytes."""
    path = b"/recordings/caf\xe9\n.mp3"
    source = loaded(one_voice(), replace(ABOUT, path=path, name="caf\xe9\n.mp3"))["source"]
    assert source["path"] == "/recordings/caf\\xe9\n.mp3"
    assert b64decode(source["path_base64"]) == path
    assert source["name"] == "café\\n.mp3"


def test_a_recording_that_only_the_service_has_seen_has_no_size() -> None:
    """A URL says nothing of it, and the document obeys the schema without."""
    document = loaded(one_voice(words("Hello.")), replace(ABOUT, path=b"https://example.com/a.mp3", size=None))
    check(document, SCHEMA)
    assert document["source"] == {"name": "talk.mp3", "path": "https://example.com/a.mp3"}


def test_what_python_only_takes_for_a_number_is_spelled_as_one() -> None:
    """True and False are numbers to Python, and would be spelled like names."""
    (word,) = loaded(Transcript((Part((Word("a", False, True, confidence=True),)),)))["parts"][0]["words"]
    assert word == {"text": "a", "start_ms": 0, "end_ms": 1, "confidence": 1}


@pytest.mark.parametrize("confidence", [float("nan"), float("inf"), float("-inf")])
def test_a_confidence_that_is_no_number_is_unknown(confidence: float) -> None:
    """JSON has no word for it."""
    document = Transcript((Part((Word("a", confidence=confidence),)),), document={"qscore": confidence})
    read = loaded(document)
    assert read["parts"][0]["words"] == [{"text": "a"}]
    assert read["document"] == {"qscore": None}


def test_every_word_has_a_line_of_its_own() -> None:
    """So that differences and searches show words."""
    lines = render("json", one_voice(words("Hello there.")), ABOUT).decode().splitlines()
    assert sum('{"text": ' in line for line in lines) == 3
