"""Which job table OUT belongs to: with another one everything in it would be sent, and paid for, again.

`run` writes it down in OUT when the table is known to do for it, and before anything is sent. What counts is the
batch, not where its table lies: OUT may be moved, and a table put back from a copy. An OUT from before there was such
a note belongs to the table that it has, or that its latest run had. A table of which nothing was ever sent binds
nobody.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batcher.cli.memory import remembered_flags
from batcher.cli.place import TABLE, Place, place_of
from batcher.cli.words import typeable
from batcher.errors import BatcherError, UsageError
from batcher.files import OutputError, read_small, write_output
from batcher.lock import hold, is_held
from batcher.store.reader import open_reader
from batcher.text import show_path

NOTE = "table.json"  #: the file in a batch's private directory that tells which table is its own
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Note:
    """What OUT says of its table."""

    batch: str
    table: Path  #: where it was at the latest run

    @property
    def lock(self) -> Path:
        """Return the lock beside the table."""
        return self.table.with_name(self.table.name + ".lock")


def check_table(place: Place) -> None:
    """Raise UsageError when a verb would go on in OUT with another table than its own. Makes nothing. Blocks."""
    note = _read(place) or _earlier(place)
    if note is not None and not _is_of(place.db, note) and _binds(note):
        raise _another_table(place, note)


def keep_to_table(place: Place, batch: str) -> None:
    """Write down that OUT belongs to the table of `batch`. Of several that begin at once one is the first. Blocks.

    Raises UsageError when it belongs to another one.
    """
    note = _read(place) or _write(place, batch)
    if note.batch != batch:
        _replace(place, batch, note)
    elif _absolute(note.table) != _absolute(place.db):  # it was moved
        write_output(place.state, NOTE, _content(place, batch), replace=True)


def check_there(place: Place) -> None:
    """Raise UsageError when the table of a batch is not there, and OUT tells which one it was. Blocks."""
    note = _noted(place)
    if note is not None and not place.db.exists() and not note.table.exists():
        raise UsageError(_gone(place, note), hint=_put_back(note))


def noted_table(place: Place) -> Path | None:
    """Return the table that OUT says is its own, if it does. Blocks."""
    note = _noted(place)
    return note.table if note else None


def _noted(place: Place) -> Note | None:
    """Return what is written down in OUT, for those who only look: if it can be told."""
    with suppress(UsageError):
        return _read(place)
    return None


def _is_of(table: Path, note: Note) -> bool:
    """Tell whether this is the noted table. Of one that cannot be read in its place, whoever opens it says why."""
    batch = _batch_in(table)
    in_place = table.exists() and _absolute(table) == _absolute(note.table)
    return batch == note.batch or (batch is None and in_place)


def _binds(note: Note) -> bool:
    """Tell whether anything was, or may be, sent from the noted table; of one that is not there that is unknown."""
    return _batch_in(note.table) != note.batch or is_held(note.lock) or _has_sent(note.table)


def _replace(place: Place, batch: str, note: Note) -> None:
    """Let OUT belong to another table, if nothing was sent from its own. Nobody begins with that one meanwhile."""
    if _binds(note):
        raise _another_table(place, note)
    with hold(note.lock):
        if _read(place) != note or _has_sent(note.table):
            raise _another_table(place, note)
        write_output(place.state, NOTE, _content(place, batch), replace=True)


def _earlier(place: Place) -> Note | None:
    """Return whose OUT was before there was a note: the usual table's, or that of the latest run's --db."""
    remembered = remembered_flags(place).get("db")
    tables = [place.state / TABLE, *([Path(remembered)] if isinstance(remembered, str) else [])]
    for table in tables:
        batch = _batch_in(table)
        if batch is not None and _has_sent(table):
            return Note(batch, table)
    return None


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
        note = Note(str(body["batch"]), place.out / str(body["table"]))
        os.fsencode(note.batch + str(note.table))  # what cannot be a name raises here, not where it is used
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{show_path(os.fsencode(file))} cannot be understood: it tells which job table OUT belongs to",
            hint="Remove it, and run again with the same --db as before.",
        ) from error
    return note


def _batch_in(table: Path) -> str | None:
    """Return whose table it is; None where that cannot be told: whoever opens it will see why."""
    with suppress(BatcherError), open_reader(table) as reader:
        batch = reader.batch()
        return batch[0] if batch else None
    return None


def _has_sent(table: Path) -> bool:
    """Tell whether anything of a table was ever sent; one that cannot be read may have."""
    with suppress(BatcherError), open_reader(table) as reader:
        return reader.ever_sent()
    return True


def _another_table(place: Place, note: Note) -> UsageError:
    table = _absolute(note.table)
    if not table.exists():
        what = _gone(place, note)
    elif table == _absolute(place.db):
        what = f"{_named(place.out)} belongs to another job table than the one that is now at {_named(table)}"
    else:
        what = f"{_named(place.out)} belongs to another job table, {_named(table)}"
    return UsageError(f"{what}: without it all would be sent, and paid for, again", hint=_go_on(place, note, table))


def _gone(place: Place, note: Note) -> str:
    return f"{_named(place.out)} belongs to the job table {_named(note.table)}, which is not there"


def _go_on(place: Place, note: Note, table: Path) -> str:
    if not table.exists() or table == _absolute(place.db):
        return _put_back(note)
    usual = _absolute(place_of(place.out, None, str(place.shard or "")).db)
    name = typeable(os.fsencode(table))
    if table == usual:
        with_it = "without --db"
    else:
        with_it = f"with --db {name}" if name else "with the same --db as before (its name cannot be typed here)"
    return f"Go on {with_it}, or give another -o. To have the table elsewhere, move it there, and name it with --db."


def _put_back(note: Note) -> str:
    return f"Put the table of batch {note.batch} back, or say with --db where it is now, or give another -o."


def _named(path: Path) -> str:
    return show_path(os.fsencode(_absolute(path)))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
