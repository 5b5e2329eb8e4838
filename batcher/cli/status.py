"""`batcher status`: how a batch stands, for a person at seven in the morning."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from batcher.cli import closing, screen, words
from batcher.cli import options as opt
from batcher.cli.place import Place, locate
from batcher.clock import wall_clock
from batcher.lock import is_held
from batcher.model import Job
from batcher.states import State
from batcher.store.reader import Counts, Ended, Reader, Undeleted, open_reader
from batcher.text import iso


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything a status tells, read at one moment. Times are UTC milliseconds."""

    place: Place
    batch: tuple[str, int, int] | None
    active: bool
    now: int
    latest: int | None
    counts: Counts
    extras: int
    loose: bool
    failed: list[Ended]
    skipped: list[Ended]
    given_up: list[Ended]
    stuck: list[Job]
    undeleted: Undeleted
    requests: int
    to_give_up: int


def command(
    out: opt.Out,
    *,
    as_json: opt.Json = False,
    db: opt.Db = None,
    shard: opt.Shard = None,
    config: opt.Config = None,
) -> None:
    """Show how a batch stands.

    Works while a run is active, and when none is.

    --json prints one document: batch, created, runs, active (a run works on it now), last_activity (UTC), files,
    bytes, duration_ms, states (jobs by public name), at_service (pending and stored of ours at most, extras still
    to be deleted, loose: audio of an upload that was cut short may be there), stuck (id, path, where, since), undeleted
    (number of the extras that could not be, since), requests (of retry and cancel, not carried out yet), to_give_up
    (jobs that somebody has given up while it is not known whether the service has them), failed, skipped and given_up
    (cancelled only because the same audio was): lists of cause, reason, jobs, examples.
    """
    place = locate(out, db, config, shard)
    with open_reader(place.db) as reader:
        standing = look(place, reader)
    screen.say([json.dumps(document(standing))] if as_json else lines(standing))


def look(place: Place, reader: Reader) -> Standing:
    """Read how a batch stands."""
    return Standing(
        place,
        reader.batch(),
        is_held(place.lock),
        wall_clock(),
        reader.latest(),
        reader.counts(),
        reader.extras(),
        reader.loose(),
        reader.ended(State.FAILED),
        reader.ended(State.SKIPPED),
        reader.given_up(),
        reader.stuck(),
        reader.undeleted(),
        reader.waiting(place.left()),
        len(reader.to_give_up()),
    )


def lines(standing: Standing) -> Iterator[str]:
    """Yield a status for a person."""
    counts = standing.counts
    yield f"{words.name(str(standing.place.out).encode('utf-8', 'surrogateescape'))}: {_verdict(standing)}"
    for name, found in counts.public().items():
        if found.jobs:
            yield f"  {name:<10} {found.jobs:>9,}   {words.size(found.bytes)}"
    yield f"  {'together':<10} {counts.total.jobs:>9,}   {words.size(counts.total.bytes)}"
    yield from closing.group_lines("failed", counts.of([State.FAILED]).jobs, standing.failed)
    yield from closing.group_lines("skipped", counts.of([State.SKIPPED]).jobs, standing.skipped)
    yield from closing.given_up_lines(standing.given_up, standing.place)
    yield from closing.stuck_lines(standing.stuck, standing.place, standing.now)
    yield from closing.undeleted_lines(standing.undeleted, standing.now)
    yield from closing.to_give_up_lines(standing.to_give_up)
    yield _at_service(standing)
    if standing.latest is not None:
        yield f"last activity: {words.local(standing.latest)} ({words.ago(standing.now - standing.latest)} ago)"
    if not standing.active:
        yield from closing.request_lines(standing.requests)
        yield from closing.next_steps(standing.place, counts, standing.failed)


def _verdict(standing: Standing) -> str:
    """Return the one thing a person wants to know first."""
    counts = standing.counts
    left, failed = counts.unfinished.jobs, counts.of([State.FAILED]).jobs
    if standing.active:
        return f"a run is active, {words.count(left, 'recording')} to go"
    if left:
        return f"no run is active, {words.count(left, 'recording')} left to do"
    if failed:
        return f"finished, but {words.count(failed, 'recording')} failed"
    if not counts.total.jobs:
        return "empty, no recording was found yet"
    cancelled = counts.of([State.CANCELLED]).jobs
    return f"finished, {words.count(cancelled, 'recording')} cancelled" if cancelled else "everything is done"


def _at_service(standing: Standing) -> str:
    counts = standing.counts
    loose = "audio of an upload that was cut short, perhaps" if standing.loose else ""
    if not counts.held and not standing.extras:
        return f"at the service: {loose or 'nothing of this batch'}"
    extras = f", {words.count(standing.extras, 'object')} to be deleted" if standing.extras else ""
    also = f", {loose}" if loose else ""
    return f"at the service: at most {counts.held:,} of this batch, {counts.pending:,} of them pending{extras}{also}"


def document(standing: Standing) -> dict[str, object]:
    """Return a status for JSON."""
    counts, batch = standing.counts, standing.batch
    total = counts.total
    return {
        "batch": batch[0] if batch else None,
        "created": iso(batch[1]) if batch else None,
        "runs": batch[2] if batch else 0,
        "active": standing.active,
        "last_activity": None if standing.latest is None else iso(standing.latest),
        "files": total.jobs,
        "bytes": total.bytes,
        "duration_ms": total.duration_ms,
        "states": {name: found.jobs for name, found in counts.public().items()},
        "at_service": {
            "pending": counts.pending,
            "stored": counts.held,
            "extras": standing.extras,
            "loose": standing.loose,
        },
        "stuck": closing.stuck_documents(standing.stuck),
        "undeleted": closing.undeleted_document(standing.undeleted),
        "requests": standing.requests,
        "to_give_up": standing.to_give_up,
        "failed": closing.group_documents(standing.failed),
        "skipped": closing.group_documents(standing.skipped),
        "given_up": closing.group_documents(standing.given_up),
    }
