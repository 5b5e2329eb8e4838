"""The morning after: the same command once more, in fine weather, finds nothing to do.

What people did to the recordings while the last run worked, or asked of it when it had ended, is the next run's: then
that one works, and the one after it finds nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from batcher.emulator.rest_account import RestAccount
from batcher.model import Cause
from batcher.states import State
from batcher.store.table import Move
from tests.simulation.batch import Batch
from tests.simulation.happenings import settle_down

if TYPE_CHECKING:
    from tests.simulation.night import Night
    from tests.simulation.oracle import Item

LATER_SECONDS = 3 * 3600.0  #: by then everything that was late is listed
RUNS = 2
MORNING_SECONDS = 24 * 3600.0  #: for all of it, the waiting included
#: How a job may have ended that every run looks at again: it costs nothing.
LOOKED_AT_AGAIN = {(State.FAILED, Cause.SOURCE), (State.FAILED, Cause.OUTPUT)}

_ENDS = "SELECT id, state, cause FROM job ORDER BY id"


@dataclass(slots=True)
class Morning:
    """What one batch did in a run that had nothing to do."""

    batch: Batch
    began_ms: int
    moved: list[Move] = field(default_factory=list)
    deleted: list["Item"] = field(default_factory=list)


async def wake(night: "Night") -> None:
    """Let every batch run once more, and again where the first time had something to do."""
    if not all(batch.ended for batch in night.batches):
        return
    settle_down(night)
    for batch in night.batches:
        for _ in range(RUNS):
            await anyio.sleep(LATER_SECONDS)
            if await _run_again(night, batch):
                break


async def _run_again(night: "Night", batch: Batch) -> bool:
    """Run the same command; tell whether it should have had nothing to do, and note what it did all the same."""
    quiet, before, sent = not _left_over(batch), _ends(batch), _sent(night)
    night.happened["quiet morning" if quiet else "busy morning"] += 1
    morning = night.morning = Morning(batch, night.world.now())
    how = await batch.one_life()
    night.morning = None
    if how != "ended":
        night.violated(f"{batch.name} {how} the morning after")
    _check_clear(night, morning)
    if quiet:
        _check_quiet(night, morning, before, _sent(night) - sent)
    return quiet


def _left_over(batch: Batch) -> bool:
    """Tell whether somebody did something that the last run need not have seen."""
    return bool(batch.world.requests) or any(moment >= batch.began for moment in batch.touched.values())


def _ends(batch: Batch) -> dict[object, tuple[object, object]]:
    return {job: (state, cause) for job, state, cause in batch.rows(_ENDS)}


def _sent(night: "Night") -> Counter[str]:
    account = night.account
    return account.tally.accepted + (account.tally.uploads if isinstance(account, RestAccount) else Counter())


def _check_quiet(
    night: "Night", morning: Morning, before: dict[object, tuple[object, object]], sent: Counter[str]
) -> None:
    """Note whatever was sent, deleted or moved. As many jobs are failed as before, so the exit code is the same."""
    name = morning.batch.name
    if sent:
        night.violated(f"{name} sent {list(sent)} the morning after")
    if _ends(morning.batch) != before:
        night.violated(f"{name} ended otherwise the morning after")
    moved = {move.job for move in morning.moved if before.get(move.job) not in LOOKED_AT_AGAIN}
    if moved:
        night.violated(f"{name} moved the jobs {sorted(moved)} the morning after")


def _check_clear(night: "Night", morning: Morning) -> None:
    """Note whatever the run before had left behind."""
    night.happened["deleted the morning after"] += len(morning.deleted)
    for item in morning.deleted:
        overdue = night.oracle.overdue(morning.batch, item, morning.began_ms)
        if item.created < morning.began_ms and not overdue:
            night.leaked += 1
            night.violated(f"left at the service until the morning after: {item.reference}")
