"""The ``srt`` and ``vtt`` formats, written by pysubs2."""

from collections.abc import Callable
from html import escape

from batcher.model import Transcript
from batcher.render.about import About
from batcher.render.cues import Cue, cues

# pysubs2 reads a backslash as the beginning of a tag or a line break. This stands for one until it has written;
# no text holds it, because control characters are gone by then.
_BACKSLASH = "\x00"


def srt(transcript: Transcript, _about: About) -> bytes:
    """Return SubRip subtitles as UTF-8.

    The format knows no escapes, so ``<`` and ``&`` stand for themselves; an arrow that a reader could take
    for a time line is written as one character.
    """
    return _written("srt", cues(transcript), lambda line: line.replace("-->", "→"))


def vtt(transcript: Transcript, _about: About) -> bytes:
    """Return WebVTT subtitles, with ``&``, ``<`` and ``>`` escaped as the format wants them."""
    return _written("vtt", cues(transcript), lambda line: escape(line, quote=False))


def _written(form: str, settled: list[Cue], protect: Callable[[str], str]) -> bytes:
    """Write the cues. Without any the file is a newline or a bare header, never empty."""
    from pysubs2 import SSAEvent, SSAFile  # noqa: PLC0415 - costs 70 ms, which only subtitles should pay

    subtitles = SSAFile()
    for cue in settled:
        text = r"\N".join(protect(line).replace("\\", _BACKSLASH) for line in cue.lines)
        subtitles.append(SSAEvent(start=cue.start, end=cue.end, text=text))
    written = subtitles.to_string(form, keep_ssa_tags=True).replace(_BACKSLASH, "\\")
    return (written.rstrip("\n") + "\n").encode()
