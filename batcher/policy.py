"""Decisions as pure functions and small values: what a failure means, how long to wait, how much room there is."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from math import ceil
from random import Random  # noqa: TID251 - the type only; streams come from Dice

from batcher.errors import Kind
from batcher.judgement import Judgement
from batcher.model import NOTHING, Job, Limits, Load, Remedy
from batcher.sharing import Company, Neighbours
from batcher.states import Event, State

BACKOFF_FIRST_MS = 2_000
BACKOFF_CAP_MS = 15 * 60_000

#: A listing older than this says nothing about room any more; one that took long itself may be twice as old.
SURVEY_FRESH_MS = 30_000
#: The next one may be so much later than politeness asks for.
LOOK_LATE_MS = 10_000
#: However long it took: while the machine slept in the middle of a listing, others went on.
SURVEY_FRESH_LONGEST_MS = 600_000

#: Refusals for quota within this time are one refusal; each halves our share, down to the smallest.
REFUSALS_COUNT_ONCE_MS = 10_000
SMALLEST_SHARE = 0.02
PAUSE_MS = 5_000
SHARE_RECOVERS_MS = 600_000
#: How long a share that was cut stays so; twice as long after each cut that follows before it recovered.
SHARE_HELD_MS = 30_000
SHARE_HELD_LONGEST_MS = 16 * 60_000

#: Other clients' growth between two listings fades by a tenth at each; below this it is over.
LEAST_GROWTH = 0.5
#: Growth is what goes beyond so many listings before. It must be well over the six in which twice a growth fades to
#: what it left free before: otherwise whoever only comes and goes keeps that place for ever.
LOOKS_REMEMBERED = 12

#: As many identical permanent refusals without one success are taken for a mistake in the settings.
IDENTICAL_REFUSALS = 20


def backoff_ms(failures: int, chance: Random) -> int:
    """Return how long to wait after the `failures`-th failure in a row: doubling, capped, half of it jitter."""
    ceiling = min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** min(failures - 1, 20))
    return int(ceiling * (0.5 + chance.random() / 2))


def submission_failed(kind: Kind, sealed: bool) -> Event:
    """Return what a failed submission means for the job.

    Before the seal nothing can have been accepted. After it only an explicit refusal proves that.
    """
    if kind is Kind.HOPELESS:
        return Event.REJECTED
    if kind in (Kind.FULL, Kind.RATE) or (sealed and kind is Kind.STOP):
        return Event.REFUSED
    return Event.ANSWER_LOST if sealed else Event.POSTPONED


@dataclass(slots=True)
class Refusals:
    """Notices when every recording is refused for the same reason: a wrong setting, not wrong recordings."""

    succeeded: bool = False
    reasons: Counter[str] = field(default_factory=Counter)

    def success(self) -> None:
        """Note that the service accepted something: from now on refusals are the recordings' own fault."""
        self.succeeded = True

    def refused(self, reason: str) -> bool:
        """Note a permanent refusal; tell whether the batch should stop over it."""
        self.reasons[reason] += 1
        return not self.succeeded and self.reasons[reason] >= IDENTICAL_REFUSALS


def second_chance(job: Job, *, may_convert: bool) -> Mapping[str, object] | None:
    """Return what to set on a job that the service failed so that it is sent once more, or None if it is not.

    Whatever is sent again may be billed again, so it happens once: after an error of the service's own, or as FLAC
    when the service could not decode it. A job that failed for the account's sake was not transcribed; the run
    that sent it was stopped over it, and the person who starts the next one has mended the account.
    """
    if job.state is not State.FAILING or job.remedy is None:
        return None
    if job.remedy == Remedy.STOP:
        return {}
    if job.remedy == Remedy.AGAIN and not job.forgiven:
        return {"forgiven": 1}
    if job.remedy == Remedy.CONVERT and may_convert and not job.convert and not job.url:
        return {"convert": 1}
    return None


@dataclass(slots=True)
class Headroom:
    """How much of the account's limits is ours to fill, as far as the latest listing tells.

    The reserve for other clients is zero until they are seen, then twice their largest recent growth beyond what the
    latest listings showed: who only comes and goes does not grow. A refusal for quota tells that the account holds less
    than it should, for instance because of what lists do not show (other projects of the organisation): nothing is sent
    for a moment, our share is halved, and then it is at most what the next listing tells was pending. It stays so for a
    while, longer each time that it proves too much, and then comes back within ten minutes.

    Other batches have a reserve of their own, see `Neighbours`. A refusal just before one of them is first seen tells that
    two took one free place: no more is given up for it than its part. When all of them are done, all is ours again.

    One of several shards keeps no reserve: the others are the other shards, and each keeps to its part.
    """

    limits: Limits
    company: Company | None = None  #: the shards that this one shares the account with
    neighbours: Neighbours | None = None  #: the batches that one shares it with which is no shard
    began: int | None = None  #: when the latest listing that counts was begun
    doubted: int | None = None  #: only a complete listing that is begun from then on counts
    looks_apart_ms: int = 0  #: how long politeness lets a listing wait for the next one
    fresh_ms: int = SURVEY_FRESH_MS  #: how old it may be
    foreign: Load = NOTHING
    strangers: Load = NOTHING  #: `foreign` without what other batches hold, of which `neighbours` knows
    growth: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  #: of `strangers`, thing by thing
    latest: deque[Load] = field(
        default_factory=lambda: deque(maxlen=LOOKS_REMEMBERED)
    )  #: `strangers` of complete listings
    known: bool = False  #: a complete listing was seen
    version: int = 0  #: changes with all that is learned; room that was reckoned before must not be filled any more
    judging: bool = False  #: a listing is being applied to the table, and not understood yet
    share: float = 1.0
    share_since: int = 0
    share_held: int = SHARE_HELD_MS
    paused_until: int = 0
    refused_since_look: bool = False
    batches: int = 1  #: how many were at work in the account at the latest look
    refusal: str = ""  #: what the service said when it last refused

    def judge(self) -> None:
        """Let nothing be claimed until `observe`: what a listing takes from its jobs is not counted elsewhere yet."""
        self.judging, self.version = True, self.version + 1

    def observe(self, judgement: Judgement, began: int, *, took: int = 0, complete: bool = True) -> None:
        """Take note of a listing, which took so many milliseconds.

        One that may have missed something can raise what others hold, never lower it.
        """
        self.judging, self.version = False, self.version + 1
        if not complete and not self.known:
            return
        polite = max(2 * took, self.looks_apart_ms + took + LOOK_LATE_MS)
        self.fresh_ms = max(SURVEY_FRESH_MS, min(polite, SURVEY_FRESH_LONGEST_MS))
        seen = judgement.foreign
        strangers = self.neighbours.strangers if self.neighbours else seen
        if complete:
            self._grow(strangers, self.limits.load().minus(seen))
            self.foreign, self.strangers, self.known = seen, strangers, True
        else:
            self.foreign, self.strangers = seen.most(self.foreign), strangers.most(self.strangers)
        if self.doubted is not None and complete and began >= self.doubted:
            self.doubted = None
        self.began = began if self.doubted is None else None
        self._learn_share(judgement.pending + judgement.ended // 2)

    def _learn_share(self, pending: int) -> None:
        """Learn from a look what the latest refusal was about: a batch that came, or less room than there should be.

        `pending` is what may have been pending at that moment: some of what has ended by the time of the look was, too.
        """
        before, self.batches = self.batches, self.neighbours.parts if self.neighbours else 1
        if self.batches == 1 < before:
            self.share, self.share_held = 1.0, SHARE_HELD_MS
        elif self.refused_since_look and self.batches > before:
            self.share = max(self.share, 1 / self.batches)
        elif self.refused_since_look:
            self.share = min(self.share, max(1, pending) / self.limits.pending)
        self.refused_since_look = False

    def _grow(self, seen: Load, left: Load) -> None:
        highest = reduce(Load.most, self.latest, self.strangers if self.known else seen)
        grown = seen.minus(highest).things()
        self.latest.append(seen)
        # They cannot grow by more than is left, and by one as soon as one place is free.
        grown_or_fading = (max(float(new), old * 0.9) for new, old in zip(grown, self.growth, strict=True))
        self.growth = tuple(
            min(each, max(1.0, most)) for each, most in zip(grown_or_fading, left.things(), strict=True)
        )

    def doubt(self, now: int) -> None:
        """Claim nothing before a complete listing that is begun from now on: there may be what none has shown yet."""
        self.doubted, self.began, self.version = now, None, self.version + 1

    def refused(self, now: int, said: str = "", chance: float = 0.5) -> None:
        """Take note of a refusal for quota; several of one moment count once.

        `chance`, 0 to 1, makes the pause shorter or longer by up to a half: two batchers that were refused at once
        must not come back at once.
        """
        self.refusal = said
        if now - self.share_since > REFUSALS_COUNT_ONCE_MS:
            recovered = self._share(now) >= 1.0
            self.share_held = SHARE_HELD_MS if recovered else min(2 * self.share_held, SHARE_HELD_LONGEST_MS)
            self.share = max(SMALLEST_SHARE, self._share(now) / 2)
            self.share_since = now
        self.paused_until = now + round(PAUSE_MS * (0.5 + chance))
        self.refused_since_look = True
        self.doubt(now)

    def fresh(self, now: int) -> bool:
        """Tell whether the latest listing is young enough to decide on."""
        return self.began is not None and now - self.began <= self.fresh_ms

    def paused(self, now: int) -> bool:
        """Tell whether the service refused for quota a moment ago."""
        return now < self.paused_until

    def room(self, now: int) -> Load:
        """Return the room for our own objects; none at all when nothing is known."""
        if not self.fresh(now) or self.paused(now):
            return NOTHING
        reserve = NOTHING if self.company else self._reserve()
        if self.neighbours:
            reserve = reserve.plus(self.neighbours.kept(self.limits.load()))
        room = self.limits.load().minus(self.foreign).minus(reserve)
        ours = self.company.part(self.limits.load(), now) if self.company else self.limits.load()
        return room.within(replace(ours, pending=ceil(ours.pending * self._share(now))))

    def _reserve(self) -> Load:
        return Load(*(ceil(2 * grown) if grown >= LEAST_GROWTH else 0 for grown in self.growth))

    def held_back(self, now: int) -> str:
        """Return what the service said when it refused, as long as less is sent for it; else nothing."""
        return self.refusal if self._share(now) < 1.0 else ""

    def _share(self, now: int) -> float:
        recovering = max(0, now - self.share_since - self.share_held)
        return min(1.0, self.share + recovering / SHARE_RECOVERS_MS)
