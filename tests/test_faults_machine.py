"""What only real processes show: races for a batch, a damaged table, a screen that takes nothing, a debug log."""

import ast
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from batcher.errors import BatchHeld, MachineRefuses
from batcher.files import WalkRules, walk
from batcher.lock import hold, is_held
from batcher.states import HELD_STATES
from batcher.store import jobs
from batcher.store.claim import begin_session
from batcher.store.db import open_database, prepare_connection
from batcher.store.migrate import migrations
from batcher.store.table import Ledger
from tests.emulated import KEY, emulated, expected, make_recordings, transcripts
from tests.test_architecture import PRODUCTION, imports, name_of, tree

HOLDER = """
import sys
from pathlib import Path
from batcher.errors import BatchHeld
from batcher.lock import hold
sys.stdin.readline()
try:
    with hold(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except BatchHeld:
    print("refused", flush=True)
"""


def contender(lock: Path) -> "subprocess.Popen[str]":
    """Start a process that waits for a line and then wants the lock until the next."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def say(process: "subprocess.Popen[str]") -> None:
    """Let a process go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: "subprocess.Popen[str]") -> str:
    """Return the next word of a process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_many_starts_at_once_exactly_one_gets_the_batch_and_its_death_frees_it(tmp_path: Path) -> None:
    """No file has to be tidied up after kill -9: the lock is the kernel's."""
    lock = tmp_path / "lock"
    racers = [contender(lock) for _ in range(6)]
    for racer in racers:
        say(racer)
    words = [hear(racer) for racer in racers]
    assert sorted(words) == ["held", *["refused"] * 5]
    winner = racers[words.index("held")]
    assert is_held(lock)
    with pytest.raises(BatchHeld), hold(lock):
        pass
    winner.send_signal(signal.SIGKILL)
    for racer in racers:
        racer.communicate()
    with hold(lock):
        assert is_held(lock)


def taken_over(lock: Path, error: Exception) -> None:
    """Hold the lock, lose it to another run, and meet an error then."""
    with hold(lock):
        lock.unlink()
        with hold(lock):
            raise error


def test_a_run_whose_lock_was_removed_says_so_when_another_took_over(tmp_path: Path) -> None:
    """What it then meets is nobody's mistake but that; where the lock is as it was, an error stays what it is."""
    met = ExceptionGroup("stages", [AssertionError("job 1 left uploading while it was being sent")])
    with pytest.raises(BatchHeld, match="was removed while this run worked, and another one took over") as told:
        taken_over(tmp_path / "lock", met)
    assert "Nothing was paid for twice" in told.value.hint
    with pytest.raises(MachineRefuses):
        taken_over(tmp_path / "lock", MachineRefuses("no space"))
    with pytest.raises(ExceptionGroup), hold(tmp_path / "lock"):
        raise met


@pytest.mark.parametrize("damage", ["head", "pages"])
def test_a_damaged_table_is_refused_kept_as_it_is_and_nothing_is_sent(tmp_path: Path, damage: str) -> None:
    """There is no guessing from a broken memory: the run ends with words, and the evidence stays."""
    make_recordings(tmp_path / "in", 3)
    table = tmp_path / "out" / ".batcher" / "jobs.sqlite3"
    with emulated() as emulator:
        assert emulator.run("run", tmp_path / "in", "-o", tmp_path / "out").returncode == 0
        content = bytearray(table.read_bytes())
        start = 0 if damage == "head" else 4096
        content[start : start + 4096 * 3] = b"\xa5" * 4096 * 3
        table.write_bytes(content)
        make_recordings(tmp_path / "in", 4, seed=1)
        result = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        assert result.returncode == (2 if damage == "head" else 7), result.stdout + result.stderr
        assert "unexpected" not in result.stderr
        assert emulator.account.tally.accepted.total() == 3
    assert table.read_bytes()[start : start + 4096] == b"\xa5" * 4096


def test_a_screen_that_takes_nothing_does_not_end_the_run(tmp_path: Path) -> None:
    """Where standard output is on a full disk, the transcripts are there all the same."""
    contents = make_recordings(tmp_path / "in", 3)
    with emulated() as emulator, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            emulator.command("run", tmp_path / "in", "-o", tmp_path / "out"),
            env=emulator.environment(), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False, text=True,
        )  # fmt: skip
        assert emulator.ask(lambda account: len(account.files)) == 0
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents), done.stderr


def test_a_debug_log_holds_neither_the_key_nor_a_word_that_was_spoken(tmp_path: Path) -> None:
    """It may be sent to somebody who is to help: names of files stand in it, contents do not."""
    contents = make_recordings(tmp_path / "in", 3)
    with emulated() as emulator:
        result = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out", "--log-level", "debug")
        assert result.returncode == 0, result.stderr
    log = (tmp_path / "out" / ".batcher" / "log.jsonl").read_text("utf-8")
    assert "acceptance" in log or "accepted" in log
    said = log + result.stdout + result.stderr
    assert KEY not in said
    for text in expected(contents).values():
        assert not {word for word in text.split() if len(word) > 7} & set(re.findall(r"\w+", said))


@pytest.mark.anyio
async def test_a_lock_that_somebody_holds_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """A backup that holds the table for a while delays a write and nothing else: the event loop goes on."""
    path = tmp_path / "jobs.sqlite3"
    written: list[str] = []

    def write(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO root VALUES (x'2f', '')")
        written.append("/")

    async with open_database(path) as database, anyio.create_task_group() as group:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            group.start_soon(database.write, write)
            for _ in range(1_000):
                await checkpoint()
            assert written == []
            other.execute("COMMIT")
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("SELECT path FROM root").fetchall() == [(b"/",)]


def peak(work: Callable[[], object]) -> int:
    """Return how many bytes Python held at most while it worked."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_huge_directory_is_walked_in_small_steps_and_little_memory(tmp_path: Path) -> None:
    """A step hands on a thousand files, and what is kept of those to come is their names."""
    for number in range(5_000):
        (tmp_path / f"{number:06}.wav").touch()
    steps: list[int] = []

    def look() -> None:
        steps.extend(len(step) for step in walk(os.fsencode(tmp_path), WalkRules(), print))

    one_by_one = peak(look)
    together = peak(lambda: list(walk(os.fsencode(tmp_path), WalkRules(), print)))
    assert steps == [1_000] * 5
    assert one_by_one < 0.75 * together


def test_no_process_is_ever_forked() -> None:
    """Neither a connection to the service nor the table outlives a fork; only the demo starts processes, from new."""
    forking = {"fork", "forkpty", "ProcessPoolExecutor"}
    for path in PRODUCTION:
        named = {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
        assert not named & forking, path
        assert not any(module.startswith(("multiprocessing", "concurrent.futures.process")) for module in imports(path))
        assert "subprocess" not in imports(path) or name_of(path) in {"cli/demo", "demo/make_recordings"}


@pytest.mark.parametrize("version", [number for number, _ in migrations()])
def test_a_table_of_any_earlier_version_is_taken_up_with_its_jobs(tmp_path: Path, version: int) -> None:
    """What an older batcher had sent is known to the newer one: the same reference, in the same state."""
    table = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(table)) as conn, conn:
        for _, script in migrations()[:version]:
            conn.executescript(script)
        conn.execute(f"PRAGMA user_version = {version}")
        conn.execute("INSERT INTO batch (id, created) VALUES ('0123456789abcdef', 1)")
        conn.execute("INSERT INTO option_set VALUES ('o', '{}')")
        conn.execute(
            "INSERT INTO job (path, output, output_key, size, mtime_ns, options, state, since, created, reference,"
            " digest, remote) VALUES (x'2f61', 'a', 'a', 1, 1, 'o', 'submitted', 1, 1, 'r', x'00', 'id')"
        )
    with closing(sqlite3.connect(table, isolation_level=None)) as conn:
        prepare_connection(conn)
        ledger = Ledger(conn, 2)
        (job,) = jobs.in_states(ledger, HELD_STATES)
        assert (job.state, job.reference, job.remote, job.bytes) == ("submitted", "r", "id", 1)
        assert begin_session(ledger, "unused", "grpc", "account").id == "0123456789abcdef"
