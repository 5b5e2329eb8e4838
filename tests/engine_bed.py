"""The real engine and table on a simulated disk and service, in virtual time, with handles on everything."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import anyio

from batcher import killpoints
from batcher.clock import Dice
from batcher.disk import Recording
from batcher.emulator.account import Account
from batcher.emulator.core import Core
from batcher.emulator.faults import Fault
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Audio, Config, Failure, Recognizer, Report
from batcher.emulator.recognizers import Echo, echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.errors import BatcherError
from batcher.model import Job
from batcher.options import Options
from batcher.requests import Request
from batcher.service import Service
from batcher.service.simulated import Pace, open_simulated
from batcher.stages.context import Plan
from batcher.store.admission import Candidate, Examined
from batcher.store.db import Database, open_inline
from batcher.store.table import Table
from tests.simulation.rest import open_simulated_rest
from tests.simulation.virtual import run_virtually
from tests.simulation.world import File, Killed, SimulatedDisk, World

KEY = "bed"
Companion = Callable[[Engine], Coroutine[object, object, None]]
#: A recording takes seconds to transcribe, so that things can happen meanwhile.
KNOBS = Knobs(queue_ms=1_000, min_work_ms=5_000, max_work_ms=5_000, speed=1.0)


class Stubborn:
    """Fails some contents, each as often as it says, with these words; everything else is echoed."""

    def __init__(self, words: str, times: int, *contents: bytes, error_type: str = "invalid_audio_file") -> None:
        self._failure = Failure(words, error_type)
        self._left = {hashlib.sha256(content).digest(): times for content in contents}
        self._echo = Echo()

    def wants_audio(self, config: Config) -> bool:
        """Digests are enough."""
        return False

    def recognise(self, audio: Audio, config: Config, report: Report) -> None:
        """Report at once."""
        if self._left.get(audio.digest, 0) > 0:
            self._left[audio.digest] -= 1
            report(self._failure)
        else:
            self._echo.recognise(audio, config, report)


class Disk(SimulatedDisk):
    """A simulated disk whose every answer a test may change."""

    def __init__(self, world: World) -> None:
        super().__init__(world, lambda: None)
        self.free: Callable[[], int] = lambda: 10**12
        self.wishes: dict[str, Request] = {}
        self.stuck: set[str] = set()  #: requests that cannot be removed
        self.asked_for = 0
        self.scan_seconds = 0.0  #: how long a scan takes before it finds anything
        #: Called with the name of a verb and the job's path before it is done; may raise.
        self.before: Callable[[str, bytes], None] = lambda _verb, _path: None

    async def scan(self, prefixes: dict[bytes, str]) -> AsyncIterator[list[Candidate]]:
        """Take some time, then find everything."""
        await anyio.sleep(self.scan_seconds)
        async for candidates in super().scan(prefixes):
            yield candidates

    async def examine(self, jobs: Sequence[Job]) -> list[Examined]:
        """Examine."""
        for job in jobs:
            self.before("examine", job.path)
        return await super().examine(jobs)

    @asynccontextmanager
    async def recording(self, job: Job) -> AsyncIterator[Recording]:
        """Open, and tell of the end of the reading."""
        self.before("open", job.path)
        async with super().recording(job) as recording:
            yield recording
        self.before("close", job.path)

    async def write(self, outputs: Sequence[tuple[str, bytes]], *, replace: bool) -> None:
        """Write."""
        self.before("write", b"/in/" + outputs[0][0].rpartition(".")[0].encode())
        await super().write(outputs, replace=replace)

    def leave(self, *requests: Request) -> None:
        """Leave requests as `batcher retry` and `batcher cancel` do."""
        for request in requests:
            self.asked_for += 1  # no name comes twice
            self.wishes[f"{self.asked_for:06}"] = request

    async def requests(self) -> dict[str, Request]:
        """Return what a test left."""
        return dict(self.wishes)

    async def asked(self) -> bool:
        """Tell whether it left anything that this run can still carry out."""
        return bool(self.wishes) and not self.stuck

    async def drop_request(self, name: str) -> bool:
        """Forget it, unless it cannot be removed."""
        return name not in self.stuck and bool(self.wishes.pop(name))

    async def free_bytes(self) -> int:
        """Return what a test says."""
        return self.free()


class Bed:
    """A batch that can be run again and again, and its surroundings."""

    def __init__(
        self,
        folder: Path,
        *sizes: int,
        knobs: Knobs = KNOBS,
        recognizer: Recognizer | None = None,
        pace: Pace | None = None,
        api: str = "grpc",
    ) -> None:
        self.api = api
        self.key = KEY
        self.requests_per_minute = 0  #: the client's own budget (REST)
        self.path = folder / "jobs.sqlite3"
        self._reader: sqlite3.Connection | None = None  #: of a run under way
        self.world = World()
        self.dice = Dice(1)
        self.core = Core(self.world, recognizer or Echo(), knobs, dice=self.dice)
        self.pace = pace or Pace()
        self.disk = Disk(self.world)
        self.plan = Plan(options=Options())
        self.calls: list[tuple[float, Call]] = []
        #: What stands between the engine and its table's connection.
        self.database: Callable[[Database], Database] = lambda database: database
        #: Says what goes wrong with a call.
        self.trouble: Callable[[Call], Fault | None] = lambda _call: None
        for number, size in enumerate(sizes):
            self.add(f"{number:03}.wav", size)

    @property
    def account(self) -> Account:
        """Return the account at the legacy service."""
        return self.core.account(KEY)

    @property
    def rest(self) -> RestAccount:
        """Return the account at the REST service."""
        return self.core.rest(KEY)

    def add(self, name: str, size: int = 1_000, *, content: bytes | None = None) -> bytes:
        """Put a recording on the disk and return its content."""
        content = Random(name).randbytes(size) if content is None else content
        self.world.files[b"/in/" + name.encode()] = File(content)
        return content

    def change(self, name: str, content: bytes) -> None:
        """Write other content to a recording."""
        file = self.world.files[b"/in/" + name.encode()]
        file.content, file.mtime_ns = content, file.mtime_ns + 1

    def open_service(self) -> AbstractAsyncContextManager[Service]:
        """Connect to the account of `key` through `api`."""
        if self.api == "rest":
            rate = self.requests_per_minute
            return open_simulated_rest(
                self.core, self.key, dice=self.dice, plan=self, pace=self.pace, requests_per_minute=rate
            )
        return open_simulated(self.core, self.key, dice=self.dice, plan=self, pace=self.pace)

    def decide(self, verb: Call) -> Fault | None:
        """Note a call, and say what goes wrong with it."""
        self.calls.append((anyio.current_time(), verb))
        return self.trouble(verb)

    def run(self, *companions: Companion, kill: str = "", **plan: object) -> BatcherError | None:
        """Run batcher until it ends by itself, with companions beside it; return what stopped it.

        With `kill` it dies at the first kill point of this name, and nothing of it has any effect any more.
        """
        dead = False

        def reach(name: str) -> None:
            nonlocal dead
            dead = dead or name == kill
            if dead:
                raise Killed

        conn, database = open_inline(self.path)
        database = self.database(database)
        self._reader = sqlite3.connect(self.path)
        with closing(conn), closing(self._reader):
            main = _Life(self, Table(database, self.world), companions, replace(self.plan, **plan))  # type: ignore[arg-type]
            killpoints.hook = reach
            try:
                return run_virtually(main, self.world.moment)[0]
            except BaseException:
                if not dead:
                    raise
                return None
            finally:
                killpoints.hook = killpoints._nothing
                self._reader = None

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Open the table to change it behind the engine's back."""
        with closing(sqlite3.connect(self.path)) as conn, conn:
            yield conn

    def rows(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        """Ask the table, also while the engine runs: over one connection then, because companions ask all the time."""
        if self._reader is not None:
            return self._reader.execute(sql, parameters).fetchall()
        with closing(sqlite3.connect(self.path)) as conn:
            return conn.execute(sql, parameters).fetchall()

    def states(self) -> Counter[object]:
        """Count the jobs by state."""
        return Counter(dict(self.rows("SELECT state, count(*) FROM job GROUP BY state")))  # type: ignore[arg-type]

    def state(self, name: str) -> object:
        """Return the state of one job."""
        return self.rows("SELECT state FROM job WHERE path = ?", b"/in/" + name.encode())[0][0]

    def events(self, name: str) -> list[object]:
        """Return what happened to one job."""
        sql = "SELECT event FROM history JOIN job ON job.id = history.job WHERE path = ? ORDER BY history.id"
        return [event for (event,) in self.rows(sql, b"/in/" + name.encode())]

    def wrong(self) -> list[str]:
        """Return the recordings whose transcript is not that of their audio, and what is left at the service."""
        left = [*self.rest.files, *self.rest.jobs] if self.api == "rest" else self.account.files
        wrong = [f"left: {item.reference}" for item in left if not item.foreign]
        for path, file in self.world.files.items():
            name = path.decode().removeprefix("/in/")
            text = echo_text(hashlib.sha256(file.content).digest())
            if text not in self.world.outputs.get(f"{name}.txt", b"").decode():
                wrong.append(name)
        return wrong

    def submissions(self, after: float = 0.0) -> int:
        """Return how many uploads were begun since."""
        return sum(verb is Call.SUBMIT and moment >= after for moment, verb in self.calls)


class _Life:
    """One process."""

    def __init__(self, bed: Bed, table: Table, companions: Sequence[Companion], plan: Plan) -> None:
        self._bed, self._table, self._companions, self._plan = bed, table, companions, plan

    async def __call__(self) -> BatcherError | None:
        bed = self._bed
        bed.world.read = anyio.current_time
        try:
            async with bed.open_service() as service:
                engine = Engine(
                    clock=bed.world,
                    dice=bed.dice,
                    table=self._table,
                    service=service,
                    disk=bed.disk,
                    plan=self._plan,
                    listener=lambda _move: None,
                )
                with anyio.fail_after(3 * 86_400):
                    return await self._conduct(engine)
        finally:
            bed.world.moment = moment = anyio.current_time()
            bed.world.read = lambda: moment

    async def _conduct(self, engine: Engine) -> BatcherError | None:
        async with anyio.create_task_group() as group:
            for companion in self._companions:
                group.start_soon(companion, engine)
            reason = await engine.run()
            group.cancel_scope.cancel()
        return reason
