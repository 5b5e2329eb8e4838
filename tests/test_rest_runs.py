"""Whole runs of the real command over REST against the emulator: four quotas, refused accounts, URLs, FLAC, kills."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import av
import pytest

from batcher.emulator.knobs import Container, Knobs, Load, RestKnobs
from batcher.emulator.rest_account import RestAccount
from tests.emulated import Emulated, emulated_rest, expected, make_recordings, transcripts

FREE = RestKnobs(requests_per_minute=0)
QUICK = Knobs(queue_ms=20, min_work_ms=20, max_work_ms=40, rest=FREE)


def left(account: RestAccount) -> list[str]:
    """Return what of ours is left at the service."""
    return [item.id for item in (*account.files, *account.jobs) if not item.foreign]


def accepted(account: RestAccount) -> int:
    """Return how many transcriptions the service has accepted so far."""
    return account.tally.accepted.total()


def run(emulator: Emulated[RestAccount], folder: Path, *more: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run batcher on the recordings of a test."""
    return emulator.run("run", folder / "in", "-o", folder / "out", *more)


def test_four_quotas_are_kept_at_the_services_own_count(tmp_path: Path) -> None:
    """400 recordings: its own peaks stay within all four limits, nothing is refused, nothing is left."""
    contents = make_recordings(tmp_path / "in", 400)
    largest = max(map(len, contents.values()))
    limits = {"max_pending": 40, "max_stored": 80, "max_files": 60, "max_bytes": 50 * largest}
    config = tmp_path / "batcher.toml"
    config.write_text("".join(f"{name} = {value}\n" for name, value in limits.items()))
    knobs = Knobs(pending=40, stored=80, queue_ms=200, min_work_ms=300, max_work_ms=1500)
    with emulated_rest(replace(knobs, rest=replace(FREE, files=60, bytes=50 * largest))) as emulator:
        result = run(emulator, tmp_path, "--config", config)
        assert result.returncode == 0, result.stdout + result.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        tally = emulator.account.tally
        assert 35 <= tally.pending_peak <= 40
        assert tally.stored_peak <= 80
        assert tally.files_peak <= 60
        assert tally.bytes_peak <= 50 * largest
        assert not tally.refusals
        assert emulator.ask(left) == []
        assert tally.requests.total() / 400 <= 6

        again = run(emulator, tmp_path, "--config", config)
        assert again.returncode == 0, again.stdout + again.stderr
        assert emulator.ask(accepted) == 400


@pytest.mark.parametrize("quota", ["files", "bytes"])
def test_the_files_and_bytes_of_an_account_are_kept_when_they_are_the_ones_that_bind(
    tmp_path: Path, quota: str
) -> None:
    """And the run says so while it waits."""
    contents = make_recordings(tmp_path / "in", 30)
    most = {"files": 5, "bytes": 5 * max(map(len, contents.values()))}[quota]
    knobs = replace(QUICK, rest=replace(FREE, **{quota: most}), min_work_ms=300, max_work_ms=600)  # type: ignore[arg-type]
    with emulated_rest(knobs) as emulator:
        result = run(emulator, tmp_path, f"--max-{quota}", str(most), "--progress", "json")
        assert result.returncode == 0, result.stdout + result.stderr
        tally = emulator.account.tally
        assert {"files": tally.files_peak, "bytes": tally.bytes_peak}[quota] <= most
        assert not tally.refusals


REFUSED = [
    ("keys", frozenset({"another"}), "SONIOX_API_KEY"),
    ("other_region_keys", frozenset({"a-key-of-the-tests"}), "--region"),
    ("balance", 0, "add funds"),
    ("unpermitted_keys", frozenset({"a-key-of-the-tests"}), "permission"),
]


@pytest.mark.parametrize(("knob", "value", "fix"), REFUSED, ids=[knob for knob, *_ in REFUSED])
def test_a_refused_account_is_exit_5_with_the_fix_and_the_batch_resumes_when_it_is_mended(
    tmp_path: Path, knob: str, value: object, fix: str
) -> None:
    """One clear line, nothing lost, nothing failed, nothing sent twice."""
    contents = make_recordings(tmp_path / "in", 12)
    bad = (
        replace(QUICK, **{knob: value})  # type: ignore[arg-type]
        if knob == "keys"
        else replace(QUICK, rest=replace(FREE, **{knob: value}))  # type: ignore[arg-type]
    )
    with emulated_rest(bad) as emulator:
        refused = run(emulator, tmp_path)
        assert refused.returncode == 5, refused.stdout + refused.stderr
        lines = refused.stderr.strip().splitlines()
        assert len(lines) <= 3
        assert fix in refused.stderr
        assert "a-key-of-the-tests" not in refused.stdout + refused.stderr
        assert "failed 0" in refused.stdout
        assert emulator.ask(accepted) == 0
    with emulated_rest(QUICK) as mended:
        result = run(mended, tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        assert mended.ask(accepted) == 12
        assert mended.ask(left) == []


def test_money_that_runs_out_between_two_calls_stops_the_batch_and_is_made_up_for_later(tmp_path: Path) -> None:
    """The job was not transcribed: when the account is mended it goes again by itself."""
    contents = make_recordings(tmp_path / "in", 5)
    knobs = replace(QUICK, rest=replace(FREE, job_errors=(("organization_balance_exhausted", 2),)))
    with emulated_rest(knobs) as emulator:
        stopped = run(emulator, tmp_path)
        assert stopped.returncode == 5, stopped.stdout + stopped.stderr
        assert "organization_balance_exhausted" in stopped.stderr
        result = run(emulator, tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        assert emulator.ask(left) == []


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


POINTS = [
    "claimed",
    "after-seal",
    "transcript-committed",
]  # `make crash` sweeps them all, and a second time in the recovery


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_same_command_goes_on(tmp_path: Path, point: str) -> None:
    """Complete, nothing transcribed twice, nothing left behind: neither transcriptions nor files."""
    contents = make_recordings(tmp_path / "in", 8)
    with emulated_rest(QUICK) as emulator:
        killed = emulator.start_killed_at(point, 3, "run", tmp_path / "in", "-o", tmp_path / "out", "--settle", "2")
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        result = run(emulator, tmp_path, "--settle", "2")
        assert result.returncode == 0, result.stdout + result.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        assert emulator.ask(accepted) == 8
        assert emulator.ask(left) == []


def test_a_batch_under_way_through_one_api_is_not_continued_through_the_other(tmp_path: Path) -> None:
    """The other one could not see what is at the service, and would have it transcribed again."""
    make_recordings(tmp_path / "in", 4)
    with emulated_rest(replace(QUICK, min_work_ms=3_600_000, max_work_ms=3_600_000)) as emulator:
        process = emulator.start("run", tmp_path / "in", "-o", tmp_path / "out")
        pause = Event()
        while emulator.ask(accepted) < 4:
            pause.wait(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
        assert process.returncode == 143
        other = run(emulator, tmp_path, "--api", "grpc")
        assert other.returncode == 2, other.stdout + other.stderr
        assert "--api rest" in other.stderr


def until(emulator: Emulated[RestAccount], holds: Callable[[RestAccount], bool]) -> None:
    """Wait until something holds at the service; the test's own timeout bounds it."""
    pause = Event()
    while not emulator.ask(holds):
        pause.wait(0.02)


def test_what_other_projects_hold_lowers_our_estimate_instead_of_being_hammered(tmp_path: Path) -> None:
    """No list shows it, but every limit counts it: after a refusal less is tried for a while."""
    contents = make_recordings(tmp_path / "in", 60)
    elsewhere = replace(FREE, siblings=Load(pending=12, transcriptions=12))
    with emulated_rest(replace(QUICK, pending=20, min_work_ms=300, max_work_ms=600, rest=elsewhere)) as emulator:
        result = run(emulator, tmp_path, "--max-pending", "20")
        assert result.returncode == 0, result.stdout + result.stderr
        assert transcripts(tmp_path / "out", list(contents)) == expected(contents)
        refused = emulator.account.tally.quota_refusals
        assert 1 <= refused <= 24, refused
        assert emulator.ask(left) == []


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
