"""When recordings are transcribed: computed from the clock when somebody looks, never by a timer."""

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from batcher.emulator.objects import Work

_NEVER = 1 << 62

W = TypeVar("W", bound=Work)


class Schedule(Generic[W]):
    """The queue and the places of one account. All times are UTC milliseconds."""

    def __init__(self, places: int | None, on_end: Callable[[W], None]) -> None:
        self._places = places
        self._on_end = on_end
        self._time = 0
        self._waiting: list[tuple[int, int, W]] = []
        self._ending: list[tuple[int, int, W]] = []
        self._running: set[W] = set()
        self._serial = 0

    def add(self, work: W) -> None:
        """Queue a recording."""
        self._push(self._waiting, work.ready, work)

    def is_running(self, work: W) -> bool:
        """Tell whether it has a place now."""
        return work in self._running

    def remove(self, work: W) -> None:
        """Forget a recording; its place is free from now on."""
        self._running.discard(work)
        self._waiting = self._without(self._waiting, work)
        self._ending = self._without(self._ending, work)

    def finish(self, work: W) -> None:
        """End a transcription now, wherever it is."""
        self.remove(work)
        self._end(work, self._time)

    def advance(self, now: int) -> int:
        """Do everything that was due until `now`, in its order, and return the schedule's own time."""
        now = max(now, self._time)
        while self._step(now):
            pass
        self._time = now
        return now

    def _step(self, now: int) -> bool:
        starts, ends = self._next_start(), self._ending[0][0] if self._ending else _NEVER
        if min(starts, ends) > now:
            return False
        self._time = max(self._time, min(starts, ends))
        if ends <= starts:
            self._time_up(heapq.heappop(self._ending)[2])
        else:
            self._start(heapq.heappop(self._waiting)[2], starts)
        return True

    def _next_start(self) -> int:
        if not self._waiting or (self._places is not None and len(self._running) >= self._places):
            return _NEVER
        ready = self._waiting[0][0]
        return ready if self._places is None else max(ready, self._time)

    def _start(self, work: W, time: int) -> None:
        work.started = time
        self._running.add(work)
        if work.work_ms is not None:
            self._push(self._ending, time + work.work_ms, work)

    def _time_up(self, work: W) -> None:
        if work.outcome is None:
            work.overdue = True  # it keeps its place until the recognition reports
        else:
            self._end(work, self._time)

    def _end(self, work: W, time: int) -> None:
        self._running.discard(work)
        if work.started is None:
            work.started = time
        work.ended = time
        self._on_end(work)

    def _push(self, heap: list[tuple[int, int, W]], time: int, work: W) -> None:
        self._serial += 1
        heapq.heappush(heap, (time, self._serial, work))

    @staticmethod
    def _without(heap: list[tuple[int, int, W]], work: W) -> list[tuple[int, int, W]]:
        if all(entry[2] is not work for entry in heap):
            return heap
        rest = [entry for entry in heap if entry[2] is not work]
        heapq.heapify(rest)
        return rest
