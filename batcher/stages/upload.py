"""Upload: the scheduler claims within the quota, the worker pool sends."""

from collections.abc import Callable, Collection
from functools import partial

import anyio
from anyio.lowlevel import checkpoint

from batcher.disk import Recording
from batcher.errors import (
    AccountRefused,
    BatcherError,
    Kind,
    MachineRefuses,
    ServiceError,
    SourceChanged,
    SourceError,
)
from batcher.killpoints import reach
from batcher.model import Cause, Job
from batcher.options import Options
from batcher.policy import submission_failed
from batcher.service import Submission
from batcher.stages.context import Context
from batcher.stages.stage import Claimed
from batcher.states import Event, State
from batcher.store import admission, jobs, transcripts
from batcher.store.claim import Claim, claim
from batcher.store.table import Ledger
from batcher.valve import Throttled

#: Failures that fewer uploads at once may help against.
THE_LINE = (Kind.UNREACHABLE, Kind.LATER, Kind.UNCERTAIN)


class Upload:
    """Claims waiting jobs as long as the account has room, and sends them."""

    name = "upload"

    def __init__(self, context: Context) -> None:
        self._context = context
        self.bell = context.bells.upload
        self._sending = 0
        self._options: dict[str, Options] = {}

    @property
    def places(self) -> int:
        """Return how many recordings may be sent at the same time."""
        return self._look()

    def _look(self, *, short: bool = False) -> int:
        allowed = self._context.headroom.limits.pending
        return self._context.uploads.observe(anyio.current_time(), self._sending, allowed, short=short)

    async def claim(self, places: int, busy: Collection[object]) -> Claimed[Job]:
        """Claim what the quota allows now, and take note of how many are being sent."""
        claimed = await self._claim(self._context.reach.calls(self.name, places), busy)
        self._context.reach.begun(self.name, len(claimed.items))
        self._sending += len(claimed.items)
        short = len(claimed.items) < places
        self._look(short=short)
        self._context.refill.sent(more=not short)
        return claimed

    async def _claim(self, places: int, busy: Collection[object]) -> Claimed[Job]:
        context = self._context
        context.why_waiting, context.lacking = self._obstacle(), ""
        if context.why_waiting or context.draining or not context.plan.admit or context.headroom.judging:
            return Claimed()
        headroom, longest_first = context.headroom, context.plan.longest_first
        version, limits, room = headroom.version, headroom.limits, headroom.room(context.clock.now())

        def work(ledger: Ledger) -> tuple[Claim, int | None]:
            if headroom.version != version:  # something was learned of the room since: its turn comes again at once
                return Claim([]), None
            claimed = claim(ledger, context.batch, limits, room, places, busy, longest_first=longest_first)
            return claimed, jobs.next_due(ledger, [State.WAITING])

        claimed, next_due = await context.table.transact(work)
        reach("claimed")
        context.lacking = claimed.lacking
        if claimed.unfinished:
            self.bell.ring()
        if context.lacking:
            context.bells.ahead.ring()
        return Claimed(claimed.jobs, next_due)

    def _obstacle(self) -> str:
        """Return why nothing may be sent now, or nothing."""
        context = self._context
        if not context.reach:
            return "the service does not answer"
        if not context.reach.calls(self.name, 1):
            return "asking the service whether it answers: uploads do not get there"
        if context.short_of_space:
            return "too little disk space left here"
        if context.headroom.paused(context.clock.now()):
            return f"the service refused a moment ago: {context.headroom.refusal}"
        if not context.headroom.fresh(context.clock.now()):
            if not context.reach.in_vain(self.name):
                context.look_now()
            return "asking the service how much room there is"
        return ""

    def key(self, item: Job) -> object:
        """Return the job's id."""
        return item.id

    async def handle(self, item: Job) -> None:
        """Send one recording. A drain ends it here as long as it is not sealed."""
        context = self._context
        with anyio.CancelScope() as scope:
            context.unsealed[item.id] = scope
            if context.draining:
                scope.cancel()
            try:
                await _Sending(context, item, await self._options_of(item)).run()
            finally:
                self._sending -= 1
                context.unsealed.pop(item.id, None)
                context.sealed.discard(item.id)
                context.bells.answered.ring()

    async def _options_of(self, job: Job) -> Options:
        """Return the options the job was found with, which may be older than this run's."""
        if job.options not in self._options:
            body = await self._context.table.transact(lambda ledger: transcripts.options_of(ledger, job.options))
            self._options[job.options] = Options.from_json(body)
        return self._options[job.options]

    async def broke(self, item: Job, reason: str) -> None:
        """Put a job back as its seal demands; before the seal it fails after so many tries."""
        await _Sending(self._context, item, Options()).broke(reason)


class _Sending:
    """One attempt on its way."""

    def __init__(self, context: Context, job: Job, options: Options) -> None:
        self._context = context
        self._job = job
        self._options = options
        self._epoch = context.uploads.begin()
        self._recording: Recording | None = None
        self._loose = False  #: nobody knows whether it left something at the service

    async def run(self) -> None:
        """Send the recording and record how it ended; an error that nobody foresaw is left to `broke`."""
        try:
            remote = await self._send()
        except (SourceError, MachineRefuses, ServiceError) as error:
            self._loose = error.loose
            await self._ended(error)
        except anyio.get_cancelled_exc_class():
            await self.put_back("batcher was stopped")
            raise
        else:
            await self._accepted(remote)

    async def _ended(self, error: BatcherError) -> None:
        """Record which error it ended in: it was not accepted, or nobody knows."""
        if isinstance(error, SourceChanged):
            await self._changed(str(error))
        elif isinstance(error, SourceError):
            await self._unreadable(str(error))
        elif isinstance(error, ServiceError):
            await self._failed(error)
        else:
            await self._no_room_here(str(error))

    async def _send(self) -> str:
        context, job = self._context, self._job
        assert job.reference is not None
        async with context.openings.recording(job) as opened:
            self._recording = recording = Throttled(opened, context.valve)
            submission = Submission(job.reference, self._options, recording, job.url)
            return await context.service.submit(submission, self._seal)

    async def _seal(self) -> None:
        """Make durable that the service may accept the attempt from here on."""
        context, job = self._context, self._job
        assert self._recording is not None
        digest = self._recording.digest
        if job.digest not in (None, digest):
            raise SourceChanged("its content is not what it was when it was examined")
        if job.digest is None and await context.table.transact(partial(admission.is_known, job=job, digest=digest)):
            raise SourceChanged("the same audio is known under another name: it is compared first")
        await checkpoint()  # a stop that came before ends it here, and nothing is uncertain
        context.unsealed.pop(job.id, None)  # one that comes now waits for the answer
        context.sealed.add(job.id)
        reach("before-seal")
        facts = {"digest": digest, "sealed_at": context.clock.now()}
        await self._fire(State.UPLOADING, Event.SEAL, None, facts)
        reach("after-seal")

    async def _accepted(self, remote: str) -> None:
        reach("accepted")
        self._context.uploads.ended(anyio.current_time(), self._epoch, failed=False)
        self._context.refusals.success()
        self._context.call_succeeded(Upload.name)
        self._context.accepted_at = self._context.clock.now()
        await self._fire(State.SEALED, Event.ACCEPTED, None, {"remote": remote, "not_before": 0, "failures": 0})
        reach("acceptance-committed")

    async def _failed(self, error: ServiceError) -> None:
        """Record a failed submission; its kind and the seal decide what it means."""
        context, job = self._context, self._job
        if error.kind in THE_LINE:
            context.uploads.ended(anyio.current_time(), self._epoch, failed=True)
        state = await self._state()
        event = submission_failed(error.kind, state is State.SEALED)
        counted = error.kind in (Kind.LATER, Kind.UNCERTAIN, Kind.GONE, Kind.NOT_READY)
        failures = job.failures + counted
        facts: dict[str, object] = {"failures": failures, "not_before": context.backoff("upload", failures or 1)}
        if event is Event.POSTPONED and context.hopeless(failures):
            event = Event.REJECTED
        if event is Event.REJECTED:
            facts["cause"] = Cause.REFUSED if error.kind is Kind.HOPELESS else Cause.SERVICE
        await self._fire(state, event, str(error), facts)
        context.call_failed(Upload.name, error)
        if error.kind is Kind.HOPELESS and context.refusals.refused(str(error)):
            context.stop(_same_refusal_for_all(error))

    async def _changed(self, reason: str) -> None:
        """Start over with a recording that changed; one that never stops changing fails."""
        context, job = self._context, self._job
        failures = job.failures + 1
        if failures >= context.plan.max_failures:
            await self._fire(State.UPLOADING, Event.UNREADABLE, f"it keeps changing: {reason}", {"cause": Cause.SOURCE})
            return
        facts = {"failures": failures, "not_before": context.backoff("upload", failures)}
        await self._leave(lambda ledger: jobs.start_over(ledger, job, Event.SOURCE_CHANGED, reason, facts))

    async def _unreadable(self, reason: str) -> None:
        """Fail a recording that cannot be read; the next run looks again, unless the service has failed it before."""
        if self._job.convert:
            facts = {"cause": Cause.SERVICE}  # sent once already, and perhaps billed: a person decides
            reason = f"the service cannot decode it, and it cannot be converted: {reason}"
        else:
            facts = {"cause": Cause.SOURCE}
        await self._fire(State.UPLOADING, Event.UNREADABLE, reason, facts)

    async def _no_room_here(self, reason: str) -> None:
        """Try again later: this machine is short of space or open files, and not the recording is at fault."""
        context = self._context
        await self._fire(State.UPLOADING, Event.POSTPONED, reason, {"not_before": context.backoff("upload", 1)})

    async def put_back(self, reason: str) -> None:
        """Record that nobody works on this attempt any more: free to go again, or uncertain."""
        sealed = await self._state() is State.SEALED
        if sealed:
            await self._fire(State.SEALED, Event.ANSWER_LOST, reason)
        else:
            self._loose = True
            await self._fire(State.UPLOADING, Event.INTERRUPTED, reason)

    async def broke(self, reason: str) -> None:
        """Record an error that nobody foresaw."""
        failures = self._job.failures + 1
        if await self._state() is State.SEALED:
            await self._fire(State.SEALED, Event.ANSWER_LOST, reason, {"failures": failures})
            return
        self._loose = True
        if failures >= self._context.plan.max_failures:
            await self._fire(State.UPLOADING, Event.REJECTED, reason, {"cause": Cause.INTERNAL})
        else:
            facts = {"failures": failures, "not_before": self._context.backoff("upload", failures)}
            await self._fire(State.UPLOADING, Event.POSTPONED, reason, facts)

    async def _state(self) -> State | None:
        job = await self._context.table.transact(lambda ledger: jobs.get(ledger, self._job.id))
        return job.state if job else None

    async def _fire(
        self, source: State | None, event: Event, detail: str | None, facts: jobs.Facts = jobs.NO_FACTS
    ) -> None:
        """Fire an event of this attempt. Nobody else moves a job that is being sent, so it must succeed."""
        assert source is not None
        work = partial(jobs.fire, job_id=self._job.id, source=source, event=event, detail=detail, facts=facts)
        unsealed = source is State.UPLOADING and event is not Event.SEAL
        moved = await (self._leave(work) if unsealed or self._loose else self._context.table.transact(work))
        assert moved, f"job {self._job.id} left {source} while it was being sent"

    async def _leave(self, work: Callable[[Ledger], bool]) -> bool:
        """Move the job to where nothing counts for this attempt any more, though it may have left something behind.

        That is audio that nothing uses (REST), or an upload cut short that the service keeps as failed (gRPC): it takes
        room, so a new list has to show it before anything else is claimed, and before the run ends.
        """
        context = self._context
        loose = self._loose or not context.service.bare_uploads
        if loose:
            context.headroom.doubt(context.clock.now())

        def leave(ledger: Ledger) -> bool:
            if loose:
                jobs.mark_loose(ledger)
            return work(ledger)

        return await context.table.transact(leave)


def _same_refusal_for_all(error: ServiceError) -> AccountRefused:
    return AccountRefused(
        f"the service refuses every recording alike: {error}",
        hint="Mend the setting it names and run the same command again; "
        "`batcher retry` takes up the recordings that were refused.",
    )
