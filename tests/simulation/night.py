"""One night from one seed: recordings, faults, other people, kills; and what must hold, all night and at dawn."""

import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

import batcher
from batcher.clock import Dice
from batcher.emulator.account import Account
from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs, NoEof, Order, RestKnobs
from batcher.emulator.rest_account import RestAccount
from batcher.model import Limits
from batcher.service.rest import politeness
from batcher.service.rest_listing import PAGE
from batcher.store.table import Move
from tests.simulation.batch import Batch
from tests.simulation.dawn import check_dawn
from tests.simulation.happenings import HAPPENINGS, happen, settle_down
from tests.simulation.life import installed, reach
from tests.simulation.liveness import Watch, check_outages
from tests.simulation.moods import Moods
from tests.simulation.morning import MORNING_SECONDS, Morning, wake
from tests.simulation.oracle import Oracle
from tests.simulation.quota import Quota
from tests.simulation.rest import POLL_SECONDS, Wire, open_face
from tests.simulation.story import Story
from tests.simulation.virtual import Deadlock, run_virtually, running_loop
from tests.simulation.weather import STALE_MS, Weather, draw_pace
from tests.simulation.world import World

HERE = Path(__file__).parent
PRODUCT = Path(batcher.__file__).parent
HOUR = 3600.0
LIVE_SECONDS = 6 * HOUR  #: after the turmoil everything must be over within so long


class Night:
    """A night under way, and its trace."""

    def __init__(self, story: Story, table: Path) -> None:
        self.story = story
        self.key = "night"
        self.trace: list[str] = []
        self.violations: list[str] = []
        self.broken = ""  #: an error of the simulation itself: such a night proves nothing
        self.kills: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.losses = self.leaked = 0
        self.world = World()  #: its clock is everybody's; its files are nobody's
        self.dice = Dice(story.seed)
        self.moods = Moods()
        self.wire: Wire | None = None
        self.foreign: list[str] = []  #: ids of what other clients hold
        self.restless: list[str] = []  #: likewise, of one that never rests
        self.owners: dict[str, Batch] = {}  #: by the batch's id
        self.ambush: Callable[[Batch, Move], None] = lambda _batch, _move: None  #: waits for a move in order to strike
        self.morning: Morning | None = None  #: when the night is over and everything should be
        self._draw()
        self.oracle = Oracle(self)
        self.quota = Quota(self)
        self.account.tally.on_full = self.quota.refused
        self.core.watch(self.oracle.changed)
        self.core.watch_rest(self.oracle.changed)
        self.batches = [Batch(self, "a", table, story.recordings)]
        if story.second:
            self.batches.append(Batch(self, "b", table.with_name(f"second-{table.name}"), story.second))

    def _draw(self) -> None:
        """Draw the service and the weather."""
        story, chance = self.story, self.dice.stream("knobs")
        self.horizon = chance.choice((0.2, 0.5, 1.0, 3.0)) * HOUR  #: when the turmoil ends
        self.patience, page = chance.choice((20.0, 60.0)), chance.choice((6, 40, PAGE))
        self.page = 6 if "torn" in story.kinds else page if "lists" in story.kinds else PAGE
        self.weather = Weather(story, self.dice, self.world, self.horizon)
        self.pace = draw_pace(self.dice)
        minute, own = chance.choice((60, 120, 300, 600)), chance.random() < 0.5
        budget = minute if "budget" in story.kinds else 0
        self.own_budget = budget if own else 0  #: what batcher itself keeps to; 0: it learns from refusals
        self.poll_seconds = politeness(budget) if budget else POLL_SECONDS
        self.list_lag_ms = chance.choice((0, 500, 10_000)) if "lists" in story.kinds else 0
        stale = STALE_MS if {"lists", "hindsight"} & set(story.kinds) else 0
        self.behind_ms = self.list_lag_ms + stale  #: how much older than its beginning what a list shows may be
        slow_ms = 20_000 if "torn" in story.kinds else 0  # what is in the lists has to be there for long
        knobs = Knobs(
            pending=story.limits.pending,
            stored=story.limits.stored,
            queue_ms=chance.choice((100, 3_000, 20_000)),
            min_work_ms=max(slow_ms, chance.choice((100, 5_000))),
            max_work_ms=max(slow_ms, chance.choice((5_000, 60_000, 120_000))),
            speed=chance.choice((0.3, 1.0, 10.0)),
            parallel=2 if slow_ms else chance.choice((None, None, 2, 10)),
            refuse_full="unguarded" not in story.kinds,
            refuse_after_bytes=chance.random() < 0.3,
            delete_while_transcribing=chance.random() < 0.2,
            no_eof=NoEof.FAILED if "torsos" in story.kinds else NoEof.NOTHING,
            order=chance.choice(list(Order)),
            list_lag_ms=self.list_lag_ms,
            trace=0,
        )
        self.core = Core(self.world, self.moods, replace(knobs, rest=self._rest_knobs(budget)), dice=self.dice)

    def _rest_knobs(self, budget: int) -> RestKnobs:
        limits, chance = self.story.limits, self.dice.stream("knobs.rest")
        return RestKnobs(
            files=limits.files or 1000,
            bytes=limits.bytes or 10**10,
            requests_per_minute=budget,
            retry_after=chance.random() < 0.3,
            delete_queued=chance.random() < 0.5,
            cascade=chance.random() < 0.2,
            null_keys=chance.random() < 0.5,
            wrong_inner_status=chance.random() < 0.3,
            piece_letters=0,  # so that texts can be compared
        )

    @property
    def account(self) -> Account | RestAccount:
        """Return the account at the service."""
        return self.core.rest(self.key) if self.story.api == "rest" else self.core.account(self.key)

    def run(self) -> None:
        """Live through the night, until every batcher has ended by itself."""
        with installed(reach, patience=self.patience, page=self.page):
            try:
                run_virtually(self._main)
            except Exception as error:  # noqa: BLE001 - whatever it is: a run must not end in what nobody foresaw
                self._broke(_innermost(error))
        moment = self.world.moment = self.world.read()
        self.world.read = lambda: moment
        check_outages(self)
        check_dawn(self)
        for batch in self.batches:
            batch.close()

    def _broke(self, error: Exception) -> None:
        """Note the error that ended the night; it is the product's, or the simulation's own."""
        self.violated(f"broke: {error!r}")
        if not isinstance(error, Deadlock) and _raised_in(error).is_relative_to(HERE):
            self.broken = f"{error!r}"

    async def _main(self) -> None:
        self.world.read = running_loop().time
        async with AsyncExitStack() as stack:
            if self.story.api == "rest":
                self.wire = await stack.enter_async_context(
                    open_face(self.core, dice=self.dice, plan=self.weather, pace=self.pace)
                )
            with anyio.move_on_after(self.horizon + LIVE_SECONDS) as scope:
                await self._live()
            if scope.cancelled_caught:
                self.violated(f"not over {LIVE_SECONDS / HOUR:.0f} hours after the turmoil")
            with anyio.move_on_after(MORNING_SECONDS) as scope:
                await wake(self)
            if scope.cancelled_caught:
                self.violated("the morning after does not come to an end")

    async def _live(self) -> None:
        async with anyio.create_task_group() as others:
            others.start_soon(self._turmoil)
            others.start_soon(Watch(self).run)
            async with anyio.create_task_group() as batchers:
                for batch in self.batches:
                    batchers.start_soon(batch.live)
            others.cancel_scope.cancel()

    async def _turmoil(self) -> None:
        async with anyio.create_task_group() as group:
            self._start(group)
            await anyio.sleep(self.horizon)
        settle_down(self)
        self.note("the turmoil is over")

    def _start(self, group: TaskGroup) -> None:
        for kind in self.story.kinds:
            if kind in HAPPENINGS:
                group.start_soon(happen, self, kind)

    def set_limits(self, limits: Limits, *, announced: bool) -> None:
        """Set the service's limits, and tell every batcher or not."""
        account = self.account
        rest = {"files": limits.files or 1000, "bytes": limits.bytes or 10**10}
        account.limits = replace(limits, **rest) if isinstance(account, RestAccount) else limits
        if not announced:
            return
        self.oracle.lowered_at = self.world.read()
        for batch in self.batches:
            batch.announced = limits
            self.quota.told(batch, limits)
            if batch.life is not None and batch.life.engine is not None:
                batch.life.engine.set_limits(limits)

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.world.read():.3f} {what}")

    def violated(self, what: str) -> None:
        """Note something that must never happen."""
        self.note(f"VIOLATION {what}")
        self.violations.append(f"seed {self.story.seed} at {self.world.read():.1f}: {what}")

    def lost(self, what: str) -> None:
        """Note a recording that did not come to its end."""
        self.losses += 1
        self.violated(what)


def _innermost(error: Exception) -> Exception:
    """Return the error itself, out of the groups that it comes in."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _raised_in(error: Exception) -> Path:
    """Return the file of the product or of the simulation whose code an error came out of."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return next((each for each in reversed(files) if each.is_relative_to(HERE) or each.is_relative_to(PRODUCT)), HERE)
