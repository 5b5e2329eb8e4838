"""`batcher run`: from recordings to transcripts, until nothing is left."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import structlog
import typer

from batcher.cli import options as opt
from batcher.cli import screen
from batcher.cli.closing import remember_run
from batcher.cli.display import Display, new_view
from batcher.cli.key import require_key
from batcher.cli.place import Place, config_file, place_of
from batcher.cli.session import Order, Outcome, conduct, prepare
from batcher.cli.settings import read_settings
from batcher.cli.summary import close_run
from batcher.clock import SystemClock
from batcher.errors import UsageError
from batcher.lock import hold
from batcher.logs import open_log
from batcher.text import show_path

_log = structlog.get_logger()

Inputs = Annotated[
    list[Path], typer.Argument(metavar="INPUT...", help="Directories of recordings, or single ones.", show_default=False)
]


def command(
    inputs: Inputs,
    out: opt.OutOption,
    *,
    format: opt.Format = None,  # noqa: A002 - the option's own name
    model: opt.Model = None,
    include: opt.Include = None,
    exclude: opt.Exclude = None,
    config: opt.Config = None,
    db: opt.Db = None,
    progress: opt.Progress = None,
    api: opt.Api = None,
    host: opt.Host = None,
    insecure: opt.Insecure = None,
    ca_file: opt.CaFile = None,
    key_file: opt.KeyFile = None,
    settle: opt.Settle = None,
    max_pending: opt.MaxPending = None,
    max_stored: opt.MaxStored = None,
    max_file_size: opt.MaxFileSize = None,
    max_duration: opt.MaxDuration = None,
    upload_concurrency: opt.UploadConcurrency = None,
    min_free_space: opt.MinFreeSpace = None,
    log_level: opt.LogLevel = None,
) -> None:
    """Transcribe recordings into OUT, until nothing is left; the same command again goes on where it ended."""
    given = {name: value for name, value in locals().items() if name not in {"inputs", "out", "config"}}
    order = _order(inputs, out, config, opt.given(**given))
    prepare(order.place)
    clock = SystemClock()
    with hold(order.place.lock), open_log(order.place.log, order.settings.log_level, clock, order.key.value):
        remember_run(order.place, sys.argv[1:])
        raise typer.Exit(run(order, clock))


def _order(inputs: Sequence[Path], out: Path, config: Path | None, flags: dict[str, object]) -> Order:
    """Decide everything, and refuse what cannot work, before anything is opened."""
    file = config_file(config)
    sources, settings = read_settings(file, flags)
    plan = settings.plan()
    key = require_key(settings.key_file)
    for path in inputs:
        if not path.exists():
            raise UsageError(f"there is no {show_path(os.fsencode(path))}", hint="Check the spelling of the input.")
    return Order(place_of(out, settings.db), settings, plan, key, inputs, sources, file)


def run(order: Order, clock: SystemClock) -> int:
    """Run an order that is ready and return the exit code. The caller holds the lock and has the log open."""
    display = Display(new_view(order.settings.progress), order.place, clock)
    _log.info("run began", inputs=[os.fspath(path) for path in order.inputs], formats=order.plan.formats)
    outcome = conduct(order, display, clock)
    code = close_run(order.place, display, outcome)
    _log.info("run ended", exit_code=code, stop=str(outcome.stop or ""))
    return code


__all__ = ["Outcome", "Place", "command", "run", "screen"]
