"""`batcher retry`: what failed, was cancelled or skipped gets another chance."""

from collections.abc import Iterator, Sequence

from batcher.cli import options as opt
from batcher.cli import screen, words
from batcher.cli.belonging import check_table
from batcher.cli.memory import run_again
from batcher.cli.place import locate
from batcher.cli.wishes import carry_out, catch_up, chosen
from batcher.clock import SystemClock
from batcher.model import Cause, Job
from batcher.requests import Request, is_to_give_up
from batcher.states import FACTS, Event, State, accepts
from batcher.store.reader import Reader, open_reader

AGAIN = (State.FAILED, State.CANCELLED, State.SKIPPED)
#: Causes that prove that the service has not accepted the latest attempt of a URL.
_UNPAID = (Cause.SOURCE, Cause.UNSUITABLE, Cause.REFUSED)


def command(
    out: opt.Out,
    jobs: opt.Jobs = None,
    *,
    every: opt.Every = False,
    db: opt.Db = None,
    shard: opt.Shard = None,
    config: opt.Config = None,
) -> None:
    """Try failed, cancelled or skipped jobs again.

    An active run takes them up, otherwise the next one does. With --all: every one of them. What is still to be given
    up goes on, too.
    """
    place = locate(out, db, config, shard)
    check_table(place)
    clock = SystemClock()
    screen.say(catch_up(place, clock))
    with open_reader(place.db) as reader:
        meant = chosen(reader, place, jobs or [], AGAIN, every=every) + (reader.to_give_up() if every else [])
    fitting = [job for job in meant if _may_retry(job)]
    screen.say(_passed_over(meant))
    if not fitting:
        screen.say(["nothing to try again"])
        return
    changed = carry_out(place, Request("retry", [job.id for job in fitting]), clock)
    ended = [job for job in fitting if not is_to_give_up(job)]
    with open_reader(place.db) as reader:
        screen.say(_billing(reader, ended))
    if changed is None:
        screen.say([f"asked the active run to try {words.count(len(fitting), 'job')} again; it does so within seconds"])
    else:
        screen.say([*_changed(changed, len(fitting) - len(ended)), f"next: {run_again(place)}"])


def _may_retry(job: Job) -> bool:
    return accepts(job.state, Event.RETRY) or is_to_give_up(job)


def _passed_over(meant: Sequence[Job]) -> list[str]:
    return [f"passed over: {words.name(job.path)} is {FACTS[job.state].public}" for job in meant if not _may_retry(job)]


def _changed(changed: int, kept: int) -> Iterator[str]:
    """Tell what was done; `kept` of the jobs were only to be given up."""
    if kept:
        yield f"{words.count(kept, 'job')} will not be given up"
    if changed > kept or not kept:
        yield f"{words.count(changed - kept, 'job')} will be tried again"


def _billing(reader: Reader, jobs: Sequence[Job]) -> list[str]:
    """Return a plain warning about jobs that the service had accepted before."""
    accepted = sum(_was_accepted(reader, job) for job in jobs)
    if not accepted:
        return []
    return [f"warning: {accepted:,} of them had been accepted by the service before and may be billed again"]


def _was_accepted(reader: Reader, job: Job) -> bool:
    """Tell whether the service may bill the audio of a job, if it is sent, for a second time."""
    if job.transcript is not None:
        return False  # it is not sent
    if job.url:  # it has no verdict, see `store.verdicts`
        return job.sealed_at is not None and job.cause not in _UNPAID
    return bool(job.forgiven or job.convert or reader.has_verdict(job))
