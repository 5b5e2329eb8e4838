"""How recordings come into the table: scanned, examined, and recognised when their audio is known.

The same audio with the same options is submitted once, however many names it has. A recording whose size
nobody shares is admitted without reading it twice (its digest is taken while it is sent); as soon as two have
one size, the content of both is compared before either goes further.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast

from batcher.files.names import fold, with_suffix
from batcher.model import Cause, Job, is_url
from batcher.states import Event, State, accepts
from batcher.store import jobs, verdicts
from batcher.store.table import Ledger
from batcher.store.verdicts import Verdict

#: How long an examination is put off when the file is changing, or a sibling's digest is just being taken.
LOOK_AGAIN_MS = 2_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recording that a scan found, and the name its outputs should have."""

    path: bytes
    output: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan made of some candidates: counts by outcome, and jobs to look at again when they ended."""

    counts: Counter[str]
    deferred: list[bytes]
    finished: list[Job]  #: done before and unchanged; their outputs may still be missing


def scanned(ledger: Ledger, candidates: Sequence[Candidate], options: str) -> Scanned:
    """Record what a scan found: new recordings, changed ones, and those that are known as they are."""
    result = Scanned(Counter(), [], [])
    known = _known_paths(ledger, candidates)
    new: dict[bytes, Candidate] = {}
    for candidate in candidates:
        if candidate.path in known:
            _known(ledger, known[candidate.path], candidate, options, result)
        else:
            new.setdefault(candidate.path, candidate)
    _insert(ledger, list(new.values()), options)
    result.counts.update(new=len(new))
    result.counts.update(known=len(candidates) - result.counts.total())  # the same path twice
    return Scanned(+result.counts, result.deferred, result.finished)


def _known_paths(ledger: Ledger, candidates: Sequence[Candidate]) -> dict[bytes, Job]:
    sql = f"SELECT {jobs.COLUMNS} FROM job WHERE path IN ({_marks(len(candidates))})"  # noqa: S608
    found = map(Job.of, ledger.rows(sql, [candidate.path for candidate in candidates]))
    return {job.path: job for job in found}


def _marks(number: int) -> str:
    return ", ".join("?" * number)


_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEW = "path, output, output_key, size, mtime_ns, options, since, created, compare"


def _insert(ledger: Ledger, candidates: Sequence[Candidate], options: str) -> None:
    """Record new recordings, all in one statement each for what is looked up and what is written."""
    if not candidates:
        return
    outputs = _free_outputs(ledger, candidates)
    shared = _compare_shared(ledger, candidates)
    values: list[object] = []
    for candidate, output in zip(candidates, outputs, strict=True):
        compare = candidate.size in shared and not is_url(candidate.path)
        values += (candidate.path, output, fold(output), candidate.size, candidate.mtime_ns, options)
        values += (ledger.now, ledger.now, compare)
    ledger.rows(f"INSERT INTO job ({_NEW}) VALUES {', '.join([_ROW] * len(candidates))}", values)  # noqa: S608


def _free_outputs(ledger: Ledger, candidates: Sequence[Candidate]) -> list[str]:
    """Return the wished output names, or one beside each that another recording has already."""
    keys = [fold(candidate.output) for candidate in candidates]
    sql = f"SELECT output_key FROM job WHERE output_key IN ({_marks(len(keys))})"  # noqa: S608
    taken = {key for (key,) in ledger.rows(sql, keys)}
    outputs = []
    for candidate, key in zip(candidates, keys, strict=True):
        output = candidate.output
        if key in taken:
            output = with_suffix(output, blake2b(candidate.path, digest_size=5).hexdigest())
        taken.add(fold(output))
        outputs.append(output)
    return outputs


def _compare_shared(ledger: Ledger, candidates: Sequence[Candidate]) -> set[int]:
    """Return the sizes that one of these shares with any other, whose contents are then compared."""
    files = [candidate.size for candidate in candidates if not is_url(candidate.path)]
    sql = f"SELECT DISTINCT size FROM job WHERE size IN ({_marks(len(files))})"  # noqa: S608
    there = {cast("int", size) for (size,) in ledger.rows(sql, files)}
    among_them = {size for size, number in Counter(files).items() if number > 1}
    return among_them | {size for size in there if _compare_siblings(ledger, size, 0)}


_SHARED = """
    SELECT 1 FROM job
    WHERE size = :size AND id <> :id AND state <> 'skipped'
      AND (state NOT IN ('failed', 'cancelled') OR digest IS NOT NULL) LIMIT 1
"""
_UNREAD = """
    SELECT id, state FROM job
    WHERE size = :size AND digest IS NULL AND compare = 0 AND id <> :id AND state IN ('new', 'waiting')
"""


def _compare_siblings(ledger: Ledger, size: int, job_id: int) -> bool:
    """Have every undigested job of this size compared, and tell whether there is any of this size at all."""
    key = {"size": size, "id": job_id}
    for sibling, state in cast("list[tuple[int, str]]", ledger.rows(_UNREAD, key)):
        if state == State.WAITING:
            jobs.fire(ledger, sibling, State.WAITING, Event.SIZE_SHARED, None, {"compare": 1})
        else:
            ledger.rows("UPDATE job SET compare = 1 WHERE id = ?", (sibling,))
    return bool(ledger.rows(_SHARED, key))


#: Failures that cost nothing to try again: never sent, or the transcript is safe in the table.
_FREE_TO_RETRY = (Cause.SOURCE, Cause.OUTPUT)


def _known(ledger: Ledger, job: Job, seen: Candidate, options: str, result: Scanned) -> None:
    """Take note of a recording that has a row already."""
    same = (job.size, job.mtime_ns, job.options) == (seen.size, seen.mtime_ns, options)
    if not same and accepts(job.state, Event.CHANGED):
        facts = {"size": seen.size, "mtime_ns": seen.mtime_ns, "options": options}
        facts["earlier"] = _sent(job) if options == job.options else None
        jobs.start_over(ledger, job, Event.CHANGED, None, facts)
        result.counts["changed"] += 1
    elif not same:
        result.deferred.append(job.path)
        result.counts["deferred"] += 1
    elif job.state is State.FAILED and job.cause in _FREE_TO_RETRY:
        jobs.start_over(ledger, job, Event.RETRY)
        result.counts["again"] += 1
    else:
        result.counts["known"] += 1
        if job.state is State.DONE:
            result.finished.append(job)


def _sent(job: Job) -> bytes | None:
    """Return the digest of the audio of which a job's latest attempt was made, where that is known."""
    if job.attempt < job.first_attempt:  # it was not sent since it was found changed
        return job.earlier
    return None if job.sealed_at is None else job.digest


@dataclass(frozen=True, slots=True)
class Examined:
    """What looking into one recording told. `verdict` is None for one that can be sent."""

    job: Job
    size: int
    mtime_ns: int
    digest: bytes | None = None
    duration_ms: int | None = None
    verdict: Event | None = None
    reason: str | None = None
    changing: bool = False  #: it changed while it was looked at: look again


def examined(ledger: Ledger, results: Iterable[Examined]) -> None:
    """Move every examined job on: admitted, recognised, twinned, or put aside."""
    for result in results:
        _judge(ledger, result)


def _judge(ledger: Ledger, result: Examined) -> None:
    job = jobs.get(ledger, result.job.id)
    if job is None or job.state is not State.NEW:
        return
    facts: dict[str, object] = {"size": result.size, "mtime_ns": result.mtime_ns, "duration_ms": result.duration_ms}
    if result.changing:
        jobs.defer(ledger, job, ledger.now + LOOK_AGAIN_MS, job.failures, result.reason or "")
        return
    if result.size != job.size and _compare_siblings(ledger, result.size, job.id) and result.digest is None:
        ledger.rows("UPDATE job SET compare = 1 WHERE id = ?", (job.id,))
        return
    if result.verdict is not None:
        cause = Cause.SOURCE if result.verdict is Event.UNREADABLE else Cause.UNSUITABLE
        jobs.fire(ledger, job.id, job.state, result.verdict, result.reason, facts | {"cause": cause})
    elif result.digest is None:
        _admit_unread(ledger, job, facts)
    else:
        _admit_by_content(ledger, job, result.digest, facts)


def _admit_unread(ledger: Ledger, job: Job, facts: dict[str, object]) -> None:
    """Admit a recording of a size of its own, unless another of this size was found meanwhile."""
    if job.compare:
        return  # it stays new, and is examined again with its content
    jobs.fire(ledger, job.id, State.NEW, Event.ADMITTED, None, facts)


_TRANSCRIPT = "SELECT id FROM transcript WHERE digest = ? AND options = ?"
_CARRIER = """
    SELECT id FROM job WHERE digest = :digest AND options = :options AND id <> :id
      AND state IN ('waiting', 'uploading', 'sealed', 'uncertain', 'submitted', 'completed', 'stored',
                    'failing', 'cancelling')
    ORDER BY id LIMIT 1
"""
_UNREAD_SIBLING = """
    SELECT 1 FROM job WHERE size = :size AND options = :options AND id <> :id
      AND state = 'uploading' AND digest IS NULL AND compare = 0 LIMIT 1
"""


def is_known(ledger: Ledger, job: Job, digest: bytes) -> bool:
    """Tell whether this content, read only now, has a transcript with the job's options, is getting one, or got none.

    A recording is admitted unread when nobody has its size; but audio may be known whose recording has another
    content by now.
    """
    key = {"digest": digest, "options": job.options, "id": job.id}
    if ledger.rows(_TRANSCRIPT, (digest, job.options)) or ledger.rows(_CARRIER, key):
        return True
    return verdicts.on(ledger, job, digest) is not None


def _admit_by_content(ledger: Ledger, job: Job, digest: bytes, facts: dict[str, object]) -> None:
    """Give a recording the transcript that is there, the twin that is getting one, the verdict on it, or its turn."""
    _compare_siblings(ledger, cast("int", facts["size"]), job.id)  # one may have come back unread since the scan
    facts = facts | {"digest": digest, "not_before": 0}
    key = {"digest": digest, "options": job.options, "id": job.id, "size": facts["size"]}
    transcript = ledger.rows(_TRANSCRIPT, (digest, job.options))
    carrier = ledger.rows(_CARRIER, key)
    if transcript:
        known = {"transcript": transcript[0][0], "asked": 0}
        jobs.fire(ledger, job.id, State.NEW, Event.RECOGNISED, None, facts | known)
    elif carrier:
        jobs.fire(ledger, job.id, State.NEW, Event.TWINNED, None, facts | {"twin_of": carrier[0][0]})
    elif (verdict := verdicts.on(ledger, job, digest)) and not verdict.chance:
        _end_as_before(ledger, job, verdict, facts)
    elif ledger.rows(_UNREAD_SIBLING, key):
        jobs.defer(ledger, job, ledger.now + LOOK_AGAIN_MS, 0, "another recording of this size is being sent")
    else:
        jobs.fire(ledger, job.id, State.NEW, Event.ADMITTED, None, facts | (verdict.chance if verdict else {}))


def _end_as_before(ledger: Ledger, job: Job, verdict: Verdict, facts: dict[str, object]) -> None:
    """End a job as the one ended that had sent the same audio: sending it again, and paying again, is a person's wish.

    Where it had sent that itself, what it made is its own again.
    """
    given_up = verdict.state is State.CANCELLED
    event = Event.CANCEL if given_up else Event.FAILED_BEFORE
    known = {"cause": Cause.GIVEN_UP if given_up else verdict.cause, "sealed_at": verdict.accepted}
    known["first_attempt"] = job.attempt + (facts["digest"] != job.earlier)
    jobs.fire(ledger, job.id, State.NEW, event, verdict.words, facts | known)


def roots(ledger: Ledger, paths: list[bytes], name_of: Callable[[bytes], str]) -> dict[bytes, str]:
    """Return the folder inside OUT that mirrors each input root; remembered, so that it never changes.

    A batch's only root is mirrored at the top of OUT. Several, or later ones, get a folder of their own name.
    """
    known = dict(cast("list[tuple[bytes, str]]", ledger.rows("SELECT path, prefix FROM root")))
    for path in paths:
        if path not in known:
            alone = not known and len(paths) == 1
            known[path] = "" if alone else _free_prefix(name_of(path), path, set(known.values()))
            ledger.rows("INSERT INTO root VALUES (?, ?)", (path, known[path]))
    return {path: known[path] for path in paths}


def _free_prefix(name: str, path: bytes, taken: set[str]) -> str:
    tag = blake2b(path, digest_size=3).hexdigest()
    return name if name and name not in taken else f"{name}~{tag}"
