"""Poll: one listing serves all jobs. It completes, adopts, proves absence, and tells how much room there is."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import anyio

from batcher.errors import AccountRefused, Kind, ServiceError
from batcher.judgement import Finding, Judgement, Scene, Settle
from batcher.killpoints import reach
from batcher.model import Job, Remedy, Survey
from batcher.reference import parse
from batcher.residence import Ended, UnderWay
from batcher.stages.context import COLLECTED, Context
from batcher.states import Event, State
from batcher.store import jobs, survey
from batcher.store.claim import Unseen, accept_account, settle_loose
from batcher.store.claim import unseen as all_unseen
from batcher.store.table import Ledger
from batcher.text import show_path

#: A service that was never reached for this long ends the run; one that went away is waited for.
NEVER_REACHED_SECONDS = 120.0
LONGEST_PROBE_SECONDS = 60.0
#: A look in between costs less, but shows neither what others freed nor that something is not there.
THOROUGH_SECONDS = 30.0
#: So often, where politeness allows it, somebody looks for a free place who holds none.
SHUT_OUT_SECONDS = 1.0
#: However many jobs are about to end, ten seconds hold no more looks than this; all shards of an account together. Two
#: below what a person would call ten a second, because on their way some fall behind others.
MOST_LOOKS, MOST_LOOKS_SECONDS = 98, 10.0

#: Less is no time to wait for: ages are whole milliseconds, so that what is left stays the same until one is over.
MOMENT_SECONDS = 0.001
#: Where no look was answered for so long, nothing is learned from the next one: while nobody looked, because batcher did not
#: run, the machine slept or the service was away, jobs may have ended long ago.
UNWATCHED_MS = 60_000
#: Of more jobs under way than this the end of each is not foreseen: it would take long, and one ends at any time.
MOST_FORESEEN = 1_000

#: After these nothing counts for a job any more, but what its attempt left may be at the service, and in this very
#: look.
_LEAVE_BEHIND = frozenset({Event.INTERRUPTED, Event.ABSENT, Event.GIVEN_UP, Event.VANISHED})


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the table says about when to look again, and whether anything is left to do."""

    oldest: int | None  #: since when the oldest job has been at the service
    under_way: int  #: how many have been submitted
    each: Sequence[tuple[int, int]]  #: of each, unless they are too many: how long its recording is, and since when
    proof: int | None  #: from when on a listing can prove that an uncertain job is not there
    unfinished: int
    unsent: bool  #: a job waits to be sent
    collecting: bool  #: something of ours waits to be fetched or deleted
    unsettled: bool  #: an upload of an earlier run was not judged yet
    loose: int  #: from when on a listing shows whatever audio an upload without a transcription has left

    def seen_at(self, now: int) -> UnderWay | None:
        """Return what was submitted, as old as it is at `now` (UTC milliseconds)."""
        if self.oldest is None:
            return None
        each = [(length / 1000, (now - since) / 1000) for length, since in self.each]
        return UnderWay(self.under_way, (now - self.oldest) / 1000, each)


class Poll:
    """Looks at the service as often as it pays, and tells everyone what it saw."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = 0
        self._looked = float("-inf")
        self._looked_thoroughly = float("-inf")
        self._outlook: Outlook | None = None  # as of before the look
        self._applied = 0  # when the latest look was applied, UTC milliseconds
        self._answered_at = 0  # when the latest one that was answered had begun, as that
        parts = context.plan.shard.parts if context.plan.shard else 1
        most = max(1, MOST_LOOKS // parts)
        self._looks_seconds = MOST_LOOKS_SECONDS * max(1.0, parts * most / MOST_LOOKS)
        self._looks: deque[float] = deque(maxlen=most)
        self._reached = False  #: something that can only be the service has answered, if only with an error
        self._started = anyio.current_time()

    async def run(self) -> None:
        """Look, wait, look again, until cancelled."""
        while True:
            await self._look()
            await self._wait()

    async def _look(self) -> None:
        context = self._context
        if context.clock.now() <= self._applied:  # else what that look has moved had moved during this one
            await anyio.sleep(0.002)
        self._looked = anyio.current_time()
        self._looks.append(self._looked)
        began = context.clock.now()
        thorough = self._must_be_thorough()
        context.survey_wanted = False
        try:
            seen = await context.service.survey(thorough=thorough)
        except ServiceError as error:
            self._unanswered(error)
            return
        if not await self._is_our_account(seen):
            return
        self._answered()
        if thorough:
            self._looked_thoroughly = self._looked
        plan, batch = context.plan, context.batch
        scene = Scene(batch.id, batch.session, seen, began, began, plan.settle, plan.patience, plan.max_failures)
        context.headroom.judge()
        judgement, outlook = await context.table.transact(partial(_apply, scene=scene))
        self._applied = context.clock.now()
        reach("survey-applied")
        self._learn(judgement, scene)
        if self._over(judgement, outlook, began, complete=seen.complete):
            await self._finish()

    def _must_be_thorough(self) -> bool:
        """Tell whether anything depends on this look but what has ended."""
        context, outlook = self._context, self._outlook
        if outlook is None or context.survey_wanted or self._looked - self._looked_thoroughly >= THOROUGH_SECONDS:
            return True
        to_prove = outlook.proof is not None or outlook.unsettled or not context.reach or context.lingering
        return to_prove or not outlook.unfinished or not context.plan.admit or self._shut_out(outlook)

    async def _is_our_account(self, seen: Survey) -> bool:
        """Tell whether what was sent with another key or to another host can be seen here.

        A list that shows something of this batch proves it. A complete one without anything would have all of it
        taken for lost, or for never received, and paid for again: that is a person's decision.
        """
        context = self._context
        if context.reach.proven:
            return True
        references = (parse(listed.reference) for listed in seen.objects)
        shown = any(reference is not None and reference.batch == context.batch.id for reference in references)
        unseen = await context.table.transact(all_unseen)
        if shown or context.plan.other_account or not unseen:
            await context.table.transact(partial(accept_account, account=context.service.account))
            context.reach.proven = True
        elif seen.complete:
            context.stop(_another_account(unseen))
        return context.reach.proven

    def _answered(self) -> None:
        reach_now = self._context.reach
        was_away = not reach_now
        self._failures = 0
        self._reached = True
        reach_now.ever, reach_now.away = True, False
        if was_away:
            self._context.refill.begin()
        if reach_now.try_again() or was_away:
            self._context.bells.ring_all()

    def _unanswered(self, error: ServiceError) -> None:
        """Take note of a listing that failed: it tells nothing about any job."""
        self._failures += 1
        self._context.last_trouble = str(error)
        self._context.service_failed(error)
        self._context.reach.away = error.kind is Kind.UNREACHABLE
        self._context.reach.heard = error.answered
        if not self._context.reach.away and self._context.reach.try_again():
            self._context.bells.ring_all()
        waited = anyio.current_time() - self._started
        self._reached = self._reached or error.answered
        if not self._reached and error.kind is not Kind.STOP and waited >= NEVER_REACHED_SECONDS:
            self._context.stop(_never_reached(error))

    def _learn(self, judgement: Judgement, scene: Scene) -> None:
        context = self._context
        self._learn_residence([each.job for each in judgement.findings if each.event is Event.COMPLETED], scene.began)
        context.not_shown = judgement.not_shown if scene.survey.complete else context.not_shown
        for finding in judgement.findings:
            if finding.facts.get("remedy") is Remedy.STOP and finding.job.session == scene.session:
                context.stop(_account_failed(finding))
        took = round(1000 * (anyio.current_time() - self._looked))  # asleep the machine did not look
        headroom = context.headroom
        if headroom.company is not None:
            headroom.company.observe(scene.survey, scene.began)
        if headroom.neighbours is not None:
            headroom.neighbours.observe(scene.survey, scene.began, headroom.limits.load(), context.accepted_at or 0)
        headroom.observe(judgement, scene.began, took=took, complete=scene.survey.complete)
        if any(finding.event in _LEAVE_BEHIND for finding in judgement.findings):
            context.headroom.doubt(context.clock.now())  # this look took it for what their jobs hold
        if context.lacking:
            context.refill.begin()
        context.bells.upload.ring()
        if judgement.extras:
            context.bells.collect.ring()

    def _learn_residence(self, completed: Sequence[Job], began: int) -> None:
        def age(job: Job, moment: int) -> float:
            return max(0, moment - job.since) / 1000

        ended = [Ended(job.length_ms / 1000, age(job, self._answered_at), age(job, began)) for job in completed]
        watched = 0 <= began - self._answered_at <= UNWATCHED_MS
        self._context.residence.looked(ended if watched else [])
        self._answered_at = began

    def _over(self, judgement: Judgement, outlook: Outlook, began: int, *, complete: bool) -> bool:
        """Tell whether nothing is left to do: all jobs ended, and a complete list shows nothing of ours."""
        context = self._context
        if not complete or not context.scanned.is_set():
            return False
        if not context.plan.admit:  # what this look moved on, the next one may bring home
            return not judgement.findings and not outlook.collecting and not outlook.unsettled
        if outlook.unfinished or judgement.ours or context.deferred:
            return False
        context.lingering = began < outlook.loose
        return not context.lingering

    async def _finish(self) -> None:
        """End the run, unless somebody has asked for anything since this look was applied."""
        context = self._context
        async with context.heeding:
            if not (context.plan.admit and await self._asked_meanwhile()):
                context.finished.set()

    async def _asked_meanwhile(self) -> bool:
        """Tell whether a request has left anything to do, or waits to be heeded."""
        context = self._context
        return bool(await context.table.transact(survey.unfinished) or await context.disk.asked())

    async def _wait(self) -> None:
        """Wait until the next listing pays. Bells may shorten the wait, politeness bounds it from below."""
        context = self._context
        while True:
            armed = context.bells.poll.arm()
            rest = self._looked + await self._pause() - anyio.current_time()
            if rest < MOMENT_SECONDS:
                return
            with anyio.move_on_after(rest):
                await armed.wait()
                await anyio.sleep(min(rest, context.service.poll_seconds))

    async def _pause(self) -> float:
        """Return how long after the latest listing the next one is due, in seconds."""
        context = self._context
        shortest = max(context.service.poll_seconds, self._crowded())
        if self._failures:
            probe = min(LONGEST_PROBE_SECONDS, 0.5 * 2.0 ** min(self._failures, 10))
            probe *= context.dice.stream("probe").uniform(0.8, 1.0)
            given_up = probe if self._reached else self._started + NEVER_REACHED_SECONDS - self._looked
            return max(shortest, min(probe, given_up))
        outlook = await context.table.transact(partial(look_out, settle=context.plan.settle))
        self._outlook = outlook
        if context.lingering and not context.survey_wanted:
            return max(shortest, self._seconds_until(outlook.loose))
        if context.survey_wanted or (outlook.unfinished == 0 and context.scanned.is_set()):
            return shortest
        if not context.plan.admit and not outlook.collecting:
            return shortest
        return max(shortest, self._until_due(outlook))

    def _crowded(self) -> float:
        """Return how long after the latest listing the next one may come, so that there are never too many in a row.

        The first half of what ten seconds may hold can go at once. The second half is spread over what is left of them:
        nothing would be noticed for seconds if all were used up.
        """
        most = self._looks.maxlen or 1
        recent = [look for look in self._looks if look > self._looked - self._looks_seconds]
        left = most - len(recent)
        if left > most // 2:
            return 0.0
        return (recent[0] + self._looks_seconds - self._looked) / (left + 1)

    def _until_due(self, outlook: Outlook) -> float:
        """Return when a listing can next tell something new, in seconds after the latest one."""
        since = anyio.current_time() - self._looked
        under_way = outlook.seen_at(self._context.clock.now())
        look = SHUT_OUT_SECONDS if self._shut_out(outlook) else self._context.residence.next_look(under_way, since)
        if outlook.proof is None:
            return look
        return min(look, self._seconds_until(outlook.proof))

    def _shut_out(self, outlook: Outlook) -> bool:
        """Tell whether others leave no room for anything of ours: who looks more often takes all that becomes free.

        A shard that was refused keeps to its part all the same: looking more often would only have more refused.
        """
        headroom, now = self._context.headroom, self._context.clock.now()
        told = headroom.company is None or (headroom.fresh(now) and not headroom.paused(now))
        return told and outlook.oldest is None and outlook.unsent and min(headroom.room(now).things()) < 1

    def _seconds_until(self, moment: int) -> float:
        """Return how long after the latest listing a moment (UTC milliseconds) lies."""
        since_look = anyio.current_time() - self._looked
        return since_look + max(0.0, (moment - self._context.clock.now()) / 1000)


def _apply(ledger: Ledger, scene: Scene) -> tuple[Judgement, Outlook]:
    """Apply a look. One without anything of ours, long enough after an upload was cut short, settles what that left."""
    judgement = survey.apply_survey(ledger, scene)
    if scene.survey.complete and not judgement.ours:
        settle_loose(ledger, scene.began - scene.settle.apart_ms)
    return judgement, look_out(ledger, scene.settle)


_UNDER_WAY = "SELECT min(since), count(*) FROM job WHERE state = 'submitted'"
_EACH_UNDER_WAY = "SELECT length_ms, since FROM job WHERE state = 'submitted'"
_PROOF = """
    SELECT min(CASE WHEN absent_at IS NULL THEN since + :wait ELSE absent_at + :apart END)
    FROM job WHERE state = 'uncertain'
"""
_UNSETTLED = "SELECT 1 FROM job WHERE state IN ('uploading', 'sealed') LIMIT 1"


def look_out(ledger: Ledger, settle: Settle) -> Outlook:
    """Read from the table what the next look depends on."""
    ((oldest, under_way),) = cast("list[tuple[int | None, int]]", ledger.rows(_UNDER_WAY))
    each = ledger.rows(_EACH_UNDER_WAY) if under_way <= MOST_FORESEEN else []
    ((loose,),) = ledger.rows("SELECT loose_at FROM batch")
    ((proof,),) = ledger.rows(_PROOF, {"wait": settle.wait_ms, "apart": settle.apart_ms})
    return Outlook(
        oldest=oldest,
        under_way=under_way,
        each=cast("list[tuple[int, int]]", each),
        proof=cast("int | None", proof),
        unfinished=survey.unfinished(ledger),
        unsent=jobs.exists(ledger, [State.WAITING]),
        collecting=jobs.exists(ledger, COLLECTED) or survey.any_extra(ledger),
        unsettled=bool(ledger.rows(_UNSETTLED)),
        loose=cast("int", loose) + settle.apart_ms,
    )


_GONE = "that account is gone for good, or only its key is another one now"


def _another_account(unseen: Unseen) -> AccountRefused:
    if unseen.jobs:
        number, one = unseen.jobs, unseen.jobs == 1
        return AccountRefused(
            f"{'1 recording' if one else f'{number:,} recordings'} of this batch {'was' if one else 'were'} sent with "
            f"another key or to another host, and this account does not show {'it' if one else 'any of them'}",
            hint=f"Run again with that key and host. If {_GONE}, add --other-account: what was accepted there is then "
            "reported as failed, and what may not have been is sent again and may be billed again.",
        )
    return AccountRefused(
        "this batch was sent with another key or to another host, where something of it may be left to delete, and this "
        "account shows nothing of it",
        hint=f"Run again with that key and host. If {_GONE}, add --other-account: what is left at the old account "
        "stays there.",
    )


def _account_failed(finding: Finding) -> AccountRefused:
    return AccountRefused(
        f"the service accepted {show_path(finding.job.path)} and then failed it: {finding.detail}",
        hint="Mend what it names (the balance, the budget, the model) and run the same command again; nothing is lost.",
    )


def _never_reached(error: ServiceError) -> AccountRefused:
    return AccountRefused(
        f"the service was never reached in {NEVER_REACHED_SECONDS:.0f} seconds: {error}",
        hint="Check the network, --host and --api, then run the same command again; nothing was sent.",
    )
