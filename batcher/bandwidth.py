"""How fast recordings may be sent: a timetable as people write it, and what keeps all uploads together to it.

Rates are bytes a second, times of day are seconds since midnight, moments are seconds by any clock that goes forward.
"""

import math
import re
from dataclasses import dataclass

from batcher.quantities import parse_size

#: A limit below this is a slip: "512" is meant for 512k, and would take all year.
LEAST_RATE = 8_000

#: What passes at a time is a small part of a second's worth, so that many uploads take turns often; but no smaller
#: than some packets of the network, which have a cost each, unless the limit is so low that these would be a burst.
USUAL_PIECE_SECONDS, LONGEST_PIECE_SECONDS = 1 / 64, 1 / 16
PACKETS_BYTES = 16 * 1024
#: So much may be made up for that was not used a moment ago, because timers are late. With a piece it is a quarter.
SAVED_SECONDS = 3 / 16

_UNLIMITED = ("", "off")
_WORDS = 'must be a size a second like 2M, off, or a timetable like "08:00,512k 23:00,off"'


@dataclass(frozen=True, slots=True)
class Timetable:
    """From which time of day on which limit holds; None is no limit. The day's last entry holds around midnight."""

    entries: tuple[tuple[int, int | None], ...] = ((0, None),)

    def rate(self, time_of_day: float) -> int | None:
        """Return the limit in force."""
        begun = [rate for since, rate in self.entries if since <= time_of_day]
        return begun[-1] if begun else self.entries[-1][1]


def parse_bandwidth(text: str) -> Timetable:
    """Read ``2M``, ``off``, nothing, or ``08:00,512k 23:00,off``. Raises ValueError with words for a person."""
    words = text.split()
    if len(words) <= 1 and "," not in text:
        return Timetable(((0, _rate("".join(words))),))
    entries = dict(map(_entry, words))
    if len(entries) < len(words):
        raise ValueError("must have one limit for each time of day")
    return Timetable(tuple(sorted(entries.items())))


def check_bandwidth(value: object) -> object:
    """Return a setting as it was given, as text, when `parse_bandwidth` can read it. Raises ValueError."""
    text = str(value) if type(value) is int else value
    if isinstance(text, str):
        parse_bandwidth(text)
    return text


def _entry(word: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d\d?):(\d\d),(.+)", word)
    if match is None:
        raise ValueError(_WORDS)
    hours, minutes = int(match[1]), int(match[2])
    if hours >= 24 or minutes >= 60:  # noqa: PLR2004 - as everybody's clock
        raise ValueError(f"must have times of day from 00:00 to 23:59, not {match[1]}:{match[2]}")
    return hours * 3600 + minutes * 60, _rate(match[3])


def _rate(word: str) -> int | None:
    if word.lower() in _UNLIMITED:
        return None
    try:
        rate = parse_size(word)
    except ValueError:
        raise ValueError(_WORDS) from None
    assert isinstance(rate, int)
    if rate < LEAST_RATE:
        raise ValueError(f"must be at least {LEAST_RATE // 1000}k a second, or off")
    return rate


class Bucket:
    """Keeps what passes to a rate, which may be another one each time.

    Over any length of time no more passes than the rate allows and a quarter of a second's worth.
    """

    def __init__(self) -> None:
        self._paid_until = -math.inf  #: when what has passed will have taken the time that it should
        self._binds = False

    @property
    def binds(self) -> bool:
        """Tell whether it was the rate that held up what passed last, and not whoever brought it."""
        return self._binds

    def wait(self, now: float) -> float:
        """Return for how many seconds nothing may pass."""
        return max(0.0, self._paid_until - now)

    def take(self, now: float, wanted: int, rate: int) -> int:
        """Return how many of the bytes that are there to pass may do so now, when there is no more to wait."""
        count = min(wanted, _piece(rate))
        self._paid_until = max(self._paid_until, now - SAVED_SECONDS) + count / rate
        self._binds = self._paid_until > now - LONGEST_PIECE_SECONDS
        return count


def _piece(rate: int) -> int:
    usual = max(PACKETS_BYTES, rate * USUAL_PIECE_SECONDS)
    return max(1, int(min(usual, rate * LONGEST_PIECE_SECONDS)))
