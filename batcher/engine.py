"""The engine: the one place that composes the seams and the stages into a run, and winds it up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import anyio.abc

from batcher.bandwidth import Timetable
from batcher.clock import Dice, RunClock, time_of_day
from batcher.disk import Disk
from batcher.errors import BatcherError, MachineRefuses, innermost
from batcher.heed import heed
from batcher.model import Limits, Load
from batcher.policy import LOOK_LATE_MS, Headroom
from batcher.requests import Request
from batcher.residence import Residence
from batcher.service import Service
from batcher.sharing import DOOR_MS, PRESUMED_MS, Company, Neighbours
from batcher.stages.ahead import Ahead
from batcher.stages.collect import Collect
from batcher.stages.context import Compute, Context, Plan, compute_inline
from batcher.stages.examine import Examine
from batcher.stages.openings import Openings
from batcher.stages.poll import Poll
from batcher.stages.runner import run_stage
from batcher.stages.scan import scan
from batcher.stages.stage import Stage
from batcher.stages.upload import Upload
from batcher.store.claim import Batch, begin_session, heed_clock
from batcher.store.shard import keep_to
from batcher.store.table import Move, Table
from batcher.valve import Valve

#: How long sealed uploads are awaited after the first signal.
DRAIN_SECONDS = 30.0
#: How long a full disk is waited for before the run ends.
FULL_DISK_SECONDS = 600.0

Listener = Callable[[Move], None]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the display shows of a run beside the table's own counts."""

    why_waiting: str
    reachable: bool
    heard: bool  #: it is not, but something there has answered, if only with an error
    trouble: str
    refusal: str  #: why less is sent than the limits allow: what the service said when it refused
    slowed: str  #: what on this side holds calls up
    lacking: str  #: the limit that keeps the next job from being sent, a name of `LIMITED`
    in_vain: bool  #: what is to be fetched or deleted waits for the next listing: calls do not get there
    foreign: Load  #: what others hold
    limits: Limits
    not_shown: int  #: so many that the service has accepted are not in its list
    lingering: bool  #: all is done but one last look, see `Context.lingering`
    draining: bool
    scanned: bool
    bwlimit: int | None = None  #: bytes a second that may be sent, while that is what keeps uploads from being faster


def new_batch_id(dice: Dice) -> str:
    """Draw an id for a new batch."""
    return f"{dice.stream('batch').getrandbits(64):016x}"


async def _nothing_more(_batch: Batch) -> None:
    """Do nothing when the table has accepted the run."""


class Engine:
    """One run over one batch. The caller holds the batch's lock and opened table and service."""

    def __init__(
        self,
        *,
        clock: RunClock,
        dice: Dice,
        table: Table,
        service: Service,
        disk: Disk,
        plan: Plan,
        listener: Listener,
        compute: Compute = compute_inline,
        sent: Callable[[int], None] = lambda _bytes: None,
        accepted: Callable[[Batch], Awaitable[None]] = _nothing_more,
        wall: Callable[[], float] = time_of_day,
    ) -> None:
        self._clock, self._dice, self._table, self._service, self._disk = clock, dice, table, service, disk
        self._plan = plan
        self._listener = listener
        self._compute = compute
        self._uploads = plan.uploads()
        self._valve = Valve(plan.bandwidth, self._passed, wall)
        self._sent = sent
        self._accepted = accepted
        self._context: Context | None = None
        self._drain_wanted = False

    async def run(self) -> BatcherError | None:
        """Work until nothing is left, or until a stop. Returns what stopped it, or None.

        Raises MachineRefuses when the table cannot be written any more.
        """
        context = self._context = await self._open_context()
        try:
            async with anyio.create_task_group() as stages:
                self._start(context, stages)
                if self._drain_wanted:
                    self.drain()
                await _first(context.finished, context.stopping)
                await self._wind_up(context)
                stages.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise innermost(group) from group
        return context.stop_reason

    async def _open_context(self) -> Context:
        new_id, service, plan = new_batch_id(self._dice), self._service, self._plan
        begin = partial(
            begin_session, new_id=new_id, api=service.name, account=service.account, give_up=plan.other_account
        )
        batch = await self._table.transact(begin)
        await self._table.transact(partial(heed_clock, origin=self._clock.origin()))
        if plan.scan:
            await self._table.transact(partial(keep_to, shard=str(plan.shard or "")))
        await self._accepted(batch)
        plan = self._plan  # its limits may have changed meanwhile
        context = Context(
            clock=self._clock,
            dice=self._dice,
            table=self._table,
            service=service,
            disk=self._disk,
            plan=plan,
            batch=batch,
            compute=self._compute,
            headroom=self._headroom(batch),
            residence=Residence(service.poll_seconds),
            openings=Openings(self._disk),
            valve=self._valve,
            uploads=self._uploads,
            listener=self._listener,
        )
        context.reach.proven = not batch.moved
        self._table.on_moves = context.announce
        return context

    def _headroom(self, batch: Batch) -> Headroom:
        plan = self._plan
        headroom = Headroom(plan.limits, looks_apart_ms=self._looks_apart_ms)
        presumed = max(PRESUMED_MS, 2 * (self._looks_apart_ms + LOOK_LATE_MS))  # two looks, or others would be missed
        if plan.shard is None:
            headroom.neighbours = Neighbours(batch.id, presumed, DOOR_MS + 2 * self._looks_apart_ms)
        else:
            headroom.company = Company(plan.shard, batch.id, self._clock.now(), plan.bounds.bytes, presumed)
        return headroom

    @property
    def _looks_apart_ms(self) -> int:
        return round(self._service.poll_seconds * 1000)

    def _passed(self, count: int) -> None:
        self._uploads.passed(anyio.current_time(), count)
        self._sent(count)

    @staticmethod
    def _start(context: Context, stages: anyio.abc.TaskGroup) -> None:
        stages.start_soon(_scan_until_settled, context, name="scan")
        stages.start_soon(Poll(context).run, name="poll")
        stages.start_soon(_watch_disk, context, name="disk")
        stages.start_soon(_heed_requests, context, name="requests")
        for stage in _stages(context):
            stages.start_soon(run_stage, context, stage, name=stage.name)

    async def _wind_up(self, context: Context) -> None:
        """End unsealed uploads, which cost nothing, and await the answers of sealed ones for a while."""
        context.draining = True
        context.end_unsealed(list(context.unsealed))
        with anyio.move_on_after(DRAIN_SECONDS):
            await context.none_sealed()

    def drain(self, reason: BatcherError | None = None) -> None:
        """Stop admitting and end soon; remote work goes on and the next run takes it up."""
        self._drain_wanted = True
        if self._context is not None:
            self._context.stop_reason = self._context.stop_reason or reason
            self._context.draining = True
            self._context.stopping.set()

    def set_limits(self, limits: Limits) -> None:
        """Work with other limits from now on."""
        self._plan = replace(self._plan, limits=limits)
        if self._context is not None:
            self._context.headroom.limits = limits
            self._context.bells.upload.ring()

    def set_bandwidth(self, timetable: Timetable) -> None:
        """Send as fast as another timetable says from now on."""
        self._valve.timetable = timetable

    def pulse(self) -> Pulse | None:
        """Return what the display shows; None before the run began."""
        context = self._context
        if context is None:
            return None
        return Pulse(
            why_waiting=context.why_waiting,
            reachable=bool(context.reach),
            heard=context.reach.heard,
            trouble=context.last_trouble,
            refusal=context.headroom.held_back(self._clock.now()),
            slowed=context.service.slowed,
            lacking=context.lacking,
            in_vain=context.reach.in_vain(Collect.name),
            foreign=context.headroom.foreign,
            limits=context.headroom.limits,
            not_shown=context.not_shown,
            lingering=context.lingering,
            draining=context.draining,
            scanned=context.scanned.is_set(),
            bwlimit=context.valve.binding,
        )


async def _first(*events: anyio.Event) -> None:
    """Wait until one of the events is set."""
    async with anyio.create_task_group() as group:

        async def wait(event: anyio.Event) -> None:
            await event.wait()
            group.cancel_scope.cancel()

        for event in events:
            group.start_soon(wait, event)


async def _scan_until_settled(context: Context) -> None:
    """Scan; and scan again when recordings that had changed under way have ended."""
    await scan(context)
    while context.deferred and context.plan.admit:
        await anyio.sleep(60)
        await scan(context)


async def _watch_disk(context: Context) -> None:
    """Hold the uploads while there is too little space, and give up when that lasts."""
    since: float | None = None
    while True:
        free = await context.disk.free_bytes()
        context.short_of_space = free < context.plan.free_space
        since = (since or anyio.current_time()) if context.short_of_space else None
        if since is not None and anyio.current_time() - since >= FULL_DISK_SECONDS:
            context.stop(
                MachineRefuses(
                    f"only {free:,} bytes are free where the batch lives, for ten minutes now",
                    hint="Free some space and run the same command again; nothing is lost.",
                )
            )
        context.bells.upload.ring()
        await anyio.sleep(10)


async def _heed_requests(context: Context) -> None:
    """Apply what `batcher retry` and `batcher cancel` leave while this run holds the batch."""
    while True:
        requests = await context.disk.requests()
        async with context.heeding:
            if context.finished.is_set():
                return  # what came too late is the next run's
            await heed(context.table, context.disk, requests, partial(_heeded, context))
        await anyio.sleep(1)


def _heeded(context: Context, request: Request) -> None:
    if request.verb == "cancel":
        context.end_unsealed(request.jobs)


def _stages(context: Context) -> list[Stage[Any]]:
    return [Examine(context), Ahead(context), Upload(context), Collect(context)]
