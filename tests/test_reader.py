"""The reader: it looks at a table beside a writer or without one, and never leaves a trace."""

import sqlite3
from pathlib import Path

import pytest

from batcher.errors import UsageError
from batcher.states import Event, State
from batcher.store import reader as module
from batcher.store.reader import Reader, Sum, open_reader
from tests.table_tools import START, written


def listing(folder: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(path.name for path in folder.iterdir())


def test_counts_are_those_of_the_jobs(tmp_path: Path) -> None:
    """By state, by public name, and what may be at the service."""
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        hand.add("a.wav", "b.wav", "c.wav", "d.wav")
        hand.fail(1, "it vanished")
        hand.skip(2, "empty")
        hand.submit(3)
        with open_reader(db) as reader:
            counts = reader.counts()
    assert counts.by_state[State.FAILED] == Sum(1, 1000, 0)
    assert counts.public()["waiting"].jobs == 1
    assert counts.public()["done"] == Sum()
    assert (counts.total.jobs, counts.unfinished.jobs, counts.pending, counts.held) == (4, 2, 1, 1)


def test_without_a_writer_nothing_is_created(tmp_path: Path) -> None:
    """Not even the side files that SQLite makes for a table in WAL mode."""
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        hand.add("a.wav")
    before = listing(tmp_path)
    with open_reader(db) as reader:
        assert reader.counts().total.jobs == 1
        assert listing(tmp_path) == before
    assert listing(tmp_path) == before


def test_a_writer_that_comes_later_is_seen(tmp_path: Path) -> None:
    """Also by a reader that was there before."""
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        hand.add("a.wav")
    with open_reader(db) as reader:
        assert reader.counts().total.jobs == 1
        with written(db, tmp_path) as hand:
            hand.add("b.wav")
            assert reader.counts().total.jobs == 2


def test_a_writer_that_came_and_went_between_two_pages_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has left no side file. A job that it moved is there once, and none is missing."""
    monkeypatch.setattr(module, "PAGE", 50)
    db, number = tmp_path / "t.db", 2_000
    with written(db, tmp_path) as hand:
        hand.add(*[f"{place}.wav" for place in range(number)])
    with open_reader(db) as reader:
        jobs = reader.jobs([State.NEW, State.SKIPPED])
        found = [next(jobs).id]
        with written(db, tmp_path) as hand:
            hand.conn.execute("BEGIN")
            hand.conn.execute("UPDATE job SET state = 'skipped', not_before = 1 WHERE id % 3 = 0")
            hand.conn.execute("COMMIT")
        found += [job.id for job in jobs]
        assert reader.counts().total.jobs == number
    assert sorted(found) == list(range(1, number + 1))


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    """Whatever a later verb may try."""
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        hand.add("a.wav")
        looking = Reader(db)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            looking._conn.execute("UPDATE job SET state = 'done'")
        looking.close()


def test_jobs_come_in_pages_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when several share a due time at the edge of a page."""
    monkeypatch.setattr(module, "PAGE", 3)
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        hand.add(*[f"{number}.wav" for number in range(10)])
        hand.skip(4, "empty")
    with open_reader(db) as reader:
        new = [job.id for job in reader.jobs([State.NEW])]
        assert new == [1, 2, 3, 5, 6, 7, 8, 9, 10]
        assert [job.id for job in reader.jobs([State.SKIPPED, State.NEW])] == [4, *new]


def test_one_job_is_found_by_id_and_by_path_with_its_history(tmp_path: Path) -> None:
    """Values have their types back."""
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        hand.add("a.wav")
        hand.fail(1, "it vanished")
    with open_reader(db) as reader:
        job = reader.job_at(bytes(tmp_path / "a.wav"))
        assert job is not None
        assert job == reader.job(1)
        assert job.state is State.FAILED
        assert job.cancel_wanted is False
        assert reader.job(2) is None
        (past,) = reader.history(1)
        assert (past.at, past.source, past.event, past.detail) == (START, State.NEW, Event.UNREADABLE, "it vanished")
        assert reader.latest() == START
        assert reader.batch() == ("0123456789abcdef", START, 1)
        assert [ended.reason for ended in reader.ended(State.FAILED)] == ["it vanished"]


def test_no_batch_is_a_usage_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    """And nothing is made by looking."""
    with pytest.raises(UsageError, match="there is no batch here") as caught, open_reader(tmp_path / "t.db"):
        pass
    assert "batcher run" in caught.value.hint
    assert listing(tmp_path) == []


def test_what_is_no_job_table_is_said(tmp_path: Path) -> None:
    """Another database, or no database at all."""
    other = tmp_path / "other.db"
    conn = sqlite3.connect(other)
    conn.execute("CREATE TABLE x (y)")
    conn.close()
    (tmp_path / "junk.db").write_bytes(b"no database" * 100)
    for path in (other, tmp_path / "junk.db"):
        with open_reader(path) as reader, pytest.raises(UsageError, match="cannot be read as a job table"):
            reader.counts()


@pytest.mark.parametrize("name", [name for name in vars(module) if name.startswith("_") and name.isupper()])
def test_no_statement_scans_or_sorts_the_jobs(name: str, tmp_path: Path) -> None:
    """So that a status costs the same at a million rows."""
    sql = getattr(module, name)
    if not isinstance(sql, str) or "SELECT" not in sql:
        return
    db = tmp_path / "t.db"
    with written(db, tmp_path) as hand:
        plan = hand.conn.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?")).fetchall()
    steps = [step[3] for step in plan if "root" not in sql]
    assert not [step for step in steps if step.startswith("SCAN job") or "TEMP B-TREE" in step]
