"""One engine run from the command: it opens everything, heeds signals and the configuration file, and closes.

`conduct` is what `run`, `reconcile` and `cancel` share; they differ in the plan.
"""

import gc
import os
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import structlog

from batcher import killpoints
from batcher.bandwidth import parse_bandwidth
from batcher.cli.belonging import check_table, keep_to_table
from batcher.cli.connect import connect
from batcher.cli.display import Display
from batcher.cli.key import Key
from batcher.cli.meter import Meter
from batcher.cli.place import PRIVATE, Place
from batcher.cli.quotas import PLACES, amount
from batcher.cli.settings import read_settings
from batcher.cli.shards import settle_shards
from batcher.cli.signals import heed_signals
from batcher.clock import Dice, SystemClock
from batcher.config import Settings
from batcher.engine import Engine, Pulse
from batcher.errors import BatcherError, MachineRefuses, UsageError, innermost
from batcher.files import Inputs, WalkProblem, WalkRules, offload, private_directory, sweep_temporaries
from batcher.local_disk import LocalDisk
from batcher.model import LIMITED, Limits
from batcher.service import Service
from batcher.stages.context import Plan
from batcher.store import jobs
from batcher.store.claim import Batch
from batcher.store.db import Database, open_database
from batcher.store.table import Table
from batcher.text import show_path

NO_INPUTS = Inputs()
CONFIG_SECONDS = 2.0  #: how often the configuration file is looked at for changed limits
_STOPPING = "Stopping: nothing new is sent, answers are awaited for up to 30 s. Once more: leave now."

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done, decided before anything is opened."""

    place: Place
    settings: Settings
    plan: Plan
    key: Key
    inputs: Inputs = NO_INPUTS
    config: Path | None = None  #: looked at for changed limits while the run goes on
    flags: Mapping[str, object] = field(default_factory=dict)  #: what was given on the command line
    seconds: float | None = None  #: end after so long with what is left


@dataclass(slots=True)
class Outcome:
    """How it ended."""

    stop: BatcherError | None = None
    signal: int | None = None
    problems: list[WalkProblem] = field(default_factory=list)
    elsewhere: int = 0  #: recordings that were left to other shards
    pulse: Pulse | None = None  #: the last one

    def exit_code(self, failed: int) -> int:
        """Return the exit code, given how many jobs are failed, now or from before."""
        if self.stop is not None:
            return self.stop.exit_code
        if self.signal is not None:
            return 128 + (signal.SIGINT if self.signal == signal.SIGINT else signal.SIGTERM)
        return 3 if failed or any(problem.hides for problem in self.problems) else 0


def prepare(place: Place) -> None:
    """Make the batch's private directory, and check that its table can be made there and is the one of OUT. Blocks."""
    private_directory(place.out / PRIVATE)
    settle_shards(place)
    private_directory(place.state)
    folder = place.db.parent
    if not folder.is_dir():
        raise UsageError(f"the directory {show_path(os.fsencode(folder))} of --db does not exist")
    check_table(place)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MachineRefuses(f"nothing can be written in {show_path(os.fsencode(folder))}: permission denied")


def conduct(order: Order, display: Display, clock: SystemClock) -> Outcome:
    """Run the engine. The caller holds the lock and has the log open."""
    killpoints.install_from_environment()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the usual limit is meant for programs that watch theirs
    outcome = Outcome()
    gc.freeze()  # what was loaded stays to the end: no need to look through it again and again
    try:
        anyio.run(_conduct, order, display, clock, outcome)
    except BatcherError as error:
        outcome.stop = error
    except BaseExceptionGroup as group:
        cause = innermost(group)
        if not isinstance(cause, BatcherError):
            raise
        outcome.stop = cause
    finally:
        display.stop()
    return outcome


async def _conduct(order: Order, display: Display, clock: SystemClock, outcome: Outcome) -> None:
    disk = _disk(order)
    async with _open_table(order.place.db) as database, _open_service(order) as connection:
        table, dice = Table(database, clock), Dice()
        service = _WatchedService(connection, display.meter)
        engine = Engine(
            clock=clock,
            dice=dice,
            table=table,
            service=service,
            disk=disk,
            plan=order.plan,
            listener=display.moved,
            compute=offload,
            sent=display.meter.sent,
            accepted=partial(_settle_in, table=table, order=order),
        )
        display.start(engine.pulse)
        async with anyio.create_task_group() as helpers:
            wind_up = partial(_wind_up, engine=engine, display=display, outcome=outcome)
            await helpers.start(heed_signals, wind_up, clock)
            helpers.start_soon(_follow_config, engine, display, order)
            helpers.start_soon(_end_in_time, engine, order.seconds)
            outcome.stop = await engine.run()
            outcome.problems, outcome.elsewhere, outcome.pulse = disk.problems, disk.elsewhere, engine.pulse()
            helpers.cancel_scope.cancel()
        # Before the table is closed: its last reader keeps SQLite from tidying up.
        await offload(display.stop)


async def _settle_in(batch: Batch, table: Table, order: Order) -> None:
    """Keep OUT to the table, which has accepted the run, before anything in OUT is touched and anything is sent.

    What only finishes a batch has checked that already, and leaves the note as it is.
    """
    if order.plan.admit:
        await offload(keep_to_table, order.place, batch.id)
    await _sweep_temporaries(table, order.place)


@asynccontextmanager
async def _open_table(path: Path) -> AsyncIterator[Database]:
    try:
        context = open_database(path)
        database = await context.__aenter__()
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{show_path(os.fsencode(path))} is not a job table: {error}") from error
    except OSError as error:
        raise MachineRefuses(f"the job table cannot be made: {error.strerror or error}") from error
    try:
        yield database
    finally:
        await context.__aexit__(None, None, None)


def _open_service(order: Order) -> AbstractAsyncContextManager[Service]:
    return connect(order.settings, order.key, order.plan.most_uploads + order.plan.collect_concurrency)


def _wind_up(number: int, engine: Engine, display: Display, outcome: Outcome) -> None:
    outcome.signal = number
    engine.drain()
    display.note(_STOPPING)


async def _follow_config(engine: Engine, display: Display, order: Order) -> None:
    """Take over changed limits from the configuration file while the run goes on."""
    if order.config is None:
        return
    seen, settings = _changed_at(order.config), order.settings
    while True:
        await anyio.sleep(CONFIG_SECONDS)
        latest = _changed_at(order.config)
        if latest == seen:
            continue
        seen = latest
        settings = _take_changes(engine, display, order, settings)


def _take_changes(engine: Engine, display: Display, order: Order, before: Settings) -> Settings:
    """Read the file again; what cannot be understood is told, and changes nothing. Another API is the next run's."""
    try:
        latest = read_settings(order.config, order.flags)
    except UsageError as error:
        display.note(f"The changed configuration is not used: {error}")
        return before
    latest = latest.model_copy(update={"api": order.settings.api})  # which limits there are depends on it
    if latest.limits() != before.limits():
        _take_limits(engine, display, latest.limits())
    if latest.bwlimit != before.bwlimit:
        engine.set_bandwidth(parse_bandwidth(latest.bwlimit))
        display.note(f"bwlimit is now {latest.bwlimit or 'off'}.")
        _log.info("bwlimit", bwlimit=latest.bwlimit)
    return latest


def _take_limits(engine: Engine, display: Display, limits: Limits) -> None:
    engine.set_limits(limits)
    known = {name: getattr(limits, name) for name in LIMITED if getattr(limits, name) is not None}
    display.note(f"Limits are now {', '.join(f'{amount(name, n)} {PLACES[name]}' for name, n in known.items())}.")
    _log.info("limits", **known)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # being replaced; the next look sees the new one
        return 0


async def _sweep_temporaries(table: Table, place: Place) -> None:
    """Remove what a killed process left where it was writing."""
    outputs = await table.transact(jobs.being_written)
    directories = {output.rpartition("/")[0] for output in outputs}
    await offload(sweep_temporaries, place.state)
    await offload(sweep_temporaries, place.out, directories, place.shard.tag if place.shard else "")


async def _end_in_time(engine: Engine, seconds: float | None) -> None:
    if seconds is not None:
        await anyio.sleep(seconds)
        engine.drain()


def _disk(order: Order) -> LocalDisk:
    settings, place = order.settings, order.place
    rules = WalkRules(settings.include, settings.exclude, os.fsencode(place.out))
    raw = bool(order.plan.options.audio_format)
    return LocalDisk(
        order.inputs, place.out, place.state, rules=rules, bounds=order.plan.bounds, raw=raw, shard=place.shard
    )


class _WatchedService:
    """The service, with what is deleted there counted."""

    def __init__(self, service: Service, meter: Meter) -> None:
        self.name, self.account = service.name, service.account
        self.poll_seconds, self.bare_uploads = service.poll_seconds, service.bare_uploads
        self.submit, self.survey, self.fetch = service.submit, service.survey, service.fetch
        self._service, self._meter = service, meter

    @property
    def slowed(self) -> str:
        return self._service.slowed

    async def delete(self, remote: str) -> None:
        await self._service.delete(remote)
        self._meter.deletions += 1
