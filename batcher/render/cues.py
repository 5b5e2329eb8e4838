"""Subtitles as cues: what is shown when, in lines of a readable length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from unicodedata import east_asian_width

from batcher.model import Transcript
from batcher.render.turns import Utterance, utterances
from batcher.render.words import Shown, joined

LINE_WIDTH = 42  #: characters; those of double width (Chinese, Japanese, Korean) count twice
MAX_LINES = 2
MAX_MS = 7000
MIN_MS = 1000  #: where there is room
PAUSE_MS = 700  #: silence that always ends a cue
_LABEL_WIDTH = 30
_SENTENCE_BONUS = 0.5  # how far from the middle a better place may be, in parts of the whole width
_CLAUSE_BONUS = 0.25


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle. Milliseconds; it ends after it starts and before the next one starts."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A cue whose place among the others is not settled yet."""

    words: Sequence[Shown]
    label: str

    @property
    def start(self) -> int:
        return self.words[0].start


def cues(transcript: Transcript) -> list[Cue]:
    """Return the subtitles in order, none overlapping another.

    Who speaks stands before the first cue of a turn, if more than one does. Where two channels speak at once
    the cues alternate, and one that would be gone within a second delays the next.
    """
    said = utterances(transcript)
    several = len({utterance.label for utterance in said}) > 1
    drafts = [draft for utterance in said for draft in _drafts(utterance, several=several)]
    drafts.sort(key=lambda draft: draft.start)
    times = _settled(drafts)
    labels = ["", *(draft.label for draft in drafts)]
    return [
        Cue(start, end, _lines([*(_label_words(draft.label) if draft.label != before else []), *draft.words]))
        for draft, before, (start, end) in zip(drafts, labels, times, strict=False)  # one label too many
    ]


def _drafts(utterance: Utterance, *, several: bool) -> Iterator[_Draft]:
    label = utterance.label if several else ""
    prefix = _label_words(label)
    for sentence in _sentences(utterance.words):
        for words in _halved(sentence, prefix):
            yield _Draft(words, label)


def _label_words(label: str) -> list[Shown]:
    """Return the label as words to wrap. Room for it is kept in every cue, because any may follow another voice."""
    short = label if len(label) <= _LABEL_WIDTH else label[: _LABEL_WIDTH - 1] + "…"
    return [Shown(text, 0, 0) for text in f"{short}:".split()] if label else []


def _sentences(words: Sequence[Shown]) -> Iterator[Sequence[Shown]]:
    """Yield the words cut at pauses and sentence ends; sentences too short to read stay with the next."""
    begin = 0
    for index, (before, after) in enumerate(pairwise(words), start=1):
        long_enough = before.end - words[begin].start >= MIN_MS
        if after.start - before.end >= PAUSE_MS or (before.ends_sentence and long_enough):
            yield words[begin:index]
            begin = index
    yield words[begin:]


def _halved(words: Sequence[Shown], prefix: list[Shown]) -> Iterator[Sequence[Shown]]:
    """Yield the words in pieces that fit a cue, of similar length: halves of halves, cut where it reads best."""
    if len(words) == 1 or _fits(words, prefix):
        yield words
        return
    middle = _best_cut(words)
    yield from _halved(words[:middle], prefix)
    yield from _halved(words[middle:], prefix)


def _fits(words: Sequence[Shown], prefix: list[Shown]) -> bool:
    if words[-1].end - words[0].start > MAX_MS or len(words) > MAX_LINES * LINE_WIDTH:
        return False
    return len(_wrapped([*prefix, *words])) <= MAX_LINES


def _best_cut(words: Sequence[Shown]) -> int:
    """Return how many words go before the cut: near the middle, rather after a sentence or a clause."""
    ends = list(accumulate(_width(word) for word in words))
    costs = [abs(ends[-1] - 2 * end) - _bonus(word) * ends[-1] for word, end in zip(words[:-1], ends, strict=False)]
    return costs.index(min(costs)) + 1


def _bonus(word: Shown) -> float:
    if word.ends_sentence:
        return _SENTENCE_BONUS
    return _CLAUSE_BONUS if word.ends_clause else 0


def _width(word: Shown) -> int:
    """Return the room a word takes in a line, its blank included."""
    wide = 0 if word.text.isascii() else sum(east_asian_width(character) in "WF" for character in word.text)
    return len(word.text) + wide + word.blank


def _wrapped(words: Sequence[Shown]) -> list[Sequence[Shown]]:
    """Return the words in as few lines as can be; a word longer than a line has one for itself."""
    lines: list[Sequence[Shown]] = []
    begin = room = 0
    for index, word in enumerate(words):
        width = _width(word)
        if index > begin and width > room:
            lines.append(words[begin:index])
            begin = index
        if index == begin:
            room, width = LINE_WIDTH, width - word.blank
        room -= width
    return [*lines, words[begin:]]


def _lines(words: Sequence[Shown]) -> tuple[str, ...]:
    """Return the text of a cue; two lines are balanced where that keeps both short enough."""
    lines = _wrapped(words)
    if len(lines) == MAX_LINES:
        cut = _best_cut(words)
        balanced = [*_wrapped(words[:cut]), *_wrapped(words[cut:])]
        lines = balanced if len(balanced) == MAX_LINES else lines
    return tuple(joined(line) for line in lines)


def _settled(drafts: list[_Draft]) -> list[tuple[int, int]]:
    """Return start and end of every cue: long enough to read where there is room, never overlapping."""
    times: list[tuple[int, int]] = []
    free = 0
    following = [*(draft.start for draft in drafts[1:]), None]
    for draft, upcoming in zip(drafts, following, strict=False):  # no drafts: one too many
        start = max(draft.start, free)
        spoken = min(max(draft.words[-1].end - draft.start, 1), MAX_MS)
        wanted = max(spoken, MIN_MS)
        room = wanted if upcoming is None else upcoming - start
        free = start + (wanted if room >= wanted else max(room, min(spoken, MIN_MS)))
        times.append((start, free))
    return times
