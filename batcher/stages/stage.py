"""What a stage is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from batcher.wakeup import Wakeup

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claimed(Generic[T]):
    """What a stage takes on, and when the next item comes due by itself (UTC milliseconds)."""

    items: Sequence[T] = ()
    next_due: int | None = None


class Stage(Protocol[T]):
    """A stage takes items from the table, works on several at once, and leaves each in another state."""

    name: str
    bell: Wakeup

    @property
    def places(self) -> int:
        """Return how many items it works on at once; it is asked each time anew."""

    async def claim(self, places: int, busy: Collection[object]) -> Claimed[T]:
        """Take up to `places` items that are due, none of them in `busy`."""

    def key(self, item: T) -> object:
        """Return what identifies an item in `busy`."""

    async def handle(self, item: T) -> None:
        """Work on one item until it is in another state or has another due time."""

    async def broke(self, item: T, reason: str) -> None:
        """Put back an item whose handler ended in an error that nobody foresaw, with what the table is to say of it."""
