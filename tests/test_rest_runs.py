"""Whole runs of the real command over REST against the emulator: URLs, FLAC, webhooks, what is recorded."""

import json
import os
import shutil
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import pytest

from batcher.emulator.knobs import Container
from tests.emulated import emulated_rest, expected, make_recordings, transcripts
from tests.rest_runs import FREE, QUICK, accepted, left, run


def test_a_url_is_handed_to_the_service_and_nothing_is_uploaded(tmp_path: Path) -> None:
    """From the command line and from a list, beside ordinary recordings; its outputs lie below its host."""
    contents = make_recordings(tmp_path / "in", 3)
    url = "https://recordings.example/calls/monday%20one.mp3?signature=x"
    listed = tmp_path / "list.txt"
    listed.write_text(f"https://recordings.example/tuesday.mp3\n\n{tmp_path / 'in' / 'nowhere.wav'}\n")
    with emulated_rest(QUICK) as emulator:
        result = run(emulator, tmp_path, url, "--files-from", listed)
        assert result.returncode == 3, result.stdout + result.stderr
        assert "nowhere.wav" in result.stdout
        names = ["recordings.example/calls/monday one.mp3", "recordings.example/tuesday.mp3"]
        for name in names:
            document = json.loads((tmp_path / "out" / f"{name}.json").read_text("utf-8"))
            assert document["text"]
            assert "sha256" not in document["source"]
            assert "size" not in document["source"]
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        assert emulator.account.tally.uploads.total() == 3
        assert emulator.ask(accepted) == 5
        assert emulator.ask(left) == []
        assert run(emulator, tmp_path, url).returncode == 0
        assert emulator.ask(accepted) == 5


def write_m4a(path: Path) -> None:
    """Write a second of sound as M4A."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="ipod") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(16):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate = 16_000
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("convert", [True, False])
def test_what_the_service_cannot_decode_is_sent_once_more_as_flac(tmp_path: Path, convert: bool) -> None:
    """Before the job fails; a switch turns it off. The table and the outputs tell of the original."""
    write_m4a(tmp_path / "in" / "a.m4a")
    knobs = replace(QUICK, rest=replace(FREE, undecodable=frozenset({Container.M4A, Container.MP4})))
    with emulated_rest(knobs) as emulator:
        result = run(emulator, tmp_path, *([] if convert else ["--no-convert"]))
        assert result.returncode == (0 if convert else 3), result.stdout + result.stderr
        assert emulator.ask(accepted) == (2 if convert else 1)
        assert emulator.ask(left) == []
        if convert:
            source = json.loads((tmp_path / "out" / "a.m4a.json").read_text("utf-8"))["source"]
            assert source["size"] == (tmp_path / "in" / "a.m4a").stat().st_size
        else:
            assert "invalid_audio_file" in result.stdout
        assert not list((tmp_path / "out" / ".batcher").glob("*.tmp"))


def test_the_webhooks_secret_is_sent_and_kept_nowhere(tmp_path: Path) -> None:
    """It goes to the service with every job, and into no file of the batch."""
    make_recordings(tmp_path / "in", 2)
    with emulated_rest(QUICK) as emulator:
        environment = emulator.environment() | {"SONIOX_API_WEBHOOK_SECRET": "the-hidden-value"}
        command = emulator.command(
            "run", tmp_path / "in", "-o", tmp_path / "out", "--log-level", "debug",
            "--webhook-url", "http://127.0.0.1:9/hook", "--webhook-header", "X-Secret",
        )  # fmt: skip
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        for folder, _, files in os.walk(tmp_path / "out"):
            for file in files:
                assert b"the-hidden-value" not in (Path(folder) / file).read_bytes(), file


def test_the_model_that_the_service_used_is_recorded(tmp_path: Path) -> None:
    """Retired names are rerouted, so what was asked for is not what answered."""
    make_recordings(tmp_path / "in", 1)
    with emulated_rest(QUICK) as emulator:
        assert run(emulator, tmp_path, "--model", "stt-async-v4").returncode == 0
    document = json.loads((tmp_path / "out" / "0" / "recording-0000.wav.json").read_text("utf-8"))
    assert document["service"]["api"] == "rest"
    assert document["service"]["model"] == "stt-async-v5"
    assert document["options"]["model"] == "stt-async-v4"


def test_history_names_every_step_of_a_converted_job(tmp_path: Path) -> None:
    """A person can see why it was sent twice."""
    write_m4a(tmp_path / "in" / "a.m4a")
    knobs = replace(QUICK, rest=replace(FREE, undecodable=frozenset({Container.M4A, Container.MP4})))
    with emulated_rest(knobs) as emulator:
        run(emulator, tmp_path)
    with sqlite3.connect(tmp_path / "out" / ".batcher" / "jobs.sqlite3") as table:
        events = [event for (event,) in table.execute("SELECT event FROM history ORDER BY id")]
    assert events.count("claimed") == 2
    assert "forgiven" in events


def test_what_nobody_can_decode_is_not_sent_again_by_the_next_run(tmp_path: Path) -> None:
    """The service has failed it once, and may have billed it: only `retry` tries it again."""
    damaged = Path(__file__).parents[1] / "batcher" / "demo" / "recordings" / "damaged" / "broken-off-copy.flac"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.flac").write_bytes(damaged.read_bytes())
    knobs = replace(QUICK, rest=replace(FREE, undecodable=frozenset({Container.FLAC})))
    with emulated_rest(knobs) as emulator:
        for _ in range(2):
            result = run(emulator, tmp_path)
            assert result.returncode == 3, result.stdout + result.stderr
            assert "the service cannot decode it" in result.stdout
        assert emulator.ask(accepted) == 1
        assert emulator.ask(left) == []


def test_what_the_service_failed_is_sent_again_by_retry_only(tmp_path: Path) -> None:
    """Touched, copied and renamed it ends as it did before, and says so; one wish sends it once for all its names."""
    (name,) = make_recordings(tmp_path / "in", 1)
    recording = tmp_path / "in" / name
    with emulated_rest(replace(QUICK, rest=replace(FREE, job_errors=(("audio_too_noisy", 1),)))) as emulator:
        assert run(emulator, tmp_path).returncode == 3
        os.utime(recording, (1, 1))
        assert run(emulator, tmp_path).returncode == 3
        shutil.copyfile(recording, recording.with_name("copy.wav"))
        assert run(emulator, tmp_path).returncode == 3
        recording.rename(recording.with_name("renamed.wav"))
        result = run(emulator, tmp_path)
        assert result.returncode == 3
        assert "the service has failed this very audio before: audio_too_noisy" in result.stdout
        assert "`batcher retry` sends it again" in result.stdout
        assert emulator.ask(accepted) == 1
        said = emulator.run("retry", tmp_path / "out", recording.with_name("copy.wav")).stdout
        assert "warning: 1 of them had been accepted by the service before and may be billed again" in said
        assert run(emulator, tmp_path).returncode == 0
        os.utime(recording.with_name("renamed.wav"), (2, 2))
        assert run(emulator, tmp_path).returncode == 0
        assert emulator.ask(accepted) == 2
    outputs = sorted(path.name for path in (tmp_path / "out" / "0").glob("*.txt"))
    assert outputs == sorted(f"{each}.txt" for each in ("copy.wav", "renamed.wav", recording.name))
