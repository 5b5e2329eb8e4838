"""What a survey of the service proves about the jobs: a pure function from what is listed to what happened.

The same judgement runs at the start, after an outage, and all night long at every look at the service; there
is no separate recovery. It never guesses: an incomplete survey proves presence, never absence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from batcher.model import NOTHING, Cause, Job, Load, Patience, Remedy, RemoteObject, RemoteStatus, Survey
from batcher.reference import Reference, fingerprint, parse
from batcher.states import HELD_STATES, Event, State

_PREFERENCE = (RemoteStatus.COMPLETED, RemoteStatus.PROCESSING, RemoteStatus.QUEUED, RemoteStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Settle:
    """What counts as proof of absence: two complete lists, both begun long enough after, and apart."""

    wait_ms: int

    @property
    def apart_ms(self) -> int:
        """Return how far apart the two lists must begin."""
        return min(60_000, self.wait_ms // 3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the survey proves about one job: an event to fire, with the columns to set."""

    job: Job
    event: Event
    detail: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Judgement:
    """Everything one survey tells."""

    findings: list[Finding] = field(default_factory=list)
    missed: list[Job] = field(default_factory=list)  #: first complete list that does not show them
    seen_again: list[Job] = field(default_factory=list)  #: listed after having been missed
    news: list[tuple[Job, RemoteStatus]] = field(default_factory=list)  #: submitted jobs of which it says something new
    stuck: list[Job] = field(default_factory=list)  #: where they are for too long, as of this look
    extras: list[RemoteObject] = field(default_factory=list)  #: ours, but of no use to any job
    ours: int = 0
    pending: int = 0  #: everybody's
    not_shown: int = 0  #: jobs that were accepted, and that this complete list does not show though it should by now
    foreign: Load = NOTHING  #: everything that no held job accounts for

    @property
    def ended(self) -> int:
        """Return how many jobs of ours were pending before this look, and are not any more."""
        over = (Event.COMPLETED, Event.SERVICE_FAILED)
        return sum(f.event in over and f.job.state is State.SUBMITTED for f in self.findings)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known when a survey is judged."""

    batch: str
    session: int
    survey: Survey
    began: int  #: when the survey was begun, UTC milliseconds
    now: int
    settle: Settle
    patience: Patience = field(default_factory=Patience)
    max_failures: int = 8  #: answers of one job that may be lost before it is given up
    seals: Mapping[str, int] = field(default_factory=dict)  #: by reference: when listed earlier attempts were sealed


def judge(scene: Scene, jobs: Iterable[Job]) -> Judgement:
    """Hold a survey against the jobs that may be concerned: all held ones, and those that listed objects name."""
    judgement = Judgement(foreign=scene.survey.unlisted)
    known = {job.id: job for job in jobs}
    listed = _sort_objects(scene, known, judgement)
    for job in known.values():
        if job.state in HELD_STATES:
            _judge_patience(scene, job, judgement)
            _judge_held(scene, job, listed.get(job.id, []), judgement)
        elif job.id in listed:
            _judge_unheld(scene, job, listed[job.id], judgement)
    return judgement


def _sort_objects(scene: Scene, known: Mapping[int, Job], judgement: Judgement) -> dict[int, list[RemoteObject]]:
    """Group our objects by job; count everything that no held job accounts for against the room."""
    listed: dict[int, list[RemoteObject]] = {}
    for remote in scene.survey.objects:
        judgement.pending += remote.status.pending
        reference = parse(remote.reference)
        job = known.get(reference.job) if reference else None
        if reference is None or reference.batch != scene.batch:
            _count_foreign(judgement, remote)
            continue
        judgement.ours += 1
        if job is None:
            judgement.extras.append(remote)
        else:
            listed.setdefault(job.id, []).append(remote)
        if job is None or job.state not in HELD_STATES or not _is_of(job, remote):
            _count_foreign(judgement, remote)
    return listed


def _count_foreign(judgement: Judgement, remote: RemoteObject) -> None:
    judgement.foreign = judgement.foreign.plus(remote.load)


def _is_of(job: Job, remote: RemoteObject) -> bool:
    """Tell whether this object is one that the job's present attempt made.

    By its id where that is known; by its reference too, because the service may list one of an attempt's two
    objects when the other one is gone, and then names them otherwise.
    """
    return remote.id == job.remote or remote.reference == job.reference


def _judge_held(scene: Scene, job: Job, listed: list[RemoteObject], judgement: Judgement) -> None:
    mine = sorted((r for r in listed if _is_of(job, r) and not _is_bare(r)), key=lambda r: _worth(job, r))
    if _orphaned(scene, job):
        _judge_orphan(job, judgement)
        return  # the next look decides about its objects, when the job is uncertain or waiting
    earlier = _earlier(scene, job, listed) if job.state is State.UNCERTAIN else []
    if mine and earlier:  # the present attempt need not be awaited any more: the better one counts
        mine = sorted([mine[0], earlier[0]], key=lambda r: (r.status is RemoteStatus.FAILED, r != mine[0]))
    if not _in_hand(scene, job) and job.since < scene.began:
        kept = mine[:1] or earlier
        judgement.extras += [r for r in listed if r not in kept and not _may_be_needed(job, r)]
    if job.state not in (State.UNCERTAIN, State.SUBMITTED, State.COMPLETED):
        return
    found = mine[0] if mine else _judge_missing(scene, job, earlier, judgement)
    if found is not None:
        _judge_present(scene, job, found, judgement)
        if not _is_of(job, found):
            _forsake(scene, job, listed, judgement)


def _earlier(scene: Scene, job: Job, listed: list[RemoteObject]) -> list[RemoteObject]:
    """Return what an earlier attempt has made of this very recording, though a list had proven that it did not.

    It may be paid for, also where the service has failed it; with it the job is not sent once more. But it waits until
    the present attempt is there or proven absent: one that may still arrive keeps its place, and would be left behind
    by a batch that ended without it.
    """
    usable = (r for r in listed if not _is_bare(r) and not _is_of(job, r) and _is_made_of_it(scene, job, r))
    return sorted(usable, key=lambda remote: _worth(job, remote))[:1]


def _is_made_of_it(scene: Scene, job: Job, remote: RemoteObject) -> bool:
    reference = parse(remote.reference)
    return reference is not None and _is_of_this_content(job, reference) and _was_sealed(scene, job, remote)


def _was_sealed(scene: Scene, job: Job, remote: RemoteObject) -> bool:
    """Tell whether another attempt than the job's present one was whole: of one not sealed there is but a torso.

    A restored table does not know of the later ones. They are taken for whole unless the service has failed them.
    """
    reference = parse(remote.reference)
    if reference is not None and reference.attempt > job.attempt:
        return remote.status is not RemoteStatus.FAILED
    return remote.reference in scene.seals


def _is_bare(remote: RemoteObject) -> bool:
    """Tell audio that nothing transcribes: it proves nothing about a job, and costs nothing but room."""
    return remote.status is RemoteStatus.UPLOADED


def _may_be_needed(job: Job, remote: RemoteObject) -> bool:
    """Tell bare audio of a held job's present attempt: a transcription that this look does not show may use it.

    Where none does any more, the job itself deletes it together with its transcription.
    """
    return _is_bare(remote) and _is_of(job, remote)


def _judge_patience(scene: Scene, job: Job, judgement: Judgement) -> None:
    """Notice a job that is where it is for too long."""
    since, limit = job.since, scene.patience.ended
    if job.state is State.SUBMITTED:
        if job.remote_since is None:
            return
        since = job.remote_since
        queued = job.remote_status == RemoteStatus.QUEUED
        limit = scene.patience.queued if queued else scene.patience.processing
    elif job.state not in (State.COMPLETED, State.STORED, State.FAILING, State.CANCELLING):
        return
    if job.stuck_at is None and scene.began - since >= limit:
        judgement.stuck.append(job)


def _worth(job: Job, remote: RemoteObject) -> tuple[bool, int, int]:
    """Order several objects of one attempt: the one the job knows, then the furthest, then the oldest."""
    return remote.id != job.remote, _PREFERENCE.index(remote.status), remote.created or 0


def _in_hand(scene: Scene, job: Job) -> bool:
    """Tell whether an upload of this run is under way: its object may be listed before its answer is here."""
    return job.state in (State.UPLOADING, State.SEALED) and job.session == scene.session


def _orphaned(scene: Scene, job: Job) -> bool:
    """Tell whether the run that was sending this job has ended."""
    return job.state in (State.UPLOADING, State.SEALED) and job.session != scene.session


def _judge_orphan(job: Job, judgement: Judgement) -> None:
    """Decide about an upload whose run ended: sealed ones are uncertain, unsealed ones go again.

    An object of an unsealed attempt can only be a torso (the end of the audio was never announced), so it is
    never adopted; the next look has it deleted.
    """
    sealed = job.state is State.SEALED
    event = Event.ANSWER_LOST if sealed else Event.INTERRUPTED
    when = "before the service answered" if sealed else "during the upload"
    judgement.findings.append(Finding(job, event, f"batcher ended {when}"))


def _judge_present(scene: Scene, job: Job, remote: RemoteObject, judgement: Judgement) -> None:
    if job.absent_at is not None and job.state is not State.UNCERTAIN:
        judgement.seen_again.append(job)
    if job.state is State.UNCERTAIN:
        judgement.findings.append(_adoption(scene, job, remote))
    elif remote.status is RemoteStatus.FAILED:
        detail = remote.error or "the service gave no reason"
        remedy = None if remote.remedy is Remedy.NONE else remote.remedy
        facts = {"cause": Cause.SERVICE, "remedy": remedy}
        judgement.findings.append(Finding(job, Event.SERVICE_FAILED, detail, facts))
    elif remote.status is RemoteStatus.COMPLETED and job.state is State.SUBMITTED and job.not_before <= scene.now:
        judgement.findings.append(Finding(job, Event.COMPLETED, None, {"not_before": 0, "failures": 0}))
    elif remote.status.pending and job.state is State.SUBMITTED and remote.status != job.remote_status:
        judgement.news.append((job, remote.status))


def _forsake(scene: Scene, job: Job, listed: list[RemoteObject], judgement: Judgement) -> None:
    """Count what the present attempt has left for itself, now that an earlier one is the job's; bare audio is deleted.

    At once, because later looks need not show bare audio, and the job may be over before one does.
    """
    for remote in listed:
        if _is_of(job, remote):
            _count_foreign(judgement, remote)
            judgement.extras += [remote] if _is_bare(remote) and job.since < scene.began else []


def _judge_missing(scene: Scene, job: Job, earlier: list[RemoteObject], judgement: Judgement) -> RemoteObject | None:
    """Collect the proof that a job is not at the service (see `Settle`). With it, what an earlier attempt made is its own."""
    earliest = job.since + scene.settle.wait_ms
    if job.state is not State.UNCERTAIN and scene.survey.complete and scene.began >= job.since + scene.settle.apart_ms:
        judgement.not_shown += 1
    if not scene.survey.complete or scene.began < earliest:
        return None
    if job.absent_at is None or job.absent_at < earliest:  # a mark from before it moved proves nothing any more
        judgement.missed.append(job)
    elif scene.began >= job.absent_at + scene.settle.apart_ms:
        if earlier:
            return earlier[0]
        judgement.findings.append(_proven_absent(scene, job))
    return None


def _proven_absent(scene: Scene, job: Job) -> Finding:
    if job.state is State.UNCERTAIN and job.failures >= scene.max_failures:
        detail = f"given up after {job.failures} tries without an answer; the last one: {job.reason}"
        return Finding(job, Event.GIVEN_UP, detail, {"cause": Cause.SERVICE})
    if job.state is State.UNCERTAIN:
        return Finding(job, Event.ABSENT, "the service never received it", {"absent_at": None, "not_before": 0})
    detail = "it is gone from the service, and its transcript was not fetched yet"
    return Finding(job, Event.VANISHED, detail, {"cause": Cause.VANISHED})


def _judge_unheld(scene: Scene, job: Job, listed: list[RemoteObject], judgement: Judgement) -> None:
    """Adopt what a job can use after all, and have everything else deleted."""
    if job.since >= scene.began:
        return  # it moved while the list was made: the next list tells
    listed = [r for r in listed if not _may_be_own(job, r)]
    usable = sorted((r for r in listed if _adoptable(scene, job, r)), key=lambda r: _worth(job, r))
    judgement.findings += [_adoption(scene, job, remote) for remote in usable[:1]]
    judgement.extras += [r for r in listed if r not in usable[:1]]


def _adoption(scene: Scene, job: Job, remote: RemoteObject) -> Finding:
    reference = parse(remote.reference)
    facts = {
        "remote": remote.id,
        "reference": remote.reference,
        # The next one has a reference of its own, whatever a restored table knows of.
        "attempt": max(job.attempt, reference.attempt) if reference else job.attempt,
        "sealed_at": scene.seals.get(remote.reference) or job.sealed_at or scene.began,
        "not_before": 0,
        "failures": 0,
        "absent_at": None,
        "cause": None,
    }
    return Finding(job, Event.ADOPTED, "found at the service", facts)


def _may_be_own(job: Job, remote: RemoteObject) -> bool:
    """Tell what was made of a recording that was found changed: once it is read, it may only have been touched."""
    return job.state is State.NEW and job.earlier is not None and remote.reference == job.reference


def _adoptable(scene: Scene, job: Job, remote: RemoteObject) -> bool:
    """Tell whether a job that holds nothing may take this object for its own.

    A waiting one may, if it was sealed and arrived later than anything could prove (then also if the service has failed
    it), whether or not another attempt was begun since, or if the table is older than the object (a restored copy); one
    that was taken for vanished may, if that shows again or any other attempt shows up. The fingerprint tells that the
    object was made from this recording with these options.
    """
    reference = parse(remote.reference)
    if reference is None or job.digest is None or _is_bare(remote) or not _is_of_this_content(job, reference):
        return False
    own = remote.reference == job.reference
    whole = job.sealed_at is not None if own else _was_sealed(scene, job, remote)
    lost = job.state is State.FAILED and job.cause == Cause.VANISHED and remote.status is not RemoteStatus.FAILED
    return whole and (job.state is State.WAITING or lost)


def _is_of_this_content(job: Job, reference: Reference) -> bool:
    """Tell whether an attempt was made of what the job is about now, by size and time, or because it was read again."""
    mark = fingerprint(job.path, job.size, job.mtime_ns, job.options)
    touched = job.earlier is not None and job.earlier == job.digest and str(reference) == job.reference
    return reference.attempt >= job.first_attempt and (reference.fingerprint == mark or touched)
