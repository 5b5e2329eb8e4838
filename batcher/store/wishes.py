"""Which of the requests that were left for a run was carried out last."""

from typing import cast

from batcher.store.table import Ledger


def latest(ledger: Ledger) -> str:
    """Return the name of that request; nothing where there was none."""
    rows = ledger.rows("SELECT latest_request FROM batch")
    return cast("str", rows[0][0]) if rows else ""


def remember(ledger: Ledger, name: str) -> None:
    """Record that a request is carried out, in the transaction that does it."""
    ledger.rows("UPDATE batch SET latest_request = ?", (name,))
