"""Which job table OUT belongs to: with another one everything in it would be sent, and paid for, again.

It is written down in OUT before anything is sent. What counts is the batch, not where its table lies: OUT may be moved,
and a table put back from a copy.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batcher.cli.place import Place, place_of
from batcher.cli.words import typeable
from batcher.errors import BatcherError, UsageError
from batcher.files import OutputError, read_small, write_output
from batcher.store.reader import open_reader
from batcher.text import show_path

NOTE = "table.json"  #: the file in a batch's private directory that tells which table is its own
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Note:
    """What OUT says of its table."""

    batch: str
    table: Path  #: where it was at the latest run


def check_table(place: Place) -> None:
    """Raise UsageError when a run would go on in OUT with another table than its own. Makes nothing. Blocks."""
    note = _read(place)
    if note is not None and (not place.db.exists() or _batch_in(place.db) not in (note.batch, None)):
        raise _another_table(place, note)


def keep_to_table(place: Place, batch: str) -> None:
    """Write down that OUT belongs to the table of `batch`. Of several that begin at once one is the first. Blocks.

    Raises UsageError when it belongs to another one.
    """
    note = _read(place) or _write(place, batch)
    if note.batch != batch:
        raise _another_table(place, note)
    if _absolute(note.table) != _absolute(place.db):  # it was moved
        write_output(place.state, NOTE, _content(place, batch), replace=True)


def _write(place: Place, batch: str) -> Note:
    """Write the note, unless another run was quicker; return what it says then."""
    try:
        write_output(place.state, NOTE, _content(place, batch), replace=False)
    except OutputError:
        note = _read(place)
        if note is None:
            raise
        return note
    return Note(batch, place.db)


def _content(place: Place, batch: str) -> bytes:
    """Return the note. A table inside OUT is named as seen from there, because it moves with OUT."""
    out, table = _absolute(place.out), _absolute(place.db)
    named = table.relative_to(out) if table.is_relative_to(out) else table
    return json.dumps({"batch": batch, "table": str(named)}).encode() + b"\n"


def _read(place: Place) -> Note | None:
    """Return what is written down in OUT. Raises UsageError if that cannot be told."""
    file = place.state / NOTE
    try:
        body = json.loads(read_small(file, _MOST_BYTES))
        return Note(str(body["batch"]), place.out / str(body["table"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{show_path(os.fsencode(file))} cannot be understood: it tells which job table OUT belongs to",
            hint="Remove it, and run again with the same --db as before.",
        ) from error


def _batch_in(table: Path) -> str | None:
    """Return whose table it is; None where that cannot be told: whoever opens it will see why."""
    with suppress(BatcherError), open_reader(table) as reader:
        batch = reader.batch()
        return batch[0] if batch else None
    return None


def _another_table(place: Place, note: Note) -> UsageError:
    out, table = show_path(os.fsencode(_absolute(place.out))), _absolute(note.table)
    name = show_path(os.fsencode(table))
    if not table.exists():
        what = f"{out} belongs to the job table {name}, which is not there"
    elif table == _absolute(place.db):
        what = f"{out} belongs to another job table than the one that is now at {name}"
    else:
        what = f"{out} belongs to another job table, {name}"
    return UsageError(f"{what}: without it all would be sent, and paid for, again", hint=_go_on(place, note, table))


def _go_on(place: Place, note: Note, table: Path) -> str:
    if table.exists() and table != _absolute(place.db):
        usual = _absolute(place_of(place.out, None, str(place.shard or "")).db)
        with_it = "without --db" if table == usual else f"with --db {_typed(table)}"
        return f"Go on {with_it}, or give another -o."
    return (
        f"Put the table of batch {note.batch} back, or say with --db where it is now, or give another -o. To begin anew "
        f"in this one, and pay for everything again, remove {_typed(place.state / NOTE)} first."
    )


def _typed(path: Path) -> str:
    return typeable(os.fsencode(_absolute(path))) or "FILE"


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
