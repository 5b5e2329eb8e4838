"""Is it a mistake of batcher's that the service has not got the room? Told from what the night knows at that instant.

A claim may fill the limits that batcher was told of, as far as nothing else takes room that a list has shown to it. So
whatever the service counts beyond those limits must be something that no list can have shown before the latest claim:
what came since, what lists do not show yet or never do. Everything else is a mistake, and one place is enough. Limits
that the service lowered without a word explain a refusal, but no count beyond those that batcher knows of.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batcher.emulator.objects import File
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_objects import RestFile, RestJob
from batcher.model import LIMITED, Limits, Load
from batcher.reference import parse
from batcher.states import HELD_STATES, Event
from batcher.store.table import Move
from tests.simulation.life import WHO
from tests.simulation.looks import fresh_ms

if TYPE_CHECKING:
    from tests.simulation.batch import Batch
    from tests.simulation.night import Night

Item = File | RestFile | RestJob

#: For so long a claim may still be one of before the limits were changed, or of a list that was begun before.
MOMENT_MS = 1000
SLOW_MS = 10_000  #: the same where the disk is slow
LATEST = 200  #: so many looks are gone through for the one that a claim went by

LOWERED = "limits lowered"
CAME = "somebody came since the list"
HIDDEN = "not in lists yet"
UNLISTED = "in no list ever"
LEFT = "left by an upload since the list"


@dataclass(slots=True)
class View:
    """What one batch could know of the account when it last claimed. Times are UTC milliseconds of the service."""

    told: deque[tuple[int, Load]] = field(default_factory=deque)  #: the limits, and since when batcher knows them
    claimed: int = 0  #: the latest claim
    limits: Load | None = None  #: that it could fill
    list_began: float = -math.inf  #: the latest complete list that it surely went by
    left: dict[tuple[int, int], int] = field(default_factory=dict)  #: attempts that nothing counts for, since when
    adopted: dict[int, int] = field(default_factory=dict)  #: jobs that a list, not a claim, made count, since when


class Quota:
    """Hears of claims, of what the service takes and of what it refuses, and notes what must not be."""

    def __init__(self, night: "Night") -> None:
        self.over = 0
        self.tight = 0  #: how often one place more would have been a mistake
        self.explained: Counter[str] = Counter()  #: counts beyond a limit and refusals, by the fact
        self._night = night
        self._views: dict[str, View] = {}
        #: How long ago what is heard of now may have been decided: a slow disk makes everybody wait.
        self._ago = SLOW_MS if "sluggish" in night.story.kinds else 0

    # What batcher knows.

    def told(self, batch: "Batch", limits: Limits) -> None:
        """Take note that batcher is told of limits."""
        self._view(batch).told.append((self._night.world.now(), limits.load()))

    def moved(self, batch: "Batch", move: Move) -> None:
        """Take note of a move of a job."""
        view, now = self._view(batch), self._night.world.now()
        if move.event is Event.CLAIMED:
            self._claimed(batch, view, now)
        elif move.source in HELD_STATES and move.target not in HELD_STATES:
            view.left[move.job, move.attempt] = now
        elif move.source not in HELD_STATES and move.target in HELD_STATES:
            view.adopted[move.job] = now

    def _claimed(self, batch: "Batch", view: View, now: int) -> None:
        """Note what a claim could know: the limits of this moment, and the list before it."""
        while len(view.told) > 1 and view.told[1][0] < now - MOMENT_MS - self._ago:
            view.told.popleft()
        view.limits = Load(*map(max, zip(*(limits.things() for _, limits in view.told), strict=True)))
        view.claimed, view.list_began = now, self._went_by(batch, now)
        age, took = self._night.world.read() - batch.looked, batch.look_took
        if age * 1000 > fresh_ms(took * 1000, self._night.poll_seconds * 1000) + MOMENT_MS + self._ago:
            self._wrong(f"{batch.name} claims by a list of {age:.0f} s ago")

    def _went_by(self, batch: "Batch", now: int) -> float:
        """Return when the list was begun that a claim of this instant went by; one that just came may be too new."""
        of_this_life = [began for began, _ in batch.looks[-LATEST:] if began >= batch.began_ms]
        answered = dict(batch.looks[-LATEST:])
        before = [began for began in of_this_life if answered[began] < now - self._ago]
        return before[-1] if before else of_this_life[0] if of_this_life else -math.inf

    def _view(self, batch: "Batch") -> View:
        if batch.name not in self._views:
            self._views[batch.name] = View()
            self.told(batch, batch.announced)
        return self._views[batch.name]

    # What the service counts.

    def refused(self, thing: str, more: int) -> None:
        """Hold a refusal against what the batcher that asked could know."""
        life = WHO.get()
        assert life is not None, "nobody but batcher is refused anything"
        batch = life.batch
        self._night.note(f"service refused {batch.name}: {thing}")
        batch.refusals.append(self._night.world.read())
        counted = self._counted().plus(Load(**{thing: more}))
        if not self._judge(batch, thing, counted):
            self.explained[f"refused: {LOWERED}"] += 1

    def accepted(self, batch: "Batch") -> None:
        """Hold what the service counts, now that it has accepted something, against what batcher could know."""
        counted = self._counted()
        for thing in LIMITED:
            self._judge(batch, thing, counted, refused=False)

    def _judge(self, batch: "Batch", thing: str, counted: Load, *, refused: bool = True) -> bool:
        """Find what explains that there is so much of `thing`; tell whether anything had to be explained."""
        view = self._view(batch)
        limit = getattr(view.limits or batch.announced.load(), thing)
        over = getattr(counted, thing) - limit
        if over < 0:
            return False
        facts = self._facts(batch, view, thing)
        unexplained = over - facts.total()
        self.tight += unexplained == 0
        if over == 0:
            return False
        if unexplained > 0:
            known = ", ".join(f"{fact} {number}" for fact, number in facts.items() if number)
            verb = "would be" if refused else "are"
            self._wrong(
                f"{thing} {verb} {getattr(counted, thing)}, {limit} are allowed; {known or 'nothing'} explains it"
            )
        else:
            self.explained[f"{'refused' if refused else 'counted'}: {max(facts, key=lambda fact: facts[fact])}"] += 1
        return True

    def _wrong(self, what: str) -> None:
        self.over += 1
        self._night.violated(what)

    def _counted(self) -> Load:
        account = self._night.account
        if not isinstance(account, RestAccount):
            return Load(account.pending, account.stored)
        account.advance()
        held = account._holding()
        return Load(held.pending, held.transcriptions, held.files, held.bytes)

    def _facts(self, batch: "Batch", view: View, thing: str) -> Counter[str]:
        """Return how much of `thing` no list can have shown to the latest claim, by why that is."""
        facts: Counter[str] = Counter()
        account = self._night.account
        if isinstance(account, RestAccount):
            siblings = account.siblings
            unlisted = Load(siblings.pending, siblings.transcriptions, siblings.files, siblings.bytes)
            facts[UNLISTED] += getattr(unlisted, thing)
        for item in self._items():
            amount = getattr(_load(item), thing)
            if amount:
                facts[self._why_unknown(batch, view, item)] += amount
        del facts[""]
        return facts

    def _items(self) -> Iterator[Item]:
        account = self._night.account
        yield from account.files
        if isinstance(account, RestAccount):
            yield from account.jobs

    def _why_unknown(self, batch: "Batch", view: View, item: Item) -> str:
        """Return why no list can have shown an object to the latest claim, or nothing if it must be reckoned with."""
        reference = None if item.foreign else parse(item.reference)
        known, ours = view.list_began, reference is not None and reference.batch == batch.id
        if reference is not None and ours:
            job, attempt = reference.job, reference.attempt
            held = batch.states.get(job) in HELD_STATES and batch.is_its_own(reference)
            if held and view.adopted.get(job, -1) < view.claimed:
                return ""  # its job counts for it
            left = view.left.get((job, attempt), view.claimed)
            if left < view.claimed:
                known = max(known, left)  # nothing may be claimed before a list that was begun then
        if item.visible + self._night.behind_ms < known:
            return ""
        if item.created + self._night.behind_ms < known:
            return HIDDEN
        return LEFT if ours else CAME


def _load(item: Item) -> Load:
    """Return what one object takes."""
    if isinstance(item, RestFile):
        return Load(files=1, bytes=item.size)
    return Load(pending=item.ended is None, stored=1)
