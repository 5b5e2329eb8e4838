"""Refill: while places that have become free at the service are filled again, everything else gives way for a moment.

A look shows many jobs completed at once. Fetching these first would leave their places empty meanwhile, and the window
of pending jobs is what a night's length depends on. It is a moment only: where sending takes long, nothing is gained.
"""

import anyio

from batcher.wakeup import Wakeup

#: As long as this everything else gives way.
SECONDS = 0.25


class Refill:
    """Whether places at the service that have become free are being filled just now."""

    def __init__(self) -> None:
        self._until = float("-inf")
        self._more = False
        self._enough = Wakeup()

    def begin(self) -> None:
        """Take note that places have become free, and that something may wait for them."""
        self._until = anyio.current_time() + SECONDS
        self._more = True

    def sent(self, *, more: bool) -> None:
        """Take note that something is on its way, and whether more waits that could be."""
        self._more = more
        if not more:
            self._enough.ring()

    async def give_way(self) -> None:
        """Wait while places are being filled, but not for long, whatever becomes free meanwhile."""
        until = self._until
        while self._more and (left := until - anyio.current_time()) > 0:
            armed = self._enough.arm()
            with anyio.move_on_after(left):
                await armed.wait()
