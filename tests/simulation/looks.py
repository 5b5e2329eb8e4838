"""What a batcher was told by the lists it got: what it decides is held against that."""

from dataclasses import dataclass

from batcher.model import RemoteObject

FRESH_MS = 30_000  #: so old may a list be on which room is decided
LATE_MS = 10_000  #: by how much a list may come later than politeness allows it
LONGEST_MS = 600_000  #: so old it may be at most, however long it took


def fresh_ms(took: float, apart: float) -> float:
    """Return how old a list may be on which room is decided, in milliseconds.

    Twice as old as it took; and as the next one may be, which politeness lets begin only so long after it.
    """
    return max(FRESH_MS, min(LONGEST_MS, max(2 * took, apart + took + LATE_MS)))


def apart_ms(wait_ms: int) -> int:
    """Return how far apart two lists are that prove absence, and how long bare audio is waited for, as is promised."""
    return min(60_000, wait_ms // 3)


@dataclass(frozen=True, slots=True)
class Look:
    """What a list told a batcher, by the service's clock."""

    began: int
    answered: int
    objects: tuple[RemoteObject, ...]

    def __str__(self) -> str:
        return f"begun at {self.began}, answered at {self.answered}"

    def stale(self, now: int, apart: float) -> bool:
        """Tell whether it is too old to decide about room, where lists are so many milliseconds apart."""
        return now - self.began > fresh_ms(self.answered - self.began, apart)

    def others(self, batch: str) -> int:
        """Return how many pending objects of others it shows."""
        ours = f"batcher1.{batch}."
        return sum(each.status.pending and not each.reference.startswith(ours) for each in self.objects)
