"""Names and texts of unknown origin, made safe for a terminal or a line of a log.

File names, transcripts and the service's messages are data: none of them may move the cursor, change the
colour, reverse the direction of writing or forge a second line.
"""

import re

#: What never reaches a terminal, a log line or a name of ours: C0 and C1 control characters, the separators of
#: lines and paragraphs, everything that changes the direction of writing, and surrogates (no UTF-8 spells them).
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")


def show_text(text: str) -> str:
    r"""Return `text` on one line, with everything unsafe spelled out: ``\n``, ``\x1b``, ``\u202e``.

    A byte that was no UTF-8 and came in as a lone surrogate (`os.fsdecode`) is shown as that byte: ``\xff``.
    """
    return UNSAFE.sub(_spell, text)


def show_path(path: bytes) -> str:
    r"""Return a path of the file system as text for people; bytes that are not UTF-8 are shown as ``\xff``."""
    return show_text(path.decode("utf-8", "backslashreplace"))


def _spell(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
