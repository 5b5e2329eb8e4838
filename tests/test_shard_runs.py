"""Four shards at once: the real command as four processes with one OUT and one account, over real sockets."""

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from batcher.cli.connect import _pace, check_connection
from batcher.cli.settings import read_settings
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.errors import UsageError
from tests.emulated import Emulated, emulated, emulated_rest, expected, make_recordings, transcripts

PENDING = 30
KNOBS = Knobs(pending=PENDING, queue_ms=50, min_work_ms=300, max_work_ms=600, rest=RestKnobs(requests_per_minute=0))
Emulator = Callable[[Knobs], AbstractContextManager[Emulated[Any]]]


def start(service: Emulated[Any], folder: Path, part: int) -> "subprocess.Popen[str]":
    """Start one shard."""
    options = ("--max-pending", str(PENDING), "--settle", "3", "--progress", "json")
    return service.start("run", folder / "in", "-o", folder / "out", "--shard", f"{part}/4", *options)


def summary(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return what a shard says at its end."""
    output, _ = process.communicate(timeout=60)
    last: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert last["event"] == "summary", output
    return last


@pytest.mark.parametrize("emulator", [emulated, emulated_rest])
def test_four_shards_at_once_do_every_recording_once_within_the_limits(emulator: Emulator, tmp_path: Path) -> None:
    """One of them is killed in the middle and started again. Nothing is refused for quota, and nothing is left."""
    contents = make_recordings(tmp_path / "in", 160)
    with emulator(KNOBS) as service:
        processes = [start(service, tmp_path, part) for part in (1, 2, 3, 4)]
        while service.ask(lambda account: account.tally.accepted.total()) < 60:
            assert any(process.poll() is None for process in processes)
        processes[1].send_signal(signal.SIGKILL)
        processes[1].communicate()
        processes[1] = start(service, tmp_path, 2)
        ends = [summary(process) for process in processes]
        tally = service.account.tally
        assert [end["exit_code"] for end in ends] == [0, 0, 0, 0]
        assert sorted(tally.accepted.values()) == [1] * 160
        assert tally.pending_peak <= PENDING
        assert not {"RESOURCE_EXHAUSTED", "limit_exceeded"} & set(tally.refusals)
        assert service.ask(lambda account: len(account.files)) == 0
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
    assert [end["shard"] for end in ends] == ["1/4", "2/4", "3/4", "4/4"]
    assert all(end["files"] + end["left_to_other_shards"] == 160 for end in ends)
    assert sum(end["files"] for end in ends) == 160
    assert not list(tmp_path.rglob("*.tmp"))


def test_every_verb_finds_the_shard_that_is_meant(tmp_path: Path) -> None:
    """With --shard its own table, without it a word about which there are; the hints can be typed as they are."""
    make_recordings(tmp_path / "in", 20)
    (tmp_path / "in" / "broken.mp3").write_bytes(b"")
    out = tmp_path / "out"
    with emulated_rest(KNOBS) as service:
        for part in ("1/2", "2/2"):
            done = service.call("run", tmp_path / "in", "-o", out, "--shard", part)
            assert done.returncode in (0, 3), done.stdout + done.stderr
            assert f"(this is {part})" in done.stdout
        files = 0
        for part in ("1/2", "2/2"):
            files += json.loads(service.call("status", out, "--shard", part, "--json").stdout)["files"]
            assert service.call("doctor", out, "--shard", part).returncode == 0
            assert service.call("reconcile", out, "--shard", part).returncode in (0, 3)
        assert files == 21
        for verb in (
            ("status",),
            ("list",),
            ("show", "1"),
            ("retry", "--all"),
            ("cancel", "1"),
            ("reconcile",),
            ("doctor",),
        ):
            refused = service.call(verb[0], out, *verb[1:])
            assert refused.returncode == 2, verb
            assert "Say which: --shard 1/2" in refused.stderr
        listed = service.call("list", out, "--shard", "1/2").stdout + service.call("list", out, "--shard", "2/2").stdout
        assert listed.count("\n") == 21
        other = service.call("run", tmp_path / "in", "-o", out, "--shard", "1/3")
        assert other.returncode == 2
        assert "Go on with --shard 1/2" in other.stderr
        table = out / ".batcher" / "shard-1-of-2" / "jobs.sqlite3"
        wrong = service.call("run", tmp_path / "in", "-o", tmp_path / "other", "--shard", "2/2", "--db", table)
        assert wrong.returncode == 2
        assert "this table holds part 1/2 of the input, not part 2/2" in wrong.stderr
        whole = service.call("run", tmp_path / "in", "-o", out)
        assert whole.returncode == 2


def test_shards_share_the_budget_of_requests() -> None:
    """As they share everything else that is the account's; without a limit there is nothing to share."""
    assert _pace(read_settings(None, {"shard": "2/4"})) == 50
    assert _pace(read_settings(None, {"shard": "2/4", "requests_per_minute": "4"})) == 1
    assert _pace(read_settings(None, {"shard": "2/4", "requests_per_minute": "0"})) == 0
    assert _pace(read_settings(None, {})) == 200


def test_more_shards_than_requests_a_minute_are_refused() -> None:
    """Together they would make more than the account is allowed; over gRPC nothing counts them."""
    with pytest.raises(UsageError, match="not one for each of 201 shards"):
        check_connection(read_settings(None, {"shard": "2/201"}))
    check_connection(read_settings(None, {"shard": "2/200"}))
    check_connection(read_settings(None, {"shard": "2/201", "requests_per_minute": "0"}))
    check_connection(read_settings(None, {"shard": "2/201", "api": "grpc"}))
