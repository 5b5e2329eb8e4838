"""The ``txt`` format: paragraphs to read."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from batcher.model import Transcript, Word
from batcher.render.about import About
from batcher.render.safe import one_line
from batcher.render.turns import Utterance, turns
from batcher.render.words import Shown, is_translation, joined, readable

PARAGRAPH_PAUSE_MS = 2000  #: silence after a sentence that begins a new paragraph when one voice speaks


def txt(transcript: Transcript, _about: About) -> bytes:
    """Return the words as UTF-8 text, a blank line between paragraphs, which are not wrapped.

    Where speakers or channels are known every turn is a paragraph that begins with who speaks. What was
    translated is followed by its translation, a paragraph that begins with the language in brackets. A transcript
    without words is a single newline: a file of no bytes would look unfinished.
    """
    said = turns(transcript)
    paragraphs = [paragraph for turn in said for paragraph in _paragraphs(turn, transcript.separator)]
    paragraphs += _translations(_stray(transcript, said), transcript.separator)
    return ("\n\n".join(paragraphs) + "\n").encode()


def _paragraphs(turn: Utterance, separator: str) -> Iterator[str]:
    """Yield what was said in paragraphs, each followed by its translation."""
    for words in _cut(turn):
        yield f"{turn.label}: {joined(words)}" if turn.label else joined(words)
        yield from _translations([token for word in words for token in word.translation], separator)


def _cut(turn: Utterance) -> Iterator[tuple[Shown, ...]]:
    """Yield the words of a turn, cut after sentences where one voice pauses or the language translated to changes.

    Words that were translated together stay together.
    """
    words = turn.words
    targets = _targets(words)
    begin = 0
    for index, (before, after) in enumerate(pairwise(words), start=1):
        together = targets[index - 1] and not before.translation
        pause = not turn.label and after.start - before.end >= PARAGRAPH_PAUSE_MS
        if before.ends_sentence and not together and (pause or targets[index - 1] != targets[index]):
            yield words[begin:index]
            begin = index
    yield words[begin:]


def _targets(words: Sequence[Shown]) -> list[str]:
    """Return the language each word was translated to, which only the end of its translation tells."""
    targets: list[str] = []
    target = ""
    for word in reversed(words):
        target = _tag(word.translation[0]) if word.translation else target
        targets.append(target if word.original else "")
    return targets[::-1]


def _translations(tokens: Sequence[Word], separator: str) -> Iterator[str]:
    """Yield a paragraph of each run of tokens in one language."""
    for tag, run in groupby(tokens, _tag):
        text = readable(tuple(run), separator)
        if text:
            yield f"[{tag}] {text}"


def _tag(token: Word) -> str:
    """Return the language of a translation as a reader sees it."""
    return one_line(token.language or "") or "translation"


def _stray(transcript: Transcript, said: Sequence[Utterance]) -> list[Word]:
    """Return the translations in parts where no word was spoken that they could follow."""
    spoken = {turn.place for turn in said}
    silent = [part for place, part in enumerate(transcript.parts) if place not in spoken]
    return [token for part in silent for token in part.words if is_translation(token)]
