"""`batcher doctor`: is everything there that a run needs, and what would it do next?"""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import typer

from batcher.cli import checks, closing, screen, words
from batcher.cli import options as opt
from batcher.cli.belonging import check_table
from batcher.cli.checks import Check
from batcher.cli.connect import address, check_connection, connect
from batcher.cli.key import Key, find_key
from batcher.cli.memory import remembered_flags, run_again
from batcher.cli.place import Place, config_file, place_of, seek
from batcher.cli.settings import CONNECTION, given, read_settings, takes
from batcher.cli.shards import check_shards
from batcher.clock import wall_clock
from batcher.config import Settings
from batcher.errors import BatcherError, ServiceError, UsageError
from batcher.lock import is_held
from batcher.model import Survey
from batcher.reference import parse
from batcher.states import State
from batcher.store.reader import Counts, Reader, open_reader
from batcher.store.shard import another_part
from batcher.text import show_text

MaybeOut = Annotated[
    Path | None, typer.Argument(metavar="[OUT]", help="The batch's output directory.", show_default=False)
]


@takes(*CONNECTION)
def command(out: MaybeOut = None, *, config: opt.Config = None, **flags: object) -> None:
    """Check everything that a run needs.

    The key, the service, this machine and the batch, and what a run would do next. Sends nothing.
    """
    place = seek(out, flags.get("db"), config, flags.get("shard")) if out is not None else place_of(Path.cwd(), None)
    worst = 0
    for check in _all(place, config, given(flags), batch=out is not None):
        screen.say([f"{check.level:<5}{show_text(check.text)}"])
        if check.fix:
            screen.say([f"     -> {show_text(check.fix)}"])
        worst = max(worst, check.code)
    raise typer.Exit(worst)


def _all(place: Place, config: Path | None, flags: dict[str, object], *, batch: bool) -> Iterator[Check]:
    file = config_file(config)
    try:
        settings = read_settings(file, (remembered_flags(place) if batch else {}) | flags)
        settings.plan()
        check_connection(settings)
    except UsageError as error:
        yield Check("bad", f"configuration: {error}", error.hint, error.exit_code)
        return
    yield Check("ok", f"configuration: {words.name(os.fsencode(file)) if file else 'no file, defaults'}")
    seen = yield from _service(place, settings, batch=batch)
    yield checks.check_access(place)
    yield checks.check_space(place, settings.min_free_space)
    yield checks.check_sqlite()
    yield checks.check_open_files(settings.upload_concurrency)
    yield checks.check_extras()
    if batch:
        yield from _batch(place, settings.api, seen)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed, and at whose account."""

    survey: Survey
    account: str
    took: float  #: seconds


def _service(place: Place, settings: Settings, *, batch: bool) -> Generator[Check, None, Seen | None]:
    """Check the key, and with it the service; return what was seen there."""
    try:
        key = find_key(settings.key_file)
    except UsageError as error:
        yield Check("bad", f"API key: {error}", error.hint, error.exit_code)
        return None
    yield checks.check_key(key)
    if key is None:
        return None
    host = address(settings)
    try:
        seen = anyio.run(_survey, settings, key)
    except BatcherError as error:
        fix = error.hint or "check the network, --host and --api"
        yield Check("bad", f"service: {host}: {error}", fix, 5 if isinstance(error, ServiceError) else error.exit_code)
        return None
    safety = "TLS" if host.startswith("https:") else "no TLS"
    yield Check("ok", f"service: {host} answers in {seen.took * 1000:.0f} ms ({safety}, connecting included)")
    yield from checks.check_limits(seen.survey, settings.limits(), _batch_id(place) if batch else None)
    yield checks.check_clock(seen.survey, wall_clock())
    return seen


async def _survey(settings: Settings, key: Key) -> Seen:
    began = anyio.current_time()
    async with connect(settings, key) as service:
        survey = await service.survey()
        return Seen(survey, service.account, anyio.current_time() - began)


def _batch_id(place: Place) -> str | None:
    if not place.db.is_file():
        return None
    with open_reader(place.db) as reader:
        batch = reader.batch()
    return batch[0] if batch else None


def _batch(place: Place, api: str, seen: Seen | None) -> Iterator[Check]:
    """Tell how the batch stands and what a run would do next."""
    try:
        check_shards(place)
        check_table(place)
        if not place.db.is_file():
            yield Check("ok", "batch: none here yet; a run would scan its inputs and send what it finds")
            return
        with open_reader(place.db) as reader:
            reader.check_whole()
            _check_part(reader, place)
            counts, extras, elsewhere = reader.counts(), reader.extras(), _elsewhere(reader, api, seen)
            wishes = [*closing.request_lines(reader.waiting(place.left()))]
            wishes += closing.to_give_up_lines(len(reader.to_give_up()))
    except UsageError as error:
        yield Check("bad", f"batch: {error}", error.hint, error.exit_code)
        return
    yield from [elsewhere] if elsewhere else _outlook(place, counts, extras, wishes)


def _check_part(reader: Reader, place: Place) -> None:
    """Raise UsageError when the table holds another part of the input."""
    before, shard = reader.shard(), str(place.shard or "")
    if before != shard and reader.counts().total.jobs:
        raise another_part(before, shard)


def _elsewhere(reader: Reader, api: str, seen: Seen | None) -> Check | None:
    """Tell whether a run would be refused because the batch has something where this API or account cannot see it."""
    (sent_through, there), known = reader.at_service(), reader.account()
    if there and sent_through != api:
        text = f"batch: {there:,} of it may be at the service through its {sent_through} API, this is the {api} API"
        fix = f"use --api {sent_through} until a run ends by itself; if it is gone for good, run with --other-account"
        return Check("bad", text, fix, 2)
    if not there or seen is None or known in ("", seen.account) or not seen.survey.complete:
        return None
    batch, references = reader.batch(), (parse(each.reference) for each in seen.survey.objects)
    if any(batch and each is not None and each.batch == batch[0] for each in references):
        return None
    text = f"batch: {there:,} of it may be at another account or host, this one shows nothing of it"
    fix = "use the key and the host of the run before; if they are gone for good, run with --other-account"
    return Check("bad", text, fix, 5)


def _outlook(place: Place, counts: Counts, extras: int, wishes: list[str]) -> Iterator[Check]:
    if is_held(place.lock):
        yield Check("ok", f"batch: a run is active, {words.count(counts.unfinished.jobs, 'recording')} to go")
        return
    todo = ", ".join(_todo(counts, extras)) or "look for new recordings"
    yield Check("ok", f"batch: {words.count(counts.total.jobs, 'recording')}; a run would {todo}")
    yield from (Check("ok", f"batch: {line}") for line in wishes)
    failed = counts.of([State.FAILED]).jobs
    if failed:
        hint = f"batcher status {place.typed} says why; batcher retry tries them again"
        yield Check("warn", f"batch: {words.count(failed, 'recording')} failed", hint)
    if counts.unfinished.jobs:
        yield Check("ok", f"next: {run_again(place)}")


_NEXT: tuple[tuple[Callable[[int], str], tuple[State, ...]], ...] = (
    (lambda n: f"send {n:,}", (State.NEW, State.WAITING, State.UPLOADING)),
    (lambda n: f"find out what became of {n:,} at the service", (State.SEALED, State.UNCERTAIN)),
    (lambda n: f"wait for {n:,}", (State.SUBMITTED,)),
    (lambda n: f"fetch {n:,}", (State.COMPLETED,)),
    (lambda n: f"write {n:,}", (State.STORED, State.RENDERING)),
    (lambda n: f"let {n:,} share the transcript of the same audio", (State.TWIN,)),
    (lambda n: f"delete {n:,} at the service", (State.FAILING, State.CANCELLING)),
)


def _todo(counts: Counts, extras: int) -> Iterator[str]:
    for spell, states in _NEXT:
        jobs = counts.of(states).jobs
        if jobs:
            yield spell(jobs)
    if extras:
        yield f"delete {words.count(extras, 'leftover')} at the service"
