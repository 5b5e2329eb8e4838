"""Carrying out what `batcher retry` and `batcher cancel` have left for a run: in order, and each once."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from batcher.killpoints import reach
from batcher.requests import Request, apply_request
from batcher.store import wishes
from batcher.store.table import Ledger, Table


class Left(Protocol):
    """Where requests are left."""

    async def drop_request(self, name: str) -> None:
        """Remove a request, so that it is gone for good when this returns."""


def _nothing_more(_request: Request) -> None:
    """Do nothing when a request is carried out."""


async def heed(
    table: Table, left: Left, requests: Mapping[str, Request], heeded: Callable[[Request], None] = _nothing_more
) -> int:
    """Carry out the requests that are left, and return how many those were.

    Each is removed before the next one is carried out. So at most one is left behind by a kill, the latest, which the
    table remembers: repeated it would overtake what a person has asked for since.
    """
    latest = await table.transact(wishes.latest) if requests else ""
    if latest in requests:
        await left.drop_request(latest)
    due = {name: request for name, request in requests.items() if name != latest}
    for name, request in due.items():
        await table.transact(partial(_apply, name=name, request=request))
        reach("request-applied")
        heeded(request)
        await left.drop_request(name)
    return len(due)


def _apply(ledger: Ledger, name: str, request: Request) -> None:
    apply_request(ledger, request)
    wishes.remember(ledger, name)
