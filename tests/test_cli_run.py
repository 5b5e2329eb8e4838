"""`batcher run` as a process: exit codes, what it prints, and other commands beside it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batcher.cli.place import place_of
from batcher.emulator.account import Account
from batcher.emulator.knobs import Knobs
from batcher.model import Cause
from batcher.states import Event, State
from tests.cli_tools import call, events, follow, service
from tests.emulated import KEY, Emulated, emulated, make_recordings
from tests.table_tools import written

#: Jobs that never end by themselves: what happens beside a run that is active has all the time it needs.
ENDLESS = Knobs(queue_ms=3_600_000)
QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40)
DAMAGED = Path(__file__).parents[1] / "batcher" / "demo" / "recordings" / "damaged" / "broken-off-copy.flac"


@pytest.fixture(scope="module")
def endless() -> Iterator[Emulated[Account]]:
    """Return a service at which no job ever ends."""
    with emulated(ENDLESS) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def quick() -> Iterator[Emulated[Account]]:
    """Return a service at which every job ends at once."""
    with emulated(QUICK) as emulator:
        yield emulator


def test_without_a_key_nothing_is_made_and_the_exit_code_is_5(quick: Emulated[Account], tmp_path: Path) -> None:
    """The message says what to type, and OUT does not even exist afterwards."""
    make_recordings(tmp_path / "in", 1)
    environment = quick.environment() | {
        "SONIOX_API_KEY": "",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    result = call(environment, "run", tmp_path / "in", "-o", tmp_path / "out")
    assert result.returncode == 5
    assert "export SONIOX_API_KEY" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_of_the_configuration_is_refused_and_the_valid_ones_are_named(
    quick: Emulated[Account], tmp_path: Path
) -> None:
    """The nearest one comes first."""
    make_recordings(tmp_path / "in", 1)
    config = tmp_path / "c.toml"
    config.write_text("max_pendign = 3\n")
    result = quick.run("run", tmp_path / "in", "-o", tmp_path / "out", "--config", config)
    assert result.returncode == 2
    assert "unknown key max_pendign" in result.stderr
    assert "the nearest first: max_pending" in result.stderr


def test_a_missing_input_is_a_usage_error_before_anything_is_made(quick: Emulated[Account], tmp_path: Path) -> None:
    """A typing mistake leaves no empty batch behind."""
    result = quick.call("run", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert not (tmp_path / "out").exists()


def test_everything_done_is_0_and_the_key_is_nowhere(quick: Emulated[Account], tmp_path: Path) -> None:
    """The closing line counts, and neither the outputs, the table nor the log hold the key."""
    make_recordings(tmp_path / "in", 3)
    result = quick.run("run", tmp_path / "in", "-o", tmp_path / "out", "--log-level", "debug")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("done 3 (3 now, 0 before), failed 0, skipped 0")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 6
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert [path.name for path in files if path.stat().st_mode & 0o077 and path.parent.name != ".batcher"] == []


def test_a_failure_is_3_also_when_it_is_from_before(tmp_path: Path) -> None:
    """The run names the recording, the reason and the next command; the next run still exits 3."""
    make_recordings(tmp_path / "in", 1)
    (tmp_path / "in" / "bad.flac").write_bytes(DAMAGED.read_bytes())
    with service("--must-decode") as environment:
        runs = [call(environment, "run", tmp_path / "in", "-o", tmp_path / "out") for _ in range(2)]
    assert [run.returncode for run in runs] == [3, 3], runs[0].stderr
    assert "failed 1:" in runs[0].stdout
    assert "bad.flac" in runs[0].stdout
    assert "next: batcher retry" in runs[0].stdout
    assert "failed 1 (0 now):" in runs[1].stdout


def test_a_link_to_nothing_and_a_pipe_are_told_and_are_no_failure(quick: Emulated[Account], tmp_path: Path) -> None:
    """They are no recordings, so the run that finished everything else exits 0."""
    make_recordings(tmp_path / "in", 1)
    (tmp_path / "in" / "a.wav").symlink_to("nowhere")
    os.mkfifo(tmp_path / "in" / "b.wav")
    result = quick.run("run", tmp_path / "in", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stdout
    assert "not looked into 2:" in result.stdout
    assert "a.wav: a link to nothing" in result.stdout


def test_beside_an_active_run_others_read_and_ask_but_a_second_run_is_6(
    endless: Emulated[Account], tmp_path: Path
) -> None:
    """Status, list and show read; cancel leaves a request that the run carries out; a second run exits 6."""
    make_recordings(tmp_path / "in", 3)
    out = tmp_path / "out"
    run = ("run", tmp_path / "in", "-o", out)
    process = endless.start(*run, "--max-pending", "1", "--progress", "json")
    first = follow(process, event="job", to="submitted")

    assert endless.call(*run).returncode == 6
    standing = json.loads(endless.call("status", out, "--json").stdout)
    assert standing["active"] is True
    assert standing["states"]["submitted"] == 1
    assert "a run is active, 3 recordings to go" in endless.call("status", out).stdout
    assert endless.call("list", out, "--state", "waiting").stdout.count("\n") == 2
    assert f"job          {first['id']}" in endless.call("show", out, first["path"]).stdout

    waiting = next(job for job in json.loads(endless.call("list", out, "--json").stdout) if job["state"] == "waiting")
    asked = endless.call("cancel", out, waiting["path"])
    assert "asked the active run to give up 1 job" in asked.stdout, asked.stderr
    follow(process, event="job", id=waiting["id"], to="cancelled")
    assert "asked the active run to try 1 job again" in endless.call("retry", out, str(waiting["id"])).stdout
    follow(process, event="job", id=waiting["id"], to="waiting")
    process.kill()
    process.communicate()


def test_names_and_reasons_cannot_touch_the_terminal(quick: Emulated[Account], tmp_path: Path) -> None:
    """Control characters, line breaks and bytes that are no UTF-8 are spelled out, in lines and in JSON."""
    folder = tmp_path / "in"
    folder.mkdir()
    bytes_only = folder / os.fsdecode(b"\xff\xfe.wav")
    for path in (folder / "a\nb\x1b[31mred.wav", bytes_only, folder / "[bold]x[bold].wav"):
        path.write_bytes(b"no audio")
    result = quick.run("run", tmp_path / "in", "-o", tmp_path / "out")
    listed = quick.call("list", tmp_path / "out")
    for text in (result.stdout, listed.stdout):
        assert "\x1b" not in text
        assert r"a\nb\x1b[31mred.wav" in text
        assert r"\xff\xfe.wav" in text
        assert "[bold]x[bold].wav" in text
    documents = json.loads(quick.call("list", tmp_path / "out", "--json").stdout)
    assert os.fsencode(bytes_only) in [os.fsencode(job["path"]) for job in documents]


def test_json_progress_is_one_object_a_line_and_ends_with_a_summary(quick: Emulated[Account], tmp_path: Path) -> None:
    """Programs learn of every public change of state, and of the exit code."""
    make_recordings(tmp_path / "in", 2)
    (tmp_path / "in" / "empty.wav").touch()
    with quick.start("run", tmp_path / "in", "-o", tmp_path / "out", "--progress", "json") as process:
        seen = list(events(process))
    assert process.returncode == 0
    done = next(event["id"] for event in seen if event["event"] == "job" and event["to"] == "done")
    walked = [event["to"] for event in seen if event["event"] == "job" and event["id"] == done]
    assert walked == ["uploading", "submitted", "completed", "stored", "done"]
    assert seen[-1]["event"] == "summary"
    assert seen[-1]["exit_code"] == 0
    assert seen[-1]["states"]["done"] == 2
    (skipped,) = seen[-1]["skipped"]
    assert (skipped["cause"], skipped["reason"], skipped["jobs"]) == ("unsuitable", "empty", 1)


def test_the_end_of_a_run_tells_of_what_was_cancelled_with_another_name(
    quick: Emulated[Account], tmp_path: Path
) -> None:
    """A person may never have meant it: it says why, and what sends it."""
    make_recordings(tmp_path / "in", 1)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    assert quick.run(*run).returncode == 0
    with written(place_of(tmp_path / "out", None).db, tmp_path / "other") as hand:
        hand.add("copy.wav")
        hand.fire(2, State.NEW, Event.CANCEL, "this very audio was given up", cause=Cause.GIVEN_UP)
    said = quick.run(*run).stdout
    assert "cancelled with another name of the same audio 1:\n  1 x this very audio was given up\n" in said
    assert "to have one sent: batcher retry " in said


@pytest.mark.parametrize("progress", ["json", "none"])
def test_a_reader_that_goes_away_does_not_end_the_run(progress: str, quick: Emulated[Account], tmp_path: Path) -> None:
    """`batcher run … | head` transcribes everything all the same, whether it breaks in the middle or at the end."""
    make_recordings(tmp_path / "in", 3)
    process = quick.start("run", tmp_path / "in", "-o", tmp_path / "out", "--progress", progress)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 0
    assert len(list((tmp_path / "out").rglob("*.txt"))) == 3
    assert "display failed" not in (tmp_path / "out" / ".batcher" / "log.jsonl").read_text()


def test_verbs_go_on_with_the_host_and_the_formats_of_the_latest_run(quick: Emulated[Account], tmp_path: Path) -> None:
    """`reconcile OUT` asks the service that the batch was sent to, although its --host is not repeated."""
    make_recordings(tmp_path / "in", 1)
    out = tmp_path / "out"
    elsewhere = quick.environment() | {"BATCHER_HOST": "http://127.0.0.1:1"}

    assert call(elsewhere, "run", tmp_path / "in", "-o", out, "--host", quick.url, "-f", "srt").returncode == 0
    result = call(elsewhere, "reconcile", out)
    assert result.returncode == 0, result.stderr
    assert "nothing to do" in result.stdout
