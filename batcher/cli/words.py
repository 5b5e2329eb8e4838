"""How numbers, times, sizes and names are spelled for people."""

import os
import shlex
from datetime import datetime

from batcher.text import show_path, show_text

_KILO = 1000


def number(value: int) -> str:
    """Return ``1,208``."""
    return f"{value:,}"


def count(value: int, noun: str) -> str:
    """Return ``1 file`` or ``1,208 files``."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def to_give_up(value: int) -> str:
    """Return what happens to so many recordings that somebody has given up while nobody knew what became of them."""
    return f"given up when it is known whether the service has {'it' if value == 1 else 'them'}"


def size(value: float) -> str:
    """Return bytes as ``12.1 MB`` (powers of ten)."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < _KILO:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KILO
    return f"{value:.1f} TB"


def span(seconds: float) -> str:
    """Return ``0:12``, ``12:03`` or ``2:41:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(ms: int) -> str:
    """Return a length of time as one rough word for "ago": ``3 hours``."""
    seconds = ms // 1000
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return count(seconds // length, unit)
    return count(max(0, seconds), "second")


def local(ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return UTC milliseconds as this machine's local time."""
    return datetime.fromtimestamp(ms / 1000).astimezone().strftime(form)


def name(path: bytes) -> str:
    """Return a recording's name for people: as seen from the present directory when it is below."""
    return show_path(_from_here(path))


def typeable(path: bytes) -> str | None:
    """Return a name as it can be typed after a command, or None when nobody can type it."""
    try:
        text = _from_here(path).decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text.isprintable() or show_text(text) != text:
        return None
    return shlex.quote(f"./{text}" if text.startswith("-") or text.isdigit() else text)


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a directory's name as it can be typed, or a placeholder when nobody can type it."""
    return typeable(os.fsencode(os.path.abspath(path))) or "OUT"  # noqa: PTH100 - links stay as they are


def _from_here(path: bytes) -> bytes:
    here = os.path.join(os.getcwdb(), b"")  # noqa: PTH109, PTH118 - bytes
    return path.removeprefix(here) if len(path) > len(here) else path


def raw(path: bytes) -> str:
    """Return a path for JSON: lossless, a byte that is not UTF-8 is a lone surrogate as `os.fsdecode` has it."""
    return path.decode("utf-8", "surrogateescape")
