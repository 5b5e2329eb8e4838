"""The simulated service beyond the conformance suite: chance comes from the seed, time from the event loop."""

from collections import Counter
from dataclasses import replace

import anyio
import pytest

from batcher.clock import Dice
from batcher.emulator import faults
from batcher.emulator.core import Core
from batcher.emulator.faults import FaultPlan
from batcher.emulator.recognizers import Echo
from batcher.emulator.tally import LEGACY_CALLS, Call, Entry
from batcher.errors import Kind, ServiceError
from batcher.options import Options
from batcher.service import Service, Submission
from batcher.service.simulated import Pace, open_simulated
from tests.emulator_tools import HandClock, Tape

pytestmark = pytest.mark.anyio

AT_ONCE = Pace(0, 0, 1e12)


async def night(seed: int, jobs: int = 200) -> tuple[list[Entry], Counter[str], Counter[Kind]]:
    """Send some recordings through a service in trouble; return the trace, the faults and the errors."""
    clock, dice, errors = HandClock(), Dice(seed), Counter[Kind]()
    core = Core(clock, Echo(), dice=dice)
    plan = FaultPlan(replace(faults.parse("many"), delay_ms=0), dice, clock)
    async with open_simulated(core, "key", dice=dice, plan=plan, pace=AT_ONCE) as service:
        for number in range(jobs):
            try:
                await one_job(service, clock, str(number))
            except ServiceError as error:
                errors[error.kind] += 1
    tally = core.account("key").tally
    return list(tally.trace), tally.injected, errors


async def one_job(service: Service, clock: HandClock, reference: str) -> None:
    """Take one recording the whole way, without trying anything twice."""

    async def seal() -> None:
        await anyio.lowlevel.checkpoint()

    clock.pass_ms(1000)
    remote = await service.submit(Submission(reference, Options(), Tape(reference.encode())), seal)
    clock.pass_ms(3000)
    await service.survey()
    await service.fetch(remote)
    await service.delete(remote)


async def test_a_night_can_be_replayed_from_its_seed() -> None:
    """Same seed: same calls, same faults, same errors. Another seed: another night."""
    first, again, other = await night(1), await night(1), await night(2)
    assert first == again
    assert first[0] != other[0]
    assert {Kind.UNCERTAIN, Kind.UNREACHABLE, Kind.LATER} <= set(first[2])
    assert {fault.partition(".")[0] for fault in first[1]} == {
        call.value for call in LEGACY_CALLS if call is not Call.STATUS
    }


async def test_calls_take_their_time_and_bytes_theirs() -> None:
    """Latencies follow the event loop, within the bounds of the pace."""
    core = Core(HandClock(), Echo())
    pace = Pace(least=0.01, most=0.02, bytes_per_second=10_000)
    async with open_simulated(core, "key", pace=pace) as service:
        begin = anyio.current_time()
        await service.survey()
        listed = anyio.current_time()
        await service.submit(Submission("r", Options(), Tape(bytes(1000))), anyio.lowlevel.checkpoint)
        sent = anyio.current_time()
    assert listed - begin >= 0.01
    assert sent - listed >= 0.1 + 0.015


async def test_an_upload_that_is_refused_in_a_burst_never_opens() -> None:
    """A refusal at the door leaves not even an aborted upload behind."""
    clock = HandClock()
    core, dice = Core(clock, Echo()), Dice(1)
    plan = FaultPlan(faults.parse("submit.unavailable=1"), dice, clock)
    async with open_simulated(core, "key", plan=plan, pace=AT_ONCE) as service:
        with pytest.raises(ServiceError) as error:
            await service.submit(Submission("r", Options(), Tape(b"audio")), anyio.lowlevel.checkpoint)
    assert error.value.kind is Kind.UNREACHABLE
    assert list(core.account("key").tally.trace) == []
