"""One batch that is killed and started again until it ends by itself, and the service that saw all of it."""

import json
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

import av
from anyio.from_thread import start_blocking_portal

from batcher.emulator.account import Account
from batcher.emulator.knobs import Container, Knobs, Load, RestKnobs
from batcher.emulator.objects import File, Work
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_objects import RestFile, RestJob
from batcher.emulator.server import EmulatorSettings, serve
from batcher.reference import Reference
from batcher.states import State
from tests.crash.starter import Ending, Start, Starter
from tests.emulated import KEY, Emulated

#: Lost answers, cuts, delays: short enough for a run of a second, and all of them together shorter than `--settle`.
FAULTS = (
    "lost=0.03,late=0.03,cut=0.03,delayed=0.06,unavailable=0.01,internal=0.01,deadline=0.005,failing=0.03,"
    "stale=0.06,backwards=0.04,burst-ms=300,delay-ms=200,stale-ms=300,late-ms=400"
)
SETTLE = {"none": 0.6, FAULTS: 1.2}  #: seconds
LAST_SECONDS = 300.0  #: a run that nobody kills ends within that, also when eight lists in a row happen to fail
PENDING, STORED = 4, 6
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a batch is made of, and how the service behaves."""

    api: str
    seed: int = 0
    plain: int = 2  #: recordings of their own
    copies: int = 1  #: of the first one, under other names
    empty: int = 1  #: nothing in them: skipped
    foreign_sound: int = 0  #: M4A that the service cannot decode: sent once more as FLAC (REST)
    internal_errors: int = 0  #: transcriptions that the service fails: sent once more (REST)
    hidden: int = 0  #: pending transcriptions of other projects, which no list shows but every limit counts (REST)
    work_ms: int = 60  #: a transcription takes at most so long, and at least a sixth of it
    elsewhere: bool = False  #: the table is not in OUT
    request: bool = False  #: somebody has left a request for the run
    faults: str = "none"


@dataclass(slots=True)
class Witness:
    """What happened at the service, whoever remembers it: every transcription accepted, every one deleted."""

    accepted: list[Work] = field(default_factory=list)
    deleted: list[Work] = field(default_factory=list)

    def see(self, _account: object, change: str, item: File | RestFile | RestJob) -> None:
        """Take note of a change; audio without a transcription costs nothing and says nothing."""
        if isinstance(item, RestFile) or item.foreign:
            return
        if change == "accepted":
            self.accepted.append(item)
        elif change in ("deleted", "vanished"):
            self.deleted.append(item)


@dataclass(slots=True)
class Trial:
    """A batch under way. `folder` takes the recordings and what the runs print; OUT is `out`."""

    recipe: Recipe
    folder: Path
    out: Path
    starter: Starter
    emulator: Emulated[Account] | Emulated[RestAccount]
    witness: Witness
    contents: dict[str, bytes] = field(default_factory=dict)  #: by name below the input directory
    endings: list[Ending] = field(default_factory=list)

    @property
    def table(self) -> Path:
        """Return the job table."""
        if self.recipe.elsewhere:
            return self.folder / "jobs.sqlite3"
        return self.out / ".batcher" / "jobs.sqlite3"

    @property
    def printed(self) -> Path:
        """Return the file with what the latest run printed."""
        return self.folder / f"run-{len(self.endings)}.txt"

    def fate(self, name: str) -> State:
        """Return the state in which the job of a recording must end."""
        return State.DONE if self.contents[name] else State.SKIPPED

    def run(self, *, seconds: float = LAST_SECONDS, point: str = "", cut: str = "", fresh: bool = False) -> Ending:
        """Run the command until it ends, its time is over, or it kills itself at `point` (``name:count``)."""
        kill = {"BATCHER_KILL": point} if point else {}
        output = str(self.folder / f"run-{len(self.endings) + 1}.txt")
        start = Start(self._arguments(), self.emulator.environment() | kill, output, seconds, cut, fresh)
        self.endings.append(self.starter.run(start))
        return self.endings[-1]

    def _arguments(self) -> list[str]:
        options: dict[str, object] = {
            "--settle": SETTLE[self.recipe.faults],
            "--max-pending": PENDING,
            "--max-stored": STORED,
            "--min-free-space": "1000000",
            "--progress": "json",
            "--db": self.table,
        }
        words = [str(word) for option in options.items() for word in option]
        return ["run", str(self.folder / "in"), "-o", str(self.out), *words]

    def leave_request(self) -> None:
        """Ask the run to try two jobs again, whether there are any or not."""
        requests = self.out / ".batcher" / "requests"
        requests.mkdir(mode=0o700, parents=True)
        for number in (1, 2):
            (requests / f"{number}.json").write_text(json.dumps({"verb": "retry", "jobs": [number]}))

    def leave_extra(self, batch: str) -> None:
        """Put an object of the batch with this id there that no job knows, as if its table had been restored."""
        reference = Reference(batch, job=1_000, attempt=1, fingerprint="0" * 12)
        self.emulator.portal.call(_add_inhabitant, self.emulator.account, str(reference), 1)


@contextmanager
def trial(recipe: Recipe, folder: Path, starter: Starter, out: Path | None = None) -> Iterator[Trial]:
    """Lay out a batch in `folder`, with a service of its own that lives for the length of the block."""
    with _service(recipe) as (emulator, witness):
        made = Trial(recipe, folder, out or folder / "out", starter, emulator, witness)
        made.contents = lay_out(recipe, folder / "in")
        if recipe.request:
            made.leave_request()
        yield made


@contextmanager
def _service(recipe: Recipe) -> Iterator[tuple[Emulated[Account] | Emulated[RestAccount], Witness]]:
    """Run an emulator with a stranger's object in the account, watched by a witness."""
    settings = EmulatorSettings(knobs=_knobs(recipe), faults=recipe.faults, seed=recipe.seed)
    witness = Witness()
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(settings)) as running:
        running.core.watch(witness.see)
        running.core.watch_rest(witness.see)
        rest, grpc = running.core.rest(KEY), running.core.account(KEY)
        emulator: Emulated[Account] | Emulated[RestAccount] = (
            Emulated(running.rest_url, "rest", rest, portal)
            if recipe.api == "rest"
            else Emulated(running.grpc_url, "grpc", grpc, portal)
        )
        portal.call(_add_inhabitant, emulator.account, "other client", None)
        yield emulator, witness


def _add_inhabitant(account: Account | RestAccount, reference: str, work_ms: int | None) -> None:
    """Put an object there that this batch did not make, and that has been there for long: it is in the oldest list.

    What others send between our look and our upload nobody can know of; a refusal because of it is no fault of ours.
    """
    account.add_foreign(reference=reference, work_ms=work_ms)
    item = (account.files if isinstance(account, Account) else account.jobs)[-1]
    item.created = item.visible = item.created - DAY_MS


def _knobs(recipe: Recipe) -> Knobs:
    undecodable = frozenset({Container.M4A, Container.MP4}) if recipe.foreign_sound else frozenset[Container]()
    errors = (("internal_error", recipe.internal_errors),) if recipe.internal_errors else ()
    hidden = Load(pending=recipe.hidden)
    rest = RestKnobs(requests_per_minute=0, undecodable=undecodable, job_errors=errors, siblings=hidden)
    least, most = recipe.work_ms // 6, recipe.work_ms
    return Knobs(pending=PENDING, stored=STORED, queue_ms=10, min_work_ms=least, max_work_ms=most, trace=0, rest=rest)


def lay_out(recipe: Recipe, folder: Path) -> dict[str, bytes]:
    """Write the recordings of a batch and return their contents by name."""
    chance = Random(recipe.seed)
    for number in range(recipe.plain):
        _write_wav(folder / f"{number % 3}" / f"plain-{number}.wav", chance.randbytes(1600 + 2 * (number // 2)))
    first = folder / "0" / "plain-0.wav"
    for number in range(recipe.copies):
        (folder / f"copy-{number}.wav").write_bytes(first.read_bytes())
    for number in range(recipe.empty):
        (folder / f"empty-{number}.wav").write_bytes(b"")
    for number in range(recipe.foreign_sound):
        _write_m4a(folder / f"sound-{number}.m4a", 1024 * (16 + number))
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def _write_wav(path: Path, frames: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(frames)


def _write_m4a(path: Path, samples: int) -> None:
    with av.open(str(path), "w", format="ipod") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(samples // 1024):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate = 16_000
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def digest_of(content: bytes) -> bytes:
    """Return what the service and the table know a content by."""
    return sha256(content).digest()
