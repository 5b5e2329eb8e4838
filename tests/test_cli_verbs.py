"""The verbs that look at a batch or ask something of it, on tables made by hand; no service, no run."""

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batcher.cli import screen
from batcher.cli.app import VERBS, main
from batcher.cli.memory import remembered_flags, remembering, run_again
from batcher.cli.place import place_of
from batcher.errors import UsageError
from batcher.lock import hold
from batcher.model import Cause, RemoteObject, RemoteStatus
from batcher.states import Event, State
from batcher.store import survey
from tests.cli_tools import batcher
from tests.table_tools import START, Hand, written

FULL = Path("/dev/full")
Said = tuple[int, str, str]
Call = Callable[..., Said]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Return a function that runs batcher in this process: exit code, what it printed, what it complained of."""
    for name in list(os.environ):
        if name.startswith(("BATCHER_", "SONIOX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")

    def run(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a batch: done 0, waiting 1, failed 2 (one accepted before), skipped 1, submitted 1."""
    place = place_of(tmp_path / "out", None)
    place.state.mkdir(parents=True, mode=0o700)
    with written(place.db, tmp_path / "in") as hand:
        hand.add("waiting.wav", "gone.wav", "lost.wav", "empty.wav", "sent.wav")
        hand.fail(2, "it vanished")
        _lose(hand, 3)
        hand.skip(4, "empty")
        hand.submit(5)
    return place.out


def _lose(hand: Hand, job: int) -> None:
    hand.submit(job)
    hand.fire(job, State.SUBMITTED, Event.VANISHED, "it is gone from the service", cause=Cause.VANISHED)


def test_every_verb_has_help(call: Call) -> None:
    """In the list of verbs, and by itself."""
    code, said, _ = call("--help")
    assert code == 0
    assert [verb for verb in VERBS if f"\n  {verb} " not in said] == []
    for verb in VERBS:
        code, said, _ = call(verb, "--help")
        assert (code, "Usage: batcher") == (0, said[: len("Usage: batcher")])


def test_an_unknown_verb_or_option_is_2(call: Call) -> None:
    """As is a missing one."""
    assert call("rum")[0] == 2
    assert call("status")[0] == 2
    assert call("list", "--nonsense")[0] == 2


def test_a_list_that_breaks_off_does_not_count_as_one_that_nobody_reads() -> None:
    """Otherwise half a list would end with 0."""

    def lines() -> Iterator[str]:
        yield "the first"
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        screen.say(lines())


@pytest.mark.skipif(not FULL.exists(), reason="no device here that is always full")
def test_a_list_for_which_there_is_no_room_is_no_success(out: Path) -> None:
    """Half a list in a file would be taken for all of it."""
    with FULL.open("wb") as full:
        done = subprocess.run(batcher("list", out), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 7
    assert b"the output cannot be written: No space left on device" in done.stderr


def test_a_list_that_nobody_reads_ends_quietly(out: Path) -> None:
    """As with ``batcher list OUT | head -1``."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(batcher("list", out), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_status_says_how_the_batch_stands_and_what_to_type(call: Call, out: Path) -> None:
    """What failed is grouped with names; nothing is active, so the next commands are there."""
    code, said, _ = call("status", out)
    assert code == 0
    assert "no run is active, 2 recordings left to do" in said
    assert "failed 2:" in said
    assert "  1 x the recording cannot be read: it vanished" in said
    assert "at the service: at most 1 of this batch, 1 of them pending" in said
    assert f"next: batcher run INPUT -o {out}" in said
    assert f"next: batcher retry {out} {out.parent}/in/lost.wav" in said


def test_status_tells_of_what_cannot_be_deleted(call: Call, out: Path) -> None:
    """A leftover that was tried and how long it is there, and of a stuck recording what cancelling would change."""
    place = place_of(out, None)
    with written(place.db, out.parent / "in") as hand:
        for number in (1, 2):
            extra = RemoteObject(f"left{number}", "ours", RemoteStatus.COMPLETED)
            hand.act(lambda ledger, extra=extra: survey.add_extra(ledger, extra))  # type: ignore[misc]
        hand.act(lambda ledger: survey.defer_extra(ledger, "left1", START))
        hand.fire(5, State.SUBMITTED, Event.COMPLETED)
        hand.fire(5, State.COMPLETED, Event.FETCHED, transcript=hand.keep_transcript(5))
        hand.conn.execute("UPDATE job SET stuck_at = since WHERE id = 5")
    said = call("status", out)[1]
    assert "stuck at the service 1 (waited for; never sent again by itself):" in said
    assert "sent.wav: fetched, but still there for " in said
    assert "to give one up" not in said
    assert "cannot be deleted at the service: 1 leftover there for up to " in said
    undeleted = json.loads(call("status", out, "--json")[1])["undeleted"]
    assert undeleted == {"number": 1, "since": "2023-11-14T22:13:20.000Z"}


def test_status_as_json_has_its_documented_keys(call: Call, out: Path) -> None:
    """One document, whose keys are those of the docstring."""
    _, said, _ = call("status", out, "--json")
    document = json.loads(said)
    assert list(document) == [
        "batch", "created", "runs", "active", "last_activity", "files", "bytes", "duration_ms", "states",
        "at_service", "stuck", "undeleted", "requests", "to_give_up", "failed", "skipped", "given_up",
    ]  # fmt: skip
    assert document["states"]["failed"] == 2
    assert document["active"] is False
    with hold(place_of(out, None).lock):
        assert json.loads(call("status", out, "--json")[1])["active"] is True


def test_the_next_command_gives_no_account_up_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever said so once would otherwise never be warned of another account any more."""
    monkeypatch.chdir(out.parent)
    with remembering(place_of(out, None), ["run", "talks", "--other-account", "-o", "out"], {}):
        pass
    assert run_again(place_of(out, None)) == "batcher run talks -o out"


def test_the_next_command_is_the_latest_run_as_it_was_typed(
    call: Call, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the directory to go to, if it was another one."""
    monkeypatch.chdir(out.parent)
    with remembering(place_of(out, None), ["run", "my talks", "-o", "out"], {}):
        pass
    assert stat.S_IMODE(place_of(out, None).last_run.stat().st_mode) == 0o600
    assert "next: batcher run 'my talks' -o out\n" in call("status", out)[1]
    monkeypatch.chdir("/")
    assert f"next: cd {out.parent} && batcher run 'my talks' -o out\n" in call("status", out)[1]


def test_list_shows_the_states_that_are_asked_for(call: Call, out: Path) -> None:
    """By their public names; an unknown one names the known ones."""
    _, said, _ = call("list", out)
    assert len(said.splitlines()) == 5
    _, said, _ = call("list", out, "--state", "failed", "--json")
    assert [job["id"] for job in json.loads(said)] == [2, 3]
    assert json.loads(call("list", out, "--state", "done", "--json")[1]) == []
    code, _, complaint = call("list", out, "--state", "broken")
    assert code == 2
    assert "skipped" in complaint


@pytest.mark.parametrize("name", ["3", "lost.wav", "in/../in/lost.wav"])
def test_show_finds_a_job_by_id_and_by_name(name: str, call: Call, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked for from here and from the directories that were scanned."""
    monkeypatch.chdir(out.parent)
    _, said, _ = call("show", out, name)
    assert "lost.wav" in said
    assert "submitted -> failed: it is gone from the service" in said
    document = json.loads(call("show", out, name, "--json")[1])
    assert document["id"] == 3
    assert document["reference"].startswith("batcher1.")
    assert [past["event"] for past in document["history"]][-1] == "vanished"


def test_show_finds_a_job_by_the_last_part_of_its_name_if_only_one_has_it(call: Call, out: Path) -> None:
    """With two of one name a person has to say which."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("deep/one.wav", "deep/two.wav", "other/two.wav", size=9000)
    assert "deep/one.wav" in call("show", out, "one.wav")[1]
    assert call("show", out, "two.wav")[0] == 2


def test_what_is_not_there_is_a_usage_error_with_a_way_on(call: Call, out: Path, tmp_path: Path) -> None:
    """A job, or a whole batch."""
    code, _, complaint = call("show", out, "nope.wav")
    assert code == 2
    assert "batcher list" in complaint
    code, _, complaint = call("status", tmp_path / "nowhere")
    assert code == 2
    assert "batcher run INPUT -o OUT" in complaint


def test_status_tells_of_what_was_cancelled_with_another_name(call: Call, out: Path) -> None:
    """Nobody has asked for that by its name: it says why, and what sends it."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.fire(1, State.NEW, Event.CANCEL, "this very audio was given up", cause=Cause.GIVEN_UP)
        hand.fire(5, State.SUBMITTED, Event.CANCEL)
        hand.fire(5, State.CANCELLING, Event.CLEARED)
    said = call("status", out)[1]
    assert "cancelled with another name of the same audio 1:\n  1 x this very audio was given up\n" in said
    assert "waiting.wav\n  to have one sent: batcher retry " in said
    ((group,),) = [json.loads(call("status", out, "--json")[1])["given_up"]]
    assert (group["cause"], group["jobs"]) == ("given_up", 1)


def states(call: Call, out: Path) -> dict[int, str]:
    """Return every job's public state."""
    code, said, complaint = call("list", out, "--json")
    assert code == 0, complaint
    return {job["id"]: job["state"] for job in json.loads(said)}


def test_retry_takes_everything_that_ended_badly_and_warns_of_what_may_be_billed(call: Call, out: Path) -> None:
    """Only the job that the service had accepted is warned of."""
    code, said, _ = call("retry", out, "--all")
    assert code == 0
    assert "warning: 1 of them had been accepted by the service before and may be billed again" in said
    assert "3 jobs will be tried again" in said
    assert states(call, out) == {1: "waiting", 2: "waiting", 3: "waiting", 4: "waiting", 5: "submitted"}


def test_what_was_refused_after_it_was_sent_was_not_billed(call: Call, out: Path) -> None:
    """An explicit refusal proves that nothing was accepted, so there is no warning."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("refused.wav", size=7000)
        hand.seal(6)
        hand.fire(6, State.SEALED, Event.REJECTED, "no such model", cause=Cause.REFUSED)
    assert "billed" not in call("retry", out, "6")[1]


def test_retry_passes_over_what_does_not_fit(call: Call, out: Path) -> None:
    """And says so; with nothing named it asks which."""
    _, said, _ = call("retry", out, "1", "2")
    assert "waiting.wav is waiting" in said
    assert "1 job will be tried again" in said
    assert call("retry", out)[0] == 2
    assert call("retry", out, "1", "--all")[0] == 2


def test_cancel_gives_up_what_is_not_sent_and_says_what_is_left_to_the_next_run(call: Call, out: Path) -> None:
    """Without a key nothing can be deleted at the service now."""
    code, said, _ = call("cancel", out, "--all")
    assert code == 0
    assert "2 jobs given up" in said
    assert "deleted by the next run; there is no key now" in said
    assert states(call, out) == {1: "cancelled", 2: "failed", 3: "failed", 4: "skipped", 5: "failing"}


def test_cancel_tells_how_many_copies_it_ends(call: Call, out: Path) -> None:
    """Those of what may be paid for already; those that are named themselves are no surprise."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("copy.wav", "other copy.wav")
        for job in (6, 7):
            hand.fire(job, State.NEW, Event.TWINNED, twin_of=5, digest=b"5")
    assert "1 other recording of the same audio will end with these\n" in call("cancel", out, "5", "6")[1]


def test_cancel_tells_of_no_copy_of_what_was_not_sent(call: Call, out: Path) -> None:
    """It is sent instead."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("copy.wav")
        hand.fire(6, State.NEW, Event.TWINNED, twin_of=1, digest=b"5")
    assert "same audio" not in call("cancel", out, "1")[1]


@pytest.mark.parametrize(("verb", "jobs"), [("retry", [2, 3, 4]), ("cancel", [1, 5])])
def test_while_a_run_is_active_a_request_is_left_for_it(verb: str, jobs: list[int], call: Call, out: Path) -> None:
    """Whole, private, and nothing in the table is touched."""
    place = place_of(out, None)
    before = states(call, out)
    with hold(place.lock):
        code, said, _ = call(verb, out, "--all")
    assert code == 0
    assert "asked the active run" in said
    (request,) = place.requests.iterdir()
    assert request.suffix == ".json"
    content = json.loads(request.read_text())
    assert (content["verb"], sorted(content["jobs"])) == (verb, jobs)
    assert stat.S_IMODE(place.requests.stat().st_mode) == 0o700
    assert states(call, out) == before


def test_init_writes_a_file_once(call: Call, tmp_path: Path) -> None:
    """The second time it refuses and touches nothing; a dash prints the text."""
    file = tmp_path / "deep" / "batcher.toml"
    assert call("init", file)[0] == 0
    file.write_text("max_pending = 5\n")
    code, _, complaint = call("init", file)
    assert code == 2
    assert "was not touched" in complaint
    assert file.read_text() == "max_pending = 5\n"
    assert "# max_pending = 100" in call("init", "-")[1]
    assert call("init")[0] == 0
    assert (tmp_path / "nobody" / "batcher" / "config.toml").exists()


def test_a_variable_that_is_no_setting_is_refused_and_the_nearest_is_named(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelled limit must not be spent against: by `run` before anything is made, and by `doctor`."""
    monkeypatch.setenv("BATCHER_MAX_PENDIN", "3")
    (tmp_path / "in").mkdir()
    code, _, complaint = call("run", tmp_path / "in", "-o", tmp_path / "new")
    assert code == 2
    assert "BATCHER_MAX_PENDIN is no setting" in complaint
    assert "did you mean BATCHER_MAX_PENDING?" in complaint
    assert not (tmp_path / "new").exists()
    code, said, _ = call("doctor")
    assert code == 2
    assert "bad  configuration: the variable BATCHER_MAX_PENDIN" in said


@pytest.mark.parametrize("wrong", [["--host", "foo"], ["--host", "http://far.example"], ["--ca-file", "nowhere.pem"]])
def test_an_address_that_cannot_work_is_refused_before_anything_is_made(
    wrong: list[str], call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No OUT, no table, no closing lines."""
    monkeypatch.setenv("SONIOX_API_KEY", "k")
    (tmp_path / "in").mkdir()
    code, said, _ = call("run", tmp_path / "in", "-o", tmp_path / "new", *wrong)
    assert (code, said) == (2, "")
    assert not (tmp_path / "new").exists()


def test_doctor_without_a_key_is_5_and_says_the_rest(call: Call, out: Path) -> None:
    """Every line says ok, warn or bad."""
    code, said, _ = call("doctor", out, "--api", "grpc")
    assert code == 5
    assert "bad  API key: none" in said
    assert "ok   write access: yes" in said
    assert "a run would send 1, wait for 1" in said
    assert all(line.startswith(("ok   ", "warn ", "bad  ", "     -> ")) for line in said.splitlines())


def test_doctor_says_that_the_batch_is_at_the_service_through_another_api(call: Call, out: Path) -> None:
    """This one could not see it."""
    code, said, _ = call("doctor", out, "--api", "rest")
    assert code == 5
    assert "bad  batch: 1 of it may be at the service through its grpc API, this is the rest API" in said
    assert "-> use --api grpc until a run ends by itself" in said


def test_a_refused_command_is_not_the_one_to_repeat(out: Path) -> None:
    """Nor are its flags what the other verbs go by; and how a run showed itself was meant for that run."""
    place = place_of(out, None)
    with remembering(place, ["run", "in", "-o", "out", "--api", "grpc"], {"api": "grpc", "progress": "none"}):
        pass
    with pytest.raises(UsageError), remembering(place, ["run", "in", "-o", "out"], {"api": "rest"}):
        raise UsageError("refused")
    assert run_again(place) == "batcher run in -o out --api grpc"
    assert remembered_flags(place) == {"api": "grpc"}


def test_doctor_finds_a_service_that_is_away(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key's length and place are told, never the key."""
    monkeypatch.setenv("SONIOX_API_KEY", "open-sesame")
    code, said, _ = call("doctor", "--host", "http://127.0.0.1:1")
    assert code == 5
    assert "API key: 11 characters, from the variable SONIOX_API_KEY" in said
    assert "bad  service: http://127.0.0.1:1" in said
    assert "sesame" not in said


def test_doctor_names_what_is_wrong_with_the_configuration(call: Call, tmp_path: Path) -> None:
    """With the exit code of a usage error."""
    file = tmp_path / "c.toml"
    file.write_text("max_pending = 0\n")
    code, said, _ = call("doctor", "--config", file)
    assert code == 2
    assert "bad  configuration: max_pending" in said


def test_verbose_says_what_led_to_an_error(call: Call, tmp_path: Path) -> None:
    """Wherever it stands; without it an error is two lines."""
    missing = tmp_path / "missing.toml"
    assert "because of" not in call("doctor", tmp_path, "--config", missing)[2]
    _, _, complaint = call("status", tmp_path, "-v", "--config", missing)
    assert "because of FileNotFoundError" in complaint
    _, _, plain = call("status", tmp_path, "--config", missing)
    assert len(plain.splitlines()) == 2
