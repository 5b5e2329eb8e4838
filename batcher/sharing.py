"""How batches share one account: each keeps to its part, and takes over that of the others when they are done.

A free place that several see at once would be taken by all of them, and refused to all but one; and whoever looks more
often would get all that become free. So nobody takes what is free, but only up to a part that all of them reckon alike:
by how many of them hold something at the service, which the references of what is listed there tell.

Shards know how many they are, and begin together. Batches that know nothing of each other leave each other what the
others have shown to need, up to an equal part.
"""

from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce

from batcher.model import NOTHING, Load, RemoteObject, Survey, load_of
from batcher.reference import parse
from batcher.shard import Shard

#: For so long at least a shard counts that was not seen any more, or, in the beginning, not yet.
PRESUMED_MS = 60_000
#: Where the account has hardly more places than this, a newcomer might never see a free one.
FEW_PLACES = 3
#: How long a place is then left free, beside the time of two looks.
DOOR_MS = 2_000
#: One that comes later sends one recording, until so many looks have shown it: by then the others make room for it.
SHOWN_LOOKS = 2


def portion(whole: Load, parts: int, place: int) -> Load:
    """Return, thing by thing, what is left over for the one at this place (from 0) where so many divide `whole`."""
    left = (max(0, each) for each in whole.things())
    return Load(*(each // parts + (place < each % parts) for each in left))


def by_batch(survey: Survey) -> tuple[dict[str, Load], Load]:
    """Return what each batch holds at the service, and what nobody's batch does."""
    batches: dict[str, list[RemoteObject]] = {}
    strangers: list[RemoteObject] = []
    for listed in survey.objects:
        reference = parse(listed.reference)
        (strangers if reference is None else batches.setdefault(reference.batch, [])).append(listed)
    return {batch: load_of(objects) for batch, objects in batches.items()}, load_of(strangers).plus(survey.unlisted)


def sum_of(loads: Iterable[Load]) -> Load:
    """Return what they are together."""
    return reduce(Load.plus, loads, NOTHING)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another batch that works at the account."""

    held: Load = NOTHING  #: as far as is known
    most: Load = NOTHING  #: the most that it lately held
    at: int = 0  #: when that was
    there: int = 0  #: when a look last showed that it had found a place

    def seen(self, seen: Load, now: int, *, lately_ms: int, full: bool, complete: bool) -> "Neighbour":
        """Return what is known after a look that showed so much of it. In a `full` account it cannot show what it needs."""
        there = now if seen.stored else self.there
        held = seen if complete else seen.most(self.held)
        if held.pending >= self.most.pending or (now - self.at > lately_ms and not full):
            return Neighbour(held, held, now, there)
        return Neighbour(held, self.most, now if full else self.at, there)


@dataclass(slots=True)
class Neighbours:
    """The other batches at the account, as far as one sees them that is no shard. Times are UTC milliseconds.

    They are those that had something queued or at work within the last minute. To each of them is left what it holds, and
    twice the most that it lately held, up to an equal part of the account: one that is kept small by others grows to its
    part, and one that needs little leaves the rest. Where there are fewer places than batches, they take turns. Who holds
    nothing is not seen: where there are few places, one that became free is now and then left so for a moment.
    """

    batch: str
    lately_ms: int = PRESUMED_MS  #: longer where looks are far apart
    door_ms: int = DOOR_MS  #: likewise
    others: dict[str, Neighbour] = field(default_factory=dict)
    strangers: Load = NOTHING  #: what nobody's batch holds
    accepted: int = 0  #: when the service last accepted something of this batch
    door: bool = False  #: a place is left free for whoever has none
    opened: int | None = None  #: when one was last left free

    @property
    def parts(self) -> int:
        """Return how many batches share the account."""
        return len(self.others) + 1

    def observe(self, survey: Survey, now: int, limits: Load, accepted: int = 0) -> None:
        """Take note of a look at the account. One that may have missed something makes nothing smaller.

        `accepted` is when the service last accepted something of this batch.
        """
        held, strangers = by_batch(survey)
        self.strangers = strangers if survey.complete else strangers.most(self.strangers)
        self.accepted = accepted
        full = min(limits.minus(sum_of(held.values())).minus(strangers).things()) <= 0
        for batch in (held.keys() | self.others.keys()) - {self.batch}:
            known, seen = self.others.get(batch, Neighbour()), held.get(batch, NOTHING)
            self.others[batch] = known.seen(seen, now, lately_ms=self.lately_ms, full=full, complete=survey.complete)
        self.others = {batch: other for batch, other in self.others.items() if other.most.pending}
        self._leave_door(now, limits.minus(self.strangers).pending, full=full)

    def _leave_door(self, now: int, places: int, *, full: bool) -> None:
        """Leave a place that became free for a moment, if it is long since anybody else could have had one.

        Its moments are a tenth of the time at most: where looks are far apart, they take as long.
        """
        if self.opened is None or self.others:
            self.opened = now - self.door_ms
        elif not full and now - self.opened > max(self.lately_ms, 9 * self.door_ms) + self.door_ms:
            self.opened = now
        self.door = places <= FEW_PLACES and 0 <= now - self.opened < self.door_ms

    def kept(self, limits: Load) -> Load:
        """Return what is to be left free for the others, beyond what they hold."""
        whole, kept = limits.minus(self.strangers), Load(pending=1 if self.door else 0)
        order = sorted((*self.others, self.batch))
        if min(whole.things()) < len(order):
            after_others = any(other.there < self.accepted for other in self.others.values())
            return whole.most(NOTHING) if after_others else NOTHING
        for place, batch in enumerate(order):
            if batch != self.batch:
                other = self.others[batch]
                wanted = other.most.plus(other.most).within(portion(whole, len(order), place))
                kept = kept.plus(wanted.minus(other.held).most(NOTHING))
        return kept


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
        held, strangers = by_batch(survey)
        self.shown += self.batch in held
        self.seen |= dict.fromkeys(held.keys() - {self.batch}, now)
        self.strangers = strangers if survey.complete else strangers.most(self.strangers)

    def part(self, limits: Load, now: int) -> Load:
        """Return what this shard may hold of an account with such limits."""
        others = sorted(batch for batch, at in self.seen.items() if now - at <= self.presumed_ms)
        parts, place = len(others) + 1, bisect(others, self.batch)
        if now - self.began <= self.presumed_ms and parts <= self.shard.parts:
            parts, place = self.shard.parts, self.shard.part - 1
        whole = limits.minus(self.strangers)
        part = portion(whole, parts, place)
        door = parts < self.shard.parts and place == 0 and part.pending > 1  # so that one that comes later can be seen
        pending = min(part.pending - door, 1 if self._comes_later(others, now) else part.pending)
        return replace(part, pending=pending, bytes=self._bytes(max(0, whole.bytes), parts, place))

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
