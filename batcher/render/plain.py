"""The ``txt`` format: paragraphs to read."""

from collections.abc import Iterator

from batcher.model import Transcript
from batcher.render.about import About
from batcher.render.turns import Utterance, turns
from batcher.render.words import Shown, joined

PARAGRAPH_PAUSE_MS = 2000  #: silence after a sentence that begins a new paragraph when one voice speaks


def txt(transcript: Transcript, _about: About) -> bytes:
    """Return the words as UTF-8 text, a blank line between paragraphs, which are not wrapped.

    Where speakers or channels are known every turn is a paragraph that begins with who speaks. A transcript
    without words is a single newline: a file of no bytes would look unfinished.
    """
    paragraphs = [paragraph for turn in turns(transcript) for paragraph in _paragraphs(turn)]
    return ("\n\n".join(paragraphs) + "\n").encode()


def _paragraphs(turn: Utterance) -> list[str]:
    if turn.label:
        return [f"{turn.label}: {joined(turn.words)}"]
    return [joined(words) for words in _by_pause(turn.words)]


def _by_pause(words: tuple[Shown, ...]) -> Iterator[tuple[Shown, ...]]:
    begin = 0
    for index in range(1, len(words)):
        before = words[index - 1]
        if before.ends_sentence and words[index].start - before.end >= PARAGRAPH_PAUSE_MS:
            yield words[begin:index]
            begin = index
    yield words[begin:]
