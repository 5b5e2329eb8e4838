"""Examine: look into what a scan found before anything is sent."""

from collections.abc import Collection
from functools import partial

from batcher.errors import MachineRefuses
from batcher.killpoints import reach
from batcher.model import Cause, Job
from batcher.stages.context import Context
from batcher.stages.stage import Claimed
from batcher.states import Event, State
from batcher.store import admission, jobs
from batcher.store.table import Ledger


class Examine:
    """Moves new jobs on: admitted, recognised by their content, twinned, or put aside with a reason."""

    name = "examine"
    places = 8

    def __init__(self, context: Context) -> None:
        self._context = context
        self.bell = context.bells.examine

    async def claim(self, places: int, busy: Collection[object]) -> Claimed[Job]:
        """Return new jobs."""
        if self._context.draining or not self._context.plan.admit:
            return Claimed()
        return await self._context.table.transact(partial(_due, places=places, busy=busy))

    def key(self, item: Job) -> object:
        """Return the job's id."""
        return item.id

    async def handle(self, item: Job) -> None:
        """Examine one recording and record the verdict."""
        try:
            results = await self._context.disk.examine([item])
        except MachineRefuses as error:
            await self._put_off(item, str(error))
            return
        reach("examined")
        await self._context.table.transact(partial(admission.examined, results=results))

    async def _put_off(self, item: Job, reason: str) -> None:
        """Look again later: it is this machine that is short of something, not the recording's fault."""
        at = self._context.backoff("examine", 1)
        await self._context.table.transact(lambda ledger: jobs.defer(ledger, item, at, item.failures, reason))

    async def broke(self, item: Job, error: Exception) -> None:
        """Try again later, with the error as the reason; after so many tries the job fails."""
        context, failures = self._context, item.failures + 1
        at = context.backoff("examine", failures)

        def put_back(ledger: Ledger) -> None:
            if failures >= context.plan.max_failures:
                jobs.fire(ledger, item.id, State.NEW, Event.UNREADABLE, repr(error), {"cause": Cause.INTERNAL})
            else:
                jobs.defer(ledger, item, at, failures, repr(error))

        await context.table.transact(put_back)


def _due(ledger: Ledger, places: int, busy: Collection[object]) -> Claimed[Job]:
    return Claimed(jobs.due(ledger, [State.NEW], places, busy), jobs.next_due(ledger, [State.NEW]))
