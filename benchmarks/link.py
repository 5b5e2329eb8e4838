"""The line to a sink: so many bytes a second of all uploads together."""

import math

BURST_SECONDS = 0.005  #: in which a link may be ahead of its rate


class Link:
    """Tells when more may be received; what is small never waits for it."""

    def __init__(self, megabytes_per_second: float) -> None:
        self._rate = megabytes_per_second * 1e6 or math.inf
        self._paid_until = 0.0

    def wait(self, received: int, now: float) -> float:
        """Return for how many seconds nothing more may be received; 0 is none."""
        self._paid_until = max(self._paid_until, now - BURST_SECONDS) + received / self._rate
        wait = self._paid_until - now
        return wait if wait > BURST_SECONDS else 0.0
