"""Text of a transcript holds nothing that does more than show itself."""

import pytest

from batcher.render import FORMATS, render
from batcher.render.safe import clean
from tests.render_tools import ABOUT, one_voice, words


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain Übung 東京 👩‍👩‍👧", "plain Übung 東京 👩‍👩‍👧"),
        ("two\n\tlines", "two\n\tlines"),
        ("red\x1b[31m", "red[31m"),
        ("c1\x9b31m\x7f\x00", "c131m"),
        ("gpj.\u202e3pm\u2066", "gpj.3pm"),
        ("\ufeffmark", "mark"),
        ("half\ud83d", "half\ufffd"),
    ],
)
def test_unsafe_characters_are_removed(text: str, cleaned: str) -> None:
    """Controls and overrides go, letters of any script stay, half a character shows that it is broken."""
    assert clean(text) == cleaned


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_lets_an_unsafe_character_through(name: str) -> None:
    """Not as it is: json spells it as an escape."""
    rendered = render(name, one_voice(words("a\x1b[2Jb \u202egnorw\u2069 c\ud83d")), ABOUT).decode("utf-8")
    assert not set(rendered) & set("\x1b\u202e\u2069")
    assert "gnorw" in rendered
