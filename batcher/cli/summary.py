"""How a run ends for the person: the closing lines, or the last JSON object, and the exit code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from batcher.cli import closing, screen, words
from batcher.cli.display import Display
from batcher.cli.meter import Snapshot
from batcher.cli.place import Place
from batcher.cli.session import Outcome
from batcher.cli.views import JsonView, status_facts
from batcher.errors import AccountRefused, UsageError
from batcher.files import WalkProblem
from batcher.model import Job
from batcher.states import State
from batcher.store.reader import Ended, Reader, Undeleted, open_reader
from batcher.text import show_text


@dataclass(frozen=True, slots=True)
class End:
    """Everything that is known when a run is over."""

    place: Place
    outcome: Outcome
    snapshot: Snapshot
    failed: list[Ended]
    skipped: list[Ended]
    given_up: list[Ended]
    stuck: list[Job]
    undeleted: Undeleted

    @property
    def code(self) -> int:
        """Return the exit code."""
        return self.outcome.exit_code(self.snapshot.counts.of([State.FAILED]).jobs)


def close_run(place: Place, display: Display, outcome: Outcome, now: int) -> int:
    """Say how the run ended and return its exit code. `now` is UTC milliseconds."""
    if not place.db.exists():
        return outcome.exit_code(0)
    with open_reader(place.db) as reader:
        snapshot = replace(display.meter.snapshot(now, reader.counts(), outcome.pulse), waiting="")  # it is over
        end = _end(place, outcome, snapshot, reader)
    if isinstance(display.view, JsonView):
        screen.say([display.view.line("summary", now, **_facts(end))])
    else:
        screen.say(closing_lines(end))
    return end.code


def _end(place: Place, outcome: Outcome, snapshot: Snapshot, reader: Reader) -> End:
    failed, skipped = reader.ended(State.FAILED), reader.ended(State.SKIPPED)
    return End(place, outcome, snapshot, failed, skipped, reader.given_up(), reader.stuck(), reader.undeleted())


def closing_lines(end: End) -> Iterator[str]:
    """Yield the last lines of a run."""
    counts, now = end.snapshot.counts, end.snapshot.now
    yield _headline(end)
    failed = counts.of([State.FAILED]).jobs
    note = f" ({now.failed:,} now)" if failed > now.failed else ""
    yield from closing.group_lines("failed", failed, end.failed, note)
    yield from closing.group_lines("skipped", counts.of([State.SKIPPED]).jobs, end.skipped)
    yield from closing.given_up_lines(end.given_up, end.place)
    problems = end.outcome.problems
    yield from _problem_lines("could not be read", [problem for problem in problems if problem.hides])
    yield from _problem_lines("not looked into", [problem for problem in problems if not problem.hides])
    yield from closing.shard_lines(end.place, end.outcome.elsewhere)
    yield from closing.stuck_lines(end.stuck, end.place, end.snapshot.at)
    yield from closing.undeleted_lines(end.undeleted, end.snapshot.at)
    if left := closing.left_line(counts):
        yield left
    if end.outcome.signal is not None:
        yield "stopped on request; nothing is lost, and what is at the service goes on there"
    if not isinstance(end.outcome.stop, UsageError | AccountRefused):  # else it is what the refusal says
        yield from closing.next_steps(end.place, counts, end.failed)


def _problem_lines(title: str, problems: Sequence[WalkProblem]) -> Iterator[str]:
    """Yield what a scan could not look into, under a title that says what that means."""
    if problems:
        yield f"{title} {words.number(len(problems))}:"
        yield from (
            f"  {words.name(problem.path)}: {show_text(problem.reason)}" for problem in problems[: closing.EXAMPLES]
        )
        if len(problems) > closing.EXAMPLES:
            yield f"  and {words.number(len(problems) - closing.EXAMPLES)} more"


def _headline(end: End) -> str:
    counts, now = end.snapshot.counts, end.snapshot.now
    cells = [
        f"done {words.number(counts.of([State.DONE]).jobs)} ({now.done:,} now, {end.snapshot.done_before:,} before)",
        f"failed {counts.of([State.FAILED]).jobs:,}",
        f"skipped {counts.of([State.SKIPPED]).jobs:,}",
    ]
    if cancelled := counts.of([State.CANCELLED]).jobs:
        cells.append(f"cancelled {cancelled:,}")
    cells.append(f"took {words.span(end.snapshot.elapsed)}")
    if audio := closing.hours(counts):
        cells.append(audio)
    return ", ".join(cells)


def _facts(end: End) -> dict[str, object]:
    """Return the summary for JSON."""
    stop = end.outcome.stop
    return status_facts(end.snapshot) | {
        "exit_code": end.code,
        "stopped": None if stop is None else {"message": show_text(str(stop)), "hint": show_text(stop.hint)},
        "signal": end.outcome.signal,
        "stuck": closing.stuck_documents(end.stuck),
        "undeleted": closing.undeleted_document(end.undeleted),
        "failed": closing.group_documents(end.failed),
        "skipped": closing.group_documents(end.skipped),
        "given_up": closing.group_documents(end.given_up),
        "shard": str(end.place.shard) if end.place.shard else None,
        "left_to_other_shards": end.outcome.elsewhere,
        "not_looked_into": [words.raw(problem.path) for problem in end.outcome.problems],
    }
