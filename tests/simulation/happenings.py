"""What others do during a night: the service's operator, other clients, the machine's owner, the machine itself.

Each happening is a generator: it acts, and yields for how many seconds it then does nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import anyio

from batcher.emulator.knobs import Load
from batcher.emulator.objects import File
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_objects import RestJob
from batcher.model import Limits
from batcher.reference import parse
from batcher.requests import Request
from batcher.states import Event
from batcher.store.table import Move
from tests.simulation.batch import Batch
from tests.simulation.moods import MARKS

if TYPE_CHECKING:
    from tests.simulation.night import Night

FAILED_SHARE = 0.5  #: so many touches, and besides every other copy so many, are of what has failed
GAP_SECONDS = 120  #: for how long at most something is left out of lists, should none be answered

Happening = Callable[["Night", Random], Iterator[float]]


async def happen(night: "Night", kind: str) -> None:
    """Let one kind of thing happen until the turmoil is over."""
    chance = night.dice.stream(f"happening {kind}")
    for pause in HAPPENINGS[kind](night, chance):
        if night.world.read() + pause >= night.horizon:
            return
        await anyio.sleep(pause)


def settle_down(night: "Night") -> None:
    """End the turmoil: what was taken comes back, and others leave room."""
    night.weather.calm = True
    night.account.balance_exhausted = False
    night.set_limits(night.story.limits, announced=True)
    for batch in night.batches:
        batch.world.room = None
    if isinstance(night.account, RestAccount):
        night.account.siblings = Load()
    _leave(night, len(night.foreign))
    _rest(night, 0)


def _quota(night: "Night", chance: Random, *, announced: bool) -> Iterator[float]:
    while True:
        yield chance.uniform(5, 600)
        night.set_limits(
            _scaled(night.story.limits, chance.choice((0.3, 0.5, 0.8, 1.0, 1.0, 1.5))), announced=announced
        )
        night.happened["limits changed"] += 1


def _scaled(limits: Limits, factor: float) -> Limits:
    """Return limits that many times as high; any recording still fits the bytes."""
    return Limits(
        max(1, int(limits.pending * factor)),
        max(1, int(limits.stored * factor)),
        None if limits.files is None else max(1, int(limits.files * factor)),
        None if limits.bytes is None else max(1_500_000, int(limits.bytes * factor)),
    )


def _strangers(night: "Night", chance: Random) -> Iterator[float]:
    """Other clients of the key come and go; they never take what the service would refuse them."""
    greed = chance.choice((0.2, 0.5, 1.0))
    while True:
        yield chance.expovariate(1 / 60)
        if chance.random() < 0.6 and night.account.pending < greed * night.account.limits.pending:
            _come(night, chance)
        else:
            _leave(night, chance.randrange(1, 1 + max(1, len(night.foreign))))


def _come(night: "Night", chance: Random) -> None:
    account, most = night.account, max(1, night.account.limits.pending // 2)
    night.happened["strangers came"] += 1
    night.foreign += account.add_foreign(chance.randrange(1, most + 1), work_ms=chance.randrange(5_000, 900_000))
    size = chance.randrange(200_000)
    if isinstance(account, RestAccount) and _fits(account, size):
        night.foreign.append(account.add_foreign_file(size))


def _fits(account: RestAccount, size: int) -> bool:
    files, limits = account.files, account.limits
    room = limits.files is None or len(files) + account.siblings.files < limits.files
    held = sum(file.size for file in files) + account.siblings.bytes
    return room and (limits.bytes is None or held + size <= limits.bytes)


def _leave(night: "Night", count: int) -> None:
    gone, night.foreign = night.foreign[:count], night.foreign[count:]
    for name in gone:
        night.account.vanish(name)


def _restless(night: "Night", chance: Random) -> Iterator[float]:
    """Somebody fills the account but for one place, now and then but for two."""
    while True:
        for free in (1, 2):
            _rest(night, night.account.limits.pending - free)
            night.happened["restless client moved"] += 1
            yield chance.uniform(15, 27)


def _rest(night: "Night", most: int) -> None:
    """Let the restless client hold so much, or what the service still takes."""
    held = night.restless
    for name in held[most:]:
        night.account.vanish(name)
    night.restless = held[:most] + night.account.add_foreign(most - len(held[:most]))


def _siblings(night: "Night", chance: Random) -> Iterator[float]:
    """Other projects of the organisation: no list shows them, every limit counts them."""
    while True:
        yield chance.uniform(5, 600)
        part, limits = chance.choice((0.0, 0.1, 0.3, 0.5)), night.account.limits
        assert isinstance(night.account, RestAccount)
        night.account.siblings = Load(
            int(part * limits.pending), int(part * limits.stored), int(part * (limits.files or 0)), 0
        )
        night.happened["siblings changed"] += 1


def _retention(night: "Night", chance: Random) -> Iterator[float]:
    """Somebody's clean-up deletes whatever it finds."""
    while True:
        yield chance.uniform(20, 1_500)
        account = night.account
        items = [*account.files, *(account.jobs if isinstance(account, RestAccount) else ())]
        for item in chance.sample(items, min(len(items), chance.randrange(1, 4))):
            if not item.foreign:
                account.vanish(item.id)
                night.happened["object vanished"] += 1


def _full(night: "Night", chance: Random) -> Iterator[float]:
    """The disk is full from some write on, for a while; or one write fails."""
    while True:
        yield chance.uniform(5, 1_200)
        world = chance.choice(night.batches).world
        world.room = chance.randrange(40)
        night.happened["disk full"] += 1
        yield chance.choice((0.5, 20.0, 200.0, 1_500.0))
        world.room = None


def _files(night: "Night", chance: Random) -> Iterator[float]:
    """People work on their recordings meanwhile."""
    touches = night.dice.stream("touches")
    while True:
        yield chance.expovariate(1 / 60)
        batch = chance.choice(night.batches)
        path = chance.choice(sorted({path for path, _ in batch.versions}))
        act = chance.choice((_change, _change, _remove, _deny, _mend, _mend, _arrive))
        if act is not _arrive:
            batch.touched[path] = night.world.read()
        act(batch, path, chance)
        night.happened[f"file {act.__name__.strip('_')}"] += 1
        _touch(batch, touches)


def _touch(batch: Batch, chance: Random) -> None:
    """Give a recording a new time, and nothing else; most of the time one that the service has failed."""
    failed = batch.ended_badly()
    paths = failed if failed and chance.random() < FAILED_SHARE else sorted(batch.world.files)
    if paths:
        path = chance.choice(paths)
        batch.touched[path] = batch.night.world.read()
        batch.touch(path)
        batch.night.happened["file touch"] += 1


def _change(batch: Batch, path: bytes, chance: Random) -> None:
    """Write other sound, half of the time of the same length."""
    before = batch.world.files.get(path)
    same = before is not None and chance.random() < 0.5
    batch.put(path, chance.randbytes(len(before.content)) if same and before else None)


def _remove(batch: Batch, path: bytes, chance: Random) -> None:
    batch.world.files.pop(path, None)


def _deny(batch: Batch, path: bytes, chance: Random) -> None:
    if path in batch.world.files:
        batch.world.files[path].denied = True


def _mend(batch: Batch, path: bytes, chance: Random) -> None:
    if path in batch.world.files:
        batch.world.files[path].denied = False
    else:
        batch.put(path)


def _arrive(batch: Batch, path: bytes, chance: Random) -> None:
    new = f"/in/new-{len(batch.versions):03}.wav".encode()
    batch.touched[new] = batch.night.world.read()
    batch.put(new)


def _suspend(night: "Night", chance: Random) -> Iterator[float]:
    """The lid is closed: timers stand still, every clock goes on."""
    while True:
        yield chance.uniform(10, 2_000)
        night.world.slept += chance.choice((30.0, 900.0, 8 * 3600.0))
        night.happened["suspended"] += 1


def _requests(night: "Night", chance: Random) -> Iterator[float]:
    """Somebody gives recordings up, or wants them tried again."""
    serial = 0
    while True:
        yield chance.expovariate(1 / 40)
        batch = chance.choice(night.batches)
        jobs = chance.sample(range(1, len(batch.versions) + 1), min(len(batch.versions), chance.randrange(1, 4)))
        request = Request("cancel" if chance.random() < 0.6 else "retry", jobs)
        batch.cancelled.update(jobs if request.verb == "cancel" else ())
        batch.world.requests[f"{serial:05}"] = request
        batch.world.left.ring()
        serial += 1
        night.happened[request.verb] += 1


def _money(night: "Night", chance: Random) -> Iterator[float]:
    while True:
        yield chance.uniform(10, 2_000)
        night.account.balance_exhausted = True
        night.happened["money used up"] += 1
        yield chance.uniform(10, 300)
        night.account.balance_exhausted = False


def _twins(night: "Night", chance: Random) -> Iterator[float]:
    """Recordings are copied, moved and put in each other's place; some are changed without a trace."""
    failures = night.dice.stream("copied failures")
    while True:
        yield chance.expovariate(1 / 40)
        batch = chance.choice(night.batches)
        path = chance.choice(sorted(batch.world.files) or [b""])
        if path:
            act = chance.choice((_copy, _rotate, _rewrite, _rewrite))
            act(batch, path, chance)
            night.happened[f"file {act.__name__.strip('_')}"] += 1
        failed = batch.ended_badly()
        if failed and failures.random() < FAILED_SHARE:
            act = failures.choice((_copy, _rotate))
            act(batch, failures.choice(failed), failures)
            night.happened["failure copied"] += 1


def _copy(batch: Batch, path: bytes, _chance: Random) -> None:
    """Write a copy of a recording under a new name."""
    new = f"/in/copy-{len(batch.versions):03}.wav".encode()
    batch.touched[new] = batch.night.world.read()
    batch.put(new, batch.world.files[path].content)


def _rotate(batch: Batch, path: bytes, chance: Random) -> None:
    """Move a recording to a new name, and write another one under its old name."""
    _copy(batch, path, chance)
    batch.touched[path] = batch.night.world.read()
    batch.put(path)


def _rewrite(batch: Batch, path: bytes, chance: Random) -> None:
    """Change the sound of a recording that has a twin, if there is one, but neither its size nor its time."""
    contents = Counter(file.content for file in batch.world.files.values())
    paths = [each for each, file in sorted(batch.world.files.items()) if _may_be_rewritten(file.content, contents)]
    if paths:
        path = chance.choice(paths)
        batch.touched[path] = batch.night.world.read()
        batch.rewrite(path, chance.randbytes(len(batch.world.files[path].content)))


def _may_be_rewritten(content: bytes, contents: Counter[bytes]) -> bool:
    """Tell a recording with a twin that batcher and the service take for what it is."""
    return contents[content] > 1 and not content.startswith((b"bad", *MARKS))


def _gap(night: "Night", chance: Random) -> Iterator[float]:
    """A part of the service fails: what it holds is missing in a list, then all of it is away, and so once more.

    In one list each time, so that nobody may take it for gone. The service goes away when batcher has just seen it
    completed, and has not fetched it yet.
    """
    settle_s = night.story.settle_s
    while True:
        yield chance.uniform(20, 200)
        item = _settled(night, chance, settle_s)
        if item is None:
            continue
        yield from _hide(night, item)
        if item not in (night.account.jobs if isinstance(night.account, RestAccount) else night.account.files):
            continue  # it was given up meanwhile
        if item.ended is None:
            night.account.finish(item.id)
        night.ambush = partial(_strike_when_completed, reference=item.reference)
        yield settle_s
        night.ambush = _nothing
        outage = night.weather.outage()
        if outage is not None:
            night.happened["gap before an outage"] += 1
            yield max(0.0, outage[1] - night.world.read() - 1)
            yield from _hide(night, item)


def _settled(night: "Night", chance: Random, settle_s: float) -> File | RestJob | None:
    """Return something of ours that is at work, and there for so long that two lists without it prove it gone."""
    account, old = night.account, night.world.now() - settle_s * 1000
    items: list[File | RestJob] = [*(account.jobs if isinstance(account, RestAccount) else account.files)]
    at_work = [each for each in items if not each.foreign and each.ended is None and each.visible < old]
    return chance.choice(at_work) if at_work else None


def _hide(night: "Night", item: File | RestJob) -> Iterator[float]:
    """Leave something out of the next list that is answered."""
    night.oracle.hide(item)
    night.happened["gap in a list"] += 1
    for _ in range(GAP_SECONDS):
        if item.id not in night.oracle.hidden:
            break
        yield 1.0
    night.oracle.show_all()


def _strike_when_completed(batch: Batch, move: Move, reference: str) -> None:
    """Let the service go away as soon as a job is known to be completed."""
    known = parse(reference)
    assert known is not None
    if move.event is Event.COMPLETED and (batch.id, move.job) == (known.batch, known.job):
        batch.night.weather.strike(batch.night.story.settle_s + 60.0)


def _nothing(_batch: Batch, _move: Move) -> None:
    """Wait for nothing."""


def _told(night: "Night", chance: Random) -> Iterator[float]:
    return _quota(night, chance, announced=True)


def _untold(night: "Night", chance: Random) -> Iterator[float]:
    return _quota(night, chance, announced=False)


HAPPENINGS: dict[str, Happening] = {
    "quota": _told,
    "quota unannounced": _untold,
    "strangers": _strangers,
    "siblings": _siblings,
    "restless": _restless,
    "retention": _retention,
    "full": _full,
    "files": _files,
    "suspend": _suspend,
    "requests": _requests,
    "money": _money,
    "twins": _twins,
    "gap": _gap,
}

__all__ = ["HAPPENINGS", "happen", "settle_down"]
