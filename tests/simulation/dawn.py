"""What must hold when a night is over: every recording in one final state, for a reason, and nothing left behind."""

import json
from typing import TYPE_CHECKING

from batcher.emulator.recognizers import echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.model import Cause
from batcher.reference import parse
from batcher.states import FINAL_STATES, NEXT, Event, State
from tests.simulation.batch import Batch, digest_of
from tests.simulation.moods import ODD, may_fail
from tests.simulation.world import FLAC

if TYPE_CHECKING:
    from tests.simulation.night import Night

TRIES = 11  #: so often at least something is tried before it is given up
_PARDONED = """
    SELECT job.id, state, cause FROM job JOIN transcript USING (digest, options)
    WHERE state = 'failed' AND cause IN ('refused', 'service', 'vanished') OR state = 'cancelled' AND cause = 'given_up'
"""
_JOBS = "SELECT id, path, size, mtime_ns, state, digest, output, cause, reason FROM job ORDER BY id"
Row = tuple[int, bytes, int, int, str, bytes, str, str, str]


def check_dawn(night: "Night") -> None:
    """Note everything that must not be."""
    for batch in night.batches:
        if batch.ended:
            _check_jobs(night, batch)
            _check_history(night, batch)
    _check_service(night)


def _check_jobs(night: "Night", batch: Batch) -> None:
    rows: list[Row] = batch.rows(_JOBS)  # type: ignore[assignment]
    known = {row[1] for row in rows}
    for path in set(batch.world.files) - known:
        if not _since_start(batch, path):
            night.lost(f"{path!r} was never taken up")
    for row in rows:
        _check_job(night, batch, row)
    for job, state, cause in batch.rows(_PARDONED):
        night.lost(f"job {job} of {batch.name} ended {state} ({cause}), though its audio has a transcript")


def _check_job(night: "Night", batch: Batch, row: Row) -> None:
    job, path, size, mtime_ns, state, digest, output, cause, reason = row
    content = batch.content(path, mtime_ns, digest)
    if content is None or len(content) != size:
        night.violated(f"job {job} knows a recording that never was")
        return
    file = batch.world.files.get(path)
    if file is not None and file.mtime_ns != mtime_ns and not _since_start(batch, path) and not file.denied:
        night.lost(f"job {job} missed that its recording changed")
    if state == State.DONE and digest != digest_of(content):
        night.lost(f"job {job} is done with another recording's transcript")
    elif state == State.DONE:
        _check_output(night, batch, output, content)
    if not _explained(night, batch, row, content):
        night.lost(f"job {job} of {batch.name} ended {state} ({cause}: {reason})")


def _since_start(batch: Batch, path: bytes) -> bool:
    """Tell whether somebody worked on a recording while the last run was under way: the next one sees it."""
    return batch.touched.get(path, -1.0) >= batch.began


def _explained(night: "Night", batch: Batch, row: Row, content: bytes) -> bool:
    """Tell whether a job may have ended as it did."""
    job, path, _, _, state, _, _, cause, reason = row
    unsuitable, failing = content.startswith(b"bad"), may_fail(content, night.story.api)
    if state == State.CANCELLED:
        return job in batch.cancelled or (night.oracle.was_accepted(batch, content) and _given_up(batch, job, content))
    if state == State.FAILED and cause == Cause.SOURCE:
        return _since_start(batch, path) or path not in batch.world.files or batch.world.files[path].denied
    if state == State.FAILED and cause == Cause.VANISHED:
        return _has_vanished(night, batch, content)
    if state == State.FAILED and cause == Cause.SERVICE:
        return (
            failing
            or _inconvertible(batch, content)
            or _cut_short(night, batch, content)
            or _tried_often(batch, content)
            or ("file_not_found" in reason and _has_vanished(night, batch, content))
        )
    return state == (State.SKIPPED if unsuitable else State.DONE) and (state != State.DONE or not failing)


def _has_vanished(night: "Night", batch: Batch, content: bytes) -> bool:
    """Tell whether the service lost something of a recording, or of one that had the same sound."""
    names = batch.names(content)
    same = {job for job, path in batch.rows("SELECT id, path FROM job") if path in names}
    lost = [parse(reference) for reference in night.oracle.vanished]
    return any(each.batch == batch.id and each.job in same for each in lost if each is not None)


_GIVEN_UP = """
    SELECT path FROM job
    WHERE id <> ? AND id IN (SELECT job FROM history WHERE event = 'cancel' AND detail = 'cancelled on request')
"""


def _given_up(batch: Batch, job: int, content: bytes) -> bool:
    """Tell whether somebody ever gave up another recording of this sound; when tried again, it may have failed since.

    Where that brought a transcript no name of the sound may have ended so, see `_PARDONED`.
    """
    names = batch.names(content)
    return any(path in names for (path,) in batch.rows(_GIVEN_UP, job))


def _inconvertible(batch: Batch, content: bytes) -> bool:
    """Tell whether the service could not decode a recording, and nobody could read it in order to convert it."""
    names = {path for (path, _), each in batch.versions.items() if each == content}
    return content.startswith(ODD) and not names.isdisjoint(batch.touched)


def _cut_short(night: "Night", batch: Batch, content: bytes) -> bool:
    """Tell whether a sealed upload of a recording ended without its end mark: the service shows it as failed."""
    digest, sealed = digest_of(content), set(batch.rows("SELECT job, attempt FROM history WHERE event = 'seal'"))
    return any(
        came == digest and each.batch == batch.id and (each.job, each.attempt) in sealed
        for each, came in night.oracle.torsos
    )


def _tried_often(batch: Batch, content: bytes) -> bool:
    """Tell whether a recording of this sound, whatever lies under its name by now, was tried many times."""
    sql = """SELECT path, count(*) FROM history JOIN job ON job.id = history.job
             WHERE event IN ('postponed', 'answer_lost', 'rejected', 'source_changed') GROUP BY job"""
    names = batch.names(content)
    return any(path in names and isinstance(tries, int) and tries >= TRIES for path, tries in batch.rows(sql))


def _check_output(night: "Night", batch: Batch, output: str, content: bytes) -> None:
    document = json.loads(batch.world.outputs.get(f"{output}.json", b"{}"))
    text, sent = document.get("text"), (content, FLAC + content)
    if all(text != echo_text(digest_of(each)) for each in sent) or f"{output}.txt" not in batch.world.outputs:
        night.lost(f"{output} has not the transcript of its audio")


def _check_history(night: "Night", batch: Batch) -> None:
    at: dict[object, str] = {}
    for job, source, event, target in batch.rows("SELECT job, source, event, target FROM history ORDER BY id"):
        if source != at.get(job, State.NEW) or NEXT.get((State(str(source)), Event(str(event)))) != target:
            night.violated(f"job {job}: {source} --{event}--> {target} is no path")
        at[job] = str(target)
    if any(State(state) not in FINAL_STATES for state in at.values()):
        night.lost("a job is left in the middle of its life")
    if batch.rows("PRAGMA quick_check") != [("ok",)]:
        night.violated("the table is damaged")


def _check_service(night: "Night") -> None:
    account = night.account
    twice = sum(number for code, number in account.tally.refusals.items() if code.lower().endswith("not_found"))
    # An upload that somebody gives up is deleted at once; a list that was under way may still show its audio.
    plain = "plain" in night.story.kinds and "requests" not in night.story.kinds
    if plain and twice and not account.knobs.rest.cascade:
        night.violated(f"{twice} calls for what was deleted already, though no call failed")
    left = [*account.files, *(account.jobs if isinstance(account, RestAccount) else ())]
    for item in left:
        if not item.foreign:
            night.leaked += 1
            night.violated(f"left at the service: {item.reference}")
    if any(parse(reference) is None for reference in account.tally.accepted):
        night.violated("an upload without a reference of ours")
