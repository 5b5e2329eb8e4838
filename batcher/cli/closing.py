"""The last lines of a run, and what `status` says: what was done, what failed and why, and what to type next."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from batcher.cli import words
from batcher.cli.memory import run_again
from batcher.cli.place import Place
from batcher.model import Cause, Job, RemoteStatus
from batcher.requests import may_cancel
from batcher.states import State
from batcher.store.reader import MOST_GROUPED, Counts, Ended, Undeleted
from batcher.text import iso, show_text

EXAMPLES = 3
MOST_GROUPS = 8

CAUSES = {
    Cause.SOURCE: "the recording cannot be read",
    Cause.UNSUITABLE: "not a recording that can be sent",
    Cause.REFUSED: "the service refuses it",
    Cause.SERVICE: "the service failed",
    Cause.VANISHED: "gone from the service",
    Cause.OUTPUT: "its output cannot be written",
}


@dataclass(slots=True)
class Group:
    """Jobs that ended for the same cause and reason; numbers in reasons may differ."""

    cause: str
    reason: str
    jobs: list[Ended] = field(default_factory=list)


def grouped(ended: Iterable[Ended]) -> list[Group]:
    """Group jobs by why they ended, the largest group first."""
    groups: dict[tuple[str | None, str], Group] = {}
    for job in ended:
        key = (job.cause, re.sub(r"\d[\d,.]*", "#", job.reason))
        group = groups.setdefault(key, Group(_cause(job), job.reason))
        group.jobs.append(job)
    return sorted(groups.values(), key=lambda group: -len(group.jobs))


def _cause(job: Ended) -> str:
    """Return what a job ended for in general; nothing where the reason says it itself."""
    return CAUSES.get(Cause(job.cause), "") if job.cause and not job.reason.startswith("the service has ") else ""


def group_lines(title: str, total: int, ended: Sequence[Ended], note: str = "") -> Iterator[str]:
    """Yield a title with the total, and each group with up to three names."""
    if not total:
        return
    most = f" (the first {MOST_GROUPED:,} grouped)" if total > len(ended) >= MOST_GROUPED else ""
    yield f"{title} {words.number(total)}{note}{most}:"
    groups = grouped(ended)
    for group in groups[:MOST_GROUPS]:
        about = ": ".join(show_text(part) for part in (group.cause, group.reason) if part)
        yield f"  {len(group.jobs):,} x {about or 'no reason is known'}"
        yield from (f"      {words.name(job.path)}" for job in group.jobs[:EXAMPLES])
        if len(group.jobs) > EXAMPLES:
            yield f"      and {words.number(len(group.jobs) - EXAMPLES)} more"
    if len(groups) > MOST_GROUPS:
        yield f"  and {len(groups) - MOST_GROUPS} other reasons"


def given_up_lines(given_up: Sequence[Ended], place: Place) -> Iterator[str]:
    """Yield the jobs that nobody has cancelled themselves, and how to have one sent."""
    if given_up:
        yield from group_lines("cancelled with another name of the same audio", len(given_up), given_up)
        yield f"  to have one sent: {retry_command(place, given_up[:1])}"


def stuck_lines(stuck: Sequence[Job], place: Place, now: int) -> Iterator[str]:
    """Yield the jobs that are at the service for too long; nothing happens to them by itself."""
    if not stuck:
        return
    yield f"stuck at the service {words.number(len(stuck))} (waited for; never sent again by itself):"
    for job in stuck[:EXAMPLES]:
        reason = f": {show_text(job.reason)}" if job.reason else ""
        yield f"  {words.name(job.path)}: {stuck_state(job)} for {words.ago(now - stuck_since(job))}{reason}"
    if len(stuck) > EXAMPLES:
        yield f"  and {words.number(len(stuck) - EXAMPLES)} more"
    if one := next(filter(may_cancel, stuck), None):
        yield f"  to give one up: batcher cancel {place.typed} {words.typeable(one.path) or one.id}"


def undeleted_lines(undeleted: Undeleted, now: int) -> Iterator[str]:
    """Yield what no recording uses and the service has not let go of so far."""
    if undeleted.number:
        left = f"{words.count(undeleted.number, 'leftover')} there for up to {words.ago(now - undeleted.since)}"
        yield f"cannot be deleted at the service: {left} (tried again until it is done)"


def request_lines(waiting: int) -> Iterator[str]:
    """Yield that somebody has asked for something which no run has seen."""
    if waiting:
        verb = "waits" if waiting == 1 else "wait"
        yield f"{words.count(waiting, 'request')} {verb} for the next run (of `batcher retry` or `batcher cancel`)"


def to_give_up_lines(number: int) -> Iterator[str]:
    """Yield that recordings will be given up which cannot be yet."""
    if number:
        yield f"{words.count(number, 'recording')} to be {words.to_give_up(number)}"


def shard_lines(place: Place, elsewhere: int) -> Iterator[str]:
    """Yield what was left to others, when this is one of several shards."""
    if place.shard is not None:
        yield f"left to other shards {words.number(elsewhere)} (this is {place.shard})"


def stuck_since(job: Job) -> int:
    """Return since when a stuck job is where it is (UTC milliseconds)."""
    return job.remote_since if job.remote_since is not None else job.since


def stuck_state(job: Job) -> str:
    """Return where a stuck job is, in words."""
    if job.state is State.COMPLETED:
        return "transcribed, but not fetched"
    if job.state is State.STORED:
        return "fetched, but still there"
    if job.state in (State.FAILING, State.CANCELLING):
        return "to be deleted, but still there"
    return "queued" if job.remote_status == RemoteStatus.QUEUED else "being transcribed"


def stuck_documents(stuck: Sequence[Job]) -> list[dict[str, object]]:
    """Return stuck jobs for JSON."""
    return [
        {"id": job.id, "path": words.raw(job.path), "where": stuck_state(job), "since": iso(stuck_since(job))}
        for job in stuck
    ]


def undeleted_document(undeleted: Undeleted) -> dict[str, object]:
    """Return leftovers that cannot be deleted for JSON."""
    return {"number": undeleted.number, "since": iso(undeleted.since) if undeleted.number else None}


def retry_command(place: Place, failed: Sequence[Ended]) -> str:
    """Return the command that has failed jobs tried again, by name as far as names can be typed."""
    out = place.typed
    if len(failed) > EXAMPLES:
        return f"batcher retry {out} --all"
    return " ".join(["batcher retry", out, *(words.typeable(job.path) or str(job.id) for job in failed)])


def next_steps(place: Place, counts: Counts, failed: Sequence[Ended]) -> list[str]:
    """Return what to type next, one command a line with why; empty when everything is done."""
    steps = []
    if counts.unfinished.jobs:
        steps.append(f"next: {run_again(place)}")
    unread = [job for job in failed if job.cause == Cause.SOURCE]
    others = [job for job in failed if job.cause != Cause.SOURCE]
    if unread and not counts.unfinished.jobs:
        steps.append(f"next: {run_again(place)}   (what could not be read is looked at again)")
    if others:
        steps.append(f"next: {retry_command(place, others)}   ({_retry_note(others)})")
    return steps


def _retry_note(failed: Sequence[Ended]) -> str:
    if any(job.cause in (Cause.SERVICE, Cause.VANISHED) for job in failed):
        return "and run again; what the service had accepted may be billed again"
    return "and run again, when the reason is mended"


def left_line(counts: Counts) -> str:
    """Return one line about what is not over yet, or nothing."""
    if not counts.unfinished.jobs:
        return ""
    ends = {"done", "failed", "cancelled", "skipped"}
    parts = [
        f"{words.number(found.jobs)} {name}"
        for name, found in counts.public().items()
        if name not in ends and found.jobs
    ]
    return f"left: {', '.join(parts)}"


def hours(counts: Counts) -> str:
    """Return how much audio is done, as words, or nothing where it is unknown."""
    duration = counts.of([State.DONE]).duration_ms
    return f"{words.span(duration / 1000)} of audio" if duration else ""


def group_documents(ended: Iterable[Ended]) -> list[dict[str, object]]:
    """Return groups of failed or skipped jobs for JSON."""
    return [
        {
            "cause": group.jobs[0].cause,
            "reason": group.reason,
            "jobs": len(group.jobs),
            "examples": [{"id": job.id, "path": words.raw(job.path)} for job in group.jobs[:EXAMPLES]],
        }
        for group in grouped(ended)
    ]
