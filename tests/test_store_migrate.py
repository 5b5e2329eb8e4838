"""Migrations: from nothing or any version to the present one, in whole steps only."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from batcher import killpoints
from batcher.errors import MachineRefuses, UsageError
from batcher.store import migrate as module
from batcher.store.db import open_inline
from batcher.store.migrate import migrate, migrations, statements

LATEST = migrations()[-1][0]


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection to a file that is still empty."""
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)) as connection:
        yield connection


def schema(conn: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Return everything that the schema consists of, and its version."""
    rows = conn.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    return [*rows, conn.execute("PRAGMA user_version").fetchone()]


def test_from_nothing_to_the_present(conn: sqlite3.Connection) -> None:
    """A new table has the schema, and records which."""
    migrate(conn)
    assert conn.execute("PRAGMA user_version").fetchone() == (LATEST,)
    tables = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"batch", "root", "option_set", "transcript", "job", "history", "extra", "tally", "verdict"}


def test_a_second_time_changes_nothing(conn: sqlite3.Connection) -> None:
    """Every run begins with this."""
    migrate(conn)
    before = schema(conn)
    written = conn.total_changes
    migrate(conn)
    assert schema(conn) == before
    assert conn.total_changes == written


def test_a_newer_table_is_refused_untouched(conn: sqlite3.Connection) -> None:
    """An old batcher does not guess at what a newer one meant."""
    conn.execute(f"PRAGMA user_version = {LATEST + 1}")
    with pytest.raises(UsageError, match="newer batcher") as refused:
        migrate(conn)
    assert refused.value.hint
    assert schema(conn) == [(LATEST + 1,)]


def test_numbers_are_unique_and_without_gaps() -> None:
    """Two files of one number would leave one of them out."""
    assert [number for number, _ in migrations()] == list(range(1, LATEST + 1))


def test_no_file_is_overlooked() -> None:
    """A misspelled name would be a migration that never runs."""
    folder = files("batcher.store") / "migrations"
    assert len([entry for entry in folder.iterdir() if entry.name.endswith(".sql")]) == len(migrations())


class _Death(BaseException):
    """The process is gone."""


def test_a_kill_at_any_statement_leaves_nothing_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is ended the table is as a whole version left it, and the next start brings it to the present one."""
    whole = whole_versions()
    for last in range(1, sum(len(list(statements(script))) for _, script in migrations()) + 1):
        left = iter(range(last - 1))

        def die(name: str, left: Iterator[int] = left) -> None:
            if name == "migration-statement" and next(left, None) is None:
                raise _Death

        with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
            monkeypatch.setattr(killpoints, "hook", die)
            with pytest.raises(_Death):
                migrate(conn)
            monkeypatch.undo()
            assert not conn.in_transaction
            assert schema(conn) in whole[:-1]
            migrate(conn)
            assert schema(conn) == whole[-1]


def whole_versions() -> list[list[tuple[object, ...]]]:
    """Return the schema of every version, from the empty table to the present one."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        found = [schema(conn)]
        for number, script in migrations():
            module._apply(conn, number, script)
            found.append(schema(conn))
        return found


def test_a_kill_in_a_later_migration_keeps_the_earlier(
    conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each migration is a step of its own: the record and the schema always agree."""
    steps = [(1, "CREATE TABLE a (x);"), (2, "CREATE TABLE b (x); \nCREATE TABLE c (x);\n")]
    monkeypatch.setattr(module, "migrations", lambda: steps)
    left = iter(range(2))

    def die(_name: str) -> None:
        if next(left, None) is None:
            raise _Death

    monkeypatch.setattr(killpoints, "hook", die)
    with pytest.raises(_Death):
        migrate(conn)
    assert schema(conn) == [("table", "a", "CREATE TABLE a (x)"), (1,)]


def test_the_record_is_part_of_the_step(conn: sqlite3.Connection) -> None:
    """The version is written before the commit, so that no kill can come between the two."""
    seen: list[str] = []
    conn.set_trace_callback(seen.append)
    migrate(conn)
    ends = [sql for sql in seen if sql.startswith(("BEGIN", "COMMIT", "PRAGMA user_version ="))]
    steps = [("BEGIN IMMEDIATE", f"PRAGMA user_version = {number}", "COMMIT") for number, _ in migrations()]
    assert ends == [statement for step in steps for statement in step]


def test_triggers_with_inner_semicolons_are_one_statement() -> None:
    """Only SQLite knows where a statement ends."""
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  UPDATE a SET x = 1;\n  DELETE FROM a;\nEND;\n"
    script = f"CREATE TABLE a (x); -- one; two\n{trigger}CREATE INDEX i ON a (x);\n"
    found = list(statements(script))
    assert len(found) == 3
    assert found[1] == trigger


@pytest.mark.parametrize(("number", "script"), migrations())
def test_nothing_of_a_script_is_dropped(number: int, script: str) -> None:
    """The statements together are the script, to its last line."""
    assert "".join(statements(script)) == script, number


def test_a_last_statement_without_its_semicolon_is_not_dropped() -> None:
    """A forgotten semicolon must not make a migration that does less than it says."""
    assert list(statements("CREATE TABLE a (x);\nCREATE TABLE b (x)\n")) == [
        "CREATE TABLE a (x);\n",
        "CREATE TABLE b (x)\n",
    ]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Have the system refuse to write any file beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_at_the_very_start_is_the_machines_refusal(tmp_path: Path) -> None:
    """It is not taken for a damaged table, and the next start with space makes it from nothing."""
    path = tmp_path / "jobs.sqlite3"
    with largest_file(8_192), pytest.raises(MachineRefuses) as refused:
        open_inline(path)
    assert refused.value.hint
    conn, _ = open_inline(path)
    with closing(conn):
        assert conn.execute("PRAGMA user_version").fetchone() == (LATEST,)
