"""What a batch may have at another API or account: no run that cannot see it there goes on as if it were nothing."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.errors import AccountRefused, UsageError
from batcher.judgement import Scene, Settle
from batcher.model import RemoteObject, RemoteStatus, Survey
from batcher.requests import Request
from batcher.stages.poll import _another_account, _apply
from batcher.states import HELD_STATES, State
from batcher.store import jobs
from batcher.store.claim import Unseen
from tests.cli_tools import batcher, call, follow
from tests.emulated import make_recordings
from tests.engine_bed import KEY, Bed
from tests.rest_runs import left
from tests.store_bench import BATCH, open_bench
from tests.test_engine import drain_at, folder
from tests.test_engine_rest import a_bed

__all__ = ["folder"]  # the fixture

LATE = Fault(Trouble.LATE, ms=20_000)


def a_stopped_bed(folder: Path) -> Bed:
    """Return a batch that was stopped while the audio of two uploads that failed has not shown up yet."""
    bed = a_bed(folder, 1_000, 1_001)
    bed.trouble = lambda asked: LATE if asked is Call.UPLOAD else None
    assert bed.run(drain_at(2)) is None
    bed.trouble = lambda _asked: None
    assert bed.states() == {"waiting": 2}
    assert bed.rows("SELECT count(*) FROM extra") == [(0,)]
    return bed


def loose(bed: Bed) -> bool:
    """Tell whether the table says that audio may still show up."""
    return bed.rows("SELECT loose_at > 0 FROM batch") == [(1,)]


def test_another_key_is_noticed_while_audio_may_show_up_at_the_first(folder: Path) -> None:
    """Nothing is sent; with the first key the audio is found and deleted, and then any key will do."""
    bed = a_stopped_bed(folder)
    bed.key = "another"
    stopped = bed.run()
    assert isinstance(stopped, AccountRefused)
    assert "may be left to delete" in str(stopped)
    assert "--other-account" in stopped.hint
    assert bed.core.rest("another").tally.uploads.total() == 0
    bed.key = KEY
    assert bed.run() is None
    assert bed.wrong() == []
    assert not loose(bed)
    bed.key = "another"
    assert bed.run() is None


def test_an_account_that_is_gone_with_the_audio_is_given_up_on_request(folder: Path) -> None:
    """The batch is done at the other one, and what was left at the first stays there, as the hint said."""
    bed = a_stopped_bed(folder)
    bed.key = "another"
    assert bed.run(other_account=True) is None
    assert bed.states() == {"done": 2}
    assert len(bed.rest.files) == 2
    assert not loose(bed)


def test_another_api_is_refused_while_audio_may_show_up_through_the_first(folder: Path) -> None:
    """The run before, to its end, makes the way free."""
    bed = a_stopped_bed(folder)
    bed.api = "grpc"
    with pytest.raises(ExceptionGroup) as refused:
        bed.run()
    assert refused.group_contains(UsageError, match="its audio may be at the service through its rest API")
    assert bed.account.tally.accepted.total() == 0
    bed.api = "rest"
    assert bed.run() is None
    assert bed.wrong() == []
    bed.api = "grpc"
    assert bed.run() is None


def test_an_api_that_is_gone_is_given_up_on_request(folder: Path) -> None:
    """The batch is done through the other one; without the words it would be blocked for good."""
    bed = a_stopped_bed(folder)
    bed.api = "grpc"
    assert bed.run(other_account=True) is None
    assert bed.states() == {"done": 2}
    assert not loose(bed)


def test_what_an_api_that_is_gone_had_accepted_is_reported_as_failed(folder: Path) -> None:
    """It may have been billed: only a person has it sent again."""
    bed = a_bed(folder, 1_000, 1_001)
    bed.run(drain_at(3))
    assert bed.states() == {"submitted": 2}
    bed.api = "grpc"
    assert bed.run(other_account=True) is None
    assert bed.states() == {"failed": 2}
    assert bed.account.tally.accepted.total() == 0
    assert bed.run() is None


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        (Unseen(1, 0, loose=False), "1 recording of this batch was sent"),
        (Unseen(1_200, 1, loose=True), "1,200 recordings of this batch were sent"),
        (Unseen(0, 1, loose=False), "this batch was sent with another key"),
    ],
)
def test_what_another_account_does_not_show_is_said_of_one_and_of_many(unseen: Unseen, words: str) -> None:
    """And what to do for one who has only another key of the same account."""
    refusal = _another_account(unseen)
    assert words in str(refusal)
    assert "only its key is another one" in refusal.hint


def test_a_look_that_is_late_enough_settles_it_without_anything_being_sent(folder: Path) -> None:
    """As `batcher reconcile` takes it; one that is too early settles nothing."""
    bed = a_stopped_bed(folder)
    assert bed.run(admit=False, scan=False) is None
    assert loose(bed)
    bed.world.moment += 120
    assert bed.run(admit=False, scan=False) is None
    assert left(bed.rest) == []
    assert bed.run(admit=False, scan=False) is None
    assert not loose(bed)
    assert bed.states() == {"waiting": 2}


@pytest.mark.parametrize(
    ("shown", "complete", "later", "settled"),
    [
        (False, True, 20_000, True),
        (False, True, 19_999, False),
        (False, False, 20_000, False),
        (True, True, 20_000, False),
    ],
)
def test_only_a_complete_look_late_enough_that_shows_nothing_of_ours_settles_it(
    *, shown: bool, complete: bool, later: int, settled: bool
) -> None:
    """Audio that it shows may be that of an upload under way, and no leftover yet."""
    with open_bench() as bench:
        job = bench.bring(bench.new("a"), State.UPLOADING)
        bench.do(jobs.mark_loose)
        audio = RemoteObject("x", job.reference or "", RemoteStatus.UPLOADED)
        began = bench.now + later
        survey = Survey((audio,) if shown else (), complete)
        scene = Scene(BATCH, bench.batch.session, survey, began, began, Settle(60_000))
        bench.do(lambda ledger: _apply(ledger, scene))
        assert bench.rows("SELECT loose_at = 0 FROM batch") == [(settled,)]


@pytest.mark.parametrize("api", ["rest", "grpc"])
def test_the_end_of_a_run_settles_what_its_uploads_may_have_left(folder: Path, api: str) -> None:
    """Otherwise every batch that was ever interrupted would be bound to its first key for good."""
    bed = a_bed(folder, *range(1_000, 1_010))
    bed.api = api
    assert bed.run(kill="before-seal") is None
    assert bed.run() is None
    assert bed.rows("SELECT count(*) > 0 FROM history WHERE event = 'interrupted'") == [(1,)]
    assert bed.wrong() == []
    assert not loose(bed)


def test_another_key_is_noticed_while_an_upload_that_was_killed_is_at_the_first(folder: Path) -> None:
    """It was not sealed, so nothing is paid for; but its audio is there."""
    bed = a_bed(folder, 1_000, 1_001)
    assert bed.run(kill="before-seal") is None
    assert len(bed.rest.files) == 1
    bed.key = "another"
    assert isinstance(bed.run(), AccountRefused)
    bed.key = KEY
    assert bed.run() is None
    assert bed.wrong() == []


def test_another_key_is_noticed_while_something_cancelled_is_at_the_first(folder: Path) -> None:
    """It is only to be deleted, but only there."""
    bed = a_bed(folder, 1_000, 1_001)

    async def cancel(engine: Engine) -> None:
        await anyio.sleep(3)
        bed.disk.leave(Request("cancel", [1, 2]))
        await anyio.sleep(1.5)
        engine.drain()

    assert bed.run(cancel) is None
    assert bed.states() == {"cancelling": 2}
    bed.key = "another"
    assert isinstance(bed.run(), AccountRefused)
    assert bed.states() == {"cancelling": 2}
    bed.key = KEY
    assert bed.run() is None
    assert bed.states() == {"cancelled": 2}
    assert left(bed.rest) == []


def test_another_key_is_noticed_while_leftovers_are_at_the_first(folder: Path) -> None:
    """They are on record, and the first account has them."""
    bed = a_bed(folder, 1_000)
    assert bed.run() is None
    with bed.open() as table:
        table.execute("INSERT INTO extra (remote, reference, seen) VALUES ('file-x', 'r', 1)")
    bed.key = "another"
    assert isinstance(bed.run(), AccountRefused)
    assert bed.rows("SELECT count(*) FROM extra") == [(1,)]


#: How a job ends whose API is given up, by the state it was in.
ENDS = {
    State.UPLOADING: "done",
    State.SEALED: "done",
    State.UNCERTAIN: "done",
    State.SUBMITTED: "failed",
    State.COMPLETED: "failed",
    State.STORED: "done",
    State.FAILING: "failed",
    State.CANCELLING: "cancelled",
}


def a_bed_that_holds(folder: Path, api: str, state: State) -> Bed:
    """Return a batch that holds one recording in a state at the service of `api`, under the id that this gave it."""
    bed = a_bed(folder, 1_000)
    bed.api = api
    if state is State.STORED:
        assert bed.run(kill="transcript-committed") is None
        return bed
    assert bed.run(drain_at(3)) is None
    facts = ", cause = 'service'" if state is State.FAILING else ""
    with bed.open() as table:
        table.execute(f"UPDATE job SET state = ?{facts}", (state,))
    return bed


def refused(bed: Bed) -> bool:
    """Tell whether a run refuses to use this API."""
    with pytest.raises(ExceptionGroup) as error:
        bed.run()
    return error.group_contains(UsageError, match="may be at the service through its")


def test_every_held_state_is_given_up() -> None:
    """The table above leaves none out."""
    assert set(ENDS) == HELD_STATES


@pytest.mark.parametrize(("before", "api"), [("rest", "grpc"), ("grpc", "rest")])
@pytest.mark.parametrize("state", ENDS)
def test_whatever_is_held_at_an_api_that_is_gone_ends(folder: Path, before: str, api: str, state: State) -> None:
    """Without the words nothing moves. With them every recording ends, though the other API knows no such id."""
    bed = a_bed_that_holds(folder, before, state)
    bed.api = api
    assert refused(bed)
    assert bed.states() == {state: 1}
    assert bed.run(drain_at(3_600), other_account=True) is None
    assert bed.states() == {ENDS[state]: 1}


@pytest.mark.parametrize(
    ("before", "api", "remote"), [("rest", "grpc", "/0f4300f1-3fc3-4282-9740-8c0494b061b4"), ("grpc", "rest", "3457")]
)
def test_leftovers_at_an_api_that_is_gone_keep_no_run_from_ending(
    folder: Path, before: str, api: str, remote: str
) -> None:
    """Through the other one they are not there, so they count as deleted."""
    bed = a_bed(folder, 1_000)
    bed.api = before
    assert bed.run() is None
    with bed.open() as table:
        table.execute("INSERT INTO extra (remote, reference, seen) VALUES (?, 'r', 1)", (remote,))
    bed.api = api
    assert refused(bed)
    assert bed.run(drain_at(3_600), other_account=True) is None
    assert bed.rows("SELECT count(*) FROM extra") == [(0,)]


@contextmanager
def losing_uploads(report: Path) -> Iterator[dict[str, str]]:
    """Run `batcher emulate`, which loses the answer to every upload over REST; yield its addresses."""
    command = batcher("emulate", "--faults", "upload.lost-after=1", "--report", report)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
        assert process.wait(10) == 0


def stop_after_an_upload(environment: dict[str, str], *arguments: object) -> None:
    """Run batcher until the answer to an upload was lost, then stop it as Ctrl-C does."""
    with subprocess.Popen(batcher(*arguments), env=environment, stdout=subprocess.PIPE, text=True) as process:
        follow(process, event="job", to="waiting", **{"from": "uploading"})
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_the_command_refuses_the_other_api_and_says_what_may_be_there(tmp_path: Path) -> None:
    """It does not end with 0 over audio that it leaves behind, and `status` does not say that there is nothing."""
    make_recordings(tmp_path / "in", 3)
    run = ("run", tmp_path / "in", "-o", tmp_path / "out")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BATCHER_")}
    with losing_uploads(tmp_path / "report.json") as urls:
        environment = clean | {"SONIOX_API_KEY": "k", "BATCHER_CONFIG": os.devnull}
        stop_after_an_upload(environment, *run, "--progress", "json", "--host", urls["rest"])
        said = call(environment, "status", tmp_path / "out").stdout
        document = json.loads(call(environment, "status", tmp_path / "out", "--json").stdout)
        switched = call(environment, *run, "--api", "grpc", "--host", urls["grpc"])
    assert "audio of an upload that was cut short, perhaps" in said
    assert "nothing of this batch" not in said
    assert document["at_service"]["loose"] is True
    assert switched.returncode == 2
    assert "at the service through its rest API" in switched.stderr
    assert "--api rest" in switched.stderr
