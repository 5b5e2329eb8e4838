"""One OUT for several shards: each has a table of its own there, and all of them the same number of parts."""

import os
from contextlib import suppress
from pathlib import Path

from batcher.cli.place import PRIVATE, TABLE, Place, shards_in
from batcher.cli.words import quoted
from batcher.errors import UsageError
from batcher.files import OutputError, read_small, write_output
from batcher.shard import Shard
from batcher.store.reader import open_reader
from batcher.text import show_path

PARTS = "parts"  #: the file in OUT's private directory that tells how many parts there are; 0 is no shards


def settle_shards(place: Place) -> None:
    """Keep OUT to the division that it was begun with: else recordings are in two tables, and paid for twice. Blocks.

    The first run writes it down before it makes a table, so that of several that begin at once only one decides.
    Raises UsageError when it was begun otherwise.
    """
    _check_tables(place)
    try:
        write_output(place.out / PRIVATE, PARTS, b"%d\n" % _parts(place.shard), replace=False)
    except OutputError:
        _check_written(place)  # another shard was quicker


def check_shards(place: Place) -> None:
    """Raise UsageError when a run would be refused because OUT was begun with another division. Makes nothing."""
    _check_tables(place)
    if (place.out / PRIVATE / PARTS).exists():
        _check_written(place)


def _check_tables(place: Place) -> None:
    """Look for rows: an older OUT has tables alone."""
    for parts, table in _tables(place.out):
        if parts != _parts(place.shard) and _has_jobs(table):
            raise _begun_otherwise(place.shard, parts)


def _check_written(place: Place) -> None:
    file = place.out / PRIVATE / PARTS
    written = _written(file)
    if written != _parts(place.shard):
        slip = f"If that was a slip, and nothing works there, remove {quoted(file)} first."
        raise _begun_otherwise(place.shard, written, slip) from None


def _parts(shard: Shard | None) -> int:
    return shard.parts if shard else 0


def _tables(out: Path) -> list[tuple[int, Path]]:
    """Return the tables in an output directory, and how many parts there are to each."""
    whole = out / PRIVATE / TABLE
    parts = [(shard.parts, out / PRIVATE / f"shard-{shard.tag}" / TABLE) for shard in shards_in(out)]
    return [(0, whole), *parts] if whole.exists() else parts


def _begun_otherwise(wanted: Shard | None, parts: int, slip: str = "") -> UsageError:
    if parts == 0:
        begun, go_on = "without shards", "without --shard"
    else:
        begun = f"with {parts} shards"
        go_on = f"with --shard {min(wanted.part, parts) if wanted else 1}/{parts} and so on"
    return UsageError(f"this OUT was begun {begun}", hint=f"Go on {go_on}, or give another OUT. {slip}".rstrip())


def _written(file: Path) -> int:
    """Return how many parts were written down. Raises UsageError if that cannot be told."""
    with suppress(OSError, ValueError):
        return int(read_small(file, 100))
    raise UsageError(f"{show_path(os.fsencode(file))} cannot be understood", hint="Remove it, and run again.")


def _has_jobs(table: Path) -> bool:
    """Tell whether a table has rows; one that cannot be read is taken for full, one that was never made is not."""
    try:
        with open_reader(table) as reader:
            return reader.counts().total.jobs > 0
    except Exception as error:  # noqa: BLE001 - whatever SQLite says of it
        return "no such table" not in str(error)
