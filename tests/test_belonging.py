"""One OUT, one job table: with another one nothing is sent, and whatever is moved together goes on working."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from operator import length_hint
from pathlib import Path

import pytest

from batcher.cli import belonging
from batcher.cli.belonging import NOTE, check_table, keep_to_table
from batcher.cli.memory import remembered_flags, remembering, run_again
from batcher.cli.place import Place, place_of
from batcher.emulator.knobs import Knobs
from batcher.emulator.rest_account import RestAccount
from batcher.errors import AccountRefused, UsageError
from batcher.files import private_directory
from batcher.lock import hold
from tests.emulated import Emulated, emulated_rest, make_recordings
from tests.table_tools import written

QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40)
SURROGATE = b'{"batch": "0123456789abcdef", "table": "/\\ud800"}'
OURS = "0123456789abcdef"  #: the batch of every table that is made by hand


@pytest.fixture(scope="module")
def service() -> Iterator[Emulated[RestAccount]]:
    """Return a service at which every job ends at once."""
    with emulated_rest(QUICK) as emulator:
        yield emulator


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an OUT with a table in it, and the note that it is the one."""
    made = place_of(tmp_path / "out", None)
    private_directory(made.state)
    with written(made.db, tmp_path, api="rest") as hand:
        hand.add("a.wav")
        hand.submit(1)
    keep_to_table(made, OURS)
    return made


def accepted(service: Emulated[RestAccount]) -> int:
    """Return how many recordings the service has accepted so far."""
    return service.ask(lambda account: account.tally.accepted.total())


def note(out: Path) -> dict[str, str]:
    """Return what is written down in OUT."""
    found: dict[str, str] = json.loads((out / ".batcher" / NOTE).read_bytes())
    return found


# The command.


def test_a_run_with_another_table_is_refused_and_told_which_one_it_is(
    service: Emulated[RestAccount], tmp_path: Path
) -> None:
    """With --db before and without it now: nothing is sent, nothing made, and what is to be typed works."""
    make_recordings(tmp_path / "in", 3, seed=1)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    begun = accepted(service)
    assert service.call(*run, "--db", tmp_path / "t.db").returncode == 0
    refused = service.call(*run)
    assert refused.returncode == 2
    assert f"belongs to another job table, {tmp_path / 't.db'}" in refused.stderr
    assert not (tmp_path / "out" / ".batcher" / "jobs.sqlite3").exists()
    hint = re.search(r"Go on with (--db .*), or give", refused.stderr.replace("\n", ""))
    assert hint is not None
    assert service.call(*run, *shlex.split(hint[1])).returncode == 0
    assert accepted(service) == begun + 3


def test_a_run_with_another_table_than_the_usual_one_is_refused(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """Without --db before and with it now."""
    make_recordings(tmp_path / "in", 3, seed=2)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    begun = accepted(service)
    assert service.call(*run).returncode == 0
    refused = service.call(*run, "--db", tmp_path / "t.db")
    assert refused.returncode == 2
    assert "Go on without --db" in refused.stderr
    assert not (tmp_path / "t.db").exists()
    assert service.call(*run).returncode == 0
    assert accepted(service) == begun + 3


def test_of_two_that_begin_at_once_with_two_tables_one_goes_on(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """The locks lie beside the tables, so neither keeps the other out; the note in OUT does."""
    make_recordings(tmp_path / "in", 3, seed=3)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out", "--progress", "none")
    begun = accepted(service)
    processes = [service.start(*run), service.start(*run, "--db", tmp_path / "t.db")]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2], said
    assert any("belongs to another job table" in each for each in said)
    assert accepted(service) == begun + 3


def test_each_shard_has_a_table_of_its_own_in_one_out(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """And keeps to it."""
    make_recordings(tmp_path / "in", 6, seed=4)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    begun = accepted(service)
    for part in ("1/2", "2/2", "1/2"):
        assert service.call(*run, "--shard", part).returncode == 0
    refused = service.call(*run, "--shard", "2/2", "--db", tmp_path / "t.db")
    assert refused.returncode == 2
    assert "Go on without --db" in refused.stderr
    assert accepted(service) == begun + 6


def test_what_only_looks_writes_nothing_and_an_out_of_an_earlier_version_goes_on(
    service: Emulated[RestAccount], tmp_path: Path
) -> None:
    """Such an OUT has no note yet: the next run writes it."""
    make_recordings(tmp_path / "in", 2, seed=5)
    out = tmp_path / "out"
    run = ("run", tmp_path / "in", "-o", out)
    assert service.call(*run).returncode == 0
    (out / ".batcher" / NOTE).unlink()
    for verb in (("status", out), ("list", out), ("show", out, "1"), ("doctor", out)):
        assert service.call(*verb).returncode == 0
    assert not (out / ".batcher" / NOTE).exists()
    begun = accepted(service)
    assert service.call(*run).returncode == 0
    assert note(out)["table"] == ".batcher/jobs.sqlite3"
    assert accepted(service) == begun


def test_a_killed_run_leaves_either_no_note_or_that_of_its_table(
    service: Emulated[RestAccount], tmp_path: Path
) -> None:
    """The same command goes on in both cases."""
    make_recordings(tmp_path / "in", 2, seed=6)
    for number, point in enumerate(("table-created", "output-temp-written", "output-renamed")):
        run = ("run", tmp_path / "in", "-o", tmp_path / f"out-{number}")
        killed = service.start_killed_at(point, 1, *run)
        killed.communicate(timeout=60)
        assert killed.returncode == -9
        assert service.call(*run).returncode == 0
        assert not list(tmp_path.rglob("*.tmp"))


def test_an_out_from_before_the_note_is_guarded_as_well(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """Its own table is the usual one, or that of its latest run's --db; what only looks or finishes writes no note."""
    make_recordings(tmp_path / "in", 2, seed=7)
    for number, more in enumerate([(), ("--db", tmp_path / "t.db")]):
        out = tmp_path / f"out-{number}"
        run = ("run", tmp_path / "in", "-o", out)
        assert service.call(*run, *more).returncode == 0
        (out / ".batcher" / NOTE).unlink()
        begun = accepted(service)
        refused = service.call(*run, "--db", tmp_path / f"other-{number}.db")
        assert refused.returncode == 2
        assert "belongs to another job table" in refused.stderr
        assert service.call("reconcile", out).returncode == 0
        assert not (out / ".batcher" / NOTE).exists()
        assert service.call(*run, *more).returncode == 0
        assert accepted(service) == begun


@pytest.mark.parametrize("verb", ["reconcile", "retry", "cancel"])
def test_what_changes_a_batch_goes_on_with_its_own_table_only(
    service: Emulated[RestAccount], place: Place, tmp_path: Path, verb: str
) -> None:
    """Another batch's jobs are not written into this OUT."""
    with written(tmp_path / "t.db", tmp_path) as hand:
        hand.conn.execute("UPDATE batch SET id = 'ffffffffffffffff'")
    refused = service.call(verb, place.out, "--db", tmp_path / "t.db", *([] if verb == "reconcile" else ["--all"]))
    assert refused.returncode == 2
    assert "belongs to another job table" in refused.stderr


def test_a_table_that_is_refused_leaves_no_note(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """One table for two shards is: the second goes on with a table of its own."""
    make_recordings(tmp_path / "in", 6, seed=8)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    begun = accepted(service)
    assert service.call(*run, "--shard", "1/2", "--db", tmp_path / "s.db").returncode == 0
    assert service.call(*run, "--shard", "2/2", "--db", tmp_path / "s.db").returncode == 2
    assert not list((tmp_path / "out").glob(f".batcher/shard-2*/{NOTE}"))
    assert service.call(*run, "--shard", "2/2").returncode == 0
    assert accepted(service) == begun + 6


def test_without_its_latest_run_a_batch_is_found_by_the_note(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """And where the table is gone, that is said."""
    make_recordings(tmp_path / "in", 1, seed=9)
    out = tmp_path / "out"
    assert service.call("run", tmp_path / "in", "-o", out, "--db", tmp_path / "t.db").returncode == 0
    (out / ".batcher" / "last-run.json").unlink()
    assert "everything is done" in service.call("status", out).stdout
    (tmp_path / "t.db").unlink()
    for verb in (("status", out), ("show", out, "1"), ("retry", out, "--all")):
        gone = service.call(*verb)
        assert gone.returncode == 2
        assert f"belongs to the job table {tmp_path / 't.db'}, which is not there" in gone.stderr


def test_the_doctor_says_what_a_run_would_say_of_the_table(service: Emulated[RestAccount], place: Place) -> None:
    """Another one, one of another part, one that is gone: nothing of it is "none here yet"."""
    other = place.out.parent / "t.db"
    said = service.call("doctor", place.out, "--db", other)
    assert said.returncode == 2
    assert "bad  batch: " in said.stdout
    assert "belongs to another job table" in said.stdout
    with written(place.db, place.out, api="rest") as hand:
        hand.conn.execute("UPDATE batch SET shard = '1/2'")
    assert "this table holds part 1/2 of the input, not all" in service.call("doctor", place.out).stdout
    place.db.unlink()
    assert "which is not there" in service.call("doctor", place.out).stdout
    assert not other.exists()


def test_the_doctor_says_that_out_was_begun_with_shards(service: Emulated[RestAccount], tmp_path: Path) -> None:
    """As a run without does."""
    make_recordings(tmp_path / "in", 1, seed=10)
    out, table = tmp_path / "out", tmp_path / "t.db"
    assert service.call("run", tmp_path / "in", "-o", out, "--shard", "1/2", "--db", table).returncode == 0
    said = service.call("doctor", out)
    assert said.returncode == 2
    assert "this OUT was begun with 2 shards" in said.stdout


# Another account.


def test_a_refused_account_leaves_the_right_one_known(
    service: Emulated[RestAccount], place: Place, tmp_path: Path
) -> None:
    """It is named, and the command that was refused is not said to be the next step."""
    make_recordings(tmp_path / "in", 1, seed=11)
    right = {"host": "http://127.0.0.1:1"}
    with remembering(place, ["run", "in", "-o", "out", "--host", right["host"]], right):
        pass
    refused = service.call("run", tmp_path / "in", "-o", place.out, "--host", service.url)
    assert refused.returncode == 5
    assert "1 recording of this batch was sent with another key" in refused.stderr
    assert f"The run before had --host {right['host']}." in refused.stderr
    assert "next:" not in refused.stdout
    assert remembered_flags(place) == right


def test_a_first_command_with_a_wrong_key_is_the_one_to_repeat(place: Place) -> None:
    """Nothing better is known; nor is anything else when only the key, or the balance, is another one."""
    for words in (["run", "in", "-o", "out"], ["run", "in", "in2", "-o", "out"]):
        with pytest.raises(AccountRefused), remembering(place, words, {"host": "http://127.0.0.1:1"}):
            raise AccountRefused("refused")
        assert run_again(place) == shlex.join(["batcher", *words])


def test_the_doctor_says_that_the_batch_is_at_another_account(service: Emulated[RestAccount], place: Place) -> None:
    """As a run would."""
    said = service.call("doctor", place.out)
    assert said.returncode == 5
    assert "bad  batch: 1 of it may be at another account or host, this one shows nothing of it" in said.stdout
    assert "--other-account" in said.stdout


# The note.


def test_a_table_from_which_nothing_was_sent_binds_nobody(place: Place, tmp_path: Path) -> None:
    """Unless a run works with it now: it may be about to send."""
    other = place_of(place.out, tmp_path / "t.db")
    with written(place.db, tmp_path, api="rest") as hand:
        hand.conn.execute("UPDATE job SET attempt = 0")
    with hold(place.lock):
        with pytest.raises(UsageError, match="belongs to another job table"):
            check_table(other)
        with pytest.raises(UsageError, match="belongs to another job table"):
            keep_to_table(other, "f" * 16)
    check_table(other)
    keep_to_table(other, "f" * 16)
    assert note(place.out) == {"batch": "f" * 16, "table": str(other.db)}


def test_an_empty_file_is_not_the_table_of_an_out_from_before_the_note(place: Place, tmp_path: Path) -> None:
    """A run would make a new table in it."""
    (place.state / NOTE).unlink()
    (tmp_path / "t.db").touch()
    with pytest.raises(UsageError, match="belongs to another job table"):
        check_table(place_of(place.out, tmp_path / "t.db"))


def test_a_table_whose_name_nobody_can_type_is_not_named_as_another(place: Place, tmp_path: Path) -> None:
    """The hint says so instead."""
    strange = tmp_path / os.fsdecode(b"t\xff.db")
    place.db.rename(strange)
    keep_to_table(place_of(place.out, strange), OURS)
    with pytest.raises(UsageError) as refused:
        check_table(place)
    assert "cannot be typed" in refused.value.hint
    assert "FILE" not in refused.value.hint


def test_out_may_be_moved_together_with_its_table(place: Place, tmp_path: Path) -> None:
    """A table inside OUT is named as seen from there."""
    place.out.rename(tmp_path / "moved")
    moved = place_of(tmp_path / "moved", None)
    check_table(moved)
    keep_to_table(moved, OURS)
    with pytest.raises(UsageError, match=f"another job table, {moved.db}"):
        check_table(place_of(moved.out, tmp_path / "none.db"))


def test_a_table_restored_from_a_copy_is_the_same_one_wherever_it_lies(place: Place, tmp_path: Path) -> None:
    """The batch decides, and the note follows the table."""
    elsewhere = place_of(place.out, tmp_path / "copy.db")
    shutil.copy(place.db, elsewhere.db)
    place.db.unlink()
    check_table(elsewhere)
    keep_to_table(elsewhere, OURS)
    assert note(place.out)["table"] == str(elsewhere.db)


def test_a_table_that_is_gone_is_not_replaced_by_a_new_one(place: Place) -> None:
    """A new one would have all sent again; how to go on in any case is said."""
    place.db.unlink()
    with pytest.raises(UsageError, match=r"jobs\.sqlite3, which is not there") as refused:
        check_table(place)
    assert f"Put the table of batch {OURS} back" in refused.value.hint
    (place.state / NOTE).unlink()
    check_table(place)


def test_another_table_in_the_place_of_the_one_is_noticed(place: Place) -> None:
    """Its path is right, and its batch is not."""
    with pytest.raises(UsageError, match="than the one that is now at"):
        keep_to_table(place, "f" * 16)
    (place.state / NOTE).write_text(json.dumps({"batch": "f" * 16, "table": ".batcher/jobs.sqlite3"}))
    with pytest.raises(UsageError, match="than the one that is now at"):
        check_table(place)


def test_of_two_notes_the_first_one_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where both runs have seen none before."""
    first, looks, read = (place.state / NOTE).read_bytes(), iter([None]), belonging._read
    monkeypatch.setattr(belonging, "_read", lambda place: next(looks) if length_hint(looks) else read(place))
    with pytest.raises(UsageError, match="belongs to another job table"):
        keep_to_table(place, "f" * 16)
    assert (place.state / NOTE).read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 50_000, b'"' + b"x" * 70_000 + b'"', SURROGATE])
def test_a_note_that_cannot_be_understood_is_no_leave_to_go_on(place: Place, content: bytes) -> None:
    """It is refused with the name of the file."""
    (place.state / NOTE).write_bytes(content)
    with pytest.raises(UsageError, match=r"table\.json cannot be understood") as refused:
        check_table(place)
    assert "Remove it" in refused.value.hint


def test_a_pipe_in_place_of_the_note_is_not_waited_for(place: Place) -> None:
    """Nor followed, were it a link."""
    (place.state / NOTE).unlink()
    os.mkfifo(place.state / NOTE)
    with pytest.raises(UsageError, match="cannot be understood"):
        check_table(place)


def test_the_note_is_private(place: Place) -> None:
    """As all that a batch keeps."""
    assert (place.state / NOTE).stat().st_mode & 0o777 == 0o600
