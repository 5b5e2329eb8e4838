"""An event loop whose time passes only when nobody has anything to do.

Sleeps, deadlines and timeouts follow it without a wrapper, and a program that waits for nothing is an error at
once instead of a hang. Nothing in a simulated night may use threads.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Everybody waits, and no timer is pending."""


class _Selector(selectors.SelectSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise Deadlock("nothing is runnable and no timer is pending")
        self.loop.moment += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; `moment` is its time in seconds."""

    def __init__(self, moment: float = 0.0) -> None:
        self.moment = moment
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Return the virtual time."""
        return self.moment


def run_virtually(main: Callable[[], Awaitable[T]], moment: float = 0.0) -> tuple[T, float]:
    """Run `main` on a fresh virtual loop that begins at `moment`; return its result and when it ended."""
    loops: list[VirtualLoop] = []

    def factory() -> VirtualLoop:
        loops.append(VirtualLoop(moment))
        return loops[-1]

    result = anyio.run(main, backend_options={"loop_factory": factory})
    return result, loops[-1].moment
