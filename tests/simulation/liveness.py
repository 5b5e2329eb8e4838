"""Nothing may stand still: with room in the quota and a job due, an upload starts within a bounded time."""

import math
from collections import deque
from math import ceil
from typing import TYPE_CHECKING

import anyio

from batcher.emulator.rest_account import RestAccount
from batcher.model import Load
from batcher.stages.context import Context
from batcher.states import HELD_STATES, PENDING_STATES, State
from batcher.store.jobs import json_array
from tests.simulation.batch import Batch
from tests.simulation.life import Life

if TYPE_CHECKING:
    from tests.simulation.night import Night

LOOK_SECONDS = 30.0
#: So many looks in a row may find room that batcher knows of and does not use, whatever else it sends meanwhile. Where
#: every wake-up is lost, its stages look at the table once a minute.
UNUSED_LOOKS = 5
#: How long nothing at all may be sent though the service has room. A share that was cut by refusals is held for 16
#: minutes at most.
IDLE_SECONDS = 25 * 60.0
LISTS_FAIL_SECONDS = 5 * 60.0  #: where no list was answered for so long, they fail: with many pages and much loss
#: How long after a refusal less may be sent than there is room for: it is held, twice as long after each one that
#: follows, and comes back; and until its answer is there.
HELD_SECONDS, LONGEST_HELD_SECONDS, RECOVERS_SECONDS, ANSWER_SECONDS = 30.0, 16 * 60.0, 600.0, 180.0
#: Of two batches that both have something to send for so many looks, neither gets so many times what the other does.
FAIR_LOOKS, FAIR_TIMES, FEW = 10, 6, 12
#: A recording that takes more of the account's bytes than this waits long beside a batch with smaller ones: so much is
#: hardly ever free at once.
LARGE_PART = 8
#: How long at most nobody looks at the service, whether it answers or not.
BLIND_SECONDS = 150.0
PROBES_AN_HOUR = 70.0

_DUE = """
    SELECT max(files), max(bytes) FROM job
    WHERE state = 'waiting' AND not_before <= ? AND files <= ? AND bytes <= ?
"""
_LARGEST = "SELECT max(bytes) FROM job WHERE state = 'waiting' AND not_before <= ?"
_HELD = "SELECT sum(files), sum(bytes) FROM job WHERE state IN (SELECT value FROM json_each(?))"


class Watch:
    """Looks every half minute whether a batch could send something and does not."""

    def __init__(self, night: "Night") -> None:
        self._night = night
        self._since: dict[Life, float] = {}  #: since when the service has had room
        self._unused: dict[Life, int] = {}  #: how many looks in a row batcher knew of room
        #: How many attempts of each batch were accepted, at the latest looks at which each had something to send.
        self._taken: deque[tuple[int, ...]] = deque(maxlen=FAIR_LOOKS + 1)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            for batch in self._night.batches:
                self._look(batch)
            self._look_for_shut_out()

    def _look_for_shut_out(self) -> None:
        """Notice that of two batches one takes nearly all that becomes free."""
        batches = self._night.batches
        if len(batches) < 2 or not all(map(self._wants_more, batches)):
            self._taken.clear()
            return
        self._taken.append(tuple(batch.accepted for batch in batches))
        fewest, most = sorted(now - then for now, then in zip(self._taken[-1], self._taken[0], strict=True))
        if len(self._taken) > FAIR_LOOKS and most > FEW + FAIR_TIMES * fewest:
            self._night.violated(f"of two batches one has sent {most} in five minutes, the other {fewest}")
            self._taken.clear()

    def _wants_more(self, batch: Batch) -> bool:
        """Tell whether a batch would send more if others left room for it: an uncertain job of its own keeps a place."""
        context = self._at_work(batch)
        if context is None or batch.counts[State.UNCERTAIN]:
            return False
        return _has_place(batch, context) and self._fits(batch, _ANY) and self._lacks_places(batch, context)

    def _lacks_places(self, batch: Batch, context: Context) -> bool:
        """Tell whether it is the number of a batch's recordings that counts for what it may send, not their bytes."""
        limit = context.headroom.limits.load().bytes
        ((largest,),) = batch.rows(_LARGEST, self._night.world.now() + batch.skew_ms)
        ((_, held),) = batch.rows(_HELD, json_array(HELD_STATES))
        largest, held = int(str(largest or 0)), int(str(held or 0))
        return largest <= limit // LARGE_PART and held + largest <= limit // 2

    def _look(self, batch: Batch) -> None:
        life, context = batch.life, self._at_work(batch)
        if life is None:
            return
        self._look_for_blind(batch, life)
        self._look_for_timid(batch, context)
        if context is None or not batch.counts[State.WAITING] or not _has_place(batch, context):
            self._since.pop(life, None)
            self._unused.pop(life, None)
            return
        self._look_for_unused(batch, life, context)
        self._look_for_idle(batch, life, context)

    def _look_for_blind(self, batch: Batch, life: Life) -> None:
        """Notice an engine that does not look at the service any more, also in an outage."""
        since = max(batch.asked_at, batch.began)
        waited = self._night.world.read() - since
        if life.stopped_at is None and not batch.asking and waited > BLIND_SECONDS:
            self._night.violated(f"{batch.name} has not looked at the service for {waited:.0f} s")
            batch.asked_at = self._night.world.read()

    def _look_for_timid(self, batch: Batch, context: Context | None) -> None:
        """Notice an engine that sends less than it could for longer than its refusals explain."""
        if context is None or not context.headroom.held_back(context.clock.now()):
            return
        held = min(HELD_SECONDS * 2 ** min(len(batch.refusals) - 1, 20), LONGEST_HELD_SECONDS)
        since = self._night.world.read() - max(batch.refusals, default=-math.inf)
        if since > held + RECOVERS_SECONDS + ANSWER_SECONDS:
            self._night.violated(f"{batch.name} sends less than it could, {since:.0f} s after it was refused")

    def _look_for_unused(self, batch: Batch, life: Life, context: Context) -> None:
        """Notice an engine that knows of room and does not use it, though it may send others."""
        headroom, now = context.headroom, context.clock.now()
        recovers = headroom._share(now) < 1  # then room grows all the time
        catching_up = (
            "sluggish" in self._night.story.kinds and batch.claimed_at > self._night.world.read() - LOOK_SECONDS
        )
        if context.reach.in_vain("upload") and batch.claimed_at > self._night.world.read() - LOOK_SECONDS:
            catching_up = True  # uploads get nowhere: a few are tried after each list
        if recovers or catching_up or not self._fits(batch, headroom.room(now)):
            self._unused.pop(life, None)
            return
        self._unused[life] = self._unused.get(life, 0) + 1
        if self._unused[life] == UNUSED_LOOKS:
            held = sum(batch.counts[state] for state in PENDING_STATES)
            self._night.violated(f"{batch.name} has {held} pending, knows of room for more, and leaves it empty")

    def _look_for_idle(self, batch: Batch, life: Life, context: Context) -> None:
        """Notice an engine that sends nothing for long, whatever it thinks of the room that there is."""
        now = self._night.world.read()
        answered = now - batch.looked <= LISTS_FAIL_SECONDS  # without a list nothing may be sent
        if not (answered and self._may_hold_more(batch, context) and self._room(context) and self._fits(batch, _ANY)):
            self._since.pop(life, None)
            return
        since = max(self._since.setdefault(life, now), batch.claimed_at)
        if now - since > IDLE_SECONDS:
            self._night.violated(f"{batch.name} sends nothing for {now - since:.0f} s though it could")
            self._since.pop(life)

    def _at_work(self, batch: Batch) -> Context | None:
        """Return what the stages of a running batcher know, unless it has a reason to send nothing."""
        night, life = self._night, batch.life
        if life is None or life.stopped_at is not None or life.engine is None:
            return None
        if batch.world.room is not None or night.weather.outage() or night.account.balance_exhausted:
            return None
        context = life.engine._context
        if context is None or not context.reach or context.draining or context.stopping.is_set():
            return None  # where its listings fail: with many pages and much loss that may take long
        return context

    def _fits(self, batch: Batch, room: Load) -> bool:
        """Tell whether any job that is due fits into what is left of `room`, the largest one too."""
        free = room.minus(_counted(batch))
        if min(free.pending, free.stored) < 1:
            return False
        now = self._night.world.now() + batch.skew_ms
        ((files, size),) = batch.rows(_DUE, now, room.files, room.bytes)
        ((held_files, held_bytes),) = batch.rows(_HELD, json_array(HELD_STATES))
        if not isinstance(files, int) or not isinstance(size, int):
            return False  # nothing is due
        held = Load(files=int(str(held_files or 0)), bytes=int(str(held_bytes or 0)))
        return not Load(0, 0, files, size).lacking(free.minus(held))

    def _may_hold_more(self, batch: Batch, context: Context) -> bool:
        """Tell whether one more pending is within the share that refusals have left to it."""
        headroom = context.headroom
        pending = sum(batch.counts[state] for state in PENDING_STATES)
        return pending < ceil(headroom.limits.pending * headroom._share(context.clock.now()))

    def _room(self, context: Context) -> bool:
        """Tell whether the service would take one more, and as many more as others may come to hold soon.

        Whatever batcher keeps in reserve for them: that must not keep a place free for ever.
        """
        account = self._night.account
        others = 2 * len(self._night.foreign)
        spare = Load(1 + others, 1 + others, 1 + others, 1_500_000 + 200_000 * others)
        taken = Load(account.pending, account.stored)
        if isinstance(account, RestAccount):
            account.advance()
            held = account._holding()
            taken = Load(held.pending, held.transcriptions, held.files, held.bytes)
        limits = account.limits.load().within(context.headroom.limits.load())
        return bool(min(limits.minus(taken).minus(spare).things()) >= 0)


_ANY = Load(2**30, 2**30, 2**30, 2**60)


def _counted(batch: Batch) -> Load:
    """Return how many jobs hold something at the service, as far as the oracle has heard."""
    return Load(*(sum(batch.counts[state] for state in states) for states in (PENDING_STATES, HELD_STATES)))


def _has_place(batch: Batch, context: Context) -> bool:
    """Tell whether fewer recordings are being sent than batcher finds good for the line."""
    sending = batch.counts[State.UPLOADING] + batch.counts[State.SEALED]
    return sending < min(context.uploads._places, context.headroom.limits.pending)


def check_outages(night: "Night") -> None:
    """Hold the night's outages against what is polite while they last, and prompt when they are over."""
    for begin, end in night.weather.ended():
        hours, lives = (end - begin) / 3600, sum(night.kills.values()) + 12 * len(night.batches)
        most = len(night.batches) * (PROBES_AN_HOUR * hours + 40) + 12 * lives
        if night.weather.calls[begin] > most:
            night.violated(f"{night.weather.calls[begin]} calls in an outage of {hours:.1f} hours")
