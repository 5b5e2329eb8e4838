"""Transcripts kept in the table: exact, and damage is found."""

import json
import zlib
from contextlib import suppress
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.errors import BatcherError
from batcher.model import Part, Transcript, Word
from batcher.transcripts import pack, unpack
from tests.render_tools import any_transcript, one_voice, words

TALK = one_voice(words("The harbour survey was due in March.", speaker="1"))


@given(any_transcript)
def test_a_transcript_comes_back_as_it_was(transcript: Transcript) -> None:
    """Every text, time, confidence and key survives, whatever it is."""
    assert unpack(pack(transcript)) == transcript


def test_half_a_surrogate_pair_comes_back_as_it_was() -> None:
    """What a JSON answer can carry is kept, even where UTF-8 has no bytes for it."""
    transcript = Transcript((Part((Word("\ud83d"), Word("\ude00"))),))
    assert unpack(pack(transcript)) == transcript


def test_mappings_of_any_kind_are_kept() -> None:
    """A read-only mapping is stored like a dict."""
    transcript = Transcript((Part((), None, MappingProxyType({"1": "Ada"})),), document=MappingProxyType({"a": 1}))
    assert unpack(pack(transcript)) == transcript


def test_a_value_that_json_has_no_word_for_is_refused_when_packed() -> None:
    """Nothing is stored that could not come back."""
    with pytest.raises(TypeError, match="cannot hold a bytes"):
        pack(Transcript((), document={"audio": b"\0"}))


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    """Damage raises an error for people, or left the meaning as it was (a few bits of the header have none)."""
    packed = bytearray(pack(TALK))
    index = data.draw(st.integers(0, len(packed) - 1))
    packed[index] ^= data.draw(st.integers(1, 255))
    with suppress(BatcherError):
        assert unpack(bytes(packed)) == TALK


def test_the_error_for_damage_says_what_and_what_next() -> None:
    """A person can tell which thing is broken and what to do."""
    with pytest.raises(BatcherError, match=r"A stored transcript of 7 bytes is damaged: .+") as caught:
        unpack(b"garbage")
    assert "backup" in caught.value.hint


@pytest.mark.parametrize("length", [0, 1, 2, 10, -1])
def test_a_transcript_cut_short_is_found(length: int) -> None:
    """Half a transcript is never taken for a whole one."""
    with pytest.raises(BatcherError, match="damaged"):
        unpack(pack(TALK)[:length])


def test_bytes_after_the_end_are_found() -> None:
    """Two transcripts in one place are not taken for the first."""
    with pytest.raises(BatcherError, match="something follows the end"):
        unpack(pack(TALK) + b"x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'"text"',
        b"\xff",
        b"[" * 100_000,
        b'{"version":1,"separator":"","model":"","document":null,"parts":[{"channel":null,"speakers":{},"words":["ab"]}]}',
        b'{"version":1,"separator":"","model":"","document":null,"parts":[{"channel":null,"speakers":{},"words":[[]]}]}',
        b'{"version":1,"separator":"","model":"","document":null,"parts":[{"channel":null,"speakers":{},"words":[[7]]}]}',
        b'{"version":1,"separator":"","model":"","document":null,"parts":[7]}',
        b'{"version":"new","separator":"","model":"","document":null,"parts":[]}',
    ],
)
def test_content_that_is_no_transcript_is_refused(content: bytes) -> None:
    """Whatever was compressed, the answer is a transcript or an error for people."""
    with pytest.raises(BatcherError, match="damaged"):
        unpack(zlib.compress(content))


def test_facts_of_a_later_batcher_are_passed_over() -> None:
    """Keys and trailing elements that this version does not know do no harm."""
    content = json.loads(zlib.decompress(pack(TALK)))
    content["translated_to"] = "de"
    content["parts"][0]["kind"] = "translation"
    for word in content["parts"][0]["words"]:
        word.extend(["", None, False, "a later fact"])
    assert unpack(zlib.compress(json.dumps(content).encode())) == TALK


def test_facts_missing_at_the_end_of_a_word_are_unknown() -> None:
    """A word needs its text only."""
    content = json.loads(zlib.decompress(pack(TALK)))
    content["parts"][0]["words"] = [["Hello"]]
    assert unpack(zlib.compress(json.dumps(content).encode())).parts[0].words == (Word("Hello"),)


def test_a_transcript_of_a_later_version_asks_for_an_update() -> None:
    """A form that would be misunderstood is not read, and not called damaged."""
    content = json.loads(zlib.decompress(pack(TALK))) | {"version": 2}
    with pytest.raises(BatcherError, match=r"has version 2; this batcher reads up to 1") as caught:
        unpack(zlib.compress(json.dumps(content).encode()))
    assert caught.value.hint == "Update batcher."


def test_a_long_transcript_is_packed_to_a_third_or_less() -> None:
    """Five hours of words take well under a megabyte in the table."""
    packed = pack(one_voice(words("the survey of the harbour " * 10_000, speaker="1")))
    assert len(packed) < 1_000_000
    assert len(zlib.decompress(packed)) > 3 * len(packed)
