"""The one loop that every stage runs in: claim at most the free places, work, wait for a bell or a due time.

A stage's handler ends in an event on its job, whatever happens. What it did not foresee is caught here, once:
that job is put back with the error as its reason, and the others go on.
"""

from typing import TypeVar

import anyio
import structlog

from batcher.errors import BatcherError
from batcher.stages.context import Context
from batcher.stages.stage import Claimed, Stage

#: Bells are wake-ups, not promises: every stage looks at the table this often anyway.
FALLBACK_SECONDS = 5.0

_log = structlog.get_logger()
T = TypeVar("T")


async def run_stage(context: Context, stage: Stage[T]) -> None:
    """Run a stage until it is cancelled."""
    busy: set[object] = set()
    async with anyio.create_task_group() as group:
        while True:
            armed = stage.bell.arm()
            free = stage.places - len(busy)
            claimed: Claimed[T] = await stage.claim(free, frozenset(busy)) if free > 0 else Claimed()
            for item in claimed.items:
                busy.add(stage.key(item))
                group.start_soon(_work, stage, item, busy, name=f"{stage.name} {stage.key(item)}")
            with anyio.move_on_after(_patience(context, claimed.next_due)):
                await armed.wait()


async def _work(stage: Stage[T], item: T, busy: set[object]) -> None:
    try:
        await stage.handle(item)
    except BatcherError:
        raise  # it was sorted, and it concerns the whole batch
    except Exception as error:  # noqa: BLE001 - the one boundary, see the module's first lines
        _log.error("handler failed", stage=stage.name, item=str(stage.key(item)), exc_info=error)
        # Only its type: an error of any library may hold the key, and the table and the summary are not the log.
        await stage.broke(item, f"batcher itself failed: {type(error).__name__} (log.jsonl tells more)")
    finally:
        busy.discard(stage.key(item))
    stage.bell.ring()  # but not when it was cancelled: the stage ends, and must not be kept from hearing of it


def _patience(context: Context, due: int | None) -> float:
    if due is None:
        return FALLBACK_SECONDS
    return min(FALLBACK_SECONDS, max(0.001, (due - context.clock.now()) / 1000))
