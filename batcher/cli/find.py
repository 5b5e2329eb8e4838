"""Finding a job by what a person types: the recording's name, or the job's id."""

import os

from batcher.cli.place import Place
from batcher.errors import UsageError
from batcher.model import Job, is_url
from batcher.states import State
from batcher.store.reader import Reader
from batcher.text import show_text


def find(reader: Reader, text: str, place: Place) -> Job:
    """Return the job that `text` names. Raises UsageError when there is none.

    Only digits are an id (a recording of such a name is ``./123``); anything else is a path, from the present
    directory or from one of the directories that were scanned, or the name of an output, or the last part of a
    recording's name if only one has it.
    """
    job = reader.job(int(text)) if text.isascii() and text.isdigit() else _named(reader, os.fsencode(text), place)
    if job is None:
        hint = f"`batcher list {place.typed}` shows all of them with their ids."
        raise UsageError(f"this batch has no job {show_text(text)}", hint=hint)
    return job


def _named(reader: Reader, path: bytes, place: Place) -> Job | None:
    return _at(reader, path) or _alike(reader, path, place)


def _alike(reader: Reader, path: bytes, place: Place) -> Job | None:
    """Return the one job with this output, or of this last name; several are as good as none."""
    output = os.path.relpath(path, os.fsencode(place.out))
    names = {os.fsdecode(output), os.fsdecode(path)}
    found = [job for job in reader.jobs(State) if job.path.rpartition(b"/")[2] == path or names & _outputs(job)]
    return found[0] if len(found) == 1 else None


def _outputs(job: Job) -> set[str]:
    return {f"{job.output}.{name}" for name in job.formats.split(",") if name}


def _at(reader: Reader, path: bytes) -> Job | None:
    if is_url(path):
        return reader.job_at(path)
    bases = [os.getcwdb(), *(root for root, _prefix in reader.roots())]  # noqa: PTH109 - bytes
    places = (os.path.normpath(os.path.join(base, path)) for base in bases)  # noqa: PTH118 - bytes
    return next((job for place in places if (job := reader.job_at(place)) is not None), None)
