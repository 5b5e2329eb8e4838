"""One night from one seed: recordings, faults, strangers, kills; then what must hold at dawn."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import anyio

from batcher import killpoints
from batcher.clock import Dice
from batcher.emulator.account import Account
from batcher.emulator.core import Core
from batcher.emulator.faults import PRESETS, FaultPlan
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.recognizers import Echo, echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.tally import RestTally
from batcher.engine import Engine
from batcher.judgement import Settle
from batcher.model import Limits, Load
from batcher.options import Options
from batcher.reference import parse
from batcher.service.simulated import Pace, open_simulated
from batcher.stages.context import Plan
from batcher.states import FINAL_STATES, NEXT, Event, State
from batcher.store.db import Database, open_inline
from batcher.store.table import Move, Table
from tests.simulation.rest import open_simulated_rest
from tests.simulation.virtual import run_virtually
from tests.simulation.world import File, Killed, SimulatedDisk, World

KEY = "night"
REST_SHARE = 0.5  #: of the nights


@dataclass(slots=True)
class Story:
    """What a night is made of."""

    seed: int
    recordings: int = 60
    limits: Limits = field(default_factory=lambda: Limits(pending=20, stored=40))
    faults: str = "some"
    kills: int = 3
    strangers: int = 0
    api: str = "grpc"


@dataclass
class Night:
    """A night under way, and its trace."""

    story: Story
    table: Path
    world: World = field(default_factory=World)
    trace: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = Dice(self.story.seed)
        self._furnish()
        knobs = Knobs(
            pending=self.story.limits.pending,
            stored=self.story.limits.stored,
            queue_ms=3_000,
            min_work_ms=5_000,
            max_work_ms=120_000,
            speed=1.0,
            rest=RestKnobs(files=self.story.limits.files or 1000, bytes=self.story.limits.bytes or 10**10),
        )
        self.core = Core(self.world, Echo(), knobs, dice=self.dice)
        self.plan = FaultPlan(PRESETS[self.story.faults], self.dice, self.world)

    @property
    def account(self) -> Account | RestAccount:
        """Return the account at the service."""
        return self.core.rest(KEY) if self.story.api == "rest" else self.core.account(KEY)

    def _furnish(self) -> None:
        """Put recordings on the disk: some of one size, some twice, some no audio at all."""
        chance = self.dice.stream("recordings")
        for number in range(self.story.recordings):
            size = chance.choice([1_000, chance.randrange(500, 900_000)])
            content = chance.randbytes(size)
            if chance.random() < 0.1 and self.world.files:
                content = chance.choice(list(self.world.files.values())).content
            if chance.random() < 0.05:
                content = b"bad" + content
            self.world.files[f"/in/{number:03}.wav".encode()] = File(content)

    def run(self) -> None:
        """Live through the night, killed and started again, until batcher ends by itself."""
        chance = self.dice.stream("kills")
        for life in range(self.story.kills + 1):
            last = life == self.story.kills
            countdown = None if last else chance.randrange(1, 40 + 8 * self.story.recordings)
            if self._live(countdown):
                break
            self.world.moment += chance.choice([0.0, 5.0, 4_000.0])
        self._check_dawn()

    def _live(self, countdown: int | None) -> bool:
        """Run batcher once. Returns whether it ended by itself rather than by the kill."""
        conn, database = open_inline(self.table)
        life = _Life(self, countdown)
        killpoints.hook = life.reach
        try:
            run_virtually(lambda: life.main(database), self.world.moment)
        except BaseException:
            if not life.dead:
                raise
        finally:
            killpoints.hook = killpoints._nothing
            conn.close()
        return not life.dead

    def violated(self, what: str) -> None:
        """Note something that must never happen."""
        self.violations.append(f"seed {self.story.seed} at {self.world.moment:.1f}: {what}")

    def _check_dawn(self) -> None:
        conn, _ = open_inline(self.table)
        jobs = conn.execute("SELECT id, path, state, digest, output, reason FROM job ORDER BY id").fetchall()
        history = conn.execute("SELECT job, source, event, target FROM history ORDER BY id").fetchall()
        conn.close()
        self._check_jobs(jobs)
        self._check_history(history)
        self._check_service()

    def _check_jobs(self, jobs: list[tuple[int, bytes, str, bytes, str, str]]) -> None:
        if {path for _, path, *_ in jobs} != set(self.world.files):
            self.violated("recordings and jobs differ")
        for number, path, state, _, output, reason in jobs:
            content = self.world.files[path].content
            expected = State.SKIPPED if content.startswith(b"bad") else State.DONE
            if state != expected:
                self.violated(f"job {number} ended {state} ({reason}), not {expected}")
            elif state == State.DONE:
                self._check_output(output, content)

    def _check_output(self, output: str, content: bytes) -> None:
        document = json.loads(self.world.outputs.get(f"{output}.json", b"{}"))
        digest = hashlib.sha256(content)
        if document.get("text") != echo_text(digest.digest()):
            self.violated(f"{output} has not the transcript of its audio")

    def _check_history(self, history: list[tuple[int, str, str, str]]) -> None:
        at: dict[int, str] = {}
        for job, source, event, target in history:
            if source != at.get(job, State.NEW) or NEXT.get((State(source), Event(event))) != target:
                self.violated(f"job {job}: {source} --{event}--> {target} is no path")
            at[job] = target
        if any(State(state) not in FINAL_STATES for state in at.values()):
            self.violated("a job is left in the middle of its life")

    def _check_service(self) -> None:
        account, tally = self.account, self.account.tally
        self.world.read = lambda: self.world.moment
        left = [*account.files, *(account.jobs if isinstance(account, RestAccount) else ())]
        if [item for item in left if not item.foreign]:
            self.violated("something of ours is left at the service")
        stored = (tally.files_peak, tally.bytes_peak) if isinstance(tally, RestTally) else (0, 0)
        peaks = Load(tally.pending_peak, tally.stored_peak, *stored)
        if peaks.lacking(self.story.limits.load()):
            self.violated(f"peaks {peaks}")
        contents = {f.content for f in self.world.files.values() if not f.content.startswith(b"bad")}
        if tally.accepted.total() != len(contents):
            self.violated(f"{tally.accepted.total()} accepted for {len(contents)} contents")
        if any(parse(reference) is None for reference in tally.accepted):
            self.violated("an upload without a reference of ours")


class _Life:
    """One process, from start to end or kill."""

    def __init__(self, night: Night, countdown: int | None) -> None:
        self._night = night
        self._countdown = countdown
        self.dead = False

    def reach(self, name: str) -> None:
        """Die here, if it is time."""
        self.alive()
        if self._countdown is not None:
            self._countdown -= 1
            if self._countdown <= 0:
                self._die(name)

    def alive(self) -> None:
        """Raise if the process is gone."""
        if self.dead:
            raise Killed

    def _die(self, name: str) -> None:
        self.dead = True
        self._night.kills[name] += 1
        self._night.trace.append(f"killed at {name}")
        raise Killed

    async def main(self, database: Database) -> None:
        night, story = self._night, self._night.story
        loop_time = anyio.current_time
        night.world.read = loop_time
        table = Table(_Mortal(database, self), night.world)
        plan = Plan(options=Options(), limits=story.limits, settle=Settle(900_000), upload_concurrency=8)
        try:
            opened = open_simulated_rest if story.api == "rest" else open_simulated
            async with opened(night.core, KEY, dice=night.dice, plan=night.plan, pace=Pace()) as service:
                engine = Engine(
                    clock=night.world,
                    dice=night.dice,
                    table=table,
                    service=service,
                    disk=SimulatedDisk(night.world, self.alive),
                    plan=plan,
                    listener=self._heard,
                )
                with anyio.fail_after(7 * 86_400):
                    reason = await engine.run()
                if reason is not None:
                    night.violated(f"stopped: {reason}")
        finally:
            night.world.moment = loop_time()
            moment = night.world.moment
            night.world.read = lambda: moment

    def _heard(self, move: Move) -> None:
        moment = anyio.current_time()
        self._night.trace.append(f"{moment:.3f} {move.job} {move.source} {move.event} {move.target} {move.detail}")


class _Mortal(Database):
    """The database of a process that may be gone: then nothing is written any more."""

    def __init__(self, database: Database, life: _Life) -> None:
        super().__init__(database._conn, database._run)
        self._life = life

    async def write(self, work: object) -> object:  # type: ignore[override]
        self._life.alive()
        return await super().write(work)  # type: ignore[arg-type]


def random_story(seed: int) -> Story:
    """Draw what a night is made of."""
    chance = Random(seed)
    pending = chance.choice([3, 8, 20, 100])
    limits = Limits(pending, pending * chance.choice([1, 2, 5]))
    story = Story(
        seed,
        recordings=chance.randrange(10, 80),
        limits=limits,
        faults=chance.choice(["none", "some", "many"]),
        kills=chance.randrange(6),
    )
    if chance.random() < REST_SHARE:
        story.api = "rest"
        files, size = chance.choice([None, pending, 2 * pending]), chance.choice([None, 2_000_000, 10_000_000])
        story.limits = replace(limits, files=files, bytes=size)
    return story
