"""How shards share one account: each keeps to its part, and takes over that of the others when they are done.

A free place that several see at once would be taken by all of them, and refused to all but one. So nobody takes what is
free, but only up to a part that all of them reckon alike: by how many of them hold something at the service, which the
references of what is listed there tell.
"""

from bisect import bisect
from dataclasses import dataclass, field, replace

from batcher.model import NOTHING, Load, Survey
from batcher.reference import parse
from batcher.shard import Shard

#: For so long at least a shard counts that was not seen any more, or, in the beginning, not yet.
PRESUMED_MS = 60_000
#: One that comes later sends one recording, until so many looks have shown it: by then the others make room for it.
SHOWN_LOOKS = 2


@dataclass(slots=True)
class Company:
    """The other batches at the account, as far as one shard sees them. Times are UTC milliseconds."""

    shard: Shard
    batch: str
    began: int
    largest: int = 0  #: bytes that a recording may have; some parts hold it, or it would wait for the end of all others
    presumed_ms: int = PRESUMED_MS  #: longer where looks are far apart
    shown: int = 0  #: looks that showed something of this shard
    seen: dict[str, int] = field(default_factory=dict)  #: other batches, and when they were last seen
    strangers: Load = NOTHING  #: what nobody's batch holds

    def observe(self, survey: Survey, now: int) -> None:
        """Take note of a look at the account. One that may have missed something makes no stranger's part smaller."""
        strangers, batches = survey.unlisted, set()
        for listed in survey.objects:
            reference = parse(listed.reference)
            if reference is None:
                strangers = strangers.plus(listed.load)
            else:
                batches.add(reference.batch)
        self.shown += self.batch in batches
        self.seen |= dict.fromkeys(batches - {self.batch}, now)
        self.strangers = strangers if survey.complete else strangers.most(self.strangers)

    def part(self, limits: Load, now: int) -> Load:
        """Return what this shard may hold of an account with such limits."""
        others = sorted(batch for batch, at in self.seen.items() if now - at <= self.presumed_ms)
        parts, place = len(others) + 1, bisect(others, self.batch)
        if now - self.began <= self.presumed_ms and parts <= self.shard.parts:
            parts, place = self.shard.parts, self.shard.part - 1
        left = [max(0, each) for each in limits.minus(self.strangers).things()]
        part = Load(*(each // parts + (place < each % parts) for each in left))
        door = parts < self.shard.parts and place == 0 and part.pending > 1  # so that one that comes later can be seen
        pending = min(part.pending - door, 1 if self._comes_later(others, now) else part.pending)
        return replace(part, pending=pending, bytes=self._bytes(left[-1], parts, place))

    def _comes_later(self, others: list[str], now: int) -> bool:
        """Tell whether others work already that have not seen this one: what is free, they fill as well."""
        return bool(others) and self.shown < SHOWN_LOOKS and now - self.began <= self.presumed_ms

    def _bytes(self, left: int, parts: int, place: int) -> int:
        """Return the part in the bytes.

        Where equal parts would not hold the largest recording, the first in order get so much, from half of the bytes,
        and the others the rest: together they stay within the limit, and everybody is among the first one day. What is
        more than half of it all waits until its shard is left alone, or the others had nothing.
        """
        largest = min(left // 2, self.largest)
        if left // parts >= largest:
            return left // parts + (place < left % parts)
        first = max(1, left // 2 // largest)
        return largest if place < first else (left - first * largest) // (parts - first)
