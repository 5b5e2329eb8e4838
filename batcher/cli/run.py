"""`batcher run`: from recordings to transcripts, until nothing is left."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import structlog
import typer

from batcher.cli import options as opt
from batcher.cli.connect import check_connection, secrets
from batcher.cli.display import Display, new_view
from batcher.cli.key import require_key
from batcher.cli.memory import remembering
from batcher.cli.place import config_file, place_of
from batcher.cli.session import Order, conduct, prepare
from batcher.cli.settings import ALL, given, read_settings, takes
from batcher.cli.summary import close_run
from batcher.clock import SystemClock
from batcher.errors import UsageError
from batcher.files import gather
from batcher.lock import hold
from batcher.logs import open_log
from batcher.text import show_path

MOST_LOGGED = 100  #: inputs that the log names

_log = structlog.get_logger()

Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT", help="Directories of recordings, single ones, or URLs.", show_default=False),
]


@takes(*ALL)
def command(
    inputs: Arguments = None,
    *,
    out: opt.OutOption,
    files_from: opt.FilesFrom = None,
    config: opt.Config = None,
    other_account: opt.OtherAccount = False,
    **flags: object,
) -> None:
    """Turn recordings into transcripts in OUT.

    Works until nothing is left; the same command again goes on where it ended.
    """
    order = _order(inputs or [], files_from or [], out, config, given(flags))
    order = replace(order, plan=replace(order.plan, other_account=other_account))
    prepare(order.place)
    clock = SystemClock()
    log = open_log(order.place.log, order.settings.log_level, clock, *secrets(order.settings, order.key))
    with hold(order.place.lock), log, remembering(order.place, sys.argv[1:], order.flags):
        code = run(order, clock)
    raise typer.Exit(code)


def _order(
    arguments: Sequence[str], lists: Sequence[str], out: Path, config: Path | None, flags: dict[str, object]
) -> Order:
    """Decide everything, and refuse what cannot work, before anything is opened."""
    file = config_file(config)
    settings = read_settings(file, flags)
    plan = settings.plan()
    check_connection(settings)
    key = require_key(settings.key_file)
    inputs = gather(arguments, lists)
    if not inputs.paths and not inputs.urls:
        raise UsageError("there is nothing to look through", hint="Name directories, recordings or URLs as INPUT.")
    if inputs.urls and settings.api == "grpc":
        raise UsageError("the gRPC API does not fetch URLs", hint="Use --api rest, or download the recordings.")
    return Order(place_of(out, settings.db, settings.shard), settings, plan, key, inputs, file, flags)


def run(order: Order, clock: SystemClock) -> int:
    """Run an order with the display that the settings ask for. The caller holds the lock and has the log open."""
    return run_with(order, Display(new_view(order.settings.progress), order.place, clock), clock)


def run_with(order: Order, display: Display, clock: SystemClock) -> int:
    """Run an order, say how it ended, and return the exit code. Raises what stopped it."""
    inputs = [show_path(each.path) for each in order.inputs.paths[:MOST_LOGGED]]
    _log.info("run began", inputs=inputs, urls=len(order.inputs.urls), formats=order.plan.formats)
    outcome = conduct(order, display, clock)
    code = close_run(order.place, display, outcome, clock.now())
    _log.info("run ended", exit_code=code, stop=str(outcome.stop or ""))
    if outcome.stop is not None:
        raise outcome.stop
    return code
