"""The faces of a run: a live view on a terminal, plain lines elsewhere, JSON lines for programs, or nothing.

A view runs on the display's own thread and only turns what it is given into text.
"""

import json
from collections.abc import Iterable
from typing import Protocol, TextIO

from batcher.cli import quotas, words
from batcher.cli.meter import Snapshot
from batcher.engine import Pulse
from batcher.model import LIMITED
from batcher.states import FACTS, State
from batcher.store.reader import Counts
from batcher.store.table import Move
from batcher.text import iso, show_text

PLAIN_SECONDS = 30.0
JSON_SECONDS = 5.0


class View(Protocol):
    """What the display tells."""

    seconds: float  #: how often `show` is wanted

    def show(self, snapshot: Snapshot) -> None:
        """Show how far the run is."""

    def moved(self, move: Move) -> None:
        """Show that a job moved."""

    def note(self, text: str) -> None:
        """Say something to the person."""

    def close(self) -> None:
        """Leave the screen in order."""


def failure(move: Move) -> str:
    """Return the one line about a job that failed."""
    return f"failed: {words.name(move.path)}: {show_text(move.detail or 'no reason was given')}"


class PlainView:
    """One line every half minute, one per failure, nothing else: made for logs."""

    seconds = PLAIN_SECONDS

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, snapshot: Snapshot) -> None:
        """Print one line."""
        self._print(f"{words.local(snapshot.at, '%H:%M:%S')} {', '.join(_cells(snapshot))}")

    def moved(self, move: Move) -> None:
        """Print one line about a failure."""
        if move.target is State.FAILED:
            self._print(failure(move))

    def note(self, text: str) -> None:
        """Print it."""
        self._print(show_text(text))

    def close(self) -> None:
        """Nothing is left to do."""

    def _print(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class NoView(PlainView):
    """Shows nothing but what the person has to know."""

    seconds = 3600.0

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def moved(self, move: Move) -> None:
        """Show nothing."""


class JsonView(PlainView):
    r"""One JSON object a line: ``{"event": "job" | "status" | "error" | "note" | "summary", "at": …}``.

    A path is text as `os.fsdecode` gives it; states have their public names.
    """

    seconds = JSON_SECONDS

    @staticmethod
    def line(event: str, at: int, **facts: object) -> str:
        """Return one event as its line."""
        return json.dumps({"event": event, "at": iso(at), **facts})

    def emit(self, event: str, at: int, **facts: object) -> None:
        """Print one event."""
        self._print(self.line(event, at, **facts))

    def show(self, snapshot: Snapshot) -> None:
        """Print a `status`."""
        self.emit("status", snapshot.at, **status_facts(snapshot))

    def moved(self, move: Move) -> None:
        """Print a `job` when its public state changed, and an `error` as well when it failed."""
        source, target = FACTS[move.source].public, FACTS[move.target].public
        facts = {"id": move.job, "path": words.raw(move.path), "attempt": move.attempt, "reason": move.detail}
        if source != target:
            self.emit("job", move.at, **facts, **{"from": source, "to": target})
        if move.target is State.FAILED:
            self.emit("error", move.at, **facts)

    def note(self, text: str) -> None:
        """Notes are for people."""


def status_facts(snapshot: Snapshot) -> dict[str, object]:
    """Return a snapshot for JSON."""
    counts, pulse = snapshot.counts, snapshot.pulse
    return {
        "elapsed_seconds": round(snapshot.elapsed, 3),
        "files": counts.total.jobs,
        "states": {name: found.jobs for name, found in counts.public().items()},
        "done_now": snapshot.now.done,
        "done_before": snapshot.done_before,
        "failed_now": snapshot.now.failed,
        "bytes_per_second": round(snapshot.rate),
        "bwlimit": pulse.bwlimit if pulse else None,  # bytes a second, only while it is what binds
        "quotas": {name: _quota(name, counts, pulse) for name in LIMITED},
        "eta_seconds": None if snapshot.eta is None else round(snapshot.eta),
        "waiting": snapshot.waiting or None,
        "scanned": bool(pulse and pulse.scanned),
    }


def _quota(name: str, counts: Counts, pulse: Pulse | None) -> dict[str, object]:
    return {
        "ours": getattr(quotas.ours(counts), name),
        "others": getattr(pulse.foreign, name) if pulse else 0,
        "limit": getattr(pulse.limits, name) if pulse else None,
        "binds": bool(pulse and pulse.lacking == name),
    }


def _cells(snapshot: Snapshot) -> list[str]:
    """Return the facts of a snapshot, the most wanted first."""
    counts, pulse, now = snapshot.counts, snapshot.pulse, snapshot.now
    cells = [
        f"{words.number(snapshot.ended)}/{words.number(counts.total.jobs)} files",
        f"done {words.number(counts.of([State.DONE]).jobs)} ({now.done:,} now, {snapshot.done_before:,} before)",
        f"failed {counts.of([State.FAILED]).jobs:,}",
        f"up {words.size(snapshot.rate)}/s{_held_back(pulse)}",
    ]
    if pulse is not None:
        cells += [f"{name} {quotas.share(name, counts, pulse)}" for name in quotas.shown(pulse)]
    if snapshot.eta is not None:
        cells.append(f"ETA {words.span(snapshot.eta)}")
    if snapshot.waiting:
        cells.append(f"waiting: {show_text(snapshot.waiting)}")
    return cells


def _held_back(pulse: Pulse | None) -> str:
    """Return what keeps uploads from being faster, if it is what the person asked for."""
    return f" (bwlimit {words.size(pulse.bwlimit)}/s)" if pulse is not None and pulse.bwlimit is not None else ""


def fold(cells: Iterable[str], width: int) -> list[str]:
    """Lay cells out in lines of at most `width` characters; only a cell that is longer by itself is cut."""
    lines: list[str] = []
    for cell in cells:
        joined = f"{lines[-1]}   {cell}" if lines else cell
        if lines and len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(cell[:width])
    return lines


def bar(part: int, whole: int, width: int) -> tuple[str, str]:
    """Return the full and the empty piece of a bar."""
    full = width * part // whole if whole else 0
    return "━" * full, "─" * (width - full)


def live_lines(snapshot: Snapshot, width: int) -> tuple[tuple[str, str, str], list[str]]:
    """Return the live view: the bar in two pieces with its label, and the lines below it."""
    counts, pulse, now = snapshot.counts, snapshot.pulse, snapshot.now
    eta = f"  ETA {words.span(snapshot.eta)}" if snapshot.eta is not None else ""
    label = f" {words.number(snapshot.ended)}/{words.number(counts.total.jobs)} files{eta}"[: max(0, width - 4)]
    pieces = bar(snapshot.ended, counts.total.jobs, max(4, width - len(label)))
    lines = fold(_done_cells(snapshot, now.done), width)
    lines += fold(_service_cells(snapshot), width) if pulse is not None else []
    if snapshot.waiting:
        lines += fold([f"waiting: {show_text(snapshot.waiting)}"], width)
    return (*pieces, label), lines


def _done_cells(snapshot: Snapshot, done_now: int) -> list[str]:
    counts = snapshot.counts
    done = f"done {words.number(counts.of([State.DONE]).jobs)}"
    if snapshot.done_before:
        done += f" ({done_now:,} now, {snapshot.done_before:,} before)"
    cells = [done, f"failed {counts.of([State.FAILED]).jobs:,}", f"skipped {counts.of([State.SKIPPED]).jobs:,}"]
    return [*cells, words.span(snapshot.elapsed)]


def _service_cells(snapshot: Snapshot) -> list[str]:
    counts, pulse = snapshot.counts, snapshot.pulse
    assert pulse is not None
    sending = counts.of([State.UPLOADING, State.SEALED]).jobs
    cells = [
        f"uploading {sending} at {words.size(snapshot.rate)}/s{_held_back(pulse)}" if sending else "uploading 0",
    ]
    return cells + [f"{name} {quotas.share(name, counts, pulse)}" for name in quotas.shown(pulse)]
