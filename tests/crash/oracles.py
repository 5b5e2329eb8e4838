"""What must hold, whenever the command was killed: asked of the table, of OUT and of the service; none is trusted."""

import json
import os
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from batcher.emulator.objects import Failure, Work
from batcher.emulator.recognizers import echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.model import Transcript
from batcher.reference import parse
from batcher.states import FINAL_STATES, NEXT, Event, State
from tests.crash.trial import PENDING, STORED, Trial, digest_of

FORMATS = ("txt", "json")
#: What a batch may leave in its private directory.
_OWN = {
    "jobs.sqlite3",
    "jobs.sqlite3-wal",
    "jobs.sqlite3-shm",
    "jobs.sqlite3.lock",
    "log.jsonl",
    "last-run.json",
    "parts",
    "table.json",
}

_JOBS = "SELECT path, state, reason, transcript.digest FROM job LEFT JOIN transcript ON transcript = transcript.id"

Row = tuple[object, ...]


def after_kill(trial: Trial) -> list[str]:
    """Return what is wrong while the batch lies there killed: a deleted transcript must be in the table by then."""
    with copied(trial.table) as table:
        kept = {reference for (reference,) in rows(table, "SELECT reference FROM transcript")} if table else set()
        found = _sound(table) if table else []
    lost = [item.reference for item in deleted_transcripts(trial) if item.reference not in kept]
    return found + [
        f"{reference} was deleted at the service, and its transcript is not in the table" for reference in lost
    ]


def acknowledged(trial: Trial) -> set[str]:
    """Return the recordings that any run so far has called done, in its ``--progress json``."""
    texts = [path.read_text("utf-8", "replace") for path in trial.folder.glob("run-*.txt")]
    lines = [line for text in texts for line in text.splitlines()]
    events = [json.loads(line) for line in lines if line.startswith('{"event": "job"') and line.endswith("}")]
    return {str(Path(each["path"]).relative_to(trial.folder / "in")) for each in events if each["to"] == State.DONE}


def after_cut(trial: Trial) -> list[str]:
    """Return what a power cut has taken: what was called done must be, and no output may be there in part."""
    with copied(trial.table) as table:
        paths = rows(table, "SELECT path FROM job WHERE state = 'done'") if table else []
    done = {_name(trial, path) for (path,) in paths}
    there = {name for name in trial.contents for ending in FORMATS if (trial.out / f"{name}.{ending}").exists()}
    named = sorted(acknowledged(trial))
    found = [f"{name} was called done and is not" for name in named if name not in done]
    found += [f"{name} was called done and has no output" for name in named if name not in there]
    sent = _digests_sent(trial)
    return found + [text for name in sorted(there) for text in _output(trial, name, sent, torn=name not in named)]


def deleted_transcripts(trial: Trial) -> list[Work]:
    """Return the transcriptions that were deleted at the service when their words were ready."""
    deleted = trial.emulator.portal.call(lambda: list(trial.witness.deleted))
    return [item for item in deleted if item.ended is not None and isinstance(item.outcome, Transcript)]


def at_the_end(trial: Trial) -> list[str]:
    """Return what is wrong after the last run."""
    last = trial.endings[-1]
    if last.late or last.code:
        return [f"the last run ended with {last.code} after {last.seconds:.1f} s: {_last_lines(trial)}"]
    with copied(trial.table) as table:
        if table is None:
            return ["there is no table"]
        found = [*_sound(table), *_jobs(trial, table), *_history(table), *_loose_ends(table), *_outputs(trial, table)]
    return found + _service(trial) + _paid(trial)


@contextmanager
def copied(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a copy of a table as a crash left it, None where there is none yet: looking must not mend anything."""
    if not path.exists():
        yield None
        return
    with TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            if (part := path.with_name(path.name + suffix)).exists():
                shutil.copyfile(part, Path(folder) / part.name)
        with closing(sqlite3.connect(Path(folder) / path.name)) as table:
            has = table.execute("SELECT 1 FROM sqlite_schema WHERE name = 'history'").fetchall()
            yield table if has else None


def batch_of(trial: Trial) -> str:
    """Return the id of the batch."""
    with copied(trial.table) as table:
        assert table is not None
        ((batch,),) = rows(table, "SELECT id FROM batch")
        return str(batch)


def rows(table: sqlite3.Connection, sql: str) -> list[Row]:
    """Return all rows of a query."""
    return table.execute(sql).fetchall()


def states(table: sqlite3.Connection) -> Counter[str]:
    """Return how many jobs are in which state."""
    return Counter(str(state) for (state,) in rows(table, "SELECT state FROM job"))


def _sound(table: sqlite3.Connection) -> list[str]:
    """Ask SQLite itself, and hold the totals against the jobs."""
    found = [f"integrity: {row}" for row in rows(table, "PRAGMA integrity_check") if row != ("ok",)]
    found += [f"foreign key: {row}" for row in rows(table, "PRAGMA foreign_key_check")]
    totals = {state: number for state, number in rows(table, "SELECT state, jobs FROM tally") if number}
    if totals != states(table):
        found.append(f"the totals say {totals}, the jobs {dict(states(table))}")
    return found


def _jobs(trial: Trial, table: sqlite3.Connection) -> list[str]:
    """Every recording has one job, in the state that its nature demands, with the transcript of its audio."""
    known = {_name(trial, path): rest for path, *rest in rows(table, _JOBS)}
    found = [] if set(known) == set(trial.contents) else [f"recordings and jobs differ: {sorted(known)}"]
    for name, (state, reason, digest) in known.items():
        if state != trial.fate(name):
            found.append(f"{name} ended {state} ({reason}), not {trial.fate(name)}")
        elif state == State.DONE and digest != digest_of(trial.contents[name]):
            found.append(f"{name} has the transcript of another audio in the table")
    return found


def _name(trial: Trial, path: object) -> str:
    """Return a recording's name below the input directory."""
    assert isinstance(path, bytes)
    return str(Path(os.fsdecode(path)).relative_to(trial.folder / "in"))


def _history(table: sqlite3.Connection) -> list[str]:
    """Every job's history is a path in the table of transitions, and leads to the state it is in."""
    at: defaultdict[object, object] = defaultdict(lambda: State.NEW)
    found = []
    for job, source, event, target in rows(table, "SELECT job, source, event, target FROM history ORDER BY id"):
        if source != at[job] or NEXT.get((State(str(source)), Event(str(event)))) != target:
            found.append(f"job {job}: {source} --{event}--> {target} is no path")
        at[job] = target
    for job, state in rows(table, "SELECT id, state FROM job"):
        if at[job] != state or State(str(state)) not in FINAL_STATES:
            found.append(f"job {job} is {state}, and its history ends {at[job]}")
    return found


def _loose_ends(table: sqlite3.Connection) -> list[str]:
    extras = rows(table, "SELECT remote FROM extra")
    return [f"the table still wants deleted: {extras}"] if extras else []


def _outputs(trial: Trial, table: sqlite3.Connection) -> list[str]:
    """OUT holds the transcripts of what is done, whole, and nothing else."""
    wanted = {f"{name}.{ending}" for name in trial.contents if trial.fate(name) is State.DONE for ending in FORMATS}
    there = {str(path.relative_to(trial.out)) for path in trial.out.rglob("*") if path.is_file()}
    own = {f".batcher/{name}" for name in _OWN}
    found = [f"missing: {name}" for name in sorted(wanted - there)]
    found += [f"left in OUT: {name}" for name in sorted(there - wanted - own)]
    sent = _digests_sent(trial)
    return found + [
        text
        for name in sorted({w[:-5] for w in wanted & there if w.endswith(".json")})
        for text in _output(trial, name, sent)
    ]


def _output(trial: Trial, name: str, sent: dict[str, bytes], *, torn: bool = False) -> list[str]:
    """Compare one transcript with what the service hears in this very recording.

    Of a job that was interrupted (`torn`) some of the files may be missing; those that are there are whole.
    """
    text = echo_text(digest_of(trial.contents[name]))
    try:
        if (path := trial.out / f"{name}.json").exists() or not torn:
            document = json.loads(path.read_text("utf-8"))
            if name.startswith("sound-"):  # a copy in another format was sent; it must be the one of this job
                text = echo_text(sent.get(document["service"]["reference"], b""))
            if document["text"] != text:
                return [f"{name} has not the transcript of its audio"]
        if (path := trial.out / f"{name}.txt").exists() or not torn:
            plain = path.read_text("utf-8")
            if plain.split() != text.split() and not name.startswith("sound-"):
                return [f"{name}.txt is not what {name}.json says"]
    except (OSError, ValueError) as error:
        return [f"{name}: not whole: {error}"]
    return []


def _digests_sent(trial: Trial) -> dict[str, bytes]:
    return trial.emulator.portal.call(lambda: {item.reference: item.audio.digest for item in trial.witness.accepted})


def _service(trial: Trial) -> list[str]:
    """Nothing of ours is left, nothing of others was touched, and no quota was ever run into."""
    return trial.emulator.portal.call(_ask_service, trial)


def _ask_service(trial: Trial) -> list[str]:
    account = trial.emulator.account
    items = [*account.files, *(account.jobs if isinstance(account, RestAccount) else ())]
    left = [(item.id, item.reference) for item in items if not item.foreign]
    found = [f"left at the service: {left}"] if left else []
    if len(items) - len(left) != 1:
        found.append("what belongs to others was touched")
    tally = account.tally
    refused = tally.quota_refusals and not trial.recipe.hidden  # what no list shows can only be found out so
    if tally.pending_peak > PENDING or tally.stored_peak > STORED or refused:
        found.append(f"peaks {tally.pending_peak} pending, {tally.stored_peak} stored, {tally.quota_refusals} refusals")
    return found


def _paid(trial: Trial) -> list[str]:
    """Every content was transcribed once; a second time only what the service itself failed."""
    return trial.emulator.portal.call(_ask_paid, trial)


def _ask_paid(trial: Trial) -> list[str]:
    recipe, accepted = trial.recipe, trial.witness.accepted
    good = Counter(item.audio.digest for item in accepted if not isinstance(item.outcome, Failure))
    failed = len(accepted) - good.total()
    contents = {digest_of(content): name for name, content in trial.contents.items() if content}
    found = [
        f"{name} was transcribed {good[digest]} times"
        for digest, name in contents.items()
        if good[digest] != (0 if name.startswith("sound-") else 1)
    ]
    others = good.total() - sum(good[digest] for digest in contents)
    if others != recipe.foreign_sound or failed != recipe.foreign_sound + recipe.internal_errors:
        found.append(f"{others} other contents transcribed, {failed} failures")
    twice = [reference for reference, count in Counter(item.reference for item in accepted).items() if count > 1]
    found += [f"accepted twice: {reference}" for reference in twice]
    found += [f"not a reference of ours: {item.reference}" for item in accepted if parse(item.reference) is None]
    return found


def _last_lines(trial: Trial) -> str:
    text = trial.printed.read_text("utf-8", "replace") if trial.printed.exists() else ""
    return " | ".join(text.splitlines()[-3:])[-400:]
