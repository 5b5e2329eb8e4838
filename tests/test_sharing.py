"""Shards at one account: each keeps to its part, nobody is refused, and nothing stays free that somebody could use."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from batcher.clock import Dice
from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.recognizers import Echo
from batcher.engine import Engine
from batcher.model import Limits, Load, RemoteObject, RemoteStatus, Survey
from batcher.options import Options
from batcher.policy import LOOK_LATE_MS
from batcher.reference import Reference
from batcher.service import Service
from batcher.service.simulated import Pace, open_simulated
from batcher.shard import Shard
from batcher.sharing import PRESUMED_MS, SHOWN_LOOKS, Company
from batcher.stages.context import Context, Plan
from batcher.stages.poll import Poll
from batcher.store.admission import Candidate
from batcher.store.db import open_inline
from batcher.store.table import Table
from tests.simulation.__main__ import memory
from tests.simulation.rest import Wire, open_client, open_face
from tests.simulation.virtual import run_virtually
from tests.simulation.world import File, SimulatedDisk, World

KEY = "an account"
PENDING = 20  #: its limit, where whole shards work
LIMITS = Load(100, 2_000, 1_000, 10_000_000_000)
LATER = PRESUMED_MS + 1


def company(part: int, parts: int, batch: str = "8" * 16, largest: int = 0) -> Company:
    """Return what one shard knows at the beginning."""
    return Company(Shard(part, parts), batch, 0, largest)


def survey(*batches: str, strangers: int = 0) -> Survey:
    """Return a look at an account with one object of each of these batches, and some of strangers."""
    references = [str(Reference(batch, 1, 1, "a" * 12)) for batch in batches] + ["theirs"] * strangers
    return Survey(
        tuple(RemoteObject(str(number), reference, RemoteStatus.QUEUED) for number, reference in enumerate(references))
    )


@pytest.mark.parametrize("parts", [1, 3, 7, 64, 250])
def test_in_the_beginning_all_parts_together_are_the_limits(parts: int) -> None:
    """Nobody has seen anybody yet, and all of them begin at the same moment."""
    shares = [company(part, parts).part(LIMITS, 0) for part in range(1, parts + 1)]
    for name in ("pending", "stored", "files", "bytes"):
        assert sum(getattr(share, name) for share in shares) == getattr(LIMITS, name)
        assert max(getattr(share, name) for share in shares) - min(getattr(share, name) for share in shares) <= 1


@pytest.mark.parametrize("active", [1, 2, 5, 6])
def test_later_the_parts_are_those_of_whoever_is_there(active: int) -> None:
    """All of them reckon alike; one place is left open for those that may still come."""
    batches = [f"{number:016x}" for number in range(active)]
    total = 0
    for number, batch in enumerate(batches):
        one = company(number + 1, 6, batch)
        one.observe(survey(*batches), LATER)
        total += one.part(LIMITS, LATER).pending
    assert total == (100 if active == 6 else 99)


def test_one_that_was_not_seen_for_a_minute_is_done() -> None:
    """Its part is taken over; until then it is kept free."""
    one = company(1, 2)
    one.observe(survey("1" * 16), LATER)
    assert one.part(LIMITS, LATER).pending == 50
    one.observe(survey(), 2 * LATER - 2)
    assert one.part(LIMITS, 2 * LATER - 2).pending == 50
    assert one.part(LIMITS, 2 * LATER).pending == 99


def test_where_looks_are_far_apart_one_is_missed_for_longer() -> None:
    """That one look did not show it is no sign that it is done."""
    one = replace(company(1, 2), presumed_ms=2 * PRESUMED_MS)
    one.observe(survey("1" * 16), LATER)
    one.observe(survey(), 2 * LATER)
    assert one.part(LIMITS, 2 * LATER).pending == 50
    assert one.part(LIMITS, 4 * LATER).pending == 99


def test_what_strangers_hold_is_nobodys_part() -> None:
    """And if that is more than the limit, nothing is left to divide."""
    one = company(1, 2)
    one.observe(survey(strangers=40), 0)
    assert one.part(LIMITS, 0).pending == 30
    one.observe(survey(strangers=120), 0)
    assert one.part(LIMITS, 0).pending == 0


def test_a_look_that_may_have_missed_something_makes_no_stranger_smaller() -> None:
    """A glance shows no files: what strangers hold of them and of bytes is what it was, and more pending is more."""
    one = company(1, 2)
    audio = RemoteObject("f", "theirs", RemoteStatus.UPLOADED, bytes=4_000_000_000, files=1)
    one.observe(Survey((audio,), unlisted=Load(0, 20, 9, 0)), 0)
    before = one.part(LIMITS, 0)
    assert (before.stored, before.files, before.bytes) == (990, 495, 3_000_000_000)
    one.observe(replace(survey(strangers=10), complete=False), 1)
    assert one.part(LIMITS, 1) == replace(before, pending=45)
    one.observe(survey(), 2)
    assert one.part(LIMITS, 2) == Load(50, 1_000, 500, 5_000_000_000)


def test_one_that_comes_later_shows_itself_before_it_takes_its_part() -> None:
    """What is free when it comes is filled by those who work already, until they have seen it."""
    one = company(2, 2)
    one.observe(survey("1" * 16), 0)
    assert one.part(LIMITS, 0).pending == 1
    one.observe(survey("1" * 16, one.batch), 1)
    assert one.part(LIMITS, 1).pending == 1
    one.observe(survey("1" * 16, one.batch), 2)
    assert one.part(LIMITS, 2).pending == 50


def test_more_batches_than_parts_are_heeded_from_the_beginning() -> None:
    """Somebody else's batcher works here too."""
    one = company(1, 2)
    for _look in range(SHOWN_LOOKS):
        one.observe(survey(one.batch, *(f"{number:016x}" for number in range(4))), 1_000)
    assert one.part(LIMITS, 1_000).pending == 20


@pytest.mark.parametrize("parts", [2, 9, 10, 16, 100])
@pytest.mark.parametrize("largest", [1, 500_000_000, 1 << 30, 6_000_000_000, 1 << 40])
def test_the_largest_recording_finds_room_and_all_parts_together_are_within_the_limit(parts: int, largest: int) -> None:
    """Some shards get so much, up to half of it all, and when they are done others; but nobody is left without any."""
    shares = [company(part, parts, largest=largest).part(LIMITS, 0).bytes for part in range(1, parts + 1)]
    assert shares[0] >= min(largest, LIMITS.bytes // 2)
    assert min(shares) > 0
    assert LIMITS.bytes - parts <= sum(shares) <= LIMITS.bytes
    if largest < LIMITS.bytes // 2:
        assert min(shares) >= LIMITS.bytes // parts // 2


def test_a_shard_that_is_left_alone_has_room_for_the_largest() -> None:
    """Wherever its place was."""
    last = company(100, 100, largest=1 << 30)
    assert last.part(LIMITS, 0).bytes < 1 << 30
    assert last.part(LIMITS, LATER).bytes == LIMITS.bytes


def test_a_limit_of_one_is_used() -> None:
    """The open place is not the only one."""
    assert company(1, 4).part(Load(1, 1, 1, 1), LATER).pending == 1


def looks_of_a_minute(parts: int, seconds: float) -> list[float]:
    """Return the moments of looks that are all wanted `seconds` after the one before."""
    plan = Plan(Options(), Limits(), shard=Shard(1, parts) if parts else None)

    async def looks() -> list[float]:
        poll = Poll(cast("Context", SimpleNamespace(plan=plan)))
        moments = [0.0]
        while moments[-1] < 60:
            poll._looked = moments[-1]
            poll._looks.append(moments[-1])
            moments.append(moments[-1] + max(seconds, poll._crowded()))
        return moments

    return anyio.run(looks)


@pytest.mark.parametrize("seconds", [0.05, 0.01])
def test_no_place_is_empty_for_long_because_there_were_many_looks(seconds: float) -> None:
    """They are spread: nobody waits for half of ten seconds because the other half saw so many."""
    moments = looks_of_a_minute(0, seconds)
    assert max(later - sooner for sooner, later in pairwise(moments)) < 0.25


@pytest.mark.parametrize("parts", [0, 1, 3, 16, 98, 250])
def test_all_shards_together_look_no_more_often_than_one_batch_may(parts: int) -> None:
    """However many jobs are about to end: less than ten times a second."""
    moments = looks_of_a_minute(parts, 0.01)
    for begin in (0, 10.5, 30):
        found = sum(begin <= moment < begin + 20 for moment in moments)
        assert 2 * 98 / 1.5 - parts <= found * max(1, parts) <= 2 * 98 + parts
    if parts <= 98:
        assert sum(moment < 10 for moment in moments) * max(1, parts) <= 98


# Whole shards.


class Part(SimulatedDisk):
    """The disk of one shard."""

    def __init__(self, world: World, shard: Shard) -> None:
        super().__init__(world, lambda: None)
        self._shard = shard

    async def scan(self, prefixes: dict[bytes, str]) -> AsyncIterator[list[Candidate]]:
        """Find this shard's recordings."""
        async for candidates in super().scan(prefixes):
            yield [found for found in candidates if self._shard.holds(found.path.removeprefix(b"/in/"))]


class Machines:
    """Several machines with one account, in virtual time; with one input, or each with a batch of its own."""

    def __init__(
        self,
        folder: Path,
        recordings: int,
        api: str = "grpc",
        poll_seconds: float = 0.5,
        *,
        apart: bool = False,
        pending: int = PENDING,
    ) -> None:
        self.poll_seconds, self._apart, self._pending = poll_seconds, apart, pending
        self.engines: list[Engine] = []
        self.world = World()
        for number in range(recordings):
            name = f"{number:04}.wav"
            self.world.files[b"/in/" + name.encode()] = File(Random(name).randbytes(1_000 + number))
        knobs = Knobs(queue_ms=10, min_work_ms=5_000, max_work_ms=5_000, pending=pending)
        self.core = Core(self.world, Echo(), replace(knobs, rest=RestKnobs(requests_per_minute=0)), dice=Dice(1))
        self.account = self.core.rest(KEY) if api == "rest" else self.core.account(KEY)
        self.ended: list[float] = []  #: when each shard was done
        self._seen: list[tuple[float, int]] = []  #: how many were pending at the service, every half second
        self._folder = folder
        self._api = api

    def run(self, *begins: float) -> None:
        """Run one shard for each of these moments at which they begin."""
        run_virtually(lambda: self._run(begins))

    async def _run(self, begins: tuple[float, ...]) -> None:
        self.world.read = anyio.current_time
        async with open_face(self.core, dice=Dice(2)) as wire, anyio.create_task_group() as watch:
            watch.start_soon(self._watch)
            async with anyio.create_task_group() as group:
                for number, begin in enumerate(begins):
                    group.start_soon(self._run_shard, Shard(number + 1, len(begins)), begin, wire)
            watch.cancel_scope.cancel()
        self.world.moment = anyio.current_time()
        self.world.read = lambda: self.world.moment

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(0.5)
            self._seen.append((anyio.current_time(), self.account.pending))

    async def _run_shard(self, shard: Shard, begin: float, wire: Wire) -> None:
        await anyio.sleep(begin)
        conn, database = open_inline(self._folder / f"{shard.tag}.sqlite3")
        with closing(conn):
            async with self._service(Dice(shard.part), wire) as service:
                engine = Engine(
                    clock=self.world,
                    dice=Dice(shard.part),
                    table=Table(database, self.world),
                    service=service,
                    disk=Part(self.world, shard),
                    plan=Plan(Options(), Limits(self._pending), shard=None if self._apart else shard),
                    listener=lambda _move: None,
                )
                self.engines.append(engine)
                with anyio.fail_after(7_200):
                    assert await engine.run() is None
        self.ended.append(anyio.current_time())

    def _service(self, dice: Dice, wire: Wire) -> AbstractAsyncContextManager[Service]:
        if self._api == "rest":
            return open_client(wire, KEY, dice=dice, poll_seconds=self.poll_seconds)
        return open_simulated(self.core, KEY, dice=dice, pace=Pace(0.02, 0.1), poll_seconds=self.poll_seconds)

    def busy(self, begin: float, end: float) -> float:
        """Return how full the account was on average, as a share of its limit."""
        found = [pending for moment, pending in self._seen if begin <= moment < end]
        return sum(found) / len(found) / self._pending


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the tables, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


@pytest.mark.parametrize("api", ["grpc", "rest"])
def test_four_shards_fill_the_account_and_nobody_is_refused(api: str, folder: Path) -> None:
    """Each recording is accepted once, the account is full from beginning to end, and nothing is left."""
    machines = Machines(folder, 320, api)
    machines.run(0, 0, 0, 0)
    tally = machines.account.tally
    assert tally.accepted.total() == 320
    assert tally.pending_peak <= PENDING
    assert not tally.refusals
    assert not machines.account.files
    assert len(machines.world.outputs) == 640
    assert machines.busy(6, machines.ended[0] - 6) >= 0.88


def test_one_that_is_alone_has_nearly_all_of_it_and_makes_room_for_those_that_come(folder: Path) -> None:
    """An array's tasks do not all begin at once."""
    machines = Machines(folder, 900)
    machines.run(0, 75, 80)
    tally = machines.account.tally
    assert tally.accepted.total() == 900
    assert tally.pending_peak <= PENDING
    assert not tally.refusals
    assert machines.busy(20, 60) == pytest.approx(0.33, abs=0.03)
    assert machines.busy(66, 75) >= 0.85
    assert machines.busy(90, machines.ended[0] - 6) >= 0.85


def test_those_that_are_left_take_over_the_part_of_one_that_is_done(folder: Path) -> None:
    """A minute later, because it may only have nothing to send just now."""
    machines = Machines(folder, 800)
    for path in [path for path in machines.world.files if Shard(1, 2).holds(path.removeprefix(b"/in/"))][30:]:
        del machines.world.files[path]
    machines.run(0, 0)
    assert machines.account.tally.pending_peak <= PENDING
    assert not machines.account.tally.refusals
    first, last = machines.ended
    assert machines.busy(first + 66, last - 6) >= 0.85


def test_shards_that_may_look_only_now_and_then_reckon_with_that(folder: Path) -> None:
    """A look counts until the next one, and a shard until two did not show it."""
    machines = Machines(folder, 30, "rest", poll_seconds=50.0)
    machines.run(0, 0)
    assert machines.account.tally.accepted.total() == 30
    for engine in machines.engines:
        context = engine._context
        assert context is not None
        assert context.headroom.fresh_ms >= 50_000 + LOOK_LATE_MS
        assert context.headroom.company is not None
        assert context.headroom.company.presumed_ms == 2 * (50_000 + LOOK_LATE_MS)
