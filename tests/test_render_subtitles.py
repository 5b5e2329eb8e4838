"""The srt and vtt formats: cues that can be read in time."""

import re
import subprocess
import sys
from html import unescape
from itertools import pairwise

import pysubs2
import pytest
from hypothesis import given

from batcher.model import Part, Transcript, Word
from batcher.render import render
from batcher.render.cues import LINE_WIDTH, MAX_MS, cues
from batcher.render.safe import clean
from batcher.render.words import shown
from tests.render_tools import ABOUT, any_transcript, channels, one_voice, visible, words

LONG = (
    "Then let us begin with the harbour survey, which was due in March, and which nobody in this building has opened."
)


def srt(transcript: Transcript) -> str:
    """Return the rendered SubRip text."""
    return render("srt", transcript, ABOUT).decode()


def vtt(transcript: Transcript) -> str:
    """Return the rendered WebVTT text."""
    return render("vtt", transcript, ABOUT).decode()


def lines(transcript: Transcript) -> list[tuple[str, ...]]:
    """Return the lines of every cue."""
    return [cue.lines for cue in cues(transcript)]


def spans(transcript: Transcript) -> list[tuple[int, int]]:
    """Return start and end of every cue."""
    return [(cue.start, cue.end) for cue in cues(transcript)]


def test_srt_is_numbered_and_timed() -> None:
    """The whole file, to the byte."""
    assert srt(one_voice(words("Good morning to you."), words("Again.", 65_000, each_ms=1500))) == (
        "1\n00:00:00,000 --> 00:00:01,200\nGood morning to you.\n\n"
        "2\n00:01:05,000 --> 00:01:06,500\nAgain.\n"
    )  # fmt: skip


def test_vtt_has_its_header_and_points() -> None:
    """The whole file, to the byte."""
    assert vtt(one_voice(words("Good morning to you."))) == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:01.200\nGood morning to you.\n"
    )


def test_a_long_sentence_is_cut_at_its_commas_and_balanced() -> None:
    """Where it reads best near the middle; so is a cue into lines."""
    assert lines(one_voice(words(LONG))) == [
        ("Then let us begin with the harbour survey,", "which was due in March,"),
        ("and which nobody in this", "building has opened."),
    ]


def test_a_sentence_end_ends_a_cue_that_is_long_enough_to_read() -> None:
    """Sentences of less than a second stay together."""
    assert lines(one_voice(words("No. Not at all. I walked here."))) == [("No. Not at all.",), ("I walked here.",)]


def test_a_pause_ends_a_cue() -> None:
    """From 700 ms on, wherever it is."""
    assert lines(one_voice(words("I was"), words("saying", 1299))) == [("I was saying",)]
    assert lines(one_voice(words("I was"), words("saying", 1300))) == [("I was",), ("saying",)]


def test_a_new_speaker_begins_a_cue_with_a_label() -> None:
    """The label stands where the speaker changes, and only there."""
    said = one_voice(
        words("Hello there my friend.", speaker="1"),
        words("How are you?", 1200, speaker="1"),
        words("Fine.", 2100, speaker="2"),
    )
    assert lines(said) == [("Speaker 1: Hello there my friend.",), ("How are you?",), ("Speaker 2: Fine.",)]


def test_a_single_speaker_has_no_label() -> None:
    """It would say nothing."""
    assert lines(one_voice(words("Hello.", speaker="1"))) == [("Hello.",)]


def test_a_long_name_is_shortened_so_that_words_have_room() -> None:
    """The label never fills a cue."""
    part = one_voice(words("Hello.", speaker="1"), words("Hi.", 2000, speaker="2")).parts[0]
    named = Transcript((Part(part.words, None, {"1": "Professor Doctor Wilhelmina " * 5}),))
    assert lines(named)[0] == ("Professor Doctor Wilhelmina P…: Hello.",)


def test_channels_that_speak_at_once_alternate() -> None:
    """The later voice cuts the earlier cue short instead of waiting for its end."""
    said = channels([words("A rather slow sentence.", each_ms=1200)], [words("Yes, indeed.", 2000, each_ms=600)])
    assert lines(said) == [("Channel 1: A rather slow sentence.",), ("Channel 2: Yes, indeed.",)]
    assert spans(said) == [(0, 2000), (2000, 3200)]


def test_a_word_amid_a_long_sentence_is_shown_when_it_is_said() -> None:
    """Between the cues of the sentence, each of which then says again who speaks."""
    said = channels([words(LONG)], [words("Quite.", 2000)])
    assert [cue[0].split(":")[0] for cue in lines(said)][:3] == ["Channel 1", "Channel 2", "Channel 1"]
    assert lines(said)[1] == ("Channel 2: Quite.",)


def test_a_cue_that_would_be_gone_at_once_delays_the_next() -> None:
    """Two channels that begin together are each shown long enough to be read."""
    said = channels([words("One sentence here.", each_ms=600)], [words("Another one there.", 10, each_ms=600)])
    assert spans(said) == [(0, 1000), (1000, 2800)]


def test_a_short_word_is_shown_for_a_second_where_there_is_room() -> None:
    """And less where the next one follows, but never over it."""
    assert spans(one_voice(words("Yes."), words("No.", 5000))) == [(0, 1000), (5000, 6000)]
    assert spans(one_voice(words("Yes", each_ms=50), words("no", 800, each_ms=50))) == [(0, 800), (800, 1800)]


def test_no_cue_stays_longer_than_seven_seconds() -> None:
    """Slow speech is cut, and a word that never ends is let go."""
    assert [end - start for start, end in spans(one_voice(words("one two three four", each_ms=3000)))] == [6000, 6000]
    assert spans(one_voice([Word("Ommm", 0, 60_000)])) == [(0, 7000)]


def test_a_word_longer_than_a_line_stays_whole() -> None:
    """A line is never broken inside a word, of however many tokens it is made."""
    parts = ["Donau", "dampf", "schiff", "fahrts", "gesell", "schafts", "kapitäns", "mütze"]
    tokens = [Word(text, index * 100, index * 100 + 100) for index, text in enumerate(parts)]
    assert lines(one_voice(words("Die"), tokens)) == [("Die", "".join(parts))]


def test_chinese_fills_lines_of_half_as_many_characters() -> None:
    """Its characters are twice as wide, and lines may break between them."""
    tokens = [Word(character, index * 100, index * 100 + 100) for index, character in enumerate("今天我们讨论港口" * 6)]
    assert {len(line) for cue in lines(one_voice(tokens)) for line in cue} == {12}


def test_what_looks_like_markup_is_text() -> None:
    """Tags, entities, backslashes and braces of the subtitle formats are words like others."""
    said = one_voice(words(r"a<b>c & {\an8}x C:\new \N --> end"))
    assert r"a&lt;b&gt;c &amp; {\an8}x C:\new \N --&gt; end" in vtt(said)
    assert r"a<b>c & {\an8}x C:\new \N → end" in srt(said)
    assert len(pysubs2.SSAFile.from_string(srt(said))) == 1


@pytest.mark.parametrize("transcript", [Transcript(()), one_voice(), channels([], [])])
def test_silence_is_a_file_without_cues(transcript: Transcript) -> None:
    """Never a file of no bytes, which would look unfinished."""
    assert srt(transcript) == "\n"
    assert vtt(transcript) == "WEBVTT\n"


def test_the_longest_times_can_be_written() -> None:
    """A time no subtitle can spell is held at the last one it can."""
    assert "99:00:00,000 --> 99:00:01,000\nfar" in srt(one_voice([Word("far", 10**12, 10**12)]))


@given(any_transcript)
def test_cues_never_overlap_and_follow_in_order(transcript: Transcript) -> None:
    """Each ends after it starts, within seven seconds, before the next one starts."""
    found = cues(transcript)
    assert all(0 <= cue.start < cue.end <= cue.start + MAX_MS for cue in found)
    assert all(before.end <= after.start for before, after in pairwise(found))


@given(any_transcript)
def test_lines_are_short_unless_one_word_is_longer(transcript: Transcript) -> None:
    """At most two lines of 42 characters, none of them empty."""
    whole = {word.text for part in transcript.parts for word in shown(part, transcript.separator)}
    for cue in cues(transcript):
        assert 1 <= len(cue.lines) <= 2
        for line in cue.lines:
            assert line.strip()
            assert len(line) <= LINE_WIDTH or line in whole


@given(any_transcript)
def test_no_word_is_lost(transcript: Transcript) -> None:
    """With one voice the cues read exactly like the transcript."""
    part = Part(tuple(Word(w.text, w.start_ms, w.end_ms) for p in transcript.parts for w in p.words))
    alone = Transcript((part,), separator=transcript.separator)
    written = "".join(line for cue in cues(alone) for line in cue.lines)
    assert visible(written) == visible(clean(alone.text))


@given(any_transcript)
def test_what_is_written_can_be_read_back(transcript: Transcript) -> None:
    """Another reader finds the same times, and the texts where they hold nothing it takes for its own."""
    found = cues(transcript)
    for form, text in (("srt", srt(transcript)), ("vtt", vtt(transcript))):
        read = pysubs2.SSAFile.from_string(text, format_=form, keep_html_tags=True)
        assert [(event.start, event.end) for event in read] == [(cue.start, cue.end) for cue in found]
        assert text.count("-->") == len(found)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        for block, cue in zip(blocks(text), found, strict=True):
            written = block if form == "srt" else [unescape(line) for line in block]
            shown_lines = [line.replace("-->", "→") if form == "srt" else line for line in cue.lines]
            assert list(map(visible, written)) == list(map(visible, shown_lines))


def blocks(text: str) -> list[list[str]]:
    """Return the lines of every cue, read by the rule that a blank line ends one."""
    return [block.split("\n")[2:] for block in text.rstrip("\n").split("\n\n") if "-->" in block]


def test_only_subtitles_pay_for_the_subtitle_library() -> None:
    """Reading the package's name and rendering text import no pysubs2, which takes long to import."""
    code = (
        "import sys; from batcher.render import About, render; from batcher.model import Transcript\n"
        "about = About('a', b'a', 1)\n"
        "render('txt', Transcript(()), about), render('json', Transcript(()), about)\n"
        "assert 'pysubs2' not in sys.modules\n"
        "render('srt', Transcript(()), about)\n"
        "assert 'pysubs2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
