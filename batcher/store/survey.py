"""Apply what a survey proves to the table, in one transaction."""

import json
from dataclasses import replace
from typing import cast

from batcher.judgement import Finding, Judgement, Scene, judge
from batcher.model import Job, RemoteObject
from batcher.reference import parse
from batcher.states import FINAL_STATES, HELD_STATES, Event, State
from batcher.store import jobs
from batcher.store.table import Ledger

#: Longer than from one look to the next, while a job waits for its turn, beside the time that looks take themselves.
HELD_BACK_MS = 60_000


def apply_survey(ledger: Ledger, scene: Scene) -> Judgement:
    """Judge a survey against the table as it is now, and record every finding."""
    concerned = _concerned(ledger, scene)
    scene = replace(scene, now=ledger.now, seals=_seals(ledger, scene, concerned))
    judgement = judge(scene, concerned)
    held_back = set()
    for finding in judgement.findings:
        if finding.event is Event.ADOPTED and not _may_be_adopted(ledger, finding):
            if _is_condemned(ledger, finding):
                held_back.add(finding.job.id)
                _hold_back(ledger, finding.job, 2 * (ledger.now - scene.began))
            continue
        jobs.fire(ledger, finding.job.id, finding.job.state, finding.event, finding.detail, finding.facts)
    for job, status in judgement.news:
        jobs.take_note(ledger, job, status, scene.began)
    for job in judgement.stuck:
        jobs.mark_stuck(ledger, job)
    for job in judgement.missed:
        _mark_absent(ledger, job, scene.began)
    for job in judgement.seen_again:
        _mark_absent(ledger, job, None)
    for extra in judgement.extras:
        if _job_of(extra) not in held_back:  # it may be the better one when the other is deleted
            add_extra(ledger, extra)
    return judgement


def _job_of(remote: RemoteObject) -> int | None:
    reference = parse(remote.reference)
    return reference.job if reference else None


def _may_be_adopted(ledger: Ledger, finding: Finding) -> bool:
    """Tell whether an object can be a job's own: not where it is to be deleted, and may be gone already.

    Nor where the service gave one id twice: nobody can tell whose it is.
    """
    return not _is_condemned(ledger, finding) and not jobs.is_taken(ledger, finding.facts["remote"], finding.job.id)


def _is_condemned(ledger: Ledger, finding: Finding) -> bool:
    return bool(ledger.rows("SELECT 1 FROM extra WHERE reference = ?", (finding.facts["reference"],)))


def _hold_back(ledger: Ledger, job: Job, looks_ms: int) -> None:
    """Send a job no sooner than a later look tells what there is for it, when a deletion under way is over.

    That may be of bare audio only, which was listed before the transcription that uses it (REST). The next look takes
    up to `looks_ms`.
    """
    if job.state is State.WAITING:
        later = max(job.not_before, ledger.now + HELD_BACK_MS + looks_ms)
        jobs.defer(ledger, job, later, job.failures, "what it left at the service is being deleted first")


def _concerned(ledger: Ledger, scene: Scene) -> list[Job]:
    """Return the held jobs and every other job that an object of ours names."""
    held = jobs.in_states(ledger, HELD_STATES)
    known = {job.id for job in held}
    references = [parse(remote.reference) for remote in scene.survey.objects]
    named = {r.job for r in references if r and r.batch == scene.batch} - known
    return held + [job for job in (jobs.get(ledger, job_id) for job_id in sorted(named)) if job]


_SEALED = "SELECT max(at) FROM history WHERE job = ? AND attempt = ? AND event = 'seal'"


def _seals(ledger: Ledger, scene: Scene, concerned: list[Job]) -> dict[str, int]:
    """Return by reference when those earlier attempts were sealed that are listed, as far as they were."""
    present = {job.reference for job in concerned}
    attempts = {job.id: job.attempt for job in concerned}
    seals: dict[str, int] = {}
    for text in {remote.reference for remote in scene.survey.objects} - present:
        reference = parse(text)
        if reference and reference.batch == scene.batch and reference.attempt <= attempts.get(reference.job, 0):
            ((sealed,),) = ledger.rows(_SEALED, (reference.job, reference.attempt))
            seals |= {} if sealed is None else {text: cast("int", sealed)}
    return seals


def _mark_absent(ledger: Ledger, job: Job, began: int | None) -> None:
    ledger.rows("UPDATE job SET absent_at = ? WHERE id = ? AND state = ?", (began, job.id, job.state))


_ADD_EXTRA = "INSERT INTO extra (remote, reference, seen) VALUES (?, ?, ?) ON CONFLICT (remote) DO NOTHING"


def add_extra(ledger: Ledger, remote: RemoteObject) -> None:
    """Remember an object of ours that only has to be deleted."""
    ledger.rows(_ADD_EXTRA, (remote.id, remote.reference, ledger.now))


_DUE_EXTRAS = """
    SELECT remote, failures FROM extra
    WHERE not_before <= :now AND remote NOT IN (SELECT value FROM json_each(:except))
    ORDER BY not_before LIMIT :places
"""


def due_extras(ledger: Ledger, places: int, busy: list[str]) -> list[tuple[str, int]]:
    """Return extras to delete now, as (remote id, failed tries)."""
    parameters = {"now": ledger.now, "except": json.dumps(busy), "places": places}
    return cast("list[tuple[str, int]]", ledger.rows(_DUE_EXTRAS, parameters))


def next_due_extra(ledger: Ledger) -> int | None:
    """Return when the next extra that has to wait may be deleted (UTC milliseconds)."""
    ((moment,),) = ledger.rows("SELECT min(not_before) FROM extra WHERE not_before > ?", (ledger.now,))
    return cast("int | None", moment)


def any_extra(ledger: Ledger) -> bool:
    """Tell whether any extra is left to delete."""
    return bool(ledger.rows("SELECT 1 FROM extra LIMIT 1"))


def count_extras(ledger: Ledger) -> int:
    """Return how many extras are left to delete."""
    ((extras,),) = ledger.rows("SELECT count(*) FROM extra")
    return cast("int", extras)


def drop_extra(ledger: Ledger, remote: str) -> None:
    """Forget an extra that is gone from the service."""
    ledger.rows("DELETE FROM extra WHERE remote = ?", (remote,))


def defer_extra(ledger: Ledger, remote: str, not_before: int) -> None:
    """Try an extra again at `not_before`."""
    sql = "UPDATE extra SET not_before = ?, failures = failures + 1 WHERE remote = ?"
    ledger.rows(sql, (not_before, remote))


def unfinished(ledger: Ledger) -> int:
    """Count what is not over yet: jobs that are not in a final state, and extras."""
    rows = ledger.rows("SELECT state, jobs FROM tally")
    open_jobs = sum(number for state, number in cast("list[tuple[str, int]]", rows) if state not in FINAL_STATES)
    return open_jobs + count_extras(ledger)
