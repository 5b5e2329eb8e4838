"""`batcher show`: everything about one job."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from batcher.cli import options as opt
from batcher.cli import screen, words
from batcher.cli.find import find
from batcher.cli.place import Place, locate
from batcher.model import Job
from batcher.requests import is_to_give_up
from batcher.states import FACTS
from batcher.store.reader import Origin, Past, Reader, open_reader
from batcher.text import iso, show_text


@dataclass(frozen=True, slots=True)
class Story:
    """One job with its history, outputs and transcript."""

    job: Job
    history: list[Past]
    origin: Origin | None
    options: dict[str, object]
    outputs: list[tuple[str, bool]]  #: name inside OUT, and whether it is there


def command(
    out: opt.Out,
    job: opt.One,
    *,
    as_json: opt.Json = False,
    db: opt.Db = None,
    shard: opt.Shard = None,
    config: opt.Config = None,
) -> None:
    """Show everything about one job.

    Where it stands, what happened to it, its outputs, and its ids at the service.

    --json prints one document: id, path, state, internal_state, reason, cause, cancel_wanted, size, duration_ms, sha256,
    options, attempts, failures, not_before, reference, remote, outputs (name, exists), transcript (api, reference,
    remote, words, created; null before there is one), history (at, from, event, to, attempt, detail).
    """
    place = locate(out, db, config, shard)
    with open_reader(place.db) as reader:
        story = _read(place, reader, find(reader, job, place))
    screen.say([json.dumps(_document(story))] if as_json else _lines(story))


def _read(place: Place, reader: Reader, job: Job) -> Story:
    names = [f"{job.output}.{name}" for name in job.formats.split(",") if name]
    return Story(
        job,
        reader.history(job.id),
        None if job.transcript is None else reader.origin(job.transcript),
        reader.options(job.options),
        [(name, (place.out / name).is_file()) for name in names],
    )


def _lines(story: Story) -> Iterator[str]:
    for name, value in _facts(story):
        if value:
            yield f"{name:<12} {show_text(value)}"
    for name, exists in story.outputs:
        yield f"{'output':<12} {show_text(name)}{'' if exists else '   (missing; the next run writes it again)'}"
    yield "history"
    for past in story.history:
        detail = f": {show_text(past.detail)}" if past.detail else ""
        yield f"  {words.local(past.at)}  {past.event:<15} {past.source} -> {past.target}{detail}"


def _facts(story: Story) -> Iterator[tuple[str, str]]:
    job = story.job
    yield "recording", words.name(job.path)
    yield "job", str(job.id)
    yield "state", f"{FACTS[job.state].public}, since {words.local(job.since)}: {FACTS[job.state].meaning}"
    yield "reason", job.reason or ""
    yield "wish", f"to be {words.to_give_up(1)}" if is_to_give_up(job) else ""
    yield "size", "" if job.url else words.size(job.size)
    yield "at the service", f"{job.remote_status} since {words.local(job.remote_since)}" if job.remote_since else ""
    yield "stuck", f"since {words.local(job.stuck_at)}: nothing happens to it by itself" if job.stuck_at else ""
    yield "length", words.span(job.duration_ms / 1000) if job.duration_ms else ""
    yield "sha256", job.digest.hex() if job.digest and not job.url else ""
    yield "options", json.dumps(story.options, ensure_ascii=False) if story.options else ""
    yield "attempts", str(job.attempt)
    yield "reference", job.reference or ""
    yield "remote id", job.remote or ""
    if story.origin is not None:
        origin = story.origin
        yield "transcript", f"{origin.words:,} words, {origin.api} file {origin.remote}, {words.local(origin.created)}"
        yield "model", origin.model


def _document(story: Story) -> dict[str, object]:
    job, origin = story.job, story.origin
    return {
        "id": job.id,
        "path": words.raw(job.path),
        "state": FACTS[job.state].public,
        "internal_state": job.state,
        "reason": job.reason,
        "cause": job.cause,
        "cancel_wanted": is_to_give_up(job),
        "size": None if job.url else job.size,
        "remote_status": job.remote_status,
        "stuck_since": iso(job.stuck_at) if job.stuck_at else None,
        "duration_ms": job.duration_ms,
        "sha256": job.digest.hex() if job.digest and not job.url else None,
        "options": story.options,
        "attempts": job.attempt,
        "failures": job.failures,
        "not_before": iso(job.not_before) if job.not_before else None,
        "reference": job.reference,
        "remote": job.remote,
        "outputs": [{"name": name, "exists": exists} for name, exists in story.outputs],
        "transcript": _origin_document(origin) if origin else None,
        "history": [_past_document(past) for past in story.history],
    }


def _origin_document(origin: Origin) -> dict[str, object]:
    return {
        "api": origin.api,
        "reference": origin.reference,
        "remote": origin.remote,
        "words": origin.words,
        "model": origin.model or None,
        "created": iso(origin.created),
    }


def _past_document(past: Past) -> dict[str, object]:
    return {
        "at": iso(past.at),
        "from": past.source,
        "event": past.event,
        "to": past.target,
        "attempt": past.attempt,
        "detail": past.detail,
    }
