"""`batcher reconcile`: bring the table and the service together; nothing new is sent."""

from collections.abc import Iterator
from dataclasses import replace

import typer

from batcher.cli import options as opt
from batcher.cli import screen, words
from batcher.cli.belonging import check_table
from batcher.cli.connect import secrets
from batcher.cli.display import Display, new_view
from batcher.cli.key import require_key
from batcher.cli.memory import remembered_flags
from batcher.cli.meter import Meter
from batcher.cli.place import config_file, locate
from batcher.cli.run import run_with
from batcher.cli.session import Order
from batcher.cli.settings import CONNECTION, given, read_settings, takes
from batcher.clock import SystemClock
from batcher.lock import hold
from batcher.logs import open_log
from batcher.states import Event
from batcher.store.reader import open_reader

#: What is worth telling, in the words of a person.
_FOUND = {
    Event.ADOPTED: "found at the service and taken over",
    Event.ABSENT: "proven not to have arrived; to be sent again",
    Event.VANISHED: "gone from the service before their transcripts were fetched",
    Event.SERVICE_FAILED: "failed at the service",
    Event.FETCHED: "fetched",
    Event.WRITTEN: "written again",
}


@takes(*CONNECTION, "settle", "format", "progress")
def command(
    out: opt.Out, *, config: opt.Config = None, other_account: opt.OtherAccount = False, **flags: object
) -> None:
    """Ask the service what became of the batch.

    Takes over, fetches what is ready, deletes leftovers, says what it found. Sends nothing.
    """
    place = locate(out, flags.get("db"), config, flags.get("shard"))
    check_table(place)
    settings = read_settings(config_file(config), remembered_flags(place) | given(flags))
    key = require_key(settings.key_file)
    with open_reader(place.db):  # there must be a batch
        order = Order(place, settings, replace(settings.plan(admit=False), other_account=other_account), key)
    clock = SystemClock()
    with hold(place.lock), open_log(place.log, settings.log_level, clock, *secrets(settings, key)):
        display = Display(new_view(settings.progress), place, clock)
        code = run_with(order, display, clock)
    if settings.progress != "json":
        screen.say(_found(display.meter))
    raise typer.Exit(code)


def _found(meter: Meter) -> Iterator[str]:
    """Yield what the reconciliation found and did."""
    yield "reconciled:"
    for event, text in _FOUND.items():
        if meter.events[event]:
            yield f"  {words.count(meter.events[event], 'job')} {text}"
    if meter.deletions:
        yield f"  {words.count(meter.deletions, 'object')} deleted at the service"
    if not meter.deletions and not any(meter.events[event] for event in _FOUND):
        yield "  nothing to do"
