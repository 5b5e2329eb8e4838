"""`batcher cancel`: give jobs up, and clear the service of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import structlog

from batcher.cli import options as opt
from batcher.cli import screen, words
from batcher.cli.belonging import check_table
from batcher.cli.connect import secrets
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
from batcher.requests import Request, heeds_cancel
from batcher.stages.context import Plan
from batcher.states import FACTS, UNKNOWN_STATES, State
from batcher.store.reader import Reader, open_reader

OPEN = [state for state, facts in FACTS.items() if not facts.final]
#: How long the service is given to let go of what was cancelled; the next run goes on with the rest.
CLEARING_SECONDS = 60.0
#: What a job is that is passed over; all others have failed.
_STANDING = {
    State.COMPLETED: "transcribed and to be fetched",
    State.STORED: "fetched already",
    State.RENDERING: "fetched already",
    State.DONE: "done already",
    State.SKIPPED: "skipped already",
    State.CANCELLING: "cancelled already",
    State.CANCELLED: "cancelled already",
}

_log = structlog.get_logger()


@takes(*CONNECTION)
def command(
    out: opt.Out,
    jobs: opt.Jobs = None,
    *,
    every: opt.Every = False,
    config: opt.Config = None,
    other_account: opt.OtherAccount = False,
    **flags: object,
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
    screen.say(_given_up(changed, len(_later(place, meant))))
    screen.say(_passed_over(meant))
    _clear(place, settings, replace(settings.plan(admit=False), other_account=other_account), clock)
    if _later(place, meant):
        screen.say([f"next: {run_again(place)}"])


def _given_up(changed: int, later: int) -> Iterator[str]:
    """Tell what was done; `later` of the jobs cannot be given up yet."""
    if changed > later or not later:
        yield f"{words.count(changed - later, 'job')} given up"
    if later:
        yield f"{words.count(later, 'job')} will be {words.to_give_up(later)}"


def _later(place: Place, meant: Sequence[Job]) -> list[Job]:
    """Return those of the jobs that will be given up when it is known whether the service has them."""
    asked = {job.id for job in meant}
    with open_reader(place.db) as reader:
        return [job for job in reader.to_give_up() if job.id in asked]


def _passed_over(meant: Sequence[Job]) -> list[str]:
    """Tell what the others are that were meant."""
    found = Counter(_STANDING.get(job.state, "failed already") for job in meant if not heeds_cancel(job))
    return [f"passed over: {', '.join(f'{number:,} {what}' for what, number in found.items())}"] if found else []


def _copies(reader: Reader, meant: Sequence[Job]) -> list[str]:
    """Tell of the copies that are given up with what may be paid for: they are the same audio."""
    going = {job.id: job for job in meant if heeds_cancel(job)}
    paid = {job.id for job in going.values() if _is_paid(job) or (job.sealed_at and job.state in UNKNOWN_STATES)}
    twins = [twin for twin in reader.jobs([State.TWIN] if paid else []) if twin.id not in going]
    copies = [going[twin.twin_of] for twin in twins if twin.twin_of in paid]
    if not copies:
        return []
    sure = all(map(_is_paid, copies))
    return [
        f"{words.count(len(copies), 'other recording')} of the same audio {'will' if sure else 'may'} end with these"
    ]


def _is_paid(job: Job) -> bool:
    """Tell whether the service has accepted the latest attempt of a job, or the one before."""
    return job.remote is not None or bool(job.forgiven or job.convert)


def _clear(place: Place, settings: Settings, plan: Plan, clock: SystemClock) -> None:
    """Clear the service of what was given up, if there is anything and a key to do it with."""
    if not _held(place):
        return
    key = find_key(settings.key_file)
    if key is None:
        screen.say(["what is still at the service is deleted by the next run; there is no key now"])
        return
    order = Order(place, settings, plan, key, seconds=CLEARING_SECONDS)
    with hold(place.lock), open_log(place.log, settings.log_level, clock, *secrets(settings, key)):
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
