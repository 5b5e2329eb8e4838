"""Transcripts for tests: talk made by hand, and strategies for any talk at all."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle

from hypothesis import strategies as st

from batcher.model import Part, Transcript, Word
from batcher.render import About

ABOUT = About(name="talk.mp3", path=b"/recordings/talk.mp3", size=12345)


def words(text: str, start_ms: int = 0, *, each_ms: int = 300, speaker: str | None = None) -> tuple[Word, ...]:
    """Return a token per word, a blank before each but the first, one spoken right after the other."""
    return tuple(
        Word(f" {word}" if index else word, start_ms + index * each_ms, start_ms + (index + 1) * each_ms, 0.9, speaker)
        for index, word in enumerate(text.split())
    )


def translated(said: Sequence[Word], text: str, into: str | None = "de") -> tuple[Word, ...]:
    """Return spoken tokens followed by those of their translation, which have no times."""
    originals = tuple(word._replace(translation="original") for word in said)
    speaker = said[0].speaker
    pieces = (f" {piece}" for piece in text.split())
    return (
        *originals,
        *(Word(piece, speaker=speaker, language=into, translation="translation") for piece in pieces),
    )


def one_voice(*said: Sequence[Word]) -> Transcript:
    """Return a transcript of one part made of runs of words; each run begins a new word."""
    return Transcript((Part(_spaced(said)),))


def channels(*parts: Sequence[Sequence[Word]]) -> Transcript:
    """Return a transcript with a part for each channel, each made of runs of words."""
    return Transcript(tuple(Part(_spaced(said), channel) for channel, said in enumerate(parts)))


def _spaced(said: Sequence[Sequence[Word]]) -> tuple[Word, ...]:
    return tuple(word for run in said for word in (Word(" "), *run))


def changed(transcript: Transcript, change: Callable[[Sequence[Word]], Sequence[Word]]) -> Transcript:
    """Return `transcript` with the words of each part changed."""
    return replace(transcript, parts=tuple(replace(part, words=tuple(change(part.words))) for part in transcript.parts))


def spoken(transcript: Transcript) -> Transcript:
    """Return `transcript` without the tokens of translations."""
    return changed(transcript, lambda words: [word for word in words if word.translation != "translation"])


def visible(text: str) -> str:
    """Return `text` without its blanks."""
    return "".join(text.split())


_milliseconds = st.none() | st.integers(-1000, 20_000) | st.integers(-(2**62), 2**62)
_token_text = st.one_of(
    st.sampled_from(
        [" ", "", ".", ", ", " a", " well", "ing", " it's", "?", "\n", "-->", " <b>", "\\N", "{\\p1}", "你", "。"]
    ),
    st.text(max_size=6),
    st.text("abc ", min_size=30, max_size=60),
)
any_word = st.builds(
    Word,
    text=_token_text,
    start_ms=_milliseconds,
    end_ms=_milliseconds,
    confidence=st.none() | st.floats(allow_nan=False),
    speaker=st.none() | st.sampled_from(["1", "2", ""]) | st.text(max_size=3),
    language=st.none() | st.sampled_from(["en", "de"]),
    translation=st.just(""),
    source_language=st.none(),
    is_audio_event=st.just(value=False),
)
_speakers = st.dictionaries(st.sampled_from(["1", "2"]), st.text(max_size=40))
_json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def _ordered_words(draw: st.DrawFn) -> tuple[Word, ...]:
    """Draw words as a service sends them: one after the other, with times."""
    made, at = [], 0
    for text in draw(st.lists(_token_text, max_size=40)):
        at += draw(st.sampled_from([0, 0, 50, 700, 900, 2500]))
        length = draw(st.sampled_from([0, 80, 250, 600, 9000]))
        made.append(Word(text, at, at + length, 0.5, draw(st.sampled_from([None, "1", "1", "2"]))))
        at += length
    return tuple(made)


plain_transcript = st.builds(
    Transcript,
    parts=st.lists(
        st.builds(
            Part,
            words=_ordered_words() | st.lists(any_word, max_size=12).map(tuple),
            channel=st.none() | st.integers(0, 7),
            speakers=_speakers,
        ),
        max_size=3,
    ).map(tuple),
    separator=st.sampled_from(["", "", " "]),
    model=st.text(max_size=8),
    document=st.none() | st.dictionaries(st.text(max_size=5), _json_value, max_size=3),
)

_marks = st.sampled_from(
    [
        ("", "en", None),
        ("original", "en", None),
        ("original", None, None),
        ("translation", "de", "en"),
        ("translation", "fr\x1b[2J\n", None),
        ("translation", None, "en"),
    ],
)


@st.composite
def _translated_transcript(draw: st.DrawFn) -> Transcript:
    """Draw a transcript whose tokens are spoken or translations in any order, the latter with times or without."""
    marks = draw(st.lists(_marks, min_size=1, max_size=9))
    return changed(
        draw(plain_transcript),
        lambda words: [
            word._replace(translation=status, language=language, source_language=source, is_audio_event=not status)
            for word, (status, language, source) in zip(words, cycle(marks), strict=False)  # there are enough marks
        ],
    )


translated_transcript = _translated_transcript()
any_transcript = plain_transcript | translated_transcript
