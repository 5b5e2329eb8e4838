"""The line to a sink: so many bytes a second of all uploads together."""

import math

LEAST_WAIT_SECONDS = 0.005  #: shorter ones are saved up
LATE_SECONDS = 0.02  #: a line goes on carrying, into the buffers on the way, while a sink waits for a processor
IDLE_SECONDS = 0.1  #: for so long nothing came because nothing was sent: then nothing is saved up


class Link:
    """Tells when more may be received; what is small never waits for it."""

    def __init__(self, megabytes_per_second: float) -> None:
        self._rate = megabytes_per_second * 1e6 or math.inf
        self._paid_until = 0.0

    def wait(self, received: int, now: float) -> float:
        """Return for how many seconds nothing more may be received; 0 is none."""
        idle = now - self._paid_until > IDLE_SECONDS
        self._paid_until = max(self._paid_until, now if idle else now - LATE_SECONDS) + received / self._rate
        wait = self._paid_until - now
        return wait if wait > LEAST_WAIT_SECONDS else 0.0
