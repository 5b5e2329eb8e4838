"""Whole runs of the real command over REST against the emulator: the four quotas, and accounts that refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from batcher.emulator.knobs import Knobs, Load
from tests.emulated import emulated_rest, expected, make_recordings, transcripts
from tests.rest_runs import FREE, QUICK, accepted, left, run


def test_four_quotas_are_kept_at_the_services_own_count(tmp_path: Path) -> None:
    """400 recordings: its own peaks stay within all four limits, nothing is refused, nothing is left."""
    contents = make_recordings(tmp_path / "in", 400)
    largest = max(map(len, contents.values()))
    limits = {"max_pending": 40, "max_stored": 80, "max_files": 60, "max_bytes": 50 * largest}
    config = tmp_path / "batcher.toml"
    config.write_text("".join(f"{name} = {value}\n" for name, value in limits.items()))
    # Each takes so long that a slow machine fills the window as well.
    knobs = Knobs(pending=40, stored=80, queue_ms=200, min_work_ms=1500, max_work_ms=2000)
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
    contents = make_recordings(tmp_path / "in", 8)  # as many as go at once: none is interrupted, and waited for later
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
        assert mended.ask(accepted) == 8
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
