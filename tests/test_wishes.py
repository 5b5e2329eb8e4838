"""What a person asks for last counts: wishes in their order, and what `retry` and `cancel` say of them."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from batcher.cli.place import place_of
from batcher.cli.wishes import leave
from batcher.clock import SystemClock
from batcher.heed import heed
from batcher.lock import hold
from batcher.model import Cause
from batcher.requests import Request, apply_request
from batcher.states import Event, State
from batcher.store.db import open_inline
from batcher.store.table import Table
from tests.engine_bed import Bed
from tests.table_tools import written
from tests.test_cli_verbs import Call, call, out, states
from tests.test_engine import folder
from tests.test_engine_verdicts import BOTH, a_bed, accepted

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
