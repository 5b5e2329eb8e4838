"""Pages of lists, and the opaque cursors between them.

A cursor holds the place of the last object shown, not a number of objects: what is deleted meanwhile shifts nothing.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from batcher.clock import Dice
from batcher.emulator import rest_refusals as refuse
from batcher.emulator.knobs import Order
from batcher.emulator.rest_refusals import Invalid

MOST = 1000  #: entries of a page, also when the client names no number
_DIGITS = 9  #: of a number that is worth reading


class Placed(Protocol):
    """Something with a place in the order of arrival."""

    @property
    def serial(self) -> int:
        """Return the place."""


T = TypeVar("T", bound=Placed)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and the cursor of the next page; None after the last."""

    items: list[T]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page a client asks for. An empty cursor is the first page."""

    limit: int = MOST
    cursor: str = ""


def wanted(limit: str | None, cursor: str | None) -> Wanted:
    """Read the two parameters of a list. Raises RestRefusal."""
    if limit is None:
        return Wanted(cursor=cursor or "")
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= _DIGITS and 1 <= int(limit) <= MOST):
        raise refuse.invalid(Invalid("query.limit", f"Must be a number from 1 to {MOST}."))
    return Wanted(int(limit), cursor or "")


def page(items: Sequence[T], wish: Wanted, order: Order, dice: Dice) -> Page[T]:
    """Return the page that a client asks for. Raises RestRefusal when the cursor is none of this kind of list."""
    if wish.cursor:
        salt, place = _read(wish.cursor, order)
    else:
        salt, place = dice.stream("emulator.order").getrandbits(32) if order is Order.SHUFFLED else 0, None
    placed = _placing(order, salt)
    rest = sorted((item for item in items if place is None or placed(item) > place), key=placed)
    shown = rest[: wish.limit]
    more = len(rest) > len(shown)
    return Page(shown, _write(order, salt, placed(shown[-1])) if more else None)


def _placing(order: Order, salt: int) -> Callable[[Placed], int]:
    """Return the function by which a list is sorted; a shuffled one keeps its order over all its pages."""
    if order is Order.NEWEST:
        return lambda item: -item.serial
    if order is Order.OLDEST:
        return lambda item: item.serial
    return lambda item: int.from_bytes(hashlib.sha256(f"{salt}:{item.serial}".encode()).digest()[:8])


def _write(order: Order, salt: int, place: int) -> str:
    text = f"{order}:{salt}:{place}"
    return base64.urlsafe_b64encode(f"{text}:{_check(text)}".encode()).decode().rstrip("=")


def _read(cursor: str, order: Order) -> tuple[int, int]:
    try:
        plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise refuse.invalid_cursor() from error
    text, _, check = plain.rpartition(":")
    if check != _check(text) or not text.startswith(f"{order}:"):
        raise refuse.invalid_cursor()
    _, salt, place = text.split(":")
    return int(salt), int(place)


def _check(text: str) -> str:
    return f"{binascii.crc32(text.encode()):08x}"
