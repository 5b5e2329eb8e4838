"""An event loop whose time passes only when nobody has anything to do.

Sleeps, deadlines and timeouts follow it without a wrapper, and a program that waits for nothing is an error at
once instead of a hang. Nothing in a simulated night may use threads.
"""

import asyncio
import gc
import heapq
import math
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import TypeVar, TypeVarTuple, cast

import anyio
from anyio._backends._asyncio import CancelScope

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(RuntimeError):
    """Everybody waits, and no timer is pending."""


class _Selector(selectors.SelectSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is runnable and no timer is pending")
        if timeout > 0:  # nobody uses sockets here, so nothing else can happen
            self.loop.moment += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; `moment` is its time in seconds, `steps` how many callbacks were ever made ready to run."""

    def __init__(self, moment: float = 0.0) -> None:
        self.moment = moment
        self.steps = 0
        self._alarms: list[tuple[int, int, Callable[[], None]]] = []
        self._next_alarm = math.inf
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Return the virtual time."""
        return self.moment

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Make a callback ready to run. Every await that waits ends in one: the place to count them."""
        self.steps += 1
        if self.steps >= self._next_alarm:
            self._ring()
        return super().call_soon(callback, *args, context=context)

    def after_steps(self, steps: int, action: Callable[[], None]) -> None:
        """Call `action` between two callbacks, when so many more of them were made ready."""
        heapq.heappush(self._alarms, (self.steps + steps, len(self._alarms), action))
        self._next_alarm = self._alarms[0][0]

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.steps:
            super().call_soon(heapq.heappop(self._alarms)[2])
        self._next_alarm = self._alarms[0][0] if self._alarms else math.inf


class _InOrder(dict[object, None]):
    """A set that is gone through in the order in which it was filled."""

    def add(self, item: object) -> None:
        self[item] = None

    def discard(self, item: object) -> None:
        self.pop(item, None)

    def remove(self, item: object) -> None:
        del self[item]


@contextmanager
def _nothing_depends_on_memory() -> Iterator[None]:
    """Have the same happen again whenever the same is run, whatever the process did before.

    Garbage is left until the end: it may hold generators, whose ends are steps of the loop. And anyio cancels tasks in
    the order of their addresses; here it is that in which they came.
    """
    original = CancelScope.__init__

    def ordered(self: CancelScope, *args: object, **named: object) -> None:
        original(self, *args, **named)  # type: ignore[arg-type]
        self._tasks, self._child_scopes = _InOrder(), _InOrder()  # type: ignore[assignment]

    gc.disable()
    CancelScope.__init__ = ordered  # type: ignore[method-assign]
    try:
        yield
    finally:
        CancelScope.__init__ = original  # type: ignore[method-assign]
        gc.enable()


def running_loop() -> VirtualLoop:
    """Return the virtual loop that runs."""
    return cast("VirtualLoop", asyncio.get_running_loop())


def run_virtually(main: Callable[[], Awaitable[T]], moment: float = 0.0) -> tuple[T, float]:
    """Run `main` on a fresh virtual loop that begins at `moment`; return its result and when it ended."""
    loops: list[VirtualLoop] = []

    def factory() -> VirtualLoop:
        loops.append(VirtualLoop(moment))
        return loops[-1]

    with _nothing_depends_on_memory():
        result = anyio.run(main, backend_options={"loop_factory": factory})
    return result, loops[-1].moment
