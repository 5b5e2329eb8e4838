"""What `retry` and `cancel` share: which jobs are meant, and having the wish carried out.

While a run holds the batch, the wish is left in the batch's directory and the run carries it out; otherwise it is
carried out here, after what was left for a run that has ended: a person's latest word counts.
"""

import os
from collections.abc import Sequence
from functools import partial

import anyio

from batcher.cli import words
from batcher.cli.find import find
from batcher.cli.place import Place
from batcher.clock import SystemClock
from batcher.errors import BatchHeld, MachineRefuses, UsageError
from batcher.files import private_directory, sync_directory
from batcher.heed import heed
from batcher.left_requests import LeftRequests
from batcher.lock import hold
from batcher.model import Job
from batcher.requests import Request, apply_request
from batcher.states import State
from batcher.store.db import open_database
from batcher.store.reader import Reader
from batcher.store.table import Table
from batcher.text import show_path, show_text

MOST_JOBS = 500_000  #: in one file: the run reads no huge one


def chosen(reader: Reader, place: Place, names: Sequence[str], states: Sequence[State], *, every: bool) -> list[Job]:
    """Return the jobs that are meant. Raises UsageError for a name that is none, or when nothing is meant."""
    if every and names:
        raise UsageError("give names or --all, not both")
    if every:
        return list(reader.jobs(states))
    if not names:
        raise UsageError("say which: recordings by name, jobs by id, or --all")
    found = [find(reader, name, place) for name in names]
    return list({job.id: job for job in found}.values())


def catch_up(place: Place, clock: SystemClock) -> list[str]:
    """Carry out what was left for a run that has ended, before a new wish is measured by how things are; tell of it."""
    if not place.left() or not place.db.is_file():
        return []
    try:
        with hold(place.lock):
            done = anyio.run(_catch_up, place, clock)
    except BatchHeld:
        return []  # the active run does it
    verb = "was" if done == 1 else "were"
    return [f"carried out first: {words.count(done, 'request')} that {verb} left for an earlier run"] if done else []


async def _catch_up(place: Place, clock: SystemClock) -> int:
    async with open_database(place.db) as database:
        return await _heed_left(place, Table(database, clock))


async def _heed_left(place: Place, table: Table) -> int:
    """Carry out what was left, and return how many requests that was. Raises MachineRefuses for one that stays."""
    left = LeftRequests(place.requests)
    done = await heed(table, left, await left.requests())
    for name in left.stuck:
        raise MachineRefuses(
            f"the request {show_text(name)} was carried out, but cannot be removed",
            hint=f"Remove it from {show_path(os.fsencode(place.requests))}, and ask again.",
        )
    return done


def carry_out(place: Place, request: Request, clock: SystemClock) -> int | None:
    """Carry a request out and return how many jobs it changed; None when it was left for the active run."""
    try:
        with hold(place.lock):
            return anyio.run(_apply, place, request, clock)
    except BatchHeld:
        leave(place, request, clock)
        return None


async def _apply(place: Place, request: Request, clock: SystemClock) -> int:
    async with open_database(place.db) as database:
        table = Table(database, clock)
        await _heed_left(place, table)
        return await table.transact(partial(apply_request, request=request))


def leave(place: Place, request: Request, clock: SystemClock) -> None:
    """Leave a request for the run that is active, in the order of requests; one for very many jobs in several parts."""
    private_directory(place.requests)
    name = f"{_turn(place, clock):015d}-{os.getpid()}"
    for start in range(0, len(request.jobs), MOST_JOBS):
        part = Request(request.verb, request.jobs[start : start + MOST_JOBS])
        _leave(place, f"{name}-{start:012d}", part)


def _turn(place: Place, clock: SystemClock) -> int:
    """Return a number by which a request comes after all that were left before, also when the clock was set back."""
    before = (name.partition("-")[0] for name in place.left())
    return max([clock.now(), *(int(number) + 1 for number in before if number.isdecimal())])


def _leave(place: Place, name: str, request: Request) -> None:
    """Leave one file: whole or not at all, and also after a power cut."""
    temporary = place.requests / f".{name}.tmp"
    try:
        with open(temporary, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
            file.write(request.to_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(place.requests / f"{name}.json")
        sync_directory(place.requests)
    except OSError as error:
        raise MachineRefuses(f"the request cannot be left for the run: {error.strerror or error}") from error
