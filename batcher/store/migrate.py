"""Bring a job table to the present schema: numbered files, each applied in one transaction with its record.

The number of the last applied file is SQLite's ``user_version``, which is part of the same transaction.
"""

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from batcher.errors import UsageError
from batcher.killpoints import reach


def migrations() -> list[tuple[int, str]]:
    """Return every migration as (number, SQL), in order."""
    folder = files("batcher.store") / "migrations"
    named = [(re.match(r"(\d{4})_\w+\.sql$", entry.name), entry) for entry in folder.iterdir()]
    return sorted((int(match.group(1)), entry.read_text("utf-8")) for match, entry in named if match)


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script; a trigger with its inner semicolons is one."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement  # its semicolon was forgotten


def migrate(conn: sqlite3.Connection) -> None:
    """Apply what is missing. Raises UsageError when a newer version wrote the table."""
    known = migrations()
    (present,) = conn.execute("PRAGMA user_version").fetchone()
    if present > known[-1][0]:
        raise UsageError(
            f"this batch was written by a newer batcher (its table has version {present}, this one knows {known[-1][0]})",
            hint="Install the newer batcher and run the same command again.",
        )
    for number, script in known:
        if number > present:
            _apply(conn, number, script)


def _apply(conn: sqlite3.Connection, number: int, script: str) -> None:
    conn.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(script):
            conn.execute(statement)
            reach("migration-statement")
        conn.execute(f"PRAGMA user_version = {number}")
        reach("before-migration-commit")
        conn.execute("COMMIT")
        reach("after-migration-commit")
    except BaseException:
        if conn.in_transaction:  # SQLite itself rolls back when the disk is full
            conn.execute("ROLLBACK")
        raise
