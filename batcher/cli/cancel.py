"""`batcher cancel`: give jobs up, and clear the service of them."""

from collections.abc import Sequence

import structlog

from batcher.cli import options as opt
from batcher.cli import screen, words
from batcher.cli.belonging import check_table
from batcher.cli.display import Display
from batcher.cli.key import find_key
from batcher.cli.memory import remembered_flags, run_again
from batcher.cli.place import Place, config_file, locate
from batcher.cli.session import Order, conduct
from batcher.cli.settings import CONNECTION, given, read_settings, takes
from batcher.cli.views import NoView
from batcher.cli.wishes import carry_out, catch_up, chosen
from batcher.clock import SystemClock
from batcher.config import Settings
from batcher.lock import hold
from batcher.logs import open_log
from batcher.model import Job
from batcher.requests import Request, may_cancel
from batcher.states import FACTS, State
from batcher.store.reader import Reader, open_reader

OPEN = [state for state, facts in FACTS.items() if not facts.final]
#: How long the service is given to let go of what was cancelled; the next run goes on with the rest.
CLEARING_SECONDS = 60.0

_log = structlog.get_logger()


@takes(*CONNECTION)
def command(
    out: opt.Out, jobs: opt.Jobs = None, *, every: opt.Every = False, config: opt.Config = None, **flags: object
) -> None:
    """Give up jobs that are not finished.

    What is at the service is deleted there as soon as the service lets go of it.
    """
    place = locate(out, flags.get("db"), config, flags.get("shard"))
    check_table(place)
    settings = read_settings(config_file(config), remembered_flags(place) | given(flags))
    clock = SystemClock()
    screen.say(catch_up(place, clock))
    with open_reader(place.db) as reader:
        meant = chosen(reader, place, jobs or [], OPEN, every=every)
        screen.say(_copies(reader, meant))
    changed = carry_out(place, Request("cancel", [job.id for job in meant]), clock)
    if changed is None:
        asked = f"asked the active run to give up {words.count(len(meant), 'job')}; it does so within seconds"
        screen.say([f"{asked}, but finishes those that are transcribed already"])
        return
    late = len(meant) - changed
    screen.say([f"{words.count(changed, 'job')} given up"])
    if late:
        screen.say([f"{words.count(late, 'job')} passed over: finished already, or transcribed and to be fetched"])
    _clear(place, settings, clock)


def _copies(reader: Reader, meant: Sequence[Job]) -> list[str]:
    """Tell of the copies that are given up with what may be paid for: they are the same audio."""
    going = {job.id for job in meant if may_cancel(job) or FACTS[job.state].pending}
    paid = {job.id for job in meant if job.id in going and (job.sealed_at is not None or job.forgiven or job.convert)}
    copies = sum(twin.twin_of in paid and twin.id not in going for twin in reader.jobs([State.TWIN])) if paid else 0
    if not copies:
        return []
    return [f"{words.count(copies, 'other recording')} of the same audio will end with these"]


def _clear(place: Place, settings: Settings, clock: SystemClock) -> None:
    """Clear the service of what was given up, if there is anything and a key to do it with."""
    if not _held(place):
        return
    key = find_key(settings.key_file)
    if key is None:
        screen.say(["what is still at the service is deleted by the next run; there is no key now"])
        return
    order = Order(place, settings, settings.plan(admit=False), key, seconds=CLEARING_SECONDS)
    with hold(place.lock), open_log(place.log, settings.log_level, clock, key.value):
        outcome = conduct(order, Display(NoView(screen.stdout()), place, clock), clock)
    if outcome.stop is not None:
        screen.say([f"what is still at the service is deleted by the next run: {run_again(place)}"])
        raise outcome.stop
    left = _held(place)
    done = (
        f"{words.count(left, 'object')} may still be there; the next run sees to it"
        if left
        else "it holds nothing more of these"
    )
    screen.say([f"the service was cleared: {done}"])


def _held(place: Place) -> int:
    with open_reader(place.db) as reader:
        return reader.counts().of([State.CANCELLING, State.FAILING]).jobs + reader.extras()
