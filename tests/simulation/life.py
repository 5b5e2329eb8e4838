"""One process of batcher, from its start to its end, stop or kill. What it leaves behind is the next one's."""

import math
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import anyio
import httpx

from batcher import killpoints
from batcher.clock import Origin
from batcher.engine import Engine
from batcher.errors import AccountRefused, BatcherError, MachineRefuses
from batcher.model import RemoteStatus, Survey, Transcript
from batcher.service import Seal, Service, Submission, rest_listing
from batcher.service.simulated import open_simulated
from batcher.stages import runner
from batcher.store.db import Database, Runner, T, Work, open_inline
from batcher.store.table import Table
from tests.simulation.looks import Look
from tests.simulation.rest import Wire, open_client
from tests.simulation.torn import TornPages
from tests.simulation.virtual import running_loop
from tests.simulation.world import Killed, SimulatedDisk, World

if TYPE_CHECKING:
    from tests.simulation.batch import Batch

#: Whose work runs at the moment: the service tells callers apart by nothing but the key, the oracle by this.
WHO: ContextVar["Life | None"] = ContextVar("who", default=None)

STOP = "stop"  #: among the kills: the first signal, which kills nobody
AWAITED_SECONDS = 30.0  #: for how long a stopped run awaits the answers of what it has sent
LEAVING_SECONDS = AWAITED_SECONDS + 10  #: how long it may take to end
SECOND_SIGNAL = 5.0
LONG_LIFE = 80  #: recordings; where there are more, lives are no longer than with so many
STRANDED_SECONDS = 60.0  #: for how long at most a process knows the outage in which it is killed
DOUBT_SECONDS = 10.0  #: for how long at most a process that is to be killed in doubt knows that an answer was lost
LONGEST_OUTAGE = 2 * 3600.0
NEVER_REACHED_SECONDS = 120.0  #: for how long a service that was never reached is waited for at least


@dataclass(frozen=True, slots=True)
class End:
    """How a life is to end before its time: after so many named points, or so many steps of the loop."""

    how: str  #: `point`, `await`, `stop`, `stop twice`, `stranded`, `doubt`
    count: int  #: of points, steps, or for `doubt` answers that were lost


def draw_end(chance: Random, recordings: int, *, stops: bool) -> End:
    """Draw an end: early or late, at a named point or at any await."""
    length = min(recordings, LONG_LIFE)
    steps = int(10 ** chance.uniform(1, 2.2 + length / 60))
    choice, points = chance.random(), chance.randrange(1, 100 + 9 * length)
    if stops and choice < 0.3:
        return End("stop" if choice < 0.2 else "stop twice", steps)
    return End("point", points) if choice < 0.65 else End("await", steps)


class Skewed:
    """The clock of one process: set wrong by so many milliseconds when it was read, then going right."""

    def __init__(self, world: World, skew_ms: int) -> None:
        self._world, self._skew_ms = world, skew_ms

    def now(self) -> int:
        """Return UTC milliseconds as this process knows them."""
        return self._world.now() + self._skew_ms

    def origin(self) -> Origin:
        """Return where it counts from; the machine is the same all night, its clock is set now and then."""
        origin = self._world.origin()
        return replace(origin, at=origin.at + self._skew_ms)


class Life:
    """One process."""

    def __init__(self, batch: "Batch", end: End | None) -> None:
        self.batch = batch
        self.dead = False
        self.stopped_at: float | None = None
        self.engine: Engine | None = None
        self.in_doubt = False  #: it is to be killed, because an answer was lost
        self.answered = False  #: a survey was
        self.showing: set[tuple[str, bool]] = set()  #: what the latest survey shows
        self.sending: list[anyio.CancelScope] = []  #: uploads under way, as they were begun
        self._night = batch.night
        self._end = end
        self._points = end.count if end is not None and end.how == "point" else None
        self._doubts = end.count if end is not None and end.how == "doubt" else None
        self._scope = anyio.CancelScope()

    async def run(self) -> str:
        """Live. Returns how it ended: `ended` (by itself), `stopped`, `refused` (by this machine) or `killed`."""
        WHO.set(self)
        how = "killed"
        try:
            conn, database = open_inline(self.batch.path)
            with closing(conn), self._scope:
                self.batch.resume(conn)
                fills = "full" in self._night.story.kinds
                disk = _Refusing(conn, self.batch.world) if fills else conn
                run = self._sluggish(database._run) if "sluggish" in self._night.story.kinds else database._run
                how = await self._work(_Mortal(disk, run, self))
        except BaseException:
            if not self.dead:
                raise
        return "killed" if self.dead else how

    async def _work(self, database: Database) -> str:
        batch, night = self.batch, self._night
        clock = Skewed(night.world, batch.skew_ms)
        if self._end is not None and self._end.how not in ("point", "doubt"):
            running_loop().after_steps(self._end.count, self._time_up)
        try:
            async with self._open() as service:
                self.engine = Engine(
                    clock=clock,
                    dice=batch.dice,
                    table=Table(database, clock),
                    service=_Line(service, self),
                    disk=SimulatedDisk(batch.world, self.alive),
                    plan=batch.plan(),
                    listener=partial(night.oracle.heard, batch),
                )
                return self._judge(await self.engine.run())
        except MachineRefuses as error:
            return self._judge(error)

    def _sluggish(self, run: Runner[None]) -> Runner[None]:
        """Return what runs a commit on a disk that takes its time for it; others wait meanwhile, and go together."""
        chance = self.batch.dice.stream("sluggish")
        longest = chance.choice((0.02, 0.2, 2.0))

        async def commit(work: Callable[[], None]) -> None:
            await anyio.sleep(chance.uniform(0, longest))
            self.alive()
            await run(work)

        return commit

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Service]:
        night, dice = self._night, self.batch.dice
        if night.wire is None:
            async with open_simulated(night.core, night.key, dice=dice, plan=night.weather, pace=night.pace) as service:
                yield service
        else:
            line, minute = _MortalWire(night.wire, self), night.own_budget
            async with open_client(
                line, night.key, dice=dice, requests_per_minute=minute, poll_seconds=night.poll_seconds
            ) as service:
                yield service

    def _judge(self, reason: BatcherError | None) -> str:
        """Return how the run ended, and note when it had no reason to."""
        night = self._night
        full = isinstance(reason, MachineRefuses) and "full" in night.story.kinds
        if self.stopped_at is not None:
            took = anyio.current_time() - self.stopped_at
            if took > LEAVING_SECONDS:
                night.violated(f"a stopped run took {took:.0f} s to end")
            if not full:  # then nothing more could be written either
                night.oracle.check_stopped(self.batch)
            return "stopped"
        if reason is None:
            return "ended"
        night.note(f"{self.batch.name} stopped: {reason}")
        if full:
            return "refused"
        if not (isinstance(reason, AccountRefused) and (night.happened["money used up"] or self._never_answered())):
            night.violated(f"stopped: {reason!r}")
        return "stopped"

    def _never_answered(self) -> bool:
        """Tell whether no list was ever answered, for so long that it need not wait for one."""
        return not self.answered and anyio.current_time() - self.batch.began >= NEVER_REACHED_SECONDS

    # How it ends before its time.

    def reach(self, name: str) -> None:
        """Die here, if it is time."""
        self.alive()
        if name == "survey-applied":
            now = self._night.world.now()
            self.batch.shown = dict.fromkeys(self.showing, now) | self.batch.shown
        if self._points is not None:
            self._points -= 1
            if self._points <= 0:
                self._die(name)
                raise Killed

    def alive(self) -> None:
        """Raise if the process is gone."""
        if self.dead:
            raise Killed

    def doubt(self, why: str) -> None:
        """An answer was lost: die soon, if it is time. One that a stopped run does not wait for is lost for nothing."""
        waited = anyio.current_time() - (self.stopped_at or -math.inf)
        if "batcher was stopped" in why and waited < AWAITED_SECONDS - 1:
            self._night.violated(f"{self.batch.name} was stopped, and awaits an answer for {waited:.0f} s only")
        if self._doubts is not None:
            self._doubts -= 1
            if self._doubts == 0:
                self.in_doubt = True
                delay = self.batch.dice.stream("doubt").uniform(0, DOUBT_SECONDS)
                running_loop().call_later(delay, self._die, "in doubt")

    def _time_up(self) -> None:
        assert self._end is not None
        if self.batch.life is not self or self.dead or self.engine is None:
            return
        if self._end.how == "await":
            self._die("any await")
        elif self._end.how == "stranded":
            self._strand()
        else:
            self._stop(twice=self._end.how == "stop twice")

    def _stop(self, *, twice: bool) -> None:
        assert self.engine is not None
        self._night.note(f"{self.batch.name} told to stop")
        self._night.kills[STOP] += 1
        self.stopped_at = anyio.current_time()
        self.engine.drain()
        if twice:
            delay = self.batch.dice.stream("signal").uniform(0, SECOND_SIGNAL)
            running_loop().call_later(delay, self._die, "second signal")

    def _strand(self) -> None:
        """Let the service go away, and kill this process before it has seen much of that."""
        chance = self.batch.dice.stream("stranded")
        delay, longer = chance.uniform(0, STRANDED_SECONDS), chance.choice((1.0, 200.0, LONGEST_OUTAGE))
        self._night.note(f"the service goes away from {self.batch.name}")
        self._night.weather.strike(delay + longer)
        running_loop().call_later(delay, self._die, "in an outage")

    def _die(self, name: str) -> None:
        if self.batch.life is not self or self.dead:
            return
        self.dead = True
        for scope in list(self.sending):  # in their order; the stages' own scope knows none
            scope.cancel()
        self._night.kills[name] += 1
        self._night.note(f"{self.batch.name} killed at {name}")
        self._scope.cancel()


class _Mortal(Database):
    """The database of a process that may be gone: then nothing is written any more."""

    def __init__(self, conn: "sqlite3.Connection | _Refusing", run: Runner[None], life: Life) -> None:
        super().__init__(conn, run)  # type: ignore[arg-type]
        self._life = life

    async def write(self, work: Work[T]) -> T:
        """Write, unless the process is gone."""
        self._life.alive()
        return await super().write(work)


class _Refusing:
    """A connection to a table on a disk that may be full: a statement that writes, or its commit, then fails."""

    def __init__(self, conn: sqlite3.Connection, world: World) -> None:
        self._conn, self._world = conn, world
        self._changes = 0

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        return self._conn.in_transaction

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        """Run a statement, as far as the disk has room for what it writes."""
        if self._world.room is not None and self._writes(sql) and self._world.refuses():
            raise sqlite3.OperationalError("database or disk is full")
        return self._conn.execute(sql, parameters)  # type: ignore[arg-type]

    def _writes(self, sql: str) -> bool:
        verb = sql.lstrip()[:6].upper()
        if verb == "BEGIN ":
            self._changes = self._conn.total_changes
        return verb in ("INSERT", "UPDATE", "DELETE") or (
            verb == "COMMIT" and self._conn.total_changes != self._changes
        )


class _Line:
    """The service as one process reaches it: when it is gone, nothing more is asked."""

    def __init__(self, service: Service, life: Life) -> None:
        self.name, self.account = service.name, service.account
        self.poll_seconds, self.bare_uploads = service.poll_seconds, service.bare_uploads
        self._service, self._life = service, life

    @property
    def slowed(self) -> str:
        """Return what holds it up."""
        return self._service.slowed

    async def submit(self, submission: Submission, seal: Seal) -> str:
        """Submit."""
        self._life.alive()
        with anyio.CancelScope() as scope:
            self._life.sending.append(scope)
            try:
                return await self._service.submit(submission, seal)
            finally:
                self._life.sending.remove(scope)
        raise Killed

    async def survey(self, *, thorough: bool = True) -> Survey:
        """Survey, and tell the oracle that an answer came."""
        self._life.alive()
        night, batch = self._life._night, self._life.batch
        began, since = night.world.now(), anyio.current_time()
        batch.asking = True
        try:
            survey = await self._service.survey(thorough=thorough)
        finally:
            batch.asking, batch.asked_at = False, anyio.current_time()
        batch.looked, batch.look_took = since, anyio.current_time() - since
        self._life.answered = True
        self._life.showing = {(each.reference, each.status is RemoteStatus.UPLOADED) for each in survey.objects}
        night.oracle.answered()
        batch.lists.append(Look(began, night.world.now(), survey.objects))
        if survey.complete:
            batch.looks.append((began, night.world.now()))
        return survey

    async def fetch(self, remote: str) -> Transcript:
        """Fetch."""
        self._life.alive()
        return await self._service.fetch(remote)

    async def delete(self, remote: str) -> None:
        """Delete."""
        self._life.alive()
        await self._service.delete(remote)


class _MortalWire(httpx.AsyncBaseTransport):
    """The wire as one process reaches it. What was sent whole before it went arrives all the same."""

    def __init__(self, wire: Wire, life: Life) -> None:
        self._wire, self._life = wire, life
        story, settle_s = life.batch.night.story, life.batch.night.story.settle_s
        chance = life.batch.dice.stream("torn")
        # What another batcher changes may hide from the count that a page is lost.
        lossy = chance.random() < 0.75 and not story.second
        self._pages = TornPages(settle_s + 200, lossy=lossy) if "torn" in story.kinds else None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, unless the process is gone."""
        self._life.alive()
        if self._pages is None or self._life.batch.night.weather.calm:
            return await self._wire.handle_async_request(request)
        with self._pages.crossing(request):
            response = await self._wire.handle_async_request(request)
        return self._pages.torn(request, response)


@contextmanager
def installed(hook: Callable[[str], None], *, patience: float, page: int) -> Iterator[None]:
    """Have the named points call `hook`, and two constants other values, for as long as the block runs.

    Stages look at the table every `patience` seconds anyway: when that is long, a lost wake-up shows. Lists come in
    pages of `page`: when that is small, they change while they are read.
    """
    before = killpoints.hook, runner.FALLBACK_SECONDS, rest_listing.PAGE
    killpoints.hook, runner.FALLBACK_SECONDS, rest_listing.PAGE = hook, patience, page
    try:
        yield
    finally:
        killpoints.hook, runner.FALLBACK_SECONDS, rest_listing.PAGE = before


def reach(name: str) -> None:
    """Tell the process whose work runs that it is at a named point."""
    life = WHO.get()
    if life is not None:
        life.reach(name)
