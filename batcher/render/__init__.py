"""Transcripts as files: pure functions from a transcript to the bytes of one format."""

from collections.abc import Callable

from batcher.errors import UsageError
from batcher.model import Transcript
from batcher.render.about import About
from batcher.render.plain import txt
from batcher.render.structured import structured
from batcher.render.subtitles import srt, vtt

__all__ = ["FORMATS", "About", "Renderer", "render"]

Renderer = Callable[[Transcript, About], bytes]

FORMATS: dict[str, Renderer] = {"txt": txt, "json": structured, "srt": srt, "vtt": vtt}
"""Every format by its name, which is also the ending of its files."""


def render(name: str, transcript: Transcript, about: About) -> bytes:
    """Return `transcript` in the format called `name`. The same arguments always give the same bytes.

    Raises:
        UsageError: There is no such format.
    """
    if name not in FORMATS:
        raise UsageError(f"There is no format {name!r}.", hint=f"The formats are {', '.join(FORMATS)}.")
    return FORMATS[name](transcript, about)
