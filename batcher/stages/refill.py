"""Refill: while places that have become free at the service are filled again, everything else gives way for a moment.

A look shows many jobs completed at once. Fetching these first would leave their places empty meanwhile, and the window
of pending jobs is what a night's length depends on. It is a moment only: where sending takes long, nothing is gained.
"""

import anyio

from batcher.wakeup import Wakeup

#: As long as this everything else gives way.
SECONDS = 0.25


class Refill:
    """Whether places at the service are being filled just now."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._over = Wakeup()

    def note(self, *, more: bool) -> None:
        """Take note of whether more could be sent at once if there were more places for uploads."""
        if not more:
            self._since = None
            self._over.ring()
        elif self._since is None:
            self._since = anyio.current_time()

    async def give_way(self) -> None:
        """Wait while places are being filled, but not for long."""
        while self._since is not None:
            armed = self._over.arm()
            with anyio.move_on_after(self._since + SECONDS - anyio.current_time()) as late:
                await armed.wait()
            if late.cancelled_caught:
                return
