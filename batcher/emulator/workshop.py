"""Where the recordings of one account are transcribed: the schedule says when, the recognizer says what."""

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from batcher.clock import Clock
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Config, Outcome, Recognizer, Work
from batcher.emulator.schedule import Schedule
from batcher.model import Transcript

W = TypeVar("W", bound=Work)


class Workshop(Generic[W]):
    """Takes recordings and ends each of them once. `on_heard` is told when a recording is no longer needed."""

    def __init__(
        self,
        knobs: Knobs,
        clock: Clock,
        recognizer: Recognizer,
        *,
        on_end: Callable[[W], None],
        on_heard: Callable[[W], None],
    ) -> None:
        self.pending = 0  #: works that were taken and have not ended
        self._knobs = knobs
        self._clock = clock
        self._recognizer = recognizer
        self._on_end = on_end
        self._on_heard = on_heard
        self._schedule = Schedule[W](knobs.parallel, self._ended)

    def advance(self) -> int:
        """Bring every transcription up to the present and return it (UTC milliseconds)."""
        return self._schedule.advance(self._clock.now())

    def wants_audio(self, config: Config) -> bool:
        """Tell whether the recognizer needs the recording itself."""
        return self._recognizer.wants_audio(config)

    def length_ms(self, size: int) -> int:
        """Return the length of a recording of `size` bytes, as far as its size can tell."""
        return round(size * 1000 / self._knobs.bytes_per_second)

    def work_ms(self, size: int) -> int:
        """Return how long a recording of `size` bytes is worked on."""
        knobs = self._knobs
        return round(min(max(self.length_ms(size) / knobs.speed, knobs.min_work_ms), knobs.max_work_ms))

    def take(self, work: W) -> None:
        """Queue a recording."""
        self.pending += 1
        self._schedule.add(work)

    def recognise(self, work: W) -> None:
        """Let the recognizer hear a recording; what it makes of it counts when its time is over."""
        self._recognizer.recognise(work.audio, work.config, partial(self._report, work))

    def finish(self, work: W, outcome: Outcome | None = None) -> None:
        """End a transcription now: with `outcome`, or with what the recognizer made of it."""
        self.advance()
        work.outcome = outcome or work.outcome or Transcript(parts=())
        if work.ended is None:
            self._schedule.finish(work)

    def remove(self, work: W) -> None:
        """Forget a transcription, whatever became of it."""
        if work.ended is None:
            self.pending -= 1
            self._schedule.remove(work)

    def _report(self, work: W, outcome: Outcome) -> None:
        if work.outcome is None:
            work.outcome = outcome
        self._on_heard(work)
        if self._schedule.is_running(work) and work.overdue:
            self.advance()
            self._schedule.finish(work)

    def _ended(self, work: W) -> None:
        self.pending -= 1
        self._on_end(work)
