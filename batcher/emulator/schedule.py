"""When files are transcribed: computed from the clock when somebody looks, never by a timer."""

import heapq
from collections.abc import Callable

from batcher.emulator.objects import File

_NEVER = 1 << 62


class Schedule:
    """The queue and the places of one account. All times are UTC milliseconds."""

    def __init__(self, places: int | None, on_end: Callable[[File], None]) -> None:
        self._places = places
        self._on_end = on_end
        self._time = 0
        self._waiting: list[tuple[int, int, File]] = []
        self._ending: list[tuple[int, int, File]] = []
        self._running: set[File] = set()
        self._serial = 0

    def add(self, file: File) -> None:
        """Queue a file."""
        self._push(self._waiting, file.ready, file)

    def remove(self, file: File) -> None:
        """Forget a file; its place is free from now on."""
        self._running.discard(file)
        self._waiting = self._without(self._waiting, file)
        self._ending = self._without(self._ending, file)

    def finish(self, file: File) -> None:
        """End a file now, whatever it was doing."""
        self.remove(file)
        self._end(file, self._time)

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

    def _start(self, file: File, time: int) -> None:
        file.started = time
        self._running.add(file)
        if file.work_ms is not None:
            self._push(self._ending, time + file.work_ms, file)

    def _time_up(self, file: File) -> None:
        if file.outcome is None:
            file.overdue = True  # it keeps its place until the recognition reports
        else:
            self._end(file, self._time)

    def _end(self, file: File, time: int) -> None:
        self._running.discard(file)
        if file.started is None:
            file.started = time
        file.ended = time
        self._on_end(file)

    def _push(self, heap: list[tuple[int, int, File]], time: int, file: File) -> None:
        self._serial += 1
        heapq.heappush(heap, (time, self._serial, file))

    @staticmethod
    def _without(heap: list[tuple[int, int, File]], file: File) -> list[tuple[int, int, File]]:
        if all(entry[2] is not file for entry in heap):
            return heap
        rest = [entry for entry in heap if entry[2] is not file]
        heapq.heapify(rest)
        return rest
