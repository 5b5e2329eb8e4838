"""Wake-ups: how one stage tells another that the table changed, without handing it anything."""

from anyio import Event


class Wakeup:
    """A bell that is armed before the table is read, so that a ring during the read is not lost."""

    def __init__(self) -> None:
        self._event = Event()

    def arm(self) -> Event:
        """Return the event to wait for; only a ring after this call sets it."""
        if self._event.is_set():
            self._event = Event()
        return self._event

    def ring(self) -> None:
        """Wake whoever waits."""
        self._event.set()
