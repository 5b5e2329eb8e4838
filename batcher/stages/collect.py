"""Collect: fetch → commit → render → delete; and delete what failed, was cancelled or belongs to no job."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from batcher.errors import BatcherError, Kind, MachineRefuses, ServiceError
from batcher.files import OutputError
from batcher.killpoints import reach
from batcher.model import Cause, Job, Transcript, flac_bytes
from batcher.policy import second_chance
from batcher.render import About, render
from batcher.stages.about import about
from batcher.stages.context import COLLECTED, Context
from batcher.stages.stage import Claimed
from batcher.states import Event, State
from batcher.store import jobs, survey, transcripts
from batcher.store.table import Ledger
from batcher.transcripts import pack

Extra = tuple[str, int]
T = TypeVar("T")

#: Packing and rendering take 5 to 10 µs a word and format; more words than this are not worked on in the loop.
LONG_WORDS = 500


class Collect:
    """Brings transcripts home and leaves nothing behind at the service."""

    name = "collect"

    def __init__(self, context: Context) -> None:
        self._context = context
        self.bell = context.bells.collect
        self.places = context.plan.collect_concurrency
        self._at_hand: dict[int, transcripts.Stored] = {}  #: by job: what was just committed, and need not be read

    async def claim(self, places: int, busy: Collection[object]) -> Claimed[Job | Extra]:
        """Return jobs that are due to be fetched, rendered or cleared, then extras to delete."""
        context, reach_now = self._context, self._context.reach
        await context.refill.give_way()
        if context.draining:
            return Claimed()
        calls = reach_now.calls(self.name, places) if reach_now else 0
        states = COLLECTED if calls else (State.RENDERING,)
        claimed = await context.table.transact(partial(_due, states=states, places=calls or places, busy=busy))
        reach_now.begun(self.name, len(claimed.items))
        return claimed

    def key(self, item: Job | Extra) -> object:
        """Return the job's id, or the extra's id at the service."""
        return item.id if isinstance(item, Job) else item[0]

    async def handle(self, item: Job | Extra) -> None:
        """Take a job as far as it goes now."""
        if not isinstance(item, Job):
            await self._delete_extra(*item)
            return
        step: Job | None = item
        try:
            while step is not None and step.state in COLLECTED:
                step = await self._step_safely(step)
        finally:
            self._at_hand.pop(item.id, None)

    async def _step_safely(self, job: Job) -> Job | None:
        """Do one step; return the job as it is then if there is another one to do at once."""
        try:
            return await _STEPS[job.state](self, job)
        except ServiceError as error:
            await self._service_failed(job, error)
        except OutputError as error:
            await self._fire(job, Event.UNWRITABLE, str(error), {"cause": Cause.OUTPUT})
        except MachineRefuses as error:
            self._context.short_of_space = True
            await self._defer(job, str(error))
        return None

    async def _fetch(self, job: Job) -> Job | None:
        assert job.remote is not None
        context = self._context
        transcript = await context.service.fetch(job.remote)
        context.call_succeeded(self.name)
        reach("fetched")
        body = await self._make(transcript, partial(pack, transcript))

        def keep(ledger: Ledger) -> tuple[transcripts.Stored | None, Job | None]:
            return transcripts.keep(ledger, job, context.service.name, transcript, body), jobs.get(ledger, job.id)

        stored, kept = await context.table.transact(keep)
        reach("transcript-committed")
        if stored is not None:
            self._at_hand[job.id] = stored
        return kept

    async def _render(self, job: Job) -> jobs.Facts:
        """Write the outputs of a committed transcript, and return what to record of them."""
        context = self._context
        assert job.transcript is not None
        stored = self._at_hand.get(job.id)
        if stored is None:
            stored = await context.table.transact(partial(_read, number=job.transcript))
        facts = about(job, stored, context.batch.id)
        formats = self._formats(job)
        outputs = await self._make(stored.transcript, partial(_outputs, job, formats, stored.transcript, facts))
        await context.disk.write(outputs, replace=bool(job.formats))
        reach("rendered")
        return {"formats": ",".join(formats), "shown": job.transcript}

    def _formats(self, job: Job) -> list[str]:
        """Return the formats asked for now and those written before, which must not go on showing other words."""
        before = [name for name in job.formats.split(",") if name]
        return list(dict.fromkeys([*self._context.plan.formats, *before]))

    async def _make(self, transcript: Transcript, work: Callable[[], T]) -> T:
        """Run `work` on a transcript: here when it is short, off the event loop when it would hold it up."""
        if sum(len(part.words) for part in transcript.parts) < LONG_WORDS:
            return work()
        return await self._context.compute(work)

    async def _finish(self, job: Job) -> None:
        """Render a committed transcript, then clear the service of it."""
        shown = jobs.NO_FACTS if job.shown == job.transcript else await self._render(job)
        try:
            await self._delete(job)
        except ServiceError:
            await self._context.table.transact(partial(jobs.rendered, job=job, facts=shown))
            raise
        await self._fire(job, Event.CLEARED, None, shown)

    async def _render_only(self, job: Job) -> None:
        await self._fire(job, Event.WRITTEN, None, await self._render(job))

    async def _clear(self, job: Job) -> None:
        """Delete what failed or was cancelled; what there is a remedy for is sent once more."""
        await self._delete(job)
        facts = second_chance(job, may_convert=self._context.plan.convert and self._fits_as_flac(job))
        if facts is None:
            await self._fire(job, Event.CLEARED, job.reason)
            return
        # Not sealed any more: a list from before the deletion may still show the object that is gone.
        gone = {"remote": None, "sealed_at": None, "first_attempt": job.attempt + 1}
        fresh = {"cause": None, "remedy": None, "not_before": 0, "failures": 0}
        await self._fire(job, Event.FORGIVEN, f"once more after: {job.reason}", {**gone, **fresh, **facts})

    def _fits_as_flac(self, job: Job) -> bool:
        """Tell whether the account could ever hold a job's recording as FLAC; otherwise it would wait for ever."""
        most = self._context.headroom.limits.bytes
        return most is None or flac_bytes(job.duration_ms) <= most

    async def _delete(self, job: Job) -> None:
        if job.remote is not None:
            await self._context.service.delete(job.remote)
            self._context.call_succeeded(self.name)
            reach("deleted")

    async def _service_failed(self, job: Job, error: ServiceError) -> None:
        """Decide about a failed fetch or delete: wait, or ask again what state the object is in.

        However a fetch fails, its object is not deleted for it: the transcript there is paid for.
        """
        context = self._context
        context.call_failed(self.name, error)
        fetching = job.state is State.COMPLETED
        if fetching and error.kind is Kind.NOT_READY:
            facts = {"not_before": context.backoff("collect", job.failures + 1), "failures": job.failures + 1}
            await self._fire(job, Event.REOPENED, str(error), facts)
        else:
            await self._defer(job, str(error), counted=error.kind is not Kind.RATE)

    async def _delete_extra(self, remote: str, failures: int) -> None:
        context = self._context
        try:
            await context.service.delete(remote)
        except ServiceError as error:
            context.call_failed(self.name, error)
            await self._defer_extra(remote, failures)
        else:
            context.call_succeeded(self.name)
            reach("extra-deleted")
            await context.table.transact(partial(survey.drop_extra, remote=remote))
            context.bells.poll.ring()

    async def _defer_extra(self, remote: str, failures: int) -> None:
        at = self._context.backoff("collect", failures + 1)
        await self._context.table.transact(partial(survey.defer_extra, remote=remote, not_before=at))

    async def _fire(self, job: Job, event: Event, detail: str | None, facts: jobs.Facts = jobs.NO_FACTS) -> None:
        work = partial(jobs.fire, job_id=job.id, source=job.state, event=event, detail=detail, facts=facts)
        await self._context.table.transact(work)

    async def _defer(self, job: Job, reason: str, *, counted: bool = True) -> None:
        failures = job.failures + counted
        if job.state in (State.FAILING, State.CANCELLING):
            reason = job.reason or reason  # why it failed, not why it cannot be deleted yet
        at = self._context.backoff("collect", max(1, failures))
        await self._context.table.transact(lambda ledger: jobs.defer(ledger, job, at, failures, reason))

    async def broke(self, item: Job | Extra, reason: str) -> None:
        """Try again later; outputs that can never be made fail their job."""
        if not isinstance(item, Job):
            await self._defer_extra(*item)
            return
        job = await self._context.table.transact(lambda ledger: jobs.get(ledger, item.id)) or item
        hopeless = job.failures + 1 >= self._context.plan.max_failures
        if hopeless and job.state in (State.STORED, State.RENDERING):
            await self._fire(job, Event.UNWRITABLE, reason, {"cause": Cause.INTERNAL})
        else:
            await self._defer(job, reason)


_STEPS: dict[State, Callable[[Collect, Job], Awaitable[Job | None]]] = {
    State.COMPLETED: Collect._fetch,  # noqa: SLF001 - the dispatcher of this very class
    State.STORED: Collect._finish,  # noqa: SLF001
    State.RENDERING: Collect._render_only,  # noqa: SLF001
    State.FAILING: Collect._clear,  # noqa: SLF001
    State.CANCELLING: Collect._clear,  # noqa: SLF001
}


def _read(ledger: Ledger, number: int) -> transcripts.Stored:
    """Return a stored transcript. A damaged one is its own job's failure, not the batch's."""
    try:
        return transcripts.read(ledger, number)
    except BatcherError as error:
        raise OutputError(str(error), hint=error.hint) from error


def _outputs(job: Job, formats: list[str], transcript: Transcript, facts: About) -> list[tuple[str, bytes]]:
    return [(f"{job.output}.{name}", render(name, transcript, facts)) for name in formats]


def _due(ledger: Ledger, states: Sequence[State], places: int, busy: Collection[object]) -> Claimed[Job | Extra]:
    found = jobs.due(ledger, states, places, [key for key in busy if isinstance(key, int)])
    if len(found) == places:  # nothing more is taken before one of them ends, which rings
        return Claimed(found)
    if State.COMPLETED not in states:
        return Claimed(found, jobs.next_due(ledger, states))
    extras = survey.due_extras(ledger, places - len(found), [key for key in busy if isinstance(key, str)])
    return Claimed([*found, *extras], _next_due(ledger))


def _next_due(ledger: Ledger) -> int | None:
    moments = [jobs.next_due(ledger, COLLECTED), survey.next_due_extra(ledger)]
    return min((moment for moment in moments if moment is not None), default=None)
