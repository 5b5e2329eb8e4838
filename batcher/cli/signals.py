"""Signals: the first winds the run up, the second ends the process at once."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import anyio
import anyio.abc
import structlog

from batcher.clock import Clock

#: Who ends a service often sends several signals at once, as TERM and HUP: within so many milliseconds that is one.
ONE_SIGNAL_MS = 300
#: `timeout -s INT` interrupts a process and its group, nobody else twice so quickly; a person's second Ctrl-C counts.
ONE_INTERRUPT_MS = 50
_SHOW_CURSOR = b"\x1b[?25h\r\n"

_log = structlog.get_logger()


async def heed_signals(
    wind_up: Callable[[int], None],
    clock: Clock,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Wind up at the first signal; make the second end the process at once. What was ignored stays ignored (nohup)."""
    known = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wanted = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
    leaving = Leaving(clock)
    try:
        with anyio.open_signal_receiver(*wanted) as signals:
            task_status.started()
            async for number in signals:
                if leaving.first is None:
                    leaving.heard(number)
                    _leave_at(wanted, leaving)
                    _log.info("signal", number=int(number))
                    wind_up(number)
    finally:
        _leave_at(wanted, leaving)  # the receiver's end put Python's own handlers back


class Leaving:
    """Ends the process at the second signal, or at one after the run: not at one more of those that come as one."""

    def __init__(self, clock: Clock) -> None:
        self.first: int | None = None
        self._clock = clock
        self._at = 0

    def heard(self, number: int) -> None:
        """Take note of the first signal."""
        self.first, self._at = number, self._clock.now()

    def is_second(self, number: int) -> bool:
        """Tell whether a signal that comes now is another one than the first."""
        both_interrupt = self.first == number == signal.SIGINT
        return self._clock.now() - self._at >= (ONE_INTERRUPT_MS if both_interrupt else ONE_SIGNAL_MS)

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """End the process now. The table is safe at every instant; what is at the service stays there."""
        if self.first is not None and not self.is_second(number):
            return
        if sys.stdout.isatty():
            os.write(1, _SHOW_CURSOR)
        os._exit(128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM))


def _leave_at(numbers: Sequence[signal.Signals], leaving: Leaving) -> None:
    for number in numbers:
        signal.signal(number, leaving)
