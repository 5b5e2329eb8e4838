"""Whose part of the input a table holds: once it has rows, no other part goes into it."""

from typing import cast

from batcher.errors import UsageError
from batcher.store.table import Ledger


def keep_to(ledger: Ledger, shard: str) -> None:
    """Record that the table is that of this part (``2/4``; nothing: the whole input). Raises UsageError if it is not.

    A recording that went into the table of another part would be sent by both, and paid for twice.
    """
    ((before,),) = cast("list[tuple[str]]", ledger.rows("SELECT shard FROM batch"))
    if before == shard:
        return
    if ledger.rows("SELECT 1 FROM job LIMIT 1"):
        raise another_part(before, shard)
    ledger.rows("UPDATE batch SET shard = ?", (shard,))


def another_part(before: str, shard: str) -> UsageError:
    """Return what is said when a table with rows of one part is to hold another one."""
    return UsageError(
        f"this table holds {_spelled(before)} of the input, not {_spelled(shard)}",
        hint=f"Go on {f'with --shard {before}' if before else 'without --shard'}, or give another --db or OUT.",
    )


def _spelled(shard: str) -> str:
    return f"part {shard}" if shard else "all"
