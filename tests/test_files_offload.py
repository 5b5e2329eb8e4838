"""The one way into a thread."""

import threading

import anyio
import pytest

from batcher.files import in_flight, offload
from batcher.files.offload import THREADS


@pytest.mark.anyio
async def test_work_leaves_the_loop_and_its_result_comes_back() -> None:
    """The function runs in another thread with its arguments; its error comes out unchanged."""
    thread, total = await offload(lambda a, b: (threading.get_ident(), a + b), 1, 2)
    assert thread != threading.get_ident()
    assert total == 3
    with pytest.raises(ZeroDivisionError):
        await offload(divmod, 1, 0)


@pytest.mark.anyio
async def test_a_cancelled_caller_waits_for_its_thread() -> None:
    """Cancelling does not leave work going on unseen."""
    go_on, finished = threading.Event(), threading.Event()
    scope = anyio.CancelScope()
    returned: list[bool] = []

    def work() -> None:
        go_on.wait()
        finished.set()

    async def caller() -> None:
        with scope:
            await offload(work)
        returned.append(finished.is_set())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await anyio.wait_all_tasks_blocked()
        assert in_flight() == 1
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert returned == []
        go_on.set()
    assert returned == [True]
    assert in_flight() == 0


@pytest.mark.anyio
async def test_no_more_threads_work_at_once_than_allowed() -> None:
    """The next caller waits until a thread is free."""
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        go_on.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(THREADS + 5):
            tasks.start_soon(offload, work)
        await anyio.wait_all_tasks_blocked()
        assert in_flight() == THREADS
        go_on.set()
    assert sum(begun.acquire(blocking=False) for _ in range(THREADS + 6)) == THREADS + 5
