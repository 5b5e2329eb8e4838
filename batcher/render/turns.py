"""Who speaks when: utterances in the order in which they begin, and turns made of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from batcher.model import Part, Transcript
from batcher.render.safe import one_line
from batcher.render.words import Shown, shown

UTTERANCE_PAUSE_MS = 800  #: silence after which somebody else's words may come between a speaker's words


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words that one speaker says on one channel without a long pause."""

    words: tuple[Shown, ...]
    label: str  #: who speaks, as a person reads it; empty when nobody knows
    place: int  #: number of the part it belongs to, from zero

    @property
    def start(self) -> int:
        """Return when it begins, in milliseconds."""
        return self.words[0].start


def utterances(transcript: Transcript) -> list[Utterance]:
    """Return everything said, in the order in which it was begun.

    Channels are woven into one conversation utterance by utterance, not word by word: speech that overlaps
    does not chop sentences.
    """
    found = [
        utterance for place, part in enumerate(transcript.parts) for utterance in _of_part(part, place, transcript)
    ]
    return sorted(found, key=lambda utterance: utterance.start)


def turns(transcript: Transcript) -> list[Utterance]:
    """Return the utterances with neighbours of the same speaker and channel made one, whatever pause is between."""
    together = groupby(utterances(transcript), key=lambda utterance: (utterance.place, utterance.label))
    return [
        Utterance(tuple(word for utterance in group for word in utterance.words), label, place)
        for (place, label), group in together
    ]


def _of_part(part: Part, place: int, transcript: Transcript) -> Iterator[Utterance]:
    words = shown(part, transcript.separator)
    channel = _channel_label(part, place) if len(transcript.parts) > 1 else ""
    diarized = any(word.speaker for word in words)
    begin = 0
    for index in range(1, len(words) + 1):
        if index == len(words) or _parts(words[index - 1], words[index]):
            speaker = _speaker_label(part, words[begin].speaker) if diarized else ""
            label = ", ".join(filter(None, [channel, speaker]))
            yield Utterance(tuple(words[begin:index]), label, place)
            begin = index


def _parts(before: Shown, after: Shown) -> bool:
    return before.speaker != after.speaker or after.start - before.end >= UTTERANCE_PAUSE_MS


def _channel_label(part: Part, place: int) -> str:
    """Return the channel as people count, from one; the service counts from zero."""
    return f"Channel {(place if part.channel is None else part.channel) + 1}"


def _speaker_label(part: Part, speaker: str | None) -> str:
    """Return the name where the service identified it, else the number, else a question mark."""
    if not speaker:
        return "Speaker ?"
    return one_line(part.speakers.get(speaker, "")) or f"Speaker {one_line(speaker) or '?'}"
