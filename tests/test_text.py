"""Names and texts shown to people: nothing in them may drive a terminal or forge a line."""

import os
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.text import show_path, show_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain.mp3", "plain.mp3"),
        ("Überraschung 東京 👩‍👩‍👧.mp3", "Überraschung 東京 👩‍👩‍👧.mp3"),
        ("red\x1b[31m", r"red\x1b[31m"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("c1\x9b31m", r"c1\x9b31m"),
        ("gpj.\u202e3pm", r"gpj.\u202e3pm"),
        ("line\u2028end", r"line\u2028end"),
        ("lone\ud800", r"lone\ud800"),
        ("byte\udcff", r"byte\xff"),
    ],
)
def test_what_could_drive_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    """Ordinary letters of any script stay; control and bidi characters and surrogates become visible escapes."""
    assert show_text(text) == shown


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    """Whatever comes in, what goes out has no control character, one line, and is UTF-8."""
    shown = show_text(text)
    shown.encode("utf-8")
    assert not any(category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in shown)
    assert not set(shown) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert show_text(shown) == shown


@given(st.binary())
def test_any_path_is_shown_the_same_as_bytes_and_as_text(path: bytes) -> None:
    """A path reads the same whether it comes as bytes or through `os.fsdecode`."""
    assert show_path(path) == show_text(os.fsdecode(path))


def test_bytes_that_are_not_utf8_are_shown_as_bytes() -> None:
    """A name in another encoding stays recognisable."""
    assert show_path(b"caf\xe9\x1b/a.mp3") == r"caf\xe9\x1b/a.mp3"
