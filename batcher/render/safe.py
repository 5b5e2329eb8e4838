"""Text from a server or a file name, made safe to show.

Control characters can move a terminal's cursor, end a line early or hide words; direction overrides can make
a line read as something else. None of them is ever spoken.
"""

import re

#: C0 and C1 controls, overrides and isolates of direction, the byte order mark, halves of surrogate pairs.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_CONTROL = re.compile(f"[{_UNSAFE}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile(r"[^\S\xa0\u2007\u202f]+")  # the three blanks that forbid a line break stay in their words


def clean(text: str) -> str:
    """Return `text` without characters that do more than show themselves; newline and tab stay.

    Half a surrogate pair, which UTF-8 cannot hold, becomes the replacement character.
    """
    if text.isprintable():  # nearly every word is, and none of the unsafe characters
        return text
    return _CONTROL.sub("", _SURROGATE.sub("\ufffd", text))


def one_line(text: str) -> str:
    """Return `text` cleaned, on one line, single blanks between its words."""
    return clean(" ".join(split(text))).strip()


def split(text: str) -> list[str]:
    """Split `text` at its blanks; a blank at an end gives an empty piece there. No-break spaces do not split."""
    return _BLANKS.split(text)


def escape_json(text: str) -> str:
    """Return JSON `text` with the same meaning, where unsafe characters are written as escapes."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
