"""One batch: its recordings, its table, its lives one after the other, and what the oracle knows of it."""

import hashlib
import math
import sqlite3
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from batcher.clock import Dice
from batcher.judgement import Settle
from batcher.model import Limits
from batcher.options import Options
from batcher.reference import Reference
from batcher.shard import Shard
from batcher.stages.context import Plan
from batcher.states import Event, State
from batcher.store.table import Move
from tests.simulation.life import End, Life, draw_end
from tests.simulation.looks import Look
from tests.simulation.moods import MARKS, ONCE
from tests.simulation.world import File, World

if TYPE_CHECKING:
    from tests.simulation.night import Night

MOST_LIVES = 80
ADAPTIVE = 0.4  #: so many batchers find out by themselves how many uploads at once are best
SCARCE_BYTES = 2_000_000  #: where the service stores no more, recordings are so large that some dozens of them fill it
HOUR_MS = 3_600_000
#: After these a job does not go back to what its latest attempt has made.
_LET_GO = (Event.CHANGED, Event.SOURCE_CHANGED, Event.RETRY, Event.RELEASED, Event.FORGIVEN, Event.CANCEL)
ON_REQUEST = "tried again on request"  #: what the history says of a person's `retry`


class Batch:
    """A directory of recordings, and the batcher that works on it."""

    def __init__(self, night: "Night", name: str, path: Path, recordings: int) -> None:
        self.night, self.name, self.path = night, name, path
        self.dice = Dice(night.story.seed * 2 + (name != "a"))
        self.world = World()
        self.uploads = (
            0 if self.dice.stream("uploads").random() < ADAPTIVE else 8
        )  #: at once; 0: what the line can take
        self.id = ""  #: in references; known when a run has begun
        self.life: Life | None = None
        self.began = 0.0  #: when the latest life began
        self.began_ms = 0  #: the same by the service's clock
        self.looked = -math.inf  #: when the latest survey that was answered began
        self.look_took = 0.0  #: and how many seconds it took
        self.ended = False
        self.in_doubt = False  #: the latest life was killed because an answer had been lost
        self.skew_ms = 0
        self.announced: Limits = night.story.limits  #: what batcher is told
        self.states: dict[int, State] = {}
        self.attempts: dict[int, int] = {}
        self.counts: Counter[State] = Counter()
        self.claimed_at = 0.0
        self.accepted = 0  #: how many attempts were accepted, as far as batcher heard
        self.cancelled: set[int] = set()  #: jobs that somebody gave up
        self.touched: dict[bytes, float] = {}  #: recordings that changed, vanished or were denied, and when last
        #: What complete and other lists have shown, by reference and whether it is bare audio, and since when that is
        #: known.
        self.shown: dict[tuple[str, bool], int] = {}
        self.let_go: list[tuple[int, int, int]] = []  #: when a job gave up what an attempt may have made
        self.refusals: list[float] = []  #: when the present life was refused for quota
        self.asked_at = 0.0  #: when the latest survey began, or ended
        self.asking = False  #: a survey is under way
        self.claims: dict[tuple[int, int], int] = {}  #: when each attempt of a job was claimed, by the service's clock
        self.looks: list[tuple[int, int]] = []  #: complete surveys, as when they began and were answered, by the same
        self.lists: deque[Look] = deque(maxlen=2)  #: the latest that the present life got, complete or not
        self.parted: Move | None = None  #: the latest move of a job that carries no twins any more
        self._reader: sqlite3.Connection | None = None
        self.versions: dict[tuple[bytes, int], bytes] = {}
        self.rewritten: dict[tuple[bytes, int], list[bytes]] = {}  #: what some of them were before, unnoticeably
        for number in range(recordings):
            self.put(f"/in/{number:03}.wav".encode(), self._content())

    def _content(self) -> bytes:
        """Return the sound of a recording: some have one size, some are copies, some are no audio at all."""
        chance = self.dice.stream("recordings")
        # Few are longer than a chunk, because hashing them is what a night would spend its time on. None is empty: such
        # a file is skipped where files are examined, and this disk examines none.
        size = chance.choice(
            (1_000, 1_000, *(chance.randrange(500, 5_000) for _ in range(8)), chance.randrange(600_000) or 1)
        )
        scarce = (self.night.story.limits.bytes or math.inf) <= SCARCE_BYTES
        content, kind = chance.randbytes(size * 40 if scarce and size <= 5_000 else size), chance.random()
        copied = chance.choice(list(self.versions.values())) if self.versions else content
        if "twins" in self.night.story.kinds and self.versions and self.dice.stream("twins").random() < 0.4:
            return self.dice.stream("twins").choice(list(self.versions.values())[-6:])
        mark = chance.choice(MARKS) if "failures" in self.night.story.kinds else b""
        if "hindsight" in self.night.story.kinds:
            mark = ONCE
        if kind < 0.1:
            return copied
        return b"bad" + content if kind < 0.15 else mark + content if kind < 0.3 else content

    def put(self, path: bytes, content: bytes | None = None) -> None:
        """Write a recording, one drawn now unless it is given."""
        content = self._content() if content is None else content
        mtime_ns = len(self.versions) + 1
        self.versions[path, mtime_ns] = content
        self.world.files[path] = File(content, mtime_ns)
        self.night.moods.learn(content)

    def touch(self, path: bytes) -> None:
        """Give a recording another time."""
        file = self.world.files[path]
        self.put(path, file.content)
        self.world.files[path].denied = file.denied

    def rewrite(self, path: bytes, content: bytes) -> None:
        """Put other sound into a recording so that neither its size nor its time tells."""
        file = self.world.files[path]
        assert len(content) == len(file.content)
        self.rewritten.setdefault((path, file.mtime_ns), []).append(file.content)
        self.versions[path, file.mtime_ns] = content
        self.world.files[path] = File(content, file.mtime_ns, file.denied)

    def content(self, path: bytes, mtime_ns: int, digest: bytes | None) -> bytes | None:
        """Return what a version of a recording was: with this digest, when it was rewritten meanwhile."""
        earlier = (each for each in self.rewritten.get((path, mtime_ns), ()) if digest_of(each) == digest)
        return next(earlier, self.versions.get((path, mtime_ns)))

    def plan(self) -> Plan:
        """Return what the next run is to do."""
        story = self.night.story
        shard = (
            Shard(2 if self is self.night.batches[-1] else 1, 2) if story.second and "shards" in story.kinds else None
        )
        return Plan(
            options=Options(),
            limits=self.announced,
            settle=Settle(story.settle_s * 1000),
            upload_concurrency=self.uploads,
            longest_first="longest" in story.kinds,
            shard=shard,
        )

    async def live(self) -> None:
        """Run batcher, killed, stopped and started again, until it ends by itself."""
        for number in range(MOST_LIVES):
            if number:
                await anyio.sleep(self._pause())
            end = self._draw_end()
            if await self.one_life(end if number < self.night.story.ends else None) == "ended":
                self.ended = True
                return
        self.night.violated(f"{self.name} does not come to an end")

    def _draw_end(self) -> End:
        kinds = self.night.story.kinds
        end = draw_end(self.dice.stream("ends"), len(self.versions), stops="stops" in kinds)
        apart = self.dice.stream("stranded")
        if "stranded" in kinds and apart.random() < 0.5:
            end = End("stranded", apart.randrange(10, 3_000))
        doubt = self.dice.stream("doubts")
        return End("doubt", doubt.randrange(1, 3)) if "doubt" in kinds and doubt.random() < 0.7 else end

    async def one_life(self, end: End | None = None) -> str:
        """Run batcher once, and return how that ended. `end` says how it is to end before its time."""
        self.life = Life(self, None if self.night.weather.calm else end)
        self.lists.clear()
        self.refusals.clear()
        self.asking = False
        self.began, self.began_ms = anyio.current_time(), self.night.world.now()
        self.night.note(f"{self.name} starts, its clock {self.skew_ms / 1000:+.0f} s")
        self.close()
        how = await self.life.run()
        self.in_doubt = how == "killed" and self.life.in_doubt
        self.night.note(f"{self.name} {how}")
        self.life = None
        return how

    def _pause(self) -> float:
        """Return how long nobody runs it. Meanwhile its machine's clock may be set."""
        chance = self.dice.stream("pauses")
        pause, jump = chance.choice((0.0, 5.0, 5.0, 100.0, 600.0, 4_000.0)), chance.random()
        if "clock" in self.night.story.kinds and jump < 0.8:
            self.skew_ms = int(chance.choice((-1, 1)) * jump**4 * 5 * HOUR_MS)
        if self.in_doubt:
            doubt = self.dice.stream("doubts")
            self.skew_ms += int(doubt.choice((-1, 1, 1, 1)) * doubt.uniform(0.5, 2) * self.night.story.settle_s * 1000)
            return doubt.uniform(0, 5)
        return pause

    def resume(self, conn: sqlite3.Connection) -> None:
        """Learn what the table says: moves of the life before may have been committed and not announced."""
        rows = conn.execute("SELECT id, state, attempt FROM job").fetchall()
        self.states = {job: State(state) for job, state, _ in rows}
        self.attempts = {job: attempt for job, _, attempt in rows}
        for attempt in self.attempts.items():
            self.claims.setdefault(attempt, self.night.world.now())
        self.counts = Counter(self.states.values())
        self.claimed_at = anyio.current_time()

    def moved(self, move: Move) -> None:
        """Take note of a committed move of a job."""
        self.counts[self.states.get(move.job, State.NEW)] -= move.job in self.states
        self.counts[move.target] += 1
        self.states[move.job], self.attempts[move.job] = move.target, move.attempt
        self.accepted += move.event is Event.ACCEPTED
        if move.event in _LET_GO:
            self.let_go.append((self.night.world.now(), move.job, move.attempt))
        if (move.event, move.detail) == (Event.RETRY, ON_REQUEST):
            self._tried_again(move.job)

    def rows(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        """Ask the table."""
        if self._reader is None:
            self._reader = sqlite3.connect(self.path)
        return self._reader.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Let go of the table, so that a process that starts finds it open to nobody."""
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def is_its_own(self, reference: Reference) -> bool:
        """Tell whether a job takes the object of this reference for its own: it may have adopted an earlier one's."""
        return self.rows("SELECT reference FROM job WHERE id = ?", reference.job) == [(str(reference),)]

    def wishes(self, job: int) -> list[int]:
        """Return which rows of the history are a person's wish to have this very job tried again."""
        rows = self.rows("SELECT id FROM history WHERE job = ? AND event = 'retry' AND detail = ?", job, ON_REQUEST)
        return [int(str(number)) for (number,) in rows]

    def _tried_again(self, job: int) -> None:
        """Take note that a person's `retry` was heeded: that the job was given up before counts no more."""
        if not any(each.verb == "cancel" and job in each.jobs for each in self.world.requests.values()):
            self.cancelled.discard(job)

    def let_go_of(self, job: int, attempt: int, claimed: int) -> float:
        """Return when a job gave up what an attempt may have made; now and then a kill kept that from being heard."""
        moments = [at for at, each, number in self.let_go if each == job and number >= attempt]
        ((first,),) = self.rows("SELECT first_attempt FROM job WHERE id = ?", job)
        unheard = attempt < int(str(first)) or self.states.get(job) is State.CANCELLED
        return min(moments, default=-math.inf if unheard else claimed)

    def names(self, content: bytes) -> set[bytes]:
        """Return every name that a recording of this sound has, or has had."""
        return {path for path, each in self._contents() if each == content}

    def _contents(self) -> Iterator[tuple[bytes, bytes]]:
        for (path, _), content in self.versions.items():
            yield path, content
        for (path, _), contents in self.rewritten.items():
            yield from ((path, content) for content in contents)

    def ended_badly(self) -> list[bytes]:
        """Return the recordings there are that the service failed, or that somebody gave up."""
        if not self.id:
            return []
        rows = self.rows(
            "SELECT path FROM job WHERE state IN ('failed', 'cancelled') AND digest IS NOT NULL ORDER BY id"
        )
        return [path for (path,) in rows if isinstance(path, bytes) and path in self.world.files]

    def has_transcript(self, digest: bytes) -> bool:
        """Tell whether the transcript of this audio is safe."""
        return bool(self.rows("SELECT 1 FROM transcript WHERE digest = ?", digest))


def digest_of(content: bytes) -> bytes:
    """Return the SHA-256 by which a recording is known."""
    return hashlib.sha256(content).digest()
