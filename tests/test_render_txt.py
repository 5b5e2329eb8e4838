"""The txt format: paragraphs to read."""

import re
from unicodedata import category

import pytest
from hypothesis import given

from batcher.errors import UsageError
from batcher.model import Part, Transcript, Word
from batcher.render import FORMATS, render
from batcher.render.safe import clean
from batcher.render.turns import turns
from tests.render_tools import ABOUT, any_transcript, channels, one_voice, plain_transcript, visible, words


def txt(transcript: Transcript) -> str:
    """Return the rendered text."""
    return render("txt", transcript, ABOUT).decode()


def test_one_voice_is_one_paragraph() -> None:
    """However long, it is not wrapped."""
    assert txt(one_voice(words("word " * 300 + "end."))) == "word " * 300 + "end.\n"


def test_a_long_pause_after_a_sentence_begins_a_paragraph() -> None:
    """Two seconds of silence part paragraphs, but only where a sentence ends."""
    said = one_voice(words("One two."), words("Three", 2600), words("four.", 5000), words("Five.", 5500))
    assert txt(said) == "One two.\n\nThree four. Five.\n"


def test_every_turn_of_a_speaker_begins_with_who_speaks() -> None:
    """The name where the service identified it, else the number."""
    said = (words("Hello there.", speaker="1"), words("Hi.", 900, speaker="2"), words("Well.", 1500, speaker="1"))
    part = Part(one_voice(*said).parts[0].words, None, {"2": "Anna\nBerg\x1b"})
    assert txt(Transcript((part,))) == "Speaker 1: Hello there.\n\nAnna Berg: Hi.\n\nSpeaker 1: Well.\n"


def test_words_of_an_unknown_speaker_are_not_given_to_another() -> None:
    """Among known speakers the unknown one has a label too."""
    said = one_voice(words("Hello.", speaker="1"), words("Hm.", 500))
    assert txt(said) == "Speaker 1: Hello.\n\nSpeaker ?: Hm.\n"


def test_channels_become_a_conversation() -> None:
    """Turns are woven by time and numbered from one, as people count."""
    said = channels(
        [words("Shall we begin?"), words("Good.", 4000)],
        [words("Yes, please.", 2000)],
    )
    assert txt(said) == "Channel 1: Shall we begin?\n\nChannel 2: Yes, please.\n\nChannel 1: Good.\n"


def test_overlapping_speech_does_not_chop_sentences() -> None:
    """Somebody else's word amid a sentence comes after the sentence, not inside it."""
    said = channels([words("A sentence that goes on and on.")], [words("Mhm.", 900)])
    assert txt(said) == "Channel 1: A sentence that goes on and on.\n\nChannel 2: Mhm.\n"


def test_a_channel_with_speakers_names_both() -> None:
    """Speaker numbers begin anew in each channel, so the channel stays."""
    said = channels([words("Hello.", speaker="1")], [words("Hi.", 800, speaker="1")])
    assert txt(said) == "Channel 1, Speaker 1: Hello.\n\nChannel 2, Speaker 1: Hi.\n"


def test_a_single_channel_needs_no_label() -> None:
    """One part is the whole recording, whatever channel it says."""
    assert txt(Transcript((Part(words("Hello there."), 0),))) == "Hello there.\n"


@pytest.mark.parametrize("transcript", [Transcript(()), one_voice(), channels([], []), one_voice([Word("\x1b")])])
def test_silence_is_a_single_newline(transcript: Transcript) -> None:
    """A file of no bytes would look unfinished."""
    assert txt(transcript) == "\n"


@given(any_transcript)
def test_nothing_moves_a_terminal(transcript: Transcript) -> None:
    """Neither words nor labels nor languages hold a control character."""
    text = txt(transcript)
    assert not any(category(character) in {"Cc", "Cs"} and character != "\n" for character in text)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)


@given(plain_transcript)
def test_no_word_is_lost(transcript: Transcript) -> None:
    """All letters of all parts are there once the labels are gone, and nothing that is not a letter."""
    text = txt(transcript)
    labels = sum(len(visible(turn.label)) + 1 for turn in turns(transcript) if turn.label)
    expected = visible(clean("".join(transcript.separator.join(w.text for w in p.words) for p in transcript.parts)))
    assert len(visible(text)) == len(expected) + labels
    assert text.endswith("\n")


def test_an_unknown_format_names_the_valid_ones() -> None:
    """The message says what is wrong, the hint what would be right."""
    with pytest.raises(UsageError, match="There is no format 'docx'") as caught:
        render("docx", one_voice(), ABOUT)
    assert caught.value.hint == "The formats are txt, json, srt, vtt."
    assert caught.value.exit_code == 2


@given(any_transcript)
def test_the_same_transcript_always_gives_the_same_bytes(transcript: Transcript) -> None:
    """Rendering depends on nothing but its arguments, and what it gives is UTF-8."""
    for name in FORMATS:
        first = render(name, transcript, ABOUT)
        assert first == render(name, transcript, ABOUT)
        first.decode("utf-8")
