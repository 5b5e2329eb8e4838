"""Examine: look into what a scan found before anything is sent.

Going to a thread costs as much as looking into a small recording, so several of those go together.
"""

from collections.abc import Collection, Sequence
from functools import partial

from batcher.errors import MachineRefuses
from batcher.killpoints import reach
from batcher.model import Cause, Job
from batcher.stages.context import Context
from batcher.stages.stage import Claimed
from batcher.states import Event, State
from batcher.store import admission, jobs
from batcher.store.table import Ledger

#: So many recordings go together, none of them larger: a stop waits for what is being read.
TOGETHER, SMALL_BYTES = 8, 1024 * 1024

Group = list[Job]


class Examine:
    """Moves new jobs on: admitted, recognised by their content, twinned, or put aside with a reason."""

    name = "examine"
    places = 8

    def __init__(self, context: Context) -> None:
        self._context = context
        self.bell = context.bells.examine
        self._suspects: set[int] = set()  #: one of them, nobody knows which, ended a look in an error: each goes alone

    async def claim(self, places: int, busy: Collection[object]) -> Claimed[Group]:
        """Return new jobs, in groups."""
        await self._context.refill.give_way()
        if self._context.draining or not self._context.plan.admit:
            return Claimed()
        found = await self._context.table.transact(partial(_due, places=places * TOGETHER, busy=busy))
        return Claimed(self._groups(found.items)[:places], found.next_due)

    def _groups(self, found: Sequence[Job]) -> list[Group]:
        alone = [job for job in found if job.size > SMALL_BYTES or job.id in self._suspects]
        small = [job for job in found if job not in alone]
        return [[job] for job in alone] + [small[at : at + TOGETHER] for at in range(0, len(small), TOGETHER)]

    def key(self, item: Group) -> object:
        """Return the jobs' ids."""
        return tuple(job.id for job in item)

    async def handle(self, item: Group) -> None:
        """Examine some recordings and record the verdicts."""
        try:
            results = await self._context.disk.examine(item)
        except MachineRefuses as error:
            await self._put_off(item, str(error))
            return
        reach("examined")
        await self._context.table.transact(partial(admission.examined, results=results))

    async def _put_off(self, item: Group, reason: str) -> None:
        """Look again later: it is this machine that is short of something, not a recording's fault."""
        at = self._context.backoff("examine", 1)

        def defer(ledger: Ledger) -> None:
            for job in item:
                jobs.defer(ledger, job, at, job.failures, reason)

        await self._context.table.transact(defer)

    async def broke(self, item: Group, reason: str) -> None:
        """Try again later; after so many tries the job fails."""
        if len(item) > 1:
            self._suspects.update(job.id for job in item)
        else:
            await self._broke(item[0], reason)

    async def _broke(self, item: Job, reason: str) -> None:
        context, failures = self._context, item.failures + 1
        at = context.backoff("examine", failures)

        def put_back(ledger: Ledger) -> None:
            if failures >= context.plan.max_failures:
                jobs.fire(ledger, item.id, State.NEW, Event.UNREADABLE, reason, {"cause": Cause.INTERNAL})
            else:
                jobs.defer(ledger, item, at, failures, reason)

        await context.table.transact(put_back)


def _due(ledger: Ledger, places: int, busy: Collection[object]) -> Claimed[Job]:
    in_hand = [job for key in busy if isinstance(key, tuple) for job in key]
    return Claimed(jobs.due(ledger, [State.NEW], places, in_hand), jobs.next_due(ledger, [State.NEW]))
