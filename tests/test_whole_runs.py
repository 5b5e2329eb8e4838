"""Whole runs of the real command against the emulator, over real sockets, with real kills."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from batcher.emulator.account import Account
from batcher.emulator.knobs import Knobs
from batcher.model import Limits
from tests.emulated import Emulated, emulated, expected, make_recordings, transcripts


def accepted(account: Account) -> int:
    """Return how many uploads the service has accepted so far."""
    return account.tally.accepted.total()


def until(emulator: Emulated[Account], holds: Callable[[Account], bool]) -> None:
    """Wait until something holds at the service; the test's own timeout bounds it."""
    pause = Event()
    while not emulator.ask(holds):
        pause.wait(0.02)


def read_until(process: "subprocess.Popen[str]", words: str) -> None:
    """Read what a process prints until it says `words`."""
    assert process.stdout is not None
    assert any(words in line for line in process.stdout), f"it never said: {words}"


def left(account: Account) -> list[str]:
    """Return the references of what is left at the service, strangers' files aside."""
    return [file.reference for file in account.files if not file.foreign]


def test_three_hundred_recordings_are_transcribed_within_the_quota_and_nothing_is_left(tmp_path: Path) -> None:
    """All transcripts are right, the service's own peak is within 100, nothing was refused, nothing stays."""
    contents = make_recordings(tmp_path / "in", 300)
    with emulated(Knobs(queue_ms=200, min_work_ms=800, max_work_ms=800)) as emulator:
        first = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        assert first.returncode == 0, first.stdout + first.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        tally = emulator.account.tally
        assert 90 <= tally.pending_peak <= 100
        assert not tally.refusals
        assert emulator.ask(left) == []

        again = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        assert again.returncode == 0, again.stdout + again.stderr
        assert emulator.ask(accepted) == 300
        assert "300 before" in again.stdout


def test_a_copied_tree_is_recognised_and_every_name_gets_its_transcript(tmp_path: Path) -> None:
    """New names and new times of known contents cost nothing."""
    contents = make_recordings(tmp_path / "in", 20)
    with emulated() as emulator:
        emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        shutil.copytree(tmp_path / "in", tmp_path / "copy", copy_function=shutil.copyfile)
        result = emulator.run("run", tmp_path / "copy", "-o", tmp_path / "out")
        assert result.returncode == 0, result.stdout + result.stderr
        assert emulator.ask(accepted) == 20
    copies = transcripts(tmp_path / "out" / "copy", list(contents))
    assert copies == expected(contents)


def test_a_renamed_and_a_touched_recording_cost_nothing(tmp_path: Path) -> None:
    """Contents are recognised under other names and times within the same tree."""
    contents = make_recordings(tmp_path / "in", 5)
    first, second, *_ = (tmp_path / "in" / name for name in contents)
    with emulated() as emulator:
        emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        first.rename(first.with_name("renamed.wav"))
        second.touch()
        result = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        assert result.returncode == 0, result.stdout + result.stderr
        assert emulator.ask(accepted) == 5
    assert (tmp_path / "out" / "0" / "renamed.wav.txt").exists()


def test_strangers_files_count_and_nothing_is_ever_refused(tmp_path: Path) -> None:
    """With 60 pending files of another client in the account only 40 places are used."""
    make_recordings(tmp_path / "in", 150)

    def occupy(account: Account) -> None:
        account.add_foreign(60)

    with emulated(Knobs(queue_ms=100, min_work_ms=300, max_work_ms=300)) as emulator:
        emulator.ask(occupy)
        result = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        tally = emulator.account.tally
        assert result.returncode == 0, result.stdout + result.stderr
        assert not tally.refusals
        assert tally.pending_peak <= 100
        assert emulator.ask(left) == []
        assert emulator.ask(lambda account: len(account.files)) == 60


def test_limits_lowered_in_the_configuration_hold_while_the_run_goes_on(tmp_path: Path) -> None:
    """A new limit in the file is heeded by the running batch, and the service never has to refuse."""
    make_recordings(tmp_path / "in", 220)
    config = tmp_path / "batcher.toml"
    config.write_text("max_pending = 50\n")
    with emulated(Knobs(queue_ms=100, min_work_ms=1000, max_work_ms=1000)) as emulator:
        process = emulator.start("run", tmp_path / "in", "-o", tmp_path / "out", "--config", config)
        until(emulator, lambda account: account.pending >= 40)
        config.write_text("max_pending = 10\n")
        read_until(process, "Limits are now 10 pending")
        until(emulator, lambda account: account.pending <= 10)
        then = emulator.ask(accepted)  # what was on its way with the old limit arrives within the next sixteen
        until(emulator, lambda account: accepted(account) >= min(then + 20, 220))
        emulator.ask(lambda account: setattr(account, "limits", replace(account.limits, pending=10)))
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert emulator.account.limits == Limits(pending=10)
        assert not emulator.account.tally.refusals


def test_limits_that_the_service_lowers_unannounced_are_absorbed(tmp_path: Path) -> None:
    """Refusals for quota are no failures: the batch slows down and finishes."""
    contents = make_recordings(tmp_path / "in", 120)
    with emulated(Knobs(queue_ms=100, min_work_ms=300, max_work_ms=300)) as emulator:
        process = emulator.start("run", tmp_path / "in", "-o", tmp_path / "out", "--settle", "3")
        until(emulator, lambda account: account.pending >= 30)
        emulator.ask(lambda account: setattr(account, "limits", replace(account.limits, pending=20)))
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, output
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)


@pytest.mark.parametrize("done", [5, 60])
def test_a_killed_run_is_completed_and_nothing_is_sent_twice(done: int, tmp_path: Path) -> None:
    """Kill -9 in the middle, the same command again: complete, and every recording accepted once."""
    contents = make_recordings(tmp_path / "in", 120)
    arguments = ("run", tmp_path / "in", "-o", tmp_path / "out", "--settle", "3")
    with emulated(Knobs(queue_ms=100, min_work_ms=300, max_work_ms=600)) as emulator:
        process = emulator.start(*arguments)
        until(emulator, lambda account: account.tally.calls["delete"] >= done)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        result = emulator.run(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        assert emulator.ask(accepted) == 120
        assert emulator.ask(left) == []
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)


@pytest.mark.parametrize("point", ["after-seal", "accepted", "fetched", "transcript-committed", "rendered", "deleted"])
def test_a_run_killed_at_a_named_point_is_completed(point: str, tmp_path: Path) -> None:
    """Between any two durable steps the process may die."""
    contents = make_recordings(tmp_path / "in", 12)
    arguments = ("run", tmp_path / "in", "-o", tmp_path / "out", "--settle", "1")
    with emulated(Knobs(queue_ms=50, min_work_ms=100, max_work_ms=200)) as emulator:
        process = emulator.start_killed_at(point, 3, *arguments)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
        result = emulator.run(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        assert emulator.ask(accepted) == 12
        assert emulator.ask(left) == []
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)


def test_the_history_of_every_job_is_on_record(tmp_path: Path) -> None:
    """Every step of an ordinary job is one row of its history."""
    make_recordings(tmp_path / "in", 3)
    with emulated() as emulator:
        emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
    with sqlite3.connect(tmp_path / "out" / ".batcher" / "jobs.sqlite3") as conn:
        events = [row[0] for row in conn.execute("SELECT event FROM history WHERE job = 1 ORDER BY id")]
    conn.close()
    assert events == ["admitted", "claimed", "seal", "accepted", "completed", "fetched", "cleared"]


def make_misfits(folder: Path) -> None:
    """Write one of everything that cannot be sent."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.wav").touch()
    (folder / "letter.mp3").write_text("Dear recording, I am a letter.\n" * 50)
    with (folder / "huge.wav").open("wb") as huge:
        huge.truncate(500_000_001)
    with wave.open(str(folder / "six-hours.wav"), "wb") as long:
        long.setnchannels(1)
        long.setsampwidth(1)
        long.setframerate(50)
        long.writeframes(bytes(50 * 6 * 3600))
    (folder / "directory.wav").mkdir()


def test_what_cannot_be_sent_is_put_aside_with_its_reason_and_the_batch_goes_on(tmp_path: Path) -> None:
    """Empty, oversized, too long and non-audio files are skipped before a byte is sent."""
    contents = make_recordings(tmp_path / "in", 3)
    make_misfits(tmp_path / "in" / "misfits")
    with emulated() as emulator:
        result = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        listing = json.loads(emulator.run("list", tmp_path / "out", "--state", "skipped", "--json").stdout)
        assert emulator.ask(accepted) == 3
    assert result.returncode == 0, result.stdout + result.stderr
    assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
    reasons = {Path(job["path"]).name: job["reason"] for job in listing}
    assert reasons["empty.wav"] == "empty"
    assert reasons["letter.mp3"] == "not audio"
    assert reasons["huge.wav"].startswith("too big: 500,000,001 bytes")
    assert reasons["six-hours.wav"].startswith("too long: 6:00:00")
    assert len(reasons) == 4


def test_strange_names_are_transcribed_and_stay_inside_the_output_directory(tmp_path: Path) -> None:
    """Names that are not UTF-8, hold newlines or escapes, or differ only in case each get outputs of their own."""
    make_recordings(tmp_path / "plain", 5)
    sources = sorted((tmp_path / "plain").rglob("*.wav"))
    names = [b"caf\xe9.wav", b"two\nlines.wav", b"\x1b[31mred.wav", b"Case.wav", b"case.wav"]
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)  # noqa: PTH102 - names of bytes
    for source, name in zip(sources, names, strict=True):
        shutil.copyfile(source, os.path.join(folder, name))  # noqa: PTH118 - names of bytes
    with emulated() as emulator:
        result = emulator.run("run", tmp_path / "in", "-o", tmp_path / "out")
        listed = emulator.run("list", tmp_path / "out").stdout
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list((tmp_path / "out").glob("*.txt"))) == 5
    assert "\x1b" not in listed + result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "plain"]


def test_no_output_ever_shows_the_words_of_an_older_recording(tmp_path: Path) -> None:
    """When a recording changed, outputs in formats of earlier runs are made again too."""
    contents = make_recordings(tmp_path / "in", 1)
    (name,) = contents
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    with emulated() as emulator:
        emulator.run(*run, "-f", "txt")
        before = (tmp_path / "out" / f"{name}.txt").read_text("utf-8")
        make_recordings(tmp_path / "in", 1, seed=1)
        emulator.run(*run, "-f", "srt")
        after = (tmp_path / "out" / f"{name}.txt").read_text("utf-8")
        emulator.run(*run, "-f", "vtt")
        assert emulator.ask(accepted) == 2
    assert after != before
    assert sorted(path.name for path in (tmp_path / "out" / "0").iterdir()) == [
        f"{Path(name).name}.{ending}" for ending in ("srt", "txt", "vtt")
    ]
