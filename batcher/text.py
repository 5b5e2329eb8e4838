"""Names and texts of unknown origin, made safe for a terminal or a line of a log; and how a moment is spelled.

File names, transcripts and the service's messages are data: none of them may move the cursor, change the
colour, reverse the direction of writing or forge a second line.
"""

import re
from datetime import UTC, datetime, timedelta

#: What never reaches a terminal, a log line or a name of ours: C0 and C1 control characters, the separators of
#: lines and paragraphs, everything that changes the direction of writing, and surrogates (no UTF-8 spells them).
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def show_text(text: str) -> str:
    r"""Return `text` on one line, with everything unsafe spelled out: ``\n``, ``\x1b``, ``\u202e``.

    A byte that was no UTF-8 and came in as a lone surrogate (`os.fsdecode`) is shown as that byte: ``\xff``.
    """
    return UNSAFE.sub(_spell, text)


def show_path(path: bytes) -> str:
    r"""Return a path of the file system as text for people; bytes that are not UTF-8 are shown as ``\xff``."""
    return show_text(path.decode("utf-8", "backslashreplace"))


def iso(ms: int) -> str:
    """Return UTC milliseconds as text: ``2024-05-31T14:00:00.123Z``."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _spell(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
