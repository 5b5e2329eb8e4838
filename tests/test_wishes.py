"""What a person asks for last counts: wishes in their order, and what `retry` and `cancel` say of them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher import left_requests
from batcher.cli import cancel
from batcher.cli.display import Display
from batcher.cli.place import place_of
from batcher.cli.session import Order, Outcome
from batcher.cli.wishes import leave
from batcher.clock import SystemClock
from batcher.heed import heed
from batcher.lock import hold
from batcher.model import Cause
from batcher.requests import Request, apply_request
from batcher.stages.context import Plan
from batcher.states import Event, State
from batcher.store import wishes
from batcher.store.db import open_inline
from batcher.store.table import Table
from batcher.store.verdicts import Verdict
from tests.engine_bed import Bed
from tests.table_tools import written
from tests.test_cli_verbs import Call, call, out, states
from tests.test_engine import folder
from tests.test_engine_verdicts import BOTH, a_bed, accepted
from tests.test_requests_left import refuse

__all__ = ["call", "folder", "out"]  # the fixtures


def ask(bed: Bed, request: Request) -> int:
    """Ask something of a batch that no run holds, as `batcher retry` and `batcher cancel` do."""

    async def carry_out() -> int:
        await heed(table, bed.disk, await bed.disk.requests())
        return await table.transact(partial(apply_request, request=request))

    conn, database = open_inline(bed.path)
    table = Table(database, bed.world)
    try:
        return anyio.run(carry_out)
    finally:
        conn.close()


def left(out: Path, *requests: Request) -> None:
    """Leave requests for a run that dies before it sees them."""
    for request in requests:
        leave(place_of(out, None), request, SystemClock())


def test_what_was_left_for_a_run_that_died_does_not_overtake_a_later_wish(call: Call, out: Path) -> None:
    """The older wish to try again is carried out first, so the later one to give up is what holds."""
    left(out, Request("retry", [2]))
    code, said, _ = call("cancel", out, "2")
    assert code == 0
    assert "carried out first: 1 request that was left for an earlier run" in said
    assert "1 job given up" in said
    assert states(call, out)[2] == "cancelled"
    assert list(place_of(out, None).requests.iterdir()) == []


def test_a_wish_is_measured_by_what_was_left_before_it(call: Call, out: Path) -> None:
    """What was to be given up is given up by then, and so it is tried again."""
    left(out, Request("cancel", [1]))
    assert "1 job will be tried again" in call("retry", out, "1")[1]
    assert states(call, out)[1] == "waiting"
    assert list(place_of(out, None).requests.iterdir()) == []


def test_of_an_active_run_nothing_is_carried_out_by_others(call: Call, out: Path) -> None:
    """It keeps the order itself."""
    left(out, Request("retry", [2]))
    with hold(place_of(out, None).lock):
        assert "carried out first" not in call("cancel", out, "1")[1]
    assert len(list(place_of(out, None).requests.iterdir())) == 2


@BOTH
def test_a_kill_after_a_wish_was_carried_out_does_not_repeat_it(folder: Path, api: str) -> None:
    """It was taken back since: nothing is sent."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    before = accepted(bed)
    bed.disk.leave(Request("retry", [2]))
    bed.run(kill="request-applied")
    assert bed.state("a.wav") == "new"
    assert ask(bed, Request("cancel", [2])) == 1
    assert bed.disk.wishes == {}
    assert bed.run() is None
    assert bed.state("a.wav") == "cancelled"
    assert accepted(bed) == before


@BOTH
def test_a_kill_after_a_wish_does_not_repeat_it_before_the_next_one(folder: Path, api: str) -> None:
    """Not even where the clock went back in between, so that the later one has the lower name."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    before = accepted(bed)
    bed.disk.leave(Request("retry", [2]))
    bed.run(kill="request-applied")
    bed.disk.wishes = {"0": Request("cancel", [2]), **bed.disk.wishes}
    assert bed.run() is None
    assert bed.state("a.wav") == "cancelled"
    assert accepted(bed) == before


@BOTH
def test_a_request_that_cannot_be_removed_is_carried_out_once(folder: Path, api: str) -> None:
    """Neither the next look nor the next run repeats it: it was taken back since. The runs go on, and end."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    before = accepted(bed)
    bed.disk.leave(Request("retry", [2]))
    bed.disk.stuck = {"000001"}
    bed.run(kill="request-applied")
    assert bed.state("a.wav") == "new"
    assert ask(bed, Request("cancel", [2])) == 1
    for _ in range(2):
        assert bed.run() is None
        assert bed.state("a.wav") == "cancelled"
    assert accepted(bed) == before


@BOTH
def test_what_was_left_after_a_request_that_cannot_be_removed_waits(folder: Path, api: str) -> None:
    """The table remembers one request only: carried out after it, the next one would let it be repeated."""
    bed = a_bed(folder, api)
    assert bed.run() is None
    bed.disk.leave(Request("retry", [2]), Request("cancel", [1]), Request("retry", [2]))
    bed.disk.stuck = {"000001"}
    for _ in range(2):
        assert bed.run() is None
        assert sorted(bed.disk.wishes) == ["000001", "000002", "000003"]
        assert bed.events("a.wav").count("retry") == 1
    bed.disk.stuck.clear()
    assert bed.run() is None
    assert bed.disk.wishes == {}
    assert bed.events("a.wav").count("retry") == 2


def test_a_command_that_cannot_remove_a_request_says_which(
    call: Call, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for nothing more: that could come before what was left. When the request is gone it is not repeated."""
    left(out, Request("retry", [2]), Request("cancel", [2]))
    (name, _) = sorted(place_of(out, None).left())
    with monkeypatch.context() as patch:
        patch.setattr(left_requests, "remove_file", refuse)
        code, _, complaint = call("cancel", out, "1")
    assert code == 7
    assert f"the request {name} was carried out, but cannot be removed" in complaint
    assert str(out / ".batcher" / "requests") in complaint
    assert (states(call, out)[1], states(call, out)[2]) == ("waiting", "waiting")
    assert "1 request that was left" in call("cancel", out, "1")[1]
    assert (states(call, out)[1], states(call, out)[2]) == ("cancelled", "cancelled")


def test_status_and_doctor_tell_of_what_waits_for_the_next_run(call: Call, out: Path) -> None:
    """Nobody else would know that something was asked for."""
    assert "waits for the next run" not in call("status", out)[1]
    left(out, Request("retry", [2]))
    assert "1 request waits for the next run" in call("status", out)[1]
    assert "1 request waits for the next run" in call("doctor", out, "--api", "grpc")[1]
    assert json.loads(call("status", out, "--json")[1])["requests"] == 1
    left(out, Request("retry", [3]))
    assert "2 requests wait for the next run" in call("status", out)[1]


def test_retry_warns_of_a_copy_of_what_was_accepted(call: Call, out: Path) -> None:
    """It was never sent itself, but it ended with the one that was."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("copy.wav")
        hand.fire(6, State.NEW, Event.TWINNED, twin_of=5, digest=bytes([5]) * 32)
        hand.fire(5, State.SUBMITTED, Event.VANISHED, "it is gone", cause=Cause.VANISHED)
    assert "warning: 1 of them had been accepted by the service before" in call("retry", out, "6")[1]


@pytest.mark.parametrize("chance", ["forgiven", "convert"])
@pytest.mark.parametrize(
    ("event", "cause"), [(Event.UNREADABLE, Cause.SOURCE), (Event.UNSUITABLE, Cause.UNSUITABLE), (Event.CANCEL, None)]
)
def test_retry_warns_of_what_was_to_be_sent_a_second_time(
    chance: str, event: Event, cause: Cause | None, call: Call, out: Path
) -> None:
    """The first time was accepted, whatever became of the second."""
    first: dict[str, Any] = {chance: 1}
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("again.wav")
        hand.fire(6, State.NEW, Event.ADMITTED, **first)
        source = State.WAITING
        if event is Event.UNREADABLE:
            hand.fire(6, State.WAITING, Event.CLAIMED, reference="r", attempt=2, sealed_at=None)
            source = State.UPLOADING
        hand.fire(6, source, event, cause=cause)
    assert "may be billed again" in call("retry", out, "6")[1]


def test_retry_of_what_is_transcribed_costs_nothing(call: Call, out: Path) -> None:
    """Only its output could not be written; that it had needed two attempts does not matter."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        transcript = hand.keep_transcript(5)
        hand.fire(5, State.SUBMITTED, Event.COMPLETED, forgiven=1)
        hand.fire(5, State.COMPLETED, Event.FETCHED, transcript=transcript)
        hand.fire(5, State.STORED, Event.UNWRITABLE, cause=Cause.OUTPUT)
        hand.fire(5, State.FAILING, Event.CLEARED)
    assert "billed" not in call("retry", out, "5")[1]


def lose_answer(out: Path) -> None:
    """Let the answer of a sixth recording be lost after its seal, and give it a copy."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("unsure.wav", "copy.wav")
        hand.seal(6)
        hand.fire(6, State.SEALED, Event.ANSWER_LOST, "the line went dead")
        hand.fire(7, State.NEW, Event.TWINNED, twin_of=6, digest=bytes([6]) * 32)


def test_cancel_says_what_is_given_up_only_later(call: Call, out: Path) -> None:
    """What may be at the service is looked for first; who asks is told so, and what to type."""
    lose_answer(out)
    code, said, _ = call("cancel", out, "1", "6")
    assert code == 0
    assert "1 job given up\n" in said
    assert "1 job will be given up when it is known whether the service has it\n" in said
    assert said.endswith(f"next: batcher run INPUT -o {out}\n")
    assert "0 jobs" not in call("cancel", out, "6")[1]


def test_cancel_promises_no_end_of_copies_that_it_does_not_know(call: Call, out: Path) -> None:
    """Proven absent, what was sent is no more paid for than its copy, which is sent then."""
    lose_answer(out)
    assert "1 other recording of the same audio may end with these\n" in call("cancel", out, "6")[1]


def test_what_was_proven_absent_was_not_paid_for(call: Call, out: Path) -> None:
    """Neither do its copies end with it, nor may it be billed again."""
    lose_answer(out)
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.fire(6, State.UNCERTAIN, Event.ABSENT)
    assert "of the same audio" not in call("cancel", out, "6")[1]
    assert "billed" not in call("retry", out, "6")[1]


def test_a_wish_to_give_up_is_told_until_it_is_granted(call: Call, out: Path) -> None:
    """By everything that tells how the batch or the recording stands."""
    lose_answer(out)
    wished = "to be given up when it is known whether the service has it"
    assert wished not in call("status", out)[1] + call("show", out, "6")[1] + call("doctor", out, "--api", "grpc")[1]
    call("cancel", out, "6")
    for verb in (["status", out], ["show", out, "6"], ["doctor", out, "--api", "grpc"]):
        assert wished in call(*verb)[1]
    assert json.loads(call("status", out, "--json")[1])["to_give_up"] == 1
    assert json.loads(call("show", out, "6", "--json")[1])["cancel_wanted"] is True


@pytest.mark.parametrize("names", [["6"], ["--all"]])
def test_retry_takes_a_wish_to_give_up_back(names: list[str], call: Call, out: Path) -> None:
    """It is looked for as before; that is no reason to warn of a bill."""
    lose_answer(out)
    call("cancel", out, "6")
    said = call("retry", out, *names)[1]
    assert "1 job will not be given up\n" in said
    assert ("billed" in said) is (names == ["--all"])
    assert json.loads(call("show", out, "6", "--json")[1])["cancel_wanted"] is False
    assert "passed over: " in call("retry", out, "6")[1]


def test_doctor_does_not_promise_to_write_what_waits_for_another(call: Call, out: Path) -> None:
    """A copy has no transcript yet; and what was lost may never be sent again."""
    lose_answer(out)
    said = call("doctor", out, "--api", "grpc")[1]
    assert "find out what became of 1 at the service" in said
    assert "let 1 share the transcript of the same audio" in said
    assert "write" not in said.replace("write access", "")


def test_cancel_says_what_became_of_those_that_it_passes_over(call: Call, out: Path) -> None:
    """A failed recording is not finished; one that is named twice is one."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("off.wav", "ready.wav")
        hand.fire(6, State.NEW, Event.CANCEL)
        hand.submit(7)
        hand.fire(7, State.SUBMITTED, Event.COMPLETED)
    said = call("cancel", out, "1", "1", "2", "3", "4", "6", "7")[1]
    assert "1 job given up\n" in said
    assert (
        "passed over: 2 failed already, 1 skipped already, 1 cancelled already, 1 transcribed and to be fetched\n"
        in said
    )


def test_retry_tells_the_state_of_what_it_passes_over_by_its_public_name(call: Call, out: Path) -> None:
    """As every other view does; a person knows no others."""
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.add("off.wav")
        hand.submit(6)
        hand.fire(6, State.SUBMITTED, Event.CANCEL)
    said = call("retry", out, "1", "6")[1]
    assert "waiting.wav is waiting\n" in said
    assert "off.wav is failing\n" in said


def test_what_the_service_failed_before_is_said_once(call: Call, out: Path) -> None:
    """The reason says who failed it; there is no need for another word about that."""
    verdict = Verdict(State.FAILED, Cause.SERVICE, "too noisy", 1)
    with written(place_of(out, None).db, out.parent / "in") as hand:
        hand.fire(1, State.NEW, Event.FAILED_BEFORE, verdict.words, cause=Cause.SERVICE)
    assert "  1 x the service has failed this very audio before: too noisy; " in call("status", out)[1]


def test_cancel_takes_the_option_that_its_refusal_names(call: Call, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent through an API that is gone for good can be given up."""
    monkeypatch.setenv("SONIOX_API_KEY", "k")
    nowhere = ["--api", "rest", "--host", "http://127.0.0.1:1"]
    code, _, complaint = call("cancel", out, "5", *nowhere)
    assert code == 2
    assert "add --other-account" in complaint
    plans: list[Plan] = []

    def conduct(order: Order, _display: Display, _clock: SystemClock) -> Outcome:
        plans.append(order.plan)
        return Outcome()

    monkeypatch.setattr(cancel, "conduct", conduct)
    assert call("cancel", out, "5", "--other-account", *nowhere)[0] == 0
    assert [plan.other_account for plan in plans] == [True]


def test_what_was_carried_out_already_waits_for_nobody(call: Call, out: Path) -> None:
    """A kill may have left it behind; a table from before that was known counts all that lies there."""
    place = place_of(out, None)
    left(out, Request("retry", [2]))
    (name,) = place.left()
    with written(place.db, out.parent / "in") as hand:
        hand.act(lambda ledger: wishes.remember(ledger, name))
    assert "for the next run" not in call("status", out)[1]
    with written(place.db, out.parent / "in") as hand:
        hand.conn.execute("ALTER TABLE batch DROP COLUMN latest_request")
    assert "1 request waits for the next run" in call("status", out)[1]
