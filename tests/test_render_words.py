"""Tokens of every kind become words that a line may break between, each with a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.model import Part, Word
from batcher.render.safe import clean
from batcher.render.words import LAST_MS, Shown, joined, shown
from tests.render_tools import any_word, visible


def texts(*tokens: str, separator: str = "") -> list[str]:
    """Return the words that tokens without times make."""
    return [word.text for word in shown(Part(tuple(Word(token) for token in tokens)), separator)]


def spans(*words: Word) -> list[tuple[int, int]]:
    """Return start and end of every word, each given as a token with a blank before it."""
    part = Part(tuple(Word(f" {word.text}", word.start_ms, word.end_ms) for word in words))
    return [(word.start, word.end) for word in shown(part, "")]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["Hello", ",", " ", "world", "."], ["Hello,", "world."]),
        (["He", "llo", " wor", "ld", "."], ["Hello", "world."]),
        (["Hello ", "world"], ["Hello", "world"]),
        (["Hello", "\n", "world"], ["Hello", "world"]),
        (["New York", "er", " is"], ["New", "Yorker", "is"]),
        ([" ", "", "  ", "\t"], []),
        ([], []),
        (["Bonjour", "\xa0!"], ["Bonjour\xa0!"]),
        (["Bonjour", "\xa0", "!"], ["Bonjour\xa0!"]),
        (["\xa0", " a"], ["a"]),
        (["cl\x07ean", "\x1b", "ed"], ["cleaned"]),
    ],
)
def test_pieces_become_words(tokens: list[str], words: list[str]) -> None:
    """A blank, in whichever token it stands, parts words; nothing else does."""
    assert texts(*tokens) == words


def test_a_separator_parts_words_like_a_blank_of_their_own() -> None:
    """Models without tokens for blanks send whole words."""
    assert texts("Hello", "world.", separator=" ") == ["Hello", "world."]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["今天", "我们", "。", "好"], ["今天", "我们。", "好"]),
        (["「", "はい", "」", "と", "ラ", "ー"], ["「はい」", "と", "ラー"]),
        (["iPhone", "手机"], ["iPhone", "手机"]),
        (["ab", "cd"], ["abcd"]),
    ],
)
def test_scripts_without_blanks_may_break_between_tokens(tokens: list[str], words: list[str]) -> None:
    """Else a Chinese talk would be a single line; closing marks never begin a line."""
    assert texts(*tokens) == words
    assert joined(shown(Part(tuple(map(Word, tokens))), "")) == "".join(tokens)


def test_a_word_made_of_tokens_has_their_time_and_first_speaker() -> None:
    """From the start of the first to the end of the last token; a word has one voice."""
    part = Part((Word("har", 100, 200, speaker="1"), Word("bour", 200, 350, speaker="2"), Word(".", None, None)))
    assert shown(part, "") == [Shown("harbour.", 100, 350, "1")]


def test_words_without_times_follow_the_one_before() -> None:
    """They take 150 ms each, squeezed where the next known word leaves less room."""
    assert spans(Word("a", 0, 1000), Word("b"), Word("c", 5000, 5100)) == [(0, 1000), (1150, 1300), (5000, 5100)]
    assert spans(Word("a", 0, 1000), Word("b"), Word("c", 1030, 1100)) == [(0, 1000), (1010, 1020), (1030, 1100)]


def test_words_before_the_first_time_lead_up_to_it() -> None:
    """They end where the first known word starts, and never start before the recording."""
    assert spans(Word("a"), Word("b", 1000, 1200)) == [(700, 850), (1000, 1200)]
    assert spans(Word("a"), Word("b", 100, 200)) == [(0, 0), (100, 200)]


def test_without_any_time_words_follow_each_other_from_the_start() -> None:
    """Subtitles can still be read through."""
    assert spans(Word("a"), Word("b")) == [(0, 150), (300, 450)]


def test_times_that_run_backwards_are_held() -> None:
    """Starts never fall, and no word reaches into the next."""
    assert spans(Word("a", 1000, 900), Word("b", 500, 3000), Word("c", 2000, 2100)) == [
        (1000, 1000),
        (1000, 2000),
        (2000, 2100),
    ]


@given(st.lists(any_word, max_size=15).map(tuple), st.sampled_from(["", " "]))
def test_any_tokens_keep_their_letters_and_get_times_in_order(tokens: tuple[Word, ...], separator: str) -> None:
    """Nothing visible is lost or added; times are within the recording's longest and in order."""
    words = shown(Part(tokens), separator)
    assert visible(joined(words)) == visible(clean(separator.join(token.text for token in tokens)))
    assert all(word.text and len(word.text.split(" ")) == 1 for word in words)
    marks = [mark for word in words for mark in (word.start, word.end)]
    assert marks == sorted(marks)
    assert all(0 <= mark <= LAST_MS for mark in marks)


@pytest.mark.parametrize("text", ["done.", "done?!", 'done."', "done.)", "完。", "done…"])
def test_sentence_ends_are_known(text: str) -> None:
    """By punctuation, closing quotes and brackets aside."""
    assert Shown(text, 0, 0).ends_sentence


@pytest.mark.parametrize("text", ["done", "3.5", '"', ".5a", "done,"])
def test_other_words_end_no_sentence(text: str) -> None:
    """A dot inside a word means nothing."""
    assert not Shown(text, 0, 0).ends_sentence
