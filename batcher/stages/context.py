"""What every stage works with: the seams, the plan of this run, and the bells between the stages."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog
from anyio import CancelScope, Event, Lock

from batcher.bandwidth import Timetable
from batcher.clock import Clock, Dice
from batcher.concurrency import MOST, Concurrency
from batcher.disk import Disk
from batcher.errors import AccountRefused, BatcherError, Kind, ServiceError
from batcher.judgement import Settle
from batcher.model import FileBounds, Limits, Patience
from batcher.options import Options
from batcher.policy import BACKOFF_CAP_MS, Headroom, Refusals, backoff_ms
from batcher.residence import Residence
from batcher.service import Service
from batcher.shard import Shard
from batcher.stages.openings import Openings
from batcher.stages.refill import Refill
from batcher.states import FINAL_STATES, HELD_STATES, State
from batcher.store.claim import Batch
from batcher.store.table import Move, Table
from batcher.valve import Valve
from batcher.wakeup import Wakeup

_log = structlog.get_logger()
T = TypeVar("T")


class Compute(Protocol):
    """Runs a function that takes long where it does not hold up the event loop."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Return what `work` returns."""


async def compute_inline(work: Callable[[], T], /) -> T:
    """Run it here and now: for a simulated night, which may not use threads."""
    return work()


MISSED_CALLS = 8  #: after so many calls in a row that did not get there a stage waits for the next listing
COLLECTED = (State.COMPLETED, State.STORED, State.FAILING, State.CANCELLING, State.RENDERING)


@dataclass(frozen=True, slots=True)
class Plan:
    """What this run is to do. Sizes are bytes, times milliseconds unless the name says otherwise."""

    options: Options
    limits: Limits = field(default_factory=Limits)
    bounds: FileBounds = field(default_factory=FileBounds)
    settle: Settle = field(default_factory=lambda: Settle(15 * 60_000))
    patience: Patience = field(default_factory=Patience)
    formats: tuple[str, ...] = ("txt", "json")
    upload_concurrency: int = 0  #: 0: what the line can take
    collect_concurrency: int = 16
    bandwidth: Timetable = field(default_factory=Timetable)  #: how fast recordings may be sent
    max_failures: int = 11  #: tries of one job before it fails for good, see `Context.hopeless`
    free_space: int = 64 * 1024 * 1024  #: below this nothing new is started
    longest_first: bool = False  #: of the recordings that are ready to be sent
    convert: bool = True  #: what the service cannot decode is sent once more as FLAC
    other_account: bool = False  #: a person says that the account, or the API, is another one now
    admit: bool = True  #: False: finish what is at the service, send nothing new
    scan: bool = True
    shard: Shard | None = None  #: the part of the input that is looked for; None is all of it

    @property
    def most_uploads(self) -> int:
        """Return how many recordings may be sent at the same time in any case."""
        return self.upload_concurrency or MOST

    def uploads(self) -> Concurrency:
        """Return what decides how many that are."""
        fixed = self.upload_concurrency
        return Concurrency(fixed, fixed, fixed) if fixed else Concurrency()


@dataclass(slots=True)
class Bells:
    """One wake-up per stage."""

    examine: Wakeup = field(default_factory=Wakeup)
    ahead: Wakeup = field(default_factory=Wakeup)
    upload: Wakeup = field(default_factory=Wakeup)
    poll: Wakeup = field(default_factory=Wakeup)
    collect: Wakeup = field(default_factory=Wakeup)
    answered: Wakeup = field(default_factory=Wakeup)  #: a sealed upload has its answer, or lost it

    def ring_all(self) -> None:
        """Wake the stages that may go on when the service is there again.

        Not `ahead`, which the upload wakes when it lacks room, nor whoever waits for answers at the end.
        """
        for bell in (self.examine, self.upload, self.poll, self.collect):
            bell.ring()

    def hear(self, move: Move) -> None:
        """Wake the stages that a committed move concerns."""
        if move.target is State.NEW:
            self.examine.ring()
        if move.target is State.WAITING or (move.source in HELD_STATES and move.source is not move.target):
            self.upload.ring()
        if move.target in COLLECTED:
            self.collect.ring()
        if move.target in FINAL_STATES or move.target in (State.SUBMITTED, State.UNCERTAIN):
            self.poll.ring()


@dataclass(slots=True)
class Reach:
    """Whether the service answers. While it is away nothing is sent and no job's failures are counted."""

    ever: bool = False
    away: bool = False
    heard: bool = False  #: the latest listing was answered, if only with an error of the service's own
    proven: bool = True  #: it is the account that this batch's recordings were sent to
    #: By stage: calls in a row that did not get there.
    missed: Counter[str] = field(default_factory=Counter)
    once: set[str] = field(default_factory=set)  #: stages in vain that may try one call, because a listing was answered

    def __bool__(self) -> bool:
        return self.ever and not self.away and self.proven

    def in_vain(self, stage: str) -> bool:
        """Tell whether a stage had better wait for the next listing, lest everything be tried in vain."""
        return self.missed[stage] >= MISSED_CALLS

    def calls(self, stage: str, places: int) -> int:
        """Return how many calls of a stage may be begun now, of so many that there is a place for."""
        return min(places, stage in self.once) if self.in_vain(stage) else places

    def begun(self, stage: str, calls: int) -> None:
        """Take note of how many calls a stage has just begun."""
        if calls:
            self.once.discard(stage)

    def try_again(self) -> bool:
        """Let stages try whose calls got nowhere, one call each: the service is there. Tell whether any waited."""
        self.once = {stage for stage in self.missed if self.in_vain(stage)}
        self.missed = Counter(dict.fromkeys(self.once, MISSED_CALLS))
        return bool(self.once)


@dataclass(slots=True)
class Context:
    """Everything a stage needs. Only the engine makes one."""

    clock: Clock
    dice: Dice
    table: Table
    service: Service
    disk: Disk
    plan: Plan
    batch: Batch
    compute: Compute
    headroom: Headroom
    residence: Residence
    openings: Openings
    valve: Valve
    uploads: Concurrency
    bells: Bells = field(default_factory=Bells)
    reach: Reach = field(default_factory=Reach)
    refill: Refill = field(default_factory=Refill)
    refusals: Refusals = field(default_factory=Refusals)
    listener: Callable[[Move], None] = lambda _move: None
    #: Uploads that are not sealed, so that a stop can end them at no cost.
    unsealed: dict[int, CancelScope] = field(default_factory=dict)
    #: Uploads whose answer is awaited.
    sealed: set[int] = field(default_factory=set)
    draining: bool = False
    scanned: Event = field(default_factory=Event)
    deferred: list[bytes] = field(default_factory=list)
    finished: Event = field(default_factory=Event)
    heeding: Lock = field(
        default_factory=Lock
    )  #: whoever applies requests, or decides that there is nothing left to do
    accepted_at: int | None = None  #: when the service last accepted an upload, UTC milliseconds
    not_shown: int = 0  #: how many that were accepted the latest complete list does not show, though it should
    lingering: bool = False  #: all is done; only audio of an upload that failed may still show up
    survey_wanted: bool = False  #: somebody cannot go on without a fresh listing
    short_of_space: bool = False  #: this machine has too little disk space to start anything
    last_trouble: str = ""  #: what the service last failed with, for the display
    why_waiting: str = ""  #: what keeps the next job from being sent, for the display
    lacking: str = ""  #: the limit that keeps it from being sent, a name of `model.LIMITED`
    stop_reason: BatcherError | None = None
    stopping: Event = field(default_factory=Event)

    def announce(self, moves: list[Move]) -> None:
        """Tell stages and the display of committed moves."""
        for move in moves:
            self.bells.hear(move)
            self.listener(move)

    def hopeless(self, failures: int) -> bool:
        """Tell whether a job has failed before its seal often enough to fail for good.

        If the service accepts others meanwhile, it is the job's own fault. So many tries take longer than the quarter
        of an hour that is looked back, so that a service that fails everybody fails nobody for good; only a job whose
        tries went on for hours ends in any case, because a batch has to.
        """
        most = self.plan.max_failures
        lately = self.accepted_at is not None and self.clock.now() - self.accepted_at <= BACKOFF_CAP_MS
        return failures >= most * 3 or (failures >= most and lately)

    def end_unsealed(self, jobs: Iterable[int]) -> None:
        """End those of the uploads that are not sealed yet; they cost nothing."""
        for scope in [self.unsealed[job] for job in jobs if job in self.unsealed]:
            scope.cancel()

    async def none_sealed(self) -> None:
        """Wait until no upload awaits its answer any more."""
        while self.sealed:
            armed = self.bells.answered.arm()
            await armed.wait()

    def look_now(self) -> None:
        """Have the service listed as soon as politeness allows."""
        if not self.survey_wanted:
            self.survey_wanted = True
            self.bells.poll.ring()

    def stop(self, reason: BatcherError) -> None:
        """Ask the engine to wind up over `reason`; the first one counts."""
        self.stop_reason = self.stop_reason or reason
        self.stopping.set()

    def call_succeeded(self, stage: str) -> None:
        """Take note that a call of a stage got there."""
        self.reach.missed[stage] = 0
        self.reach.once.discard(stage)

    def call_failed(self, stage: str, error: ServiceError) -> None:
        """Take note of a failed call of a stage, and of what it says about the service as a whole."""
        if error.kind not in (Kind.UNREACHABLE, Kind.UNCERTAIN):
            self.call_succeeded(stage)  # it was answered, if with an error
            self.service_failed(error)
            return
        self.reach.missed[stage] += 1
        if self.reach.missed[stage] <= MISSED_CALLS:  # after these the next listing comes in its own time
            self.service_failed(error)
            self.look_now()

    def service_failed(self, error: ServiceError) -> None:
        """Take note of what a failed call says about the service as a whole."""
        if error.kind is Kind.STOP:
            self.stop(account_refused(error))
        elif error.kind is Kind.UNREACHABLE:
            self.look_now()  # the listing tells whether the service is away or only this call failed
        elif error.kind is Kind.FULL:
            _log.info("refused for quota", said=str(error))
            self.headroom.refused(self.clock.now(), str(error), self.dice.stream("refused").random())
            self.bells.poll.ring()

    def backoff(self, stream: str, failures: int) -> int:
        """Return when to try again after so many failures, as UTC milliseconds."""
        return self.clock.now() + backoff_ms(failures, self.dice.stream(stream))


def account_refused(error: ServiceError) -> BatcherError:
    """Return the error that ends the run over a refused account."""
    return AccountRefused(str(error), hint=error.hint)
