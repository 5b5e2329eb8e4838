"""`batcher doctor`: is everything there that a run needs, and what would it do next?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import anyio
import typer

from batcher.cli import checks, screen, words
from batcher.cli import options as opt
from batcher.cli.checks import Check
from batcher.cli.connect import address, check_connection, connect
from batcher.cli.key import Key, find_key
from batcher.cli.memory import remembered_flags, run_again
from batcher.cli.place import Place, config_file, place_of, seek
from batcher.cli.settings import CONNECTION, given, read_settings, takes
from batcher.clock import wall_clock
from batcher.config import Settings
from batcher.errors import BatcherError, ServiceError, UsageError
from batcher.lock import is_held
from batcher.model import Survey
from batcher.states import State
from batcher.store.reader import Counts, open_reader
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
    yield from _service(place, settings, batch=batch)
    yield checks.check_access(place)
    yield checks.check_space(place, settings.min_free_space)
    yield checks.check_sqlite()
    yield checks.check_open_files(settings.upload_concurrency)
    yield checks.check_extras()
    if batch:
        yield from _batch(place, settings.api)


def _service(place: Place, settings: Settings, *, batch: bool) -> Iterator[Check]:
    """Check the key, and with it the service."""
    try:
        key = find_key(settings.key_file)
    except UsageError as error:
        yield Check("bad", f"API key: {error}", error.hint, error.exit_code)
        return
    yield checks.check_key(key)
    if key is None:
        return
    host = address(settings)
    try:
        survey, took = anyio.run(_survey, settings, key)
    except BatcherError as error:
        fix = error.hint or "check the network, --host and the key"
        yield Check("bad", f"service: {host}: {error}", fix, 5 if isinstance(error, ServiceError) else error.exit_code)
        return
    safety = "TLS" if host.startswith("https:") else "no TLS"
    yield Check("ok", f"service: {host} answers in {took * 1000:.0f} ms ({safety}, connecting included)")
    yield from checks.check_limits(survey, settings.limits(), _batch_id(place) if batch else None)
    yield checks.check_clock(survey, wall_clock())


async def _survey(settings: Settings, key: Key) -> tuple[Survey, float]:
    began = anyio.current_time()
    async with connect(settings, key) as service:
        survey = await service.survey()
        return survey, anyio.current_time() - began


def _batch_id(place: Place) -> str | None:
    if not place.db.is_file():
        return None
    with open_reader(place.db) as reader:
        batch = reader.batch()
    return batch[0] if batch else None


def _batch(place: Place, api: str) -> Iterator[Check]:
    """Tell how the batch stands and what a run would do next."""
    if not place.db.is_file():
        yield Check("ok", "batch: none here yet; a run would scan its inputs and send what it finds")
        return
    try:
        with open_reader(place.db) as reader:
            reader.check_whole()
            counts, extras, (sent_through, there) = reader.counts(), reader.extras(), reader.at_service()
    except UsageError as error:
        yield Check("bad", f"batch: {error}", error.hint, error.exit_code)
        return
    if there and sent_through != api:
        text = f"batch: {there:,} of it may be at the service through its {sent_through} API, this is the {api} API"
        yield Check("bad", text, _gone_api(sent_through), 2)
        return
    if is_held(place.lock):
        yield Check("ok", f"batch: a run is active, {words.count(counts.unfinished.jobs, 'recording')} to go")
        return
    todo = ", ".join(_todo(counts, extras)) or "look for new recordings"
    yield Check("ok", f"batch: {words.count(counts.total.jobs, 'recording')}; a run would {todo}")
    failed = counts.of([State.FAILED]).jobs
    if failed:
        hint = f"batcher status {place.typed} says why; batcher retry tries them again"
        yield Check("warn", f"batch: {words.count(failed, 'recording')} failed", hint)
    if counts.unfinished.jobs:
        yield Check("ok", f"next: {run_again(place)}")


def _gone_api(before: str) -> str:
    return f"use --api {before} until a run ends by itself; if it is gone for good: batcher run with --other-account"


_NEXT: tuple[tuple[Callable[[int], str], tuple[State, ...]], ...] = (
    (lambda n: f"send {n:,}", (State.NEW, State.WAITING, State.UPLOADING)),
    (lambda n: f"look for {n:,} at the service before sending again", (State.SEALED, State.UNCERTAIN)),
    (lambda n: f"wait for {n:,}", (State.SUBMITTED,)),
    (lambda n: f"fetch {n:,}", (State.COMPLETED,)),
    (lambda n: f"write {n:,}", (State.STORED, State.RENDERING, State.TWIN)),
    (lambda n: f"delete {n:,} at the service", (State.FAILING, State.CANCELLING)),
)


def _todo(counts: Counts, extras: int) -> Iterator[str]:
    for spell, states in _NEXT:
        jobs = counts.of(states).jobs
        if jobs:
            yield spell(jobs)
    if extras:
        yield f"delete {words.count(extras, 'leftover')} at the service"
