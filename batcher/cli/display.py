"""The display's thread: it shows a run without ever being able to hold it up.

A terminal that is stopped, or a pipe that nobody empties, blocks whoever writes to it. So only this thread
writes while a run works; the run leaves its news in a queue. A view that breaks is replaced by silence.
"""

import os
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread

import structlog

from batcher.cli.meter import Meter
from batcher.cli.place import Place
from batcher.cli.screen import give_up_stdout
from batcher.cli.views import JsonView, NoView, PlainView, View
from batcher.clock import Clock
from batcher.engine import Pulse
from batcher.store.reader import Reader, open_reader
from batcher.store.table import Move

#: How long the end of a run waits for a screen that does not take its last lines.
_JOIN_SECONDS = 2.0
_TICK_SECONDS = 0.25

_log = structlog.get_logger()


def new_view(progress: str) -> View:
    """Return the view of that name; `auto` is live on a terminal and plain elsewhere."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if progress == "bar" or (progress == "auto" and terminal):
        from batcher.cli.live import LiveView  # noqa: PLC0415 - rich takes its time, and only a terminal needs it

        return LiveView()
    views = {"json": JsonView, "none": NoView}
    return views.get(progress, PlainView)(sys.stdout)


class Display:
    """Shows one run. Everything but `start` and `stop` may be called from any thread."""

    def __init__(self, view: View, place: Place, clock: Clock) -> None:
        self.view = view
        self.meter = Meter(clock.now())
        self._place = place
        self._clock = clock
        self._news: SimpleQueue[Move | str] = SimpleQueue()
        self._ended = Event()
        self._pulse: Callable[[], Pulse | None] = lambda: None
        self._thread = Thread(target=self._run, name="display", daemon=True)
        self._log = _log

    def start(self, pulse: Callable[[], Pulse | None]) -> None:
        """Begin to show. The table must exist."""
        self._pulse = pulse
        self._log = _log.bind()  # once, now that the log is open: binding for every move takes ten times as long
        self._thread.start()

    def moved(self, move: Move) -> None:
        """Take note of a committed move."""
        self._log.debug(
            "moved", job=move.job, source=move.source, event_name=move.event, target=move.target, detail=move.detail
        )
        self.meter.moved(move)
        self._news.put(move)

    def note(self, text: str) -> None:
        """Have something said to the person."""
        self._news.put(text)

    def stop(self) -> None:
        """Show what is left to show, and end; a screen that takes nothing is left alone."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            with open_reader(self._place.db) as reader:
                self._show_until_ended(reader)
            self.view.close()
        except OSError:  # nobody looks any more; the run goes on
            give_up_stdout()
        except Exception as error:  # noqa: BLE001 - a broken display must never end a run
            _log.error("display failed", exc_info=error)

    def _show_until_ended(self, reader: Reader) -> None:
        due = self._clock.now() + self._delay()
        while not self._ended.is_set():
            self._ended.wait(_TICK_SECONDS)
            self._tell()
            now, counts = self._clock.now(), reader.counts()
            self.meter.sample(now, counts)
            if now >= due:
                due = now + self._delay()
                self.view.show(self.meter.snapshot(now, counts, self._pulse()))

    def _delay(self) -> int:
        return round(self.view.seconds * 1000)

    def _tell(self) -> None:
        """Show all news that are there."""
        while not self._news.empty():
            self._tell_one(self._news.get())

    def _tell_one(self, news: Move | str) -> None:
        if isinstance(news, Move):
            self.view.moved(news)
        else:
            self.view.note(news)
