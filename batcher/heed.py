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

    async def drop_request(self, name: str) -> bool:
        """Remove a request, and tell whether it is gone for good."""


def _nothing_more(_request: Request) -> None:
    """Do nothing when a request is carried out."""


async def heed(
    table: Table, left: Left, requests: Mapping[str, Request], heeded: Callable[[Request], None] = _nothing_more
) -> int:
    """Carry out the requests that are left, and return how many those were.

    Each is removed before the next one is carried out. So at most one is left behind by a kill, the latest, which the
    table remembers: repeated it would overtake what a person has asked for since. For the same reason one that cannot
    be removed holds up those that were left after it.
    """
    latest = await table.transact(wishes.latest) if requests else ""
    if latest in requests and not await left.drop_request(latest):
        return 0
    due = {name: request for name, request in requests.items() if name != latest}
    for done, (name, request) in enumerate(due.items(), 1):
        await table.transact(partial(_apply, name=name, request=request))
        reach("request-applied")
        heeded(request)
        if not await left.drop_request(name):
            return done
    return len(due)


def _apply(ledger: Ledger, name: str, request: Request) -> None:
    apply_request(ledger, request)
    wishes.remember(ledger, name)
