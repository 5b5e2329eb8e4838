"""The one place from which work goes to a thread: reading, hashing, walking and syncing block."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

THREADS = 24  #: at most; enough to hide a slow disk behind others, few enough for memory and file handles

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_limiter: RunVar[CapacityLimiter] = RunVar("batcher.files.offload")


async def offload(fn: Callable[[*Ts], T], *args: *Ts) -> T:
    """Return `fn(*args)`, run in a thread; at most `THREADS` at once, the others wait their turn.

    A cancelled caller still waits for the thread, so nothing goes on behind its back: what `fn` opened can be
    closed, and what it writes is written. Only a task that is cancelled past anyio does not wait, as aiohttp cancels
    the one that sends a body: the lock in `batcher.files.recording` then makes the closing wait. Whatever `fn` raises
    comes out unchanged, except StopIteration, which no future can carry.
    """
    return await to_thread.run_sync(fn, *args, limiter=_threads())


def in_flight() -> int:
    """Return how many calls are in a thread now. A loop with a clock of its own must not move it meanwhile."""
    return _threads().borrowed_tokens


def _threads() -> CapacityLimiter:
    """Return the limiter of the running loop; limiters do not outlive their loop."""
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return limiter
