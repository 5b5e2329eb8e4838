"""What a batcher was told by the lists it got: what it decides is held against that."""

from dataclasses import dataclass

from batcher.model import RemoteObject

FRESH_MS = 30_000  #: so old may a list be on which room is decided, or twice as old as it took


@dataclass(frozen=True, slots=True)
class Look:
    """What a list told a batcher, by the service's clock."""

    began: int
    answered: int
    objects: tuple[RemoteObject, ...]

    def __str__(self) -> str:
        return f"begun at {self.began}, answered at {self.answered}"

    def stale(self, now: int) -> bool:
        """Tell whether it is too old to decide about room."""
        return now - self.began > max(FRESH_MS, 2 * (self.answered - self.began))

    def others(self, batch: str) -> int:
        """Return how many pending objects of others it shows."""
        ours = f"batcher1.{batch}."
        return sum(each.status.pending and not each.reference.startswith(ours) for each in self.objects)
