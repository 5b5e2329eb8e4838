"""Words as a person reads them, made of the tokens the service sent.

A token may be a whole word, a piece of one (then a leading blank marks a new word), a blank of its own or
several words. Here they become words that a line may break between, each with a time.

Tokens of a translation were not spoken. They have no part in the words and their times; each is kept with the
word it follows.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from batcher.model import Part, Word
from batcher.render.safe import clean, split

LAST_MS = 99 * 3_600_000  #: subtitles write two digits of hours; the last hour is room for crowded cues
_STEP_MS = 150  # half the time a word of unknown length is given

_CLOSING = "'\"”»)]\u2019\u300d\u300f\uff09"  # quotation marks and brackets that may follow the end
_SENTENCE_ENDS = tuple(".!?…\u0964\u061f\u3002\uff01\uff1f\uff61")  # Latin, Hindi, Arabic, Chinese and Japanese
_CLAUSE_ENDS = tuple(",;:—\u2013\u060c\u3001\uff0c\uff1b\uff1a")
# Scripts without blanks between words: Thai, Lao, Burmese, Khmer, Chinese, Japanese, and their punctuation.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]",
)
_NEVER_FIRST = {"Mn", "Mc", "Me", "Pe", "Pf", "Po", "Pd", "Lm"}  # marks, closing punctuation, ー and 々
_NEVER_LAST = {"Ps", "Pi"}


class Shown(NamedTuple):
    """A word to show. Never empty, without blanks; times are milliseconds, `start` never falls from word to word."""

    text: str
    start: int
    end: int  #: not before `start`, not after the next word's start
    speaker: str | None = None
    blank: bool = True  #: a blank stands before it, unless it begins a line
    original: bool = False  #: it was translated
    translation: tuple[Word, ...] = ()  #: the service's tokens for what was spoken up to here, in another language

    @property
    def ends_sentence(self) -> bool:
        """Tell whether a sentence ends with this word, by its punctuation."""
        return self.text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)

    @property
    def ends_clause(self) -> bool:
        """Tell whether a comma or the like follows this word."""
        return self.text.rstrip(_CLOSING).endswith(_CLAUSE_ENDS)


def shown(part: Part, separator: str) -> list[Shown]:
    """Return the words of `part` as a person reads them, every one with a time.

    Nothing that was spoken but blanks and unsafe characters is left out. A word without a time borrows one from
    its neighbours. Times that run backwards are held at the latest time before them.
    """
    drafts = _drafts([token for token in part.words if not is_translation(token)], separator)
    times = _times(drafts)
    translations = _translations(part.words, [draft.token for draft in drafts])
    return [
        Shown(draft.text, start, end, draft.speaker, draft.blank, draft.original, translations[number])
        for number, (draft, (start, end)) in enumerate(zip(drafts, times, strict=True))
    ]


def is_translation(token: Word) -> bool:
    """Tell whether a token says in another language what was spoken before it."""
    return token.translation == "translation"


def readable(tokens: Sequence[Word], separator: str) -> str:
    """Return the text of tokens, whether spoken or a translation, as one line."""
    return joined(_drafts(tokens, separator))


def joined(words: "Iterable[Shown | _Draft]") -> str:
    """Return `words` as one line of text."""
    return "".join(f" {word.text}" if word.blank else word.text for word in words).strip()


@dataclass(slots=True)
class _Draft:
    """A word that may still grow by the next token."""

    text: str
    start: int | None
    end: int | None
    speaker: str | None
    blank: bool
    original: bool
    token: int  #: number of the token it begins with

    def grow(self, piece: "_Draft") -> None:
        self.text += piece.text
        self.end = self.end if piece.end is None else piece.end
        self.speaker = self.speaker or piece.speaker
        self.original = self.original or piece.original


def _drafts(tokens: Sequence[Word], separator: str) -> list[_Draft]:
    drafts: list[_Draft] = []
    for piece in _pieces(tokens, separator):
        if drafts and not piece.blank and not _may_part(drafts[-1].text, piece.text):
            drafts[-1].grow(piece)
        else:
            drafts.append(piece)
    for draft in drafts:
        draft.text = draft.text.strip()
    return [draft for draft in drafts if draft.text]  # no-break spaces alone are no word


def _pieces(tokens: Sequence[Word], separator: str) -> Iterator[_Draft]:
    """Yield the tokens cut at their blanks; `blank` tells whether one stood before the piece."""
    blank = True
    for index, token in enumerate(tokens):
        texts = split(separator + token.text if index else token.text)
        cleaned = [clean(text) for text in texts]
        spoken = [number for number, text in enumerate(cleaned) if text]
        for number in spoken:
            # Only the outer pieces know their token's times; the others borrow.
            start = token.start_ms if number == spoken[0] else None
            end = token.end_ms if number == spoken[-1] else None
            original = token.translation == "original"
            yield _Draft(cleaned[number], start, end, token.speaker, blank or number > 0, original, index)
            blank = False
        blank = blank or len(texts) - 1 > (spoken[-1] if spoken else 0)


def _translations(tokens: Sequence[Word], begins: Sequence[int]) -> Mapping[int, tuple[Word, ...]]:
    """Return the tokens of translations by the number of the word they follow.

    `begins` says for every word with which of the spoken tokens it begins. A translation before any word goes
    with the first.
    """
    found: dict[int, tuple[Word, ...]] = defaultdict(tuple)
    spoken = 0
    for translated, run in groupby(tokens, is_translation):
        if translated:
            found[max(bisect_left(begins, spoken) - 1, 0)] += tuple(run)
        else:
            spoken += len(list(run))
    return found


def _may_part(left: str, right: str) -> bool:
    """Tell whether a line may break between two tokens that no blank separates.

    It may in scripts that write no blanks. Where words end in Thai and its like only a dictionary knows; the
    service's tokens are the best guess at hand.
    """
    if unicodedata.category(right[0]) in _NEVER_FIRST or unicodedata.category(left[-1]) in _NEVER_LAST:
        return False
    return _UNSPACED.match(right) is not None or _UNSPACED.match(left[-1]) is not None


def _times(drafts: list[_Draft]) -> list[tuple[int, int]]:
    """Return start and end of every word, none unknown, starts never falling, no word reaching into the next."""
    if not drafts:
        return []
    marks = _filled([mark for draft in drafts for mark in (draft.start, draft.end)])
    within = [min(max(mark, 0), LAST_MS) for mark in marks]
    starts = list(accumulate(within[::2], max))
    limits = [*starts[1:], LAST_MS]
    return [
        (start, max(start, min(end, limit))) for start, end, limit in zip(starts, within[1::2], limits, strict=True)
    ]


def _filled(marks: Sequence[int | None]) -> list[int]:
    """Fill unknown marks: close behind the known one before, squeezed where the next one leaves less room."""
    known = [(index, mark) for index, mark in enumerate(marks) if mark is not None]
    if len(known) == len(marks):
        return [mark for _, mark in known]
    known = known or [(0, 0)]
    first, origin = known[0]
    filled = [max(origin - (first - index) * _STEP_MS, 0) for index in range(first)]
    open_end = (len(marks), known[-1][1] + len(marks) * _STEP_MS)
    for (index, mark), (upto, limit) in pairwise([*known, open_end]):
        step = min(max((limit - mark) // (upto - index), 0), _STEP_MS)
        filled += [mark + number * step for number in range(upto - index)]
    return filled
