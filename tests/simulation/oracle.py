"""What must hold at every moment of a night: checked at every move of a job and every change at the service."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batcher.emulator.account import Account
from batcher.emulator.objects import Failure, File
from batcher.emulator.recognizers import UNDECODABLE
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_objects import RestFile, RestJob
from batcher.model import Cause, RemoteStatus
from batcher.reference import Reference, parse
from batcher.states import FACTS, NEXT, PENDING_STATES, Event, State
from batcher.store.table import Move
from tests.simulation.batch import Batch, digest_of
from tests.simulation.life import WHO
from tests.simulation.looks import apart_ms
from tests.simulation.moods import INTERNAL
from tests.simulation.world import FLAC

if TYPE_CHECKING:
    from tests.simulation.night import Night

Item = File | RestFile | RestJob

#: States in which nobody has the transcript of what the job has at the service.
_UNFETCHED = (State.UPLOADING, State.SEALED, State.UNCERTAIN, State.SUBMITTED, State.COMPLETED)
_OPEN = tuple(state for state, facts in FACTS.items() if not facts.final)
SLOW_SECONDS = 10.0  #: for how long at most a transaction waits for a slow disk
#: After these an audio goes once more by itself: as it is, and as FLAC.
REMEDIES = {INTERNAL: "again", "file_not_found": "again", UNDECODABLE: "as FLAC"}
NO_END = 20  #: no night gives so many reasons to send one audio
FEW = 2  #: recordings that have not ended, when almost all is done
#: States in which a job carries no twins any more, and why it may have failed so that its twins fail too.
_PARTING = (State.NEW, State.FAILED, State.CANCELLED, State.SKIPPED)
_VERDICTS = (Cause.REFUSED, Cause.SERVICE, Cause.VANISHED)
MOMENT_MS = 1000  #: for so long at most a list is answered and not applied


@dataclass(slots=True)
class Paid:
    """One submission that the service accepted, and may bill."""

    reference: Reference
    item: File | RestJob
    vanished: bool = False  #: somebody else deleted it
    deleted: bool = False

    @property
    def failed(self) -> bool:
        """Tell whether the service failed it."""
        return self.item.ended is not None and isinstance(self.item.outcome, Failure)


class Oracle:
    """Hears of everything, and notes what must not be."""

    def __init__(self, night: "Night") -> None:
        self.paid: dict[tuple[str, bytes], list[Paid]] = {}  #: by batch and content
        self.recovered = 0  #: uploads whose answer was lost, found again
        self.duplicated = 0
        self.excused = 0  #: duplicated as written: what they double was in no list for longer than the settle time
        self.torsos: list[tuple[Reference, bytes]] = []  #: uploads cut short that stayed, with the digest of what came
        self.avoidable = 0  #: of them those that a look-up could have told of
        self.lowered_at = -math.inf  #: when batcher was last told of other limits
        self.vanished: Counter[str] = Counter()  #: references of ours that somebody else deleted
        self.answers: list[float] = []  #: when listings were answered
        self.hidden: dict[str, tuple[Item, int]] = {}  #: what the next list leaves out, and when it was first listed
        self._night = night
        self._by_item: dict[str, Paid] = {}
        self._by_attempt: dict[tuple[str, int, int], Paid] = {}  #: by batch, job and attempt
        self._taken_up: dict[tuple[str, int, int], Paid] = {}  #: by batch, job and the attempt it was in then
        self._users: dict[str, Paid] = {}  #: by the audio that they transcribe (REST)

    # The table.

    def heard(self, batch: Batch, move: Move) -> None:
        """Take note of a committed move of a job."""
        night = self._night
        night.note(f"{batch.name} {move.job} {move.source} {move.event} {move.target} {move.detail or ''}")
        known = batch.states.get(move.job, State.NEW)
        if known != move.source or NEXT.get((move.source, move.event)) != move.target:
            night.violated(f"job {move.job} was {known}, but {move.source} --{move.event}--> {move.target}")
        batch.moved(move)
        night.quota.moved(batch, move)
        if night.morning is not None:
            night.morning.moved.append(move)
        if move.event is Event.CLAIMED:
            batch.claims[move.job, move.attempt] = night.world.now()
            self._claimed(batch)
        if move.event is Event.ADOPTED:
            self._adopted(batch, move)
        elif move.event is Event.VANISHED:
            self._vanished(batch, move)
        if move.event is Event.ANSWER_LOST and batch.life is not None:
            batch.life.doubt(move.detail or "")
        if move.event in (Event.CLEARED, Event.FORGIVEN):
            self._cleared(batch, move)
        if move.event is Event.RELEASED:
            self._released(batch, move)
        elif move.target in _PARTING and move.event is not Event.TWIN_FAILED:
            batch.parted = move
        night.weather.almost_done = sum(batch.counts[each] for each in _OPEN) <= FEW
        night.ambush(batch, move)

    def _adopted(self, batch: Batch, move: Move) -> None:
        """Hold what a job takes for its own against what is to be deleted."""
        self.recovered += 1
        paid = self._holding(batch, move.job)
        if paid is not None:
            self._taken_up[batch.id, move.job, move.attempt] = paid
        if batch.rows("SELECT 1 FROM extra JOIN job USING (reference) WHERE job.id = ?", move.job):
            self._night.violated(f"job {move.job} has adopted what is to be deleted")

    def _vanished(self, batch: Batch, move: Move) -> None:
        """Hold what a job takes for gone against what is there: no two lists in a row miss what is."""
        paid = self._holding(batch, move.job)
        if paid is not None and not (paid.deleted or paid.vanished):
            self._night.violated(f"job {move.job} takes {paid.reference} for gone, which is there")

    def _cleared(self, batch: Batch, move: Move) -> None:
        """Hold a job that claims to have nothing at the service any more against what is there."""
        paid = self._holding(batch, move.job)
        if paid is not None and not (paid.deleted or paid.vanished):
            self._night.violated(f"job {move.job} counts as cleared, but {paid.reference} is at the service")

    def _holding(self, batch: Batch, job: int) -> Paid | None:
        """Return what a job takes for its own: what its latest attempt made, or one before that it has adopted."""
        ((text,),) = batch.rows("SELECT reference FROM job WHERE id = ?", job)
        reference = parse(str(text))
        return self._by_attempt.get((batch.id, job, reference.attempt)) if reference else None

    def _released(self, batch: Batch, move: Move) -> None:
        """Hold a twin that goes its own way against how the job ended that it waited for (told just before it)."""
        if batch.parted is None or batch.parted.target is not State.FAILED:
            return
        ((cause,),) = batch.rows("SELECT cause FROM job WHERE id = ?", batch.parted.job)
        if cause in _VERDICTS:
            self._night.violated(
                f"job {move.job} goes on, though its audio has failed as job {batch.parted.job}: {cause}"
            )

    def _claimed(self, batch: Batch) -> None:
        """Hold the claim against what batcher was told, at once or a moment ago."""
        now = self._night.world.read()
        batch.claimed_at = now
        if not batch.id:
            batch.id = str(batch.rows("SELECT id FROM batch")[0][0])
            self._night.owners[batch.id] = batch
        self._check_room(batch, now)

    def _check_room(self, batch: Batch, now: float) -> None:
        """Hold what counts as pending after a claim against the limit, less what others hold by the latest list."""
        # Who waited for a slow disk decided a moment ago; otherwise a list may have been answered that is not applied.
        slow = "sluggish" in self._night.story.kinds
        looks = [] if slow else list(batch.lists)
        now_ms, apart = self._night.world.now(), self._night.poll_seconds * 1000
        if looks and now_ms - looks[-1].answered > MOMENT_MS:
            looks = looks[-1:]
        if looks and all(look.stale(now_ms, apart) for look in looks):
            self._night.violated(f"{batch.name} claims a job, and its latest list is old: {', '.join(map(str, looks))}")
        pending = sum(batch.counts[state] for state in PENDING_STATES)
        others = min((look.others(batch.id) for look in looks), default=0)
        if pending + others > batch.announced.pending and now > self.lowered_at + (SLOW_SECONDS if slow else 1):
            self._night.quota.over += 1
            allowed = f"{batch.announced.pending} are allowed"
            self._night.violated(f"{pending} jobs and {others} of others count as pending, {allowed}")

    def check_stopped(self, batch: Batch) -> None:
        """Hold the table of a run that was stopped against what it was to leave behind."""
        left = batch.rows(
            """SELECT id, state FROM job WHERE state IN ('uploading', 'sealed')
               AND session = (SELECT session FROM batch)"""  # those of earlier runs wait for the next look
        )
        if left:
            self._night.violated(f"{batch.name} was stopped and left {left} in hand")

    # The service.

    def changed(self, _account: Account | RestAccount, change: str, item: Item) -> None:
        """Take note of a change at the service, at the instant."""
        reference = None if item.foreign else parse(item.reference)
        if reference is None:
            if change == "deleted" or (change == "accepted" and not item.foreign):
                self._night.violated(f"{change}: {item.reference!r} is not of batcher")
            return
        batch = self._night.owners.get(reference.batch)
        if batch is None:
            self._night.violated(f"{change}: nobody knows batch {reference.batch}")
        elif change == "accepted":
            self._accepted(batch, reference, item)
        elif change == "deleted":
            self._deleted(batch, reference, item)
        elif change == "vanished":
            self.vanished[item.reference] += 1
            if item.id in self._by_item:
                self._by_item[item.id].vanished = True

    def _accepted(self, batch: Batch, reference: Reference, item: Item) -> None:
        """Hold what the service accepted against the table: sealed, its present attempt, and never paid before."""
        night = self._night
        night.note(f"service accepted {reference}")
        if isinstance(item, RestFile):
            night.quota.accepted(batch)
            return  # it costs nothing: its transcription will be asked for, or it is deleted
        if isinstance(item.outcome, Failure):
            self.torsos.append((reference, item.audio.digest))
            night.happened["torso"] += 1
            return  # it was cut short before its end mark, and is not transcribed
        night.quota.accepted(batch)
        state, attempt = batch.states.get(reference.job), batch.attempts.get(reference.job)
        if state not in (State.SEALED, State.UNCERTAIN) or attempt != reference.attempt:
            night.violated(f"accepted {reference}, but its job is {state} with attempt {attempt}")
        before = self.paid.setdefault((batch.id, item.audio.digest), [])
        self._check_paid(batch, reference, item, before)
        paid = self._by_item[item.id] = Paid(reference, item)
        self._by_attempt[batch.id, reference.job, reference.attempt] = paid
        if isinstance(item, RestJob) and item.asked.file_id is not None:
            self._users[item.asked.file_id] = paid
        before.append(paid)

    def _check_paid(self, batch: Batch, reference: Reference, item: File | RestJob, before: list[Paid]) -> None:
        """Look for a reason to send the same audio again: a person wished so, or it was promised to go once more."""
        if len(before) >= NO_END:  # to look for reasons would take as long
            self.duplicated += 1
            self._night.violated(f"{reference} is submission {len(before) + 1} of one audio")
            return
        wishes = batch.wishes(reference.job) if before else []
        once = self._had_one_chance(batch, before)
        unspent = [each for each in before if not self._may_be_sent_again(batch, each, wishes, once=once)]
        if not unspent and not (before and batch.has_transcript(item.audio.digest)):
            return
        seen = not all(self._unseen(batch, reference, each) for each in unspent or before)
        if unspent and not seen:
            self.excused += 1
            return
        self.duplicated += 1
        self.avoidable += seen
        earlier = ", ".join(f"{each.reference.attempt} of job {each.reference.job}" for each in unspent or before)
        told = "a look-up could have told" if seen else "no look-up could have told"
        self._night.violated(f"paid twice, {told}: {reference}, before it {earlier}")

    def _had_one_chance(self, batch: Batch, before: Sequence[Paid]) -> bool:
        """Tell whether an audio was sent once more by itself as is promised, since a person last wished for it.

        That is once for each kind of failure that there is a remedy for, under whatever names; and whenever the account
        was out of money.
        """
        wished = max((wish for each in before for wish in batch.wishes(each.reference.job)), default=0)
        why = [reason for paid in before for number, reason in self._forgiven(batch, paid) if number > wished]
        chances = Counter(next((REMEDIES[each] for each in REMEDIES if each in reason), "") for reason in why)
        if "money" in self._night.story.kinds:
            del chances[""]
        return not chances[""] and max(chances.values(), default=0) <= 1

    def _may_be_sent_again(self, batch: Batch, paid: Paid, wishes: Sequence[int], *, once: bool) -> bool:
        """Tell whether an earlier submission came to nothing, and what is sent again after it is so by a promise.

        That is after a person's `retry`, as a second chance, or when it vanished before any list had shown it.
        """
        job, attempt = paid.reference.job, paid.reference.attempt
        sql = "SELECT max(id) FROM history WHERE job = ? AND attempt = ? AND event = 'seal'"
        sealed = int(str(batch.rows(sql, job, attempt)[0][0] or 0))
        sql = "SELECT 1 FROM history WHERE job = ? AND attempt = ? AND event IN ('accepted', 'adopted')"
        if paid.vanished and not batch.rows(sql, job, attempt):
            return True
        cancelled = batch.rows("SELECT 1 FROM history WHERE job = ? AND id > ? AND event = 'cancel'", job, sealed)
        ended = paid.failed or paid.vanished or (paid.deleted and cancelled)
        chance = once and bool(self._forgiven(batch, paid))
        return bool(ended and (chance or any(wish > sealed for wish in wishes)))

    def _forgiven(self, batch: Batch, paid: Paid) -> list[tuple[int, str]]:
        """Return why a submission that the service had failed was to be sent again, each with its row of the history.

        A job that has taken up what an earlier attempt made counts on from its latest one, of which it knew nothing.
        """
        job, attempt = paid.reference.job, paid.reference.attempt
        sql = "SELECT id, detail, attempt FROM history WHERE job = ? AND attempt >= ? AND event = 'forgiven'"
        rows = [(int(str(number)), str(why), int(str(of))) for number, why, of in batch.rows(sql, job, attempt)]
        return [(number, why) for number, why, of in rows if paid is self._latest_failed(batch, job, of)]

    def _latest_failed(self, batch: Batch, job: int, attempt: int) -> Paid | None:
        """Return what the service has failed last of a job's attempts up to one, or of them what the job has taken up."""
        taken_up = self._taken_up.get((batch.id, job, attempt))
        if taken_up is not None and taken_up.failed:
            return taken_up
        known = (self._by_attempt.get((batch.id, job, number)) for number in range(attempt, 0, -1))
        return next((paid for paid in known if paid is not None and paid.failed), None)

    def _unseen(self, batch: Batch, reference: Reference, earlier: Paid) -> bool:
        """Tell whether an earlier submission was late beyond what is promised, and in no list when it was sent again.

        What another job has sent again does not count as unsent for what shows up of an attempt before; nor what this
        one has, if that attempt is no good any more: the service has failed it, or it was deleted as one too many. Nor
        does a job go back to it whose recording was touched since: nobody knows any more what that attempt was made of;
        nor one that was given up meanwhile.
        """
        job, attempt = earlier.reference.job, earlier.reference.attempt
        claimed = batch.claims[reference.job, reference.attempt]
        if job != reference.job or earlier.failed or earlier.deleted:
            numbers = [number for each, number in batch.claims if each == job and number > attempt]
            again = [batch.claims[job, number] for number in numbers if (batch.id, job, number) in self._by_attempt]
            claimed = min([claimed, *again])
        wait_ms = self._night.story.settle_s * 1000
        settled = claimed - earlier.item.created >= wait_ms + apart_ms(wait_ms)
        return settled and self.overdue(batch, earlier.item, min(claimed, batch.let_go_of(job, attempt, claimed)))

    def overdue(self, batch: Batch, item: Item, until: float) -> bool:
        """Tell whether an object was late beyond what is promised, and no look of a batch by then has shown it.

        Late is what no list need show: lists lag, and what they show may be old. Bare audio is waited for a shorter
        time.
        """
        wait_ms = self._night.story.settle_s * 1000
        promised = apart_ms(wait_ms) if isinstance(item, RestFile) else wait_ms
        _, visible = self.hidden.get(item.id, (item, item.visible))
        listed = visible + self._night.behind_ms
        shown = batch.shown.get((item.reference, isinstance(item, RestFile)), math.inf)
        looks = [began for began, answered in batch.looks if answered <= until]
        late = listed - item.created > promised
        return late and shown >= until and all(began < listed for began in looks)

    def _deleted(self, batch: Batch, reference: Reference, item: Item) -> None:
        caller, night = WHO.get(), self._night
        state = batch.states.get(reference.job)
        night.note(f"service deleted {reference} ({type(item).__name__})")
        if night.morning is not None:
            night.morning.deleted.append(item)
        if caller is None or caller.batch is not batch:
            night.violated(f"{reference} was deleted by somebody else")
        if isinstance(item, RestFile):
            self._audio_deleted(item)
        paid = self._by_item.get(item.id)
        if paid is None or isinstance(item, RestFile):
            return
        if item.ended is not None:
            night.weather.recall(item.ended)
        paid.deleted = True
        unfetched = item.status is RemoteStatus.COMPLETED and state in _UNFETCHED
        if unfetched and batch.is_its_own(reference) and not batch.has_transcript(item.audio.digest):
            night.violated(f"deleted before its transcript was committed: {reference}, the job is {state}")

    def _audio_deleted(self, item: RestFile) -> None:
        """Hold the deletion of audio against its transcription: that goes first unless it came later than promised."""
        user = self._users.get(item.id)
        if user is None or user.deleted or user.vanished:
            return
        if user.item.visible - user.item.created <= self._night.story.settle_s * 1000:
            self._night.violated(f"deleted the audio of {user.reference} before its transcription")

    def was_accepted(self, batch: Batch, content: bytes) -> bool:
        """Tell whether the service has ever had a recording of this sound, if only without its end mark."""
        whole = digest_of(content)
        cut_short = any(came == whole and each.batch == batch.id for each, came in self.torsos)
        return cut_short or any(self.paid.get((batch.id, digest_of(sent))) for sent in (content, FLAC + content))

    def answered(self) -> None:
        """Take note of a listing that was answered."""
        self.answers.append(self._night.world.read())
        self.show_all()

    def hide(self, item: Item) -> None:
        """Leave something out of lists until one is answered."""
        self.hidden[item.id] = item, item.visible
        item.visible = math.inf  # type: ignore[assignment]

    def show_all(self) -> None:
        """Let lists show again what was left out."""
        for item, visible in self.hidden.values():
            item.visible = visible
        self.hidden.clear()
