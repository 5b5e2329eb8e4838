"""One OUT for several shards: each has a table of its own there, and all of them the same number of parts."""

from batcher.cli.place import PRIVATE, TABLE, Place, shards_in
from batcher.errors import UsageError
from batcher.store.reader import open_reader


def check_shards(place: Place) -> None:
    """Raise UsageError when OUT was begun with another division: recordings would be in two tables, and paid twice."""
    whole = place.out / PRIVATE / TABLE
    if place.shard is not None and whole.exists() and _has_jobs(Place(place.out, whole)):
        raise UsageError(
            "this OUT was begun without shards", hint="Go on without --shard, or give the shards another OUT."
        )
    parts = place.shard.parts if place.shard else 0
    for shard in shards_in(place.out):
        other = Place(place.out, place.out / PRIVATE / f"shard-{shard.tag}" / TABLE, shard)
        if shard.parts != parts and _has_jobs(other):
            example = f"{min(place.shard.part, shard.parts) if place.shard else 1}/{shard.parts}"
            raise UsageError(
                f"this OUT was begun with {shard.parts} shards",
                hint=f"Go on with --shard {example} and so on, or give another OUT.",
            )


def _has_jobs(place: Place) -> bool:
    """Tell whether a table has rows; one that cannot be read is taken for full."""
    try:
        with open_reader(place.db) as reader:
            return reader.counts().total.jobs > 0
    except Exception:  # noqa: BLE001 - whatever SQLite says of it
        return True
