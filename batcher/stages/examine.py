"""Examine: look into what a scan found before anything is sent."""

from collections.abc import Collection, Sequence
from functools import partial

from batcher.model import Job
from batcher.stages.context import Context
from batcher.states import State
from batcher.store import admission, jobs


class Examine:
    """Moves new jobs on: admitted, recognised by their content, twinned, or put aside with a reason."""

    name = "examine"
    places = 8

    def __init__(self, context: Context) -> None:
        self._context = context
        self.bell = context.bells.examine

    async def claim(self, places: int, busy: Collection[object]) -> Sequence[Job]:
        """Return new jobs."""
        if self._context.draining or not self._context.plan.admit:
            return []
        return await self._context.table.transact(lambda ledger: jobs.due(ledger, [State.NEW], places, busy))

    def key(self, item: Job) -> object:
        """Return the job's id."""
        return item.id

    async def handle(self, item: Job) -> None:
        """Examine one recording and record the verdict."""
        results = await self._context.disk.examine([item])
        await self._context.table.transact(partial(admission.examined, results=results))

    async def broke(self, item: Job, error: Exception) -> None:
        """Try again later, with the error as the reason."""
        context = self._context
        at = context.backoff("examine", item.failures + 1)
        await context.table.transact(lambda ledger: jobs.defer(ledger, item, at, item.failures + 1, repr(error)))

    async def next_due(self) -> int | None:
        """Return when a deferred new job may be looked at again."""
        return await self._context.table.transact(lambda ledger: jobs.next_due(ledger, [State.NEW]))
