"""Wake-ups: a ring is never lost, and never heard twice."""

import anyio
import pytest

from batcher.wakeup import Wakeup

pytestmark = pytest.mark.anyio


async def test_a_ring_between_arming_and_waiting_is_heard() -> None:
    """Whoever arms before reading the table cannot miss what happens during the read."""
    bell = Wakeup()
    armed = bell.arm()
    bell.ring()
    with anyio.fail_after(1):
        await armed.wait()


async def test_a_ring_before_arming_does_not_wake() -> None:
    """What was rung before the table is read is in the table."""
    bell = Wakeup()
    bell.ring()
    assert not bell.arm().is_set()


async def test_several_listeners_hear_one_ring() -> None:
    """Arming again does not take the bell away from others who wait."""
    bell = Wakeup()
    first, second = bell.arm(), bell.arm()
    bell.ring()
    assert first.is_set()
    assert second.is_set()


async def test_ringing_twice_is_ringing_once() -> None:
    """Rings do not queue up."""
    bell = Wakeup()
    bell.arm()
    bell.ring()
    bell.ring()
    assert not bell.arm().is_set()
