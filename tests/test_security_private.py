"""What a batch leaves on the disk is its user's alone, whatever the umask, and however a run ended."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batcher.cli.memory import remembering
from batcher.cli.place import place_of
from batcher.cli.wishes import leave
from batcher.clock import SystemClock
from batcher.emulator.account import Account
from batcher.emulator.knobs import Knobs
from batcher.emulator.rest_account import RestAccount
from batcher.files import private_directory
from batcher.files.flac import _new_file
from batcher.lock import hold
from batcher.logs import open_log
from batcher.requests import Request
from tests.emulated import Emulated, emulated, emulated_rest, make_recordings

QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40)
Service = Emulated[Account] | Emulated[RestAccount]
#: What lies in a batch's directory when a run was killed.
OF_A_RUN = {
    "jobs.sqlite3",
    "jobs.sqlite3-wal",
    "jobs.sqlite3-shm",
    "jobs.sqlite3.lock",
    "log.jsonl",
    "last-run.json",
    "parts",
    "table.json",
}


@contextmanager
def open_to_all() -> Iterator[None]:
    """Take no right away from new files, for the length of the block."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def run(emulator: Service, *arguments: object, kill: str = "") -> "subprocess.CompletedProcess[str]":
    """Run batcher to its end under a umask that protects nothing."""
    return subprocess.run(
        emulator.command(*map(str, arguments)),
        env=emulator.environment() | ({"BATCHER_KILL": kill} if kill else {}),
        umask=0,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def open_to_others(folder: Path) -> dict[str, str]:
    """Return what others than the user may touch in and below a directory, with its rights."""
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077
    }


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_a_killed_run_and_the_next_leave_nothing_that_others_can_read(api: str, tmp_path: Path) -> None:
    """Table, its log and its shared memory, lock, log, the remembered command, and every transcript."""
    make_recordings(tmp_path / "in", 3)
    out = tmp_path / "out"
    with emulated_rest(QUICK) if api == "rest" else emulated(QUICK) as emulator:
        killed = run(emulator, "run", tmp_path / "in", "-o", out, kill="output-temp-written:3")
        assert killed.returncode == -signal.SIGKILL
        assert {path.name for path in (out / ".batcher").iterdir()} == OF_A_RUN
        assert list(out.rglob("*.tmp"))
        assert open_to_others(out) == {}

        done = run(emulator, "run", tmp_path / "in", "-o", out)
        assert done.returncode == 0, done.stderr
    assert len(list(out.rglob("*.txt"))) == 3
    assert open_to_others(out) == {}


def test_a_table_elsewhere_is_as_private(tmp_path: Path) -> None:
    """With --db in a directory that everybody may write to, the files themselves are closed."""
    make_recordings(tmp_path / "in", 1)
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    with emulated_rest(QUICK) as emulator:
        arguments = ("run", tmp_path / "in", "-o", tmp_path / "out", "--db", place / "t.db")
        assert run(emulator, *arguments, kill="before-seal:1").returncode == -signal.SIGKILL
    assert {path.name for path in place.iterdir()} == {"t.db", "t.db-wal", "t.db-shm", "t.db.lock"}
    assert open_to_others(place).keys() == {"."}


def test_what_was_open_to_others_is_closed(tmp_path: Path) -> None:
    """The batch's directory, the log and the remembered command; nothing else in there can be reached then."""
    place = place_of(tmp_path / "out", None)
    place.state.mkdir(parents=True)
    place.state.chmod(0o755)
    for path in (place.log, place.last_run):
        path.touch()
        path.chmod(0o644)
    with open_to_all():
        private_directory(place.state)
        with hold(place.lock), open_log(place.log, "info", SystemClock()), remembering(place, ["run"], {}):
            assert open_to_others(place.state) == {}


def test_a_request_to_a_run_is_private(tmp_path: Path) -> None:
    """The directory of requests and the request in it."""
    place = place_of(tmp_path / "out", None)
    with open_to_all():
        leave(place, Request("cancel", [1]), SystemClock())
    assert len(list(place.requests.iterdir())) == 1
    assert open_to_others(place.state) == {}


def test_a_conversion_is_private(tmp_path: Path) -> None:
    """It holds what was said, like the recording."""
    with open_to_all():
        path, file = _new_file(tmp_path)
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
