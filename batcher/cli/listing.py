"""`batcher list`: one line per job."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer

from batcher.cli import options as opt
from batcher.cli import screen, words
from batcher.cli.place import locate
from batcher.errors import UsageError
from batcher.model import Job
from batcher.states import FACTS, State, public_names
from batcher.store.reader import open_reader
from batcher.text import iso, show_text

Names = Annotated[
    list[str] | None,
    typer.Option("--state", metavar="NAME", help=f"Only these: {', '.join(public_names())}. Repeatable."),
]


def command(
    out: opt.Out,
    *,
    state: Names = None,
    as_json: opt.Json = False,
    db: opt.Db = None,
    shard: opt.Shard = None,
    config: opt.Config = None,
) -> None:
    """List the jobs of a batch.

    One a line: state, id, name, reason.

    --json prints one array of objects: id, path, output, state (public name), reason, cause, size, duration_ms,
    attempts, since (ISO 8601, UTC).
    """
    wanted = states_named(state or [])
    with open_reader(locate(out, db, config, shard).db) as reader:
        jobs = reader.jobs(wanted)
        screen.say(_array(jobs) if as_json else map(_line, jobs))


def states_named(names: Sequence[str]) -> list[State]:
    """Return the states of these public names, all when none is given; several names may stand in one text."""
    asked = [name for text in names for name in text.split(",") if name]
    for name in asked:
        if name not in public_names():
            raise UsageError(f"{show_text(name)} is no state", hint=f"The states are {', '.join(public_names())}.")
    return [found for found, facts in FACTS.items() if not asked or facts.public in asked]


def _line(job: Job) -> str:
    reason = f": {show_text(job.reason)}" if job.reason else ""
    reason = f" (stuck){reason}" if job.stuck_at else reason
    return f"{FACTS[job.state].public:<10} {job.id:>7}  {words.name(job.path)}{reason}"


def _array(jobs: Iterable[Job]) -> Iterator[str]:
    """Yield the lines of one JSON array, whatever its size."""
    before = "["
    for job in jobs:
        yield before + json.dumps(_document(job))
        before = ","
    yield "]" if before == "," else "[]"


def _document(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "path": words.raw(job.path),
        "output": job.output,
        "state": FACTS[job.state].public,
        "reason": job.reason,
        "cause": job.cause,
        "size": None if job.url else job.size,
        "duration_ms": job.duration_ms,
        "attempts": job.attempt,
        "since": iso(job.since),
    }
