"""`batcher emulate`: what its flags mean, knobs by name, and every kind of refusal from the command line."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from batcher.cli.app import main
from batcher.cli.emulate import _knobs, _turned
from batcher.emulator.knobs import Knobs, RestKnobs, all_knobs
from batcher.emulator.rest_models import CURRENT
from batcher.errors import UsageError
from tests.cli_tools import batcher


def test_a_speed_that_was_asked_for_holds_for_long_jobs_too() -> None:
    """Without a speed a job takes under two seconds; with one the recording's length alone decides."""
    usual, slow = _knobs(100, 2000, None, RestKnobs()), _knobs(100, 2000, 0.5, RestKnobs())
    assert usual.queue_ms + usual.max_work_ms < 2000
    assert slow.speed == 0.5
    assert slow.max_work_ms > 3_600_000


def test_knobs_are_turned_one_after_the_other() -> None:
    """Over what the flags say; hyphens are as good as underscores, and a value may hold the sign of equality."""
    wishes = ["pending=3", "rest.retry-after=true", "rest.bytes_text=a = b", "pending=4"]
    expected = Knobs(pending=4, stored=5, rest=RestKnobs(retry_after=True, bytes_text="a = b"))
    assert _turned(Knobs(pending=2, stored=5), wishes) == expected


@pytest.mark.parametrize(
    ("wish", "complaint", "nearest"),
    [
        ("rest.undecodeable=m4a", "there is no such knob", "rest.undecodable"),
        ("undecodable=m4a", "there is no such knob", "rest.undecodable"),
        ("rest.siblings=3", "there is no such knob", "rest.siblings."),
        ("rest=3", "there is no such knob", "rest."),
        ("=3", "there is no such knob", ""),
        ("pendng", "must be NAME=VALUE", "pending"),
        ("pending=many", "must be a valid integer", "pending"),
        ("rest.job_errors=oops", "must be types and numbers", "rest.job_errors"),
    ],
)
def test_a_knob_that_is_none_is_told_the_nearest_ones(wish: str, complaint: str, nearest: str) -> None:
    """All of them are named, the likeliest first."""
    with pytest.raises(UsageError, match=complaint) as error:
        _turned(Knobs(), [wish])
    assert f"--knob {wish}: " in str(error.value)
    assert f"the nearest first: {nearest}" in error.value.hint
    assert all(knob.name in error.value.hint for knob in all_knobs())


def test_a_value_that_is_wrong_is_told_what_its_knob_means() -> None:
    """And text of unknown origin is printed without control characters."""
    with pytest.raises(UsageError) as error:
        _turned(Knobs(), ["rest.balance=\x1b[2J"])
    assert "rest.balance is: how many transcriptions" in error.value.hint
    assert "\x1b" not in str(error.value)


def test_all_knobs_are_listed_with_defaults_and_meanings(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is served."""
    assert main(["emulate", "--knobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["pending=100", "    limit of files queued or being transcribed, by the legacy documentation"]
    assert "rest.webhook_retry_ms=500,1000,2000" in lines
    assert len(lines) == 2 * len(list(all_knobs()))


def test_a_wrong_knob_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anything listens."""
    assert main(["emulate", "--knob", "pending=many"]) == 2
    assert "--knob pending=many: must be a valid integer" in capsys.readouterr().err


@contextmanager
def emulator(*arguments: object) -> Iterator[str]:
    """Run the command and yield where REST listens."""
    with subprocess.Popen(batcher("emulate", *arguments), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["rest"]
        try:
            yield f"{url}/v1/transcriptions"
        finally:
            process.terminate()
        assert process.wait(10) == 0


def create(url: str, key: str) -> httpx.Response:
    """Ask for a transcription with a key."""
    body = {"model": CURRENT, "audio_url": "http://example.com/a.wav", "client_reference_id": "r"}
    return httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"})


TURNED = {
    "keys": "good,far,weak",
    "rest.other_region_keys": "far",
    "rest.unpermitted_keys": "weak",
    "rest.balance": 1,
    "rest.job_errors": "file_not_found:1",
    "queue_ms": 0,
    "min_work_ms": 0,
    "max_work_ms": 0,
}


def test_every_refusal_of_an_account_can_be_had_from_the_command_line(tmp_path: Path) -> None:
    """A bad key, one of another region, one without permission, one without money; and a transcription that fails."""
    report = tmp_path / "report.json"
    flags = [word for name, value in TURNED.items() for word in ("--knob", f"{name}={value}")]
    with emulator(*flags, "--report", report) as url:
        answers = [create(url, key) for key in ("bad", "far", "weak", "good", "good")]
        [job] = httpx.get(url, headers={"Authorization": "Bearer good"}).json()["transcriptions"]
    assert [answer.status_code for answer in answers] == [401, 401, 403, 201, 402]
    assert answers[-1].json()["error_type"] == "organization_balance_exhausted"
    assert (job["status"], job["error_type"]) == ("error", "file_not_found")
    accounts = json.loads(report.read_text("utf-8"))["rest_accounts"]
    refusals = [account["refusals"] for account in accounts if account["refusals"]]
    assert refusals == [{"permission_denied": 1}, {"organization_balance_exhausted": 1}]
    assert accounts[-1]["requests_by_bucket"] == {"async transcription": 3}
