"""What the service, the network, other clients and the clock may do in one night; whole runs in virtual time."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import anyio
import pytest

from batcher.clock import Dice, Origin
from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.knobs import RestKnobs
from batcher.emulator.objects import Item
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.judgement import Settle
from batcher.model import Limits
from batcher.service import CHUNK_BYTES, Seal, Service, Submission
from batcher.service.simulated import open_simulated
from batcher.store.db import open_inline
from batcher.store.table import Table
from tests import engine_bed
from tests.engine_bed import KEY, KNOBS, Bed
from tests.simulation.world import EPOCH_MS, World
from tests.test_engine import HOUR, at, drain_at, folder
from tests.test_faults_ends import silence

__all__ = ["folder", "silence"]  # the fixtures

APIS = ("grpc", "rest")
Troubles = Callable[[Call], Fault | None]


def a_bed(folder: Path, *sizes: int, api: str, **knobs: object) -> Bed:
    """Return a batch at the service through one API, whose requests nobody counts."""
    turned = replace(KNOBS, rest=RestKnobs(requests_per_minute=0), **knobs)  # type: ignore[arg-type]
    return Bed(folder, *sizes, knobs=turned, api=api)


def accepted(bed: Bed) -> int:
    """Return how many attempts the service accepted."""
    return (bed.rest if bed.api == "rest" else bed.account).tally.accepted.total()


# The network.


def swizzle(api: str, seed: int) -> Troubles:
    """Cut the calls of each kind at times of its own for twenty minutes, and lose three in ten all the while."""
    chance = Random(seed)
    verbs = list(Call)
    chance.shuffle(verbs)
    windows = {verb: (start := chance.uniform(5, 400), start + chance.uniform(100, 800)) for verb in verbs}

    def trouble(call: Call) -> Fault | None:
        now = anyio.current_time()
        first, last = windows[call]
        if first <= now < last:
            return Fault(Trouble.REFUSED, "UNAVAILABLE")
        lost = now < 20 * 60 and chance.random() < 0.3
        return Fault(chance.choice([Trouble.LOST_BEFORE, Trouble.LOST_AFTER])) if lost else None

    return trouble


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("seed", range(2))
def test_paths_that_fail_one_by_one_and_come_back_in_another_order_cost_nothing(
    folder: Path, api: str, seed: int
) -> None:
    """Uploads, lists, results and deletions are cut off apart, and three calls in ten are lost besides."""
    bed = a_bed(folder, *range(1_000, 1_015), api=api)
    bed.trouble = swizzle(api, seed)
    assert bed.run() is None
    assert bed.states() == {"done": 15}
    assert bed.wrong() == []
    assert accepted(bed) == 15
    assert bed.world.moment < 3 * HOUR


def test_a_connection_that_dies_after_any_chunk_leaves_nothing_and_is_tried_again(folder: Path) -> None:
    """Twenty places; nothing was sealed, so nothing is uncertain and nothing has to be proven absent."""
    bed = Bed(folder, CHUNK_BYTES * 20)
    cuts = list(range(20))
    bed.trouble = lambda call: Fault(Trouble.CUT, cut_after=cuts.pop()) if call is Call.SUBMIT and cuts else None
    assert bed.run(max_failures=30) is None
    assert cuts == []
    assert bed.wrong() == []
    assert accepted(bed) == 1
    assert bed.events("000.wav").count("claimed") == 21
    assert "uncertain" not in [state for (state,) in bed.rows("SELECT target FROM history")]


# Answers.


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("minutes", [0.5, 6, 14])
def test_what_arrives_late_within_the_settle_time_is_paid_once(folder: Path, api: str, minutes: float) -> None:
    """No list showed it, and still nothing was sent again: it is adopted when it appears."""
    bed = a_bed(folder, 1_000, 1_001, api=api)
    lost = [Fault(Trouble.LATE, ms=int(minutes * 60_000))]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 2
    assert [event for (event,) in bed.rows("SELECT event FROM history WHERE event = 'adopted'")] == ["adopted"]


@pytest.mark.parametrize("api", APIS)
def test_what_arrives_later_than_promised_is_sent_twice_and_only_deleted(folder: Path, api: str) -> None:
    """This is the one double that no look-up can prevent. The words are right, and while it runs nothing is left."""
    bed = a_bed(folder, 1_000, 12_000_000, api=api)
    lost = [Fault(Trouble.LATE, ms=20 * 60_000)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    bed.core.knobs = replace(bed.core.knobs, min_work_ms=1_500_000, max_work_ms=1_500_000)
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 3
    assert [event for (event,) in bed.rows("SELECT event FROM history WHERE event = 'absent'")] == ["absent"]


async def drain_in_the_second_attempt(bed: Bed, engine: Engine) -> None:
    """Stop the run while it sends the recording for the second time."""
    while bed.rows("SELECT state, attempt FROM job") != [("uploading", 2)]:  # noqa: ASYNC110 - the table rings no bell
        await anyio.sleep(0.05)
    engine.drain()


@pytest.mark.parametrize("api", APIS)
def test_what_arrives_late_is_taken_up_where_the_next_attempt_was_cut_short(folder: Path, api: str) -> None:
    """The recording waits again, and the first list of the next run shows what the first attempt made."""
    bed = a_bed(folder, 1_000_000, api=api)
    lost = [Fault(Trouble.LATE, ms=20 * 60_000)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    assert bed.run(partial(drain_in_the_second_attempt, bed)) is None
    assert bed.states() == {"waiting": 1}
    bed.world.moment += HOUR
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 1
    assert bed.events("000.wav").count("claimed") == 2


def test_what_arrives_late_is_taken_up_where_the_next_attempt_was_killed(folder: Path) -> None:
    """First its upload is given up; nothing is sent before the next list."""
    bed = a_bed(folder, 1_000, api="grpc")
    assert bed.run(kill="after-seal") is None
    ((reference,),) = bed.rows("SELECT reference FROM job")
    assert bed.run(kill="before-seal") is None
    assert bed.rows("SELECT state, attempt FROM job") == [("uploading", 2)]
    bed.account.add_foreign(reference=str(reference), work_ms=0)
    assert bed.run() is None
    assert bed.states() == {"done": 1}
    assert bed.events("000.wav")[-5:] == ["interrupted", "adopted", "completed", "fetched", "cleared"]
    assert accepted(bed) == 0


@pytest.mark.parametrize("api", APIS)
def test_what_an_earlier_attempt_made_does_not_hide_that_the_present_one_may_arrive(folder: Path, api: str) -> None:
    """The first shows up after it was sent again, the second within its settle time: nothing may be left of either."""
    bed = a_bed(folder, 1_000, api=api)
    lost = [Fault(Trouble.LATE, ms=minutes * 60_000) for minutes in (14, 20)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 2


@pytest.mark.parametrize("api", APIS)
def test_an_attempt_that_may_still_arrive_keeps_its_place_when_an_earlier_one_shows_up(folder: Path, api: str) -> None:
    """Both are at the service, which has room for two: a third one would be refused."""
    bed = a_bed(folder, 1_000, api=api, pending=2, min_work_ms=HOUR * 1000, max_work_ms=HOUR * 1000)
    bed.plan = replace(bed.plan, limits=replace(bed.plan.limits, pending=2))
    lost = [Fault(Trouble.LATE, ms=minutes * 60_000) for minutes in (14, 20)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    bed.run(drain_at(18 * 60))
    assert lost == []
    bed.add("another.wav", 1_001)
    bed.world.moment = 21 * 60
    assert bed.run() is None
    assert bed.wrong() == []
    assert (bed.rest if api == "rest" else bed.account).tally.quota_refusals == 0


@pytest.mark.parametrize("api", APIS)
def test_what_was_made_of_other_content_is_not_adopted(folder: Path, api: str) -> None:
    """Proven absent; the recording is rewritten without a trace, sent, its answer lost; and the first one shows up."""
    bed = a_bed(folder, 1_000, api=api, min_work_ms=400_000, max_work_ms=400_000)
    bed.plan = replace(bed.plan, settle=Settle(120_000))
    answers = [Fault(Trouble.LOST_BEFORE), Fault(Trouble.LOST_BEFORE), Fault(Trouble.LATE, ms=180_000)]
    bed.trouble = lambda call: answers.pop() if call is Call.SUBMIT and answers else None
    other = b"x" * 1_000

    def rewrite() -> None:
        bed.world.files[b"/in/000.wav"].content = other

    assert bed.run(at(60, rewrite)) is None
    assert answers == []
    assert bed.events("000.wav").count("source_changed") == 1
    assert bed.wrong() == []
    assert bed.states() == {"done": 1}


@pytest.mark.parametrize("api", APIS)
def test_what_no_list_shows_for_long_is_fetched_when_it_shows_again(folder: Path, api: str) -> None:
    """It was taken for gone; its transcript is there, and paid for."""
    bed = a_bed(folder, 1_000, 60_000, api=api, min_work_ms=3_000_000, max_work_ms=3_000_000)
    away: list[tuple[Item, int]] = []

    def hide() -> None:
        item = bed.rest.jobs[0] if api == "rest" else bed.account.files[0]
        away.append((item, item.visible))
        item.visible = 10**15

    def show() -> None:
        assert bed.states() == {"failed": 1, "submitted": 1}
        ((item, visible),) = away
        item.visible = visible

    assert bed.run(at(60, hide), at(18 * 60, show)) is None
    assert bed.wrong() == []
    assert bed.states() == {"done": 2}
    assert accepted(bed) == 2


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("minutes", [2, 13])
def test_a_list_that_lags_behind_pays_nothing_twice(folder: Path, api: str, minutes: int) -> None:
    """Every answer is lost, and what the service has shows up in its list much later."""
    bed = a_bed(folder, *range(1_000, 1_005), api=api, list_lag_ms=minutes * 60_000)
    bed.trouble = lambda call: Fault(Trouble.LOST_AFTER) if call is Call.SUBMIT else None
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 5


class Repeating:
    """A service that once answers a submission with the id of another one."""

    def __init__(self, inner: Service) -> None:
        self._inner, self._before = inner, ""
        self.repeated = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def submit(self, submission: Submission, seal: Seal) -> str:
        """Submit, and tell the wrong id the second time."""
        remote = await self._inner.submit(submission, seal)
        if self._before and not self.repeated:
            self.repeated = True
            return self._before
        self._before = remote
        return remote


def test_an_id_that_comes_twice_is_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job it does not belong to is looked up by its reference; each gets the words of its own audio."""
    services: list[Repeating] = []

    @asynccontextmanager
    async def opened(*arguments: object, **named: object) -> AsyncIterator[Repeating]:
        async with open_simulated(*arguments, **named) as service:  # type: ignore[arg-type]
            services.append(Repeating(service))
            yield services[-1]

    monkeypatch.setattr(engine_bed, "open_simulated", opened)
    bed = Bed(folder, 1_000, 1_001, 1_002)
    assert bed.run() is None
    assert services[0].repeated
    assert bed.wrong() == []
    assert accepted(bed) == 3


# Other clients.


@pytest.mark.parametrize("api", APIS)
def test_what_is_ours_comes_home_while_others_fill_the_account(folder: Path, api: str) -> None:
    """For a while nothing can be sent; what was sent is fetched and deleted meanwhile. The rest goes when they go."""
    bed = a_bed(folder, *range(1_000, 1_012), api=api)
    there = bed.rest if api == "rest" else bed.account
    others: list[str] = []

    seen: list[object] = []

    def leave() -> None:
        seen.append(bed.states())
        for number in others:
            there.finish(number)
            there.vanish(number)

    fill = at(3, lambda: others.extend(there.add_foreign(10, force=True)))
    assert bed.run(fill, at(HOUR / 3, leave), limits=Limits(4, 2_000)) is None
    assert seen == [{"done": 4, "waiting": 8}]
    assert bed.wrong() == []
    assert accepted(bed) == 12
    assert there.tally.quota_refusals == 0


class Neighbour:
    """Another batch of ours in the same account: recordings and a table of its own."""

    def __init__(self, bed: Bed, folder: Path, limits: Limits, *sizes: int) -> None:
        folder.mkdir()
        self.own = Bed(folder, *sizes)
        self.outcome: object = "still at work"
        self._bed, self._limits = bed, limits

    async def __call__(self, _engine: Engine) -> None:
        """Run beside the other one."""
        own = self.own
        own.world.read = anyio.current_time
        conn, database = open_inline(own.path)
        with closing(conn):
            async with open_simulated(self._bed.core, KEY, dice=Dice(2), plan=own) as service:
                engine = Engine(
                    clock=own.world,
                    dice=Dice(2),
                    table=Table(database, own.world),
                    service=service,
                    disk=own.disk,
                    plan=replace(own.plan, limits=self._limits),
                    listener=lambda _move: None,
                )
                self.outcome = await engine.run()
        moment = anyio.current_time()
        own.world.read = lambda: moment


def test_two_batches_in_one_account_finish_and_touch_nothing_of_each_other(folder: Path) -> None:
    """Each counts the other as a stranger; both have the words of all their audio, and nothing was sent twice."""
    limits = Limits(10, 20)
    bed = Bed(folder, *range(1_000, 1_060))
    bed.account.limits = limits
    neighbour = Neighbour(bed, folder / "other", limits, *range(2_000, 2_020))
    assert bed.run(neighbour, limits=limits) is None
    assert neighbour.outcome is None
    assert neighbour.own.wrong() == bed.wrong() == []
    assert neighbour.own.states() == {"done": 20}
    assert bed.states() == {"done": 60}
    assert bed.account.tally.accepted.total() == len(bed.account.tally.accepted) == 80
    assert bed.account.tally.pending_peak <= 10
    assert bed.account.tally.stored_peak <= 20


# What is gone at the service, and what cannot be deleted there.


@pytest.mark.parametrize("api", APIS)
def test_what_was_fetched_may_vanish_at_the_service(folder: Path, api: str) -> None:
    """Somebody's clean-up script or an expiry: the transcript is in the table, so the job is done."""
    bed = a_bed(folder, 1_000, api=api)
    bed.run(kill="transcript-committed")
    there = bed.rest if api == "rest" else bed.account
    for item in [*there.files, *getattr(there, "jobs", [])]:
        there.vanish(item.id)
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.states() == {"done": 1}
    assert accepted(bed) == 1


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("code", ["UNAVAILABLE", "FAILED_PRECONDITION"])
def test_a_deletion_is_tried_until_it_is_done(folder: Path, api: str, code: str) -> None:
    """The run does not end before, however long it takes, and does not ask all the time."""
    bed = a_bed(folder, 1_000, 1_001, api=api)
    refused = (Call.DELETE, Call.DELETE_FILE)
    asked: list[float] = []

    def trouble(call: Call) -> Fault | None:
        if call not in refused or anyio.current_time() >= HOUR / 5:
            return None
        asked.append(anyio.current_time())
        return Fault(Trouble.REFUSED, code)

    bed.trouble = trouble
    states: list[object] = []
    assert bed.run(at(HOUR / 6, lambda: states.append(bed.states()))) is None
    assert states == [{"stored": 2}]
    assert len(asked) < 2 * 20
    assert bed.states() == {"done": 2}
    assert bed.wrong() == []
    assert accepted(bed) == 2


# Time, and tables that are older than they look.


@dataclass(slots=True)
class Skewed(World):
    """A world whose clock is off by so many seconds."""

    skew: float = 0.0

    def now(self) -> int:
        """Return UTC milliseconds as the wrong clock has them."""
        return EPOCH_MS + int((self.read() + self.skew) * 1000)

    def origin(self) -> Origin:
        """Return where it counts from: setting it moves that."""
        return Origin("night", EPOCH_MS + int(self.skew * 1000))


def skewed(bed: Bed) -> Skewed:
    """Give batcher, but not the service, a clock that can be set; return it."""
    service, own = bed.world, Skewed(bed.world.files, bed.world.outputs)
    service.read = lambda: own.read()  # noqa: PLW0108 - whatever it is then
    bed.world = own
    return own


@pytest.mark.parametrize("api", APIS)
def test_hours_of_sleep_in_the_middle_of_a_run_change_nothing(folder: Path, api: str) -> None:
    """Timers stood still, both clocks went on: no storm of what was due meanwhile, and everything is taken up."""
    bed = a_bed(folder, *range(1_000, 1_020), api=api)
    bed.trouble = lambda call: Fault(Trouble.LOST_AFTER) if call is Call.SUBMIT and len(bed.calls) < 12 else None

    def sleep() -> None:
        bed.world.slept += 8 * HOUR

    assert bed.run(at(4, sleep), limits=Limits(5, 100)) is None
    assert bed.wrong() == []
    assert accepted(bed) == 20
    assert sum(4 <= moment < 5 for moment, _ in bed.calls) < 40


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_is_set_between_two_runs_loses_nothing(folder: Path, api: str, days: int) -> None:
    """What was under way is found by its reference, whatever time it is."""
    bed = a_bed(folder, *range(1_000, 1_010), api=api)
    world = skewed(bed)
    bed.run(kill="accepted", limits=Limits(3, 100))
    world.skew = days * 24 * HOUR
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 10


def copy_table(bed: Bed, copy: Path) -> None:
    """Keep a copy of a batch's table."""
    with closing(sqlite3.connect(bed.path)) as table, closing(sqlite3.connect(copy)) as kept:
        table.backup(kept)


def restore_table(bed: Bed, copy: Path) -> None:
    """Put a copy in the place of a batch's table."""
    for side in ("", "-wal", "-shm"):
        bed.path.with_name(bed.path.name + side).unlink(missing_ok=True)
    shutil.copyfile(copy, bed.path)


@pytest.mark.parametrize("api", APIS)
def test_a_restored_copy_takes_up_what_is_under_way_where_it_knew_the_content(folder: Path, api: str) -> None:
    """That is: what it knew as sent, and of the rest what had been read before; what had not is sent again.

    Two recordings have one size, so that their contents were compared before anything was sent.
    """
    bed = a_bed(folder, 2_000, 2_001, 1_000, 1_000, api=api, min_work_ms=3_600_000, max_work_ms=3_600_000)
    bed.run(drain_at(4), limits=Limits(1, 100))
    assert bed.states() == {"submitted": 1, "waiting": 3}
    copy_table(bed, folder / "copy")
    bed.run(drain_at(60))
    assert bed.states() == {"submitted": 4}
    restore_table(bed, folder / "copy")
    assert bed.run() is None
    assert bed.states() == {"done": 4}
    assert bed.wrong() == []
    assert accepted(bed) == 4 + 1
    assert [bed.events(f"{number:03}.wav").count("claimed") for number in range(4)] == [1, 1, 0, 0]


@pytest.mark.parametrize("api", APIS)
def test_a_batch_restored_from_an_older_copy_pays_again_only_for_what_it_never_knew(folder: Path, api: str) -> None:
    """What was sent after the copy is sent again; what it knew as sent is gone, and a person decides about it."""
    bed = a_bed(folder, *range(1_000, 1_010), api=api)
    bed.run(drain_at(4), limits=Limits(4, 100))
    assert bed.states() == {"submitted": 4, "waiting": 6}
    copy_table(bed, folder / "copy")
    assert bed.run() is None
    before = accepted(bed)
    restore_table(bed, folder / "copy")
    bed.world.outputs.clear()
    assert bed.run() is None
    assert bed.states() == {"done": 6, "failed": 4}
    assert bed.rows("SELECT DISTINCT cause FROM job WHERE state = 'failed'") == [("vanished",)]
    assert accepted(bed) - before == 6
    assert bed.wrong() == [f"{number:03}.wav" for number in range(4)]


@pytest.mark.parametrize("api", APIS)
def test_a_clock_set_forward_between_runs_does_not_shorten_the_settle_time(folder: Path, api: str) -> None:
    """Nobody knows how long ago the answer was lost: the proof starts anew, and the late arrival is found."""
    bed = a_bed(folder, 1_000, 1_001, api=api)
    world = skewed(bed)
    lost = [Fault(Trouble.LATE, ms=600_000)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    bed.run(drain_at(30))
    world.skew = 24 * HOUR
    assert bed.run() is None
    assert bed.wrong() == []
    assert accepted(bed) == 2


@pytest.mark.parametrize("api", APIS)
def test_a_clock_set_back_between_runs_makes_nobody_wait(folder: Path, api: str) -> None:
    """What waits for a time that now lies ahead is due; only the settle time is waited for."""
    bed = a_bed(folder, 1_000, 1_001, api=api)
    world = skewed(bed)
    world.skew = 24 * HOUR
    lost = [Fault(Trouble.LOST_BEFORE)]
    bed.trouble = lambda call: lost.pop() if call is Call.SUBMIT and lost else None
    bed.run(drain_at(30))
    world.skew = 0
    assert bed.run() is None
    assert bed.wrong() == []
    assert bed.world.moment <= HOUR
    assert accepted(bed) == 2
