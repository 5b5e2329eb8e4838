"""What an account holds of one kind, and what it held a moment ago: lists may be old, late or out of order."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from batcher.clock import Dice
from batcher.emulator.knobs import Knobs, Order
from batcher.emulator.objects import Item

T = TypeVar("T", bound=Item)

_REMEMBERED = 10_000  #: how many objects that are gone are kept at most


class Shelf(Generic[T]):
    """The objects of one kind, oldest first."""

    def __init__(self, knobs: Knobs, dice: Dice) -> None:
        self._knobs = knobs
        self._dice = dice
        self._items: dict[str, T] = {}
        self._gone: deque[tuple[int, T]] = deque(maxlen=_REMEMBERED)
        self._serial = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.values())

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __getitem__(self, key: str) -> T:
        return self._items[key]

    def add(self, item: T) -> None:
        """Take an object in."""
        self._serial += 1
        item.serial = self._serial
        self._items[item.id] = item

    def remove(self, item: T, now: int) -> None:
        """Give an object away; lists of the past still show it."""
        del self._items[item.id]
        self._gone.append((now, item))

    def expired(self, now: int) -> list[T]:
        """Return what is older than the retention allows, and forget what has been gone for long."""
        while self._gone and self._gone[0][0] + self._knobs.memory_ms < now:
            self._gone.popleft()
        keep = self._knobs.retention_ms
        return [] if keep is None else [item for item in self if item.created + keep <= now]

    def seen(self, now: int, *, age_ms: int = 0) -> list[T]:
        """Return what a list shows, newest first, as it was `age_ms` ago."""
        time = now - age_ms
        items = [item for item in self if item.visible <= time - self._knobs.list_lag_ms]
        if age_ms:
            items += [item for gone, item in self._gone if gone > time and item.visible <= time]
        items.sort(key=lambda item: item.serial, reverse=True)
        return items

    def listed(self, now: int, *, age_ms: int = 0) -> list[T]:
        """Return the same in the order that the knob says, for lists that come whole."""
        items = self.seen(now, age_ms=age_ms)
        if self._knobs.order is Order.SHUFFLED:
            self._dice.stream("emulator.order").shuffle(items)
        return items if self._knobs.order is not Order.OLDEST else items[::-1]
