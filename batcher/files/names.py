"""Names for outputs: where inside OUT the transcript of a recording goes.

A name stays as readable as it was, works on every common file system, and cannot lead out of OUT. Two
recordings may still get names that some file system takes for one: `fold` tells, `with_suffix` helps.
"""

import re
from hashlib import blake2b
from os.path import splitext
from unicodedata import normalize

from batcher.files.temporaries import RESERVED_PREFIX
from batcher.text import UNSAFE

COMPONENT_BYTES = 200  #: the longest part of a name; leaves room for an ending below the usual limit of 255
_EXTENSION_BYTES = 20  #: what comes after the last dot of a long name is kept if it is no longer than this

_BACKSLASH = re.compile(r"\\")  # separates directories elsewhere
_TRAILING = re.compile(r"[. ]+\Z")  # some file systems drop these silently
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?=\s*(\.|\Z))", re.IGNORECASE)


def output_name(relative: bytes) -> str:
    """Return where the outputs of the recording at `relative` go, below OUT and without a format's ending.

    ``a/talk.mp3`` stays ``a/talk.mp3``. Bytes that are no UTF-8, control characters, line separators, changes
    of the direction of writing and backslashes become ``%XX``, byte by byte; so do dots and blanks at a
    part's end, a part of dots alone, and the dot of the names we keep for ourselves. ``.`` and empty parts
    vanish. The names of Windows' devices get a ``_``; a part of more than `COMPONENT_BYTES` is shortened and gets a
    hash of the whole. A name made here comes out unchanged.
    """
    parts = [part for part in relative.split(b"/") if part not in (b"", b".")]
    return "/".join(map(_safe, parts)) or "unnamed"


def fold(name: str) -> str:
    """Return the key under which names are one that a file system might take for one.

    Upper and lower case, and composed and decomposed letters, make no difference to it.
    """
    return normalize("NFC", normalize("NFD", name).casefold())


def with_suffix(name: str, tag: str) -> str:
    """Return the alternative to a `name` that is taken: ``a/talk.mp3`` with ``3f9a2c`` is ``a/talk~3f9a2c.mp3``."""
    directory, slash, last = name.rpartition("/")
    return directory + slash + _fit(last, f"~{tag}")


def _safe(part: bytes) -> str:
    text = UNSAFE.sub(_escape, part.decode("utf-8", "surrogateescape"))
    text = _BACKSLASH.sub(_escape, text)
    text = _TRAILING.sub(_escape, text)
    text = _DEVICE.sub(r"\1_", text, count=1) if _DEVICE.match(text) else text
    if fold(text).startswith(RESERVED_PREFIX):
        text = f"%2E{text[1:]}"
    if len(text.encode()) <= COMPONENT_BYTES:
        return text
    return _fit(text, f"~{blake2b(part, digest_size=4).hexdigest()}")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape"))


def _fit(part: str, mark: str) -> str:
    """Return `part` with `mark` before its ending, its stem cut so that all is at most `COMPONENT_BYTES`."""
    stem, ending = splitext(part)
    if len(ending.encode()) > _EXTENSION_BYTES:
        stem, ending = part, ""
    room = COMPONENT_BYTES - len(f"{mark}{ending}".encode())
    return f"{stem.encode()[:room].decode('utf-8', 'ignore')}{mark}{ending}"
