"""When a run may end: only over a list that shows everything."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.tally import Call
from batcher.model import Survey
from batcher.requests import Request
from batcher.service import Service
from tests.engine_bed import Bed, Stubborn
from tests.test_engine import folder

__all__ = ["folder"]  # the fixture

BLIND_LOOKS = 3


class Between(Bed):
    """A test stands between the engine and the lists of the service."""

    @asynccontextmanager
    async def open_service(self) -> AsyncIterator[Service]:
        """Open the service with lists as `look` gives them."""
        async with super().open_service() as service:
            whole = service.survey

            async def survey(*, thorough: bool = True) -> Survey:
                return await self.look(partial(whole, thorough=thorough))

            service.survey = survey  # type: ignore[method-assign]
            yield service

    async def look(self, whole: Callable[[], Awaitable[Survey]]) -> Survey:
        """Return a list; `whole` asks the service for it."""
        raise NotImplementedError


class HalfBlind(Between):
    """When every recording is done, something of ours is still there, and the next lists miss it and say so."""

    looks = 0

    async def look(self, whole: Callable[[], Awaitable[Survey]]) -> Survey:
        """Miss everything, and say so, while it is time to."""
        seen = await whole()
        return replace(seen, objects=(), complete=False) if self._misses() else seen

    def _misses(self) -> bool:
        if self.states() != {"done": 1}:
            return False
        self.looks += 1
        if self.looks == 1:
            ((reference,),) = self.rows("SELECT reference FROM job")
            self.account.add_foreign(reference=str(reference), work_ms=0)
        return self.looks <= BLIND_LOOKS


def test_a_list_that_may_have_missed_something_does_not_end_a_run(folder: Path) -> None:
    """What it does not show may be there, and would be left behind."""
    bed = HalfBlind(folder, 1_000)
    assert bed.run() is None
    assert bed.looks > BLIND_LOOKS
    assert bed.account.files == []


class Overtaken(Between):
    """The last recording ends while a list is under way, which shows something else of it."""

    overtaken = False

    async def look(self, whole: Callable[[], Awaitable[Survey]]) -> Survey:
        """List only when the recording has ended."""
        if not self.overtaken and self.states() == {"completed": 1}:
            await self._wait_for_the_end()
        return await whole()

    async def _wait_for_the_end(self) -> None:
        self.overtaken = True
        await anyio.sleep(60)
        assert self.states() == {"done": 1}
        ((reference,),) = self.rows("SELECT reference FROM job")
        self.account.add_foreign(reference=str(reference), work_ms=0)


def test_a_list_that_still_shows_something_of_ours_does_not_end_a_run(folder: Path) -> None:
    """Of a recording that ended while the list was made the next list tells what is left."""
    bed = Overtaken(folder, 1_000)
    bed.trouble = lambda call: Fault(Trouble.DELAYED, ms=20_000) if call is Call.FETCH else None
    assert bed.run() is None
    assert bed.overtaken
    assert bed.account.files == []


class Asked(Between):
    """Somebody wants a failed recording tried again when the last list is just answered."""

    asked = False

    async def look(self, whole: Callable[[], Awaitable[Survey]]) -> Survey:
        """List, and ask."""
        seen = await whole()
        if not self.asked and self.states() == {"failed": 1}:
            self.asked = True
            self.disk.leave(Request("retry", [1]))
        return seen


def test_a_request_that_comes_with_the_last_list_is_heeded(folder: Path) -> None:
    """The command has told that the active run takes it up."""
    content = b"hum" * 1_000
    bed = Asked(folder, recognizer=Stubborn("too short", 1, content))
    bed.add("000.wav", content=content)
    assert bed.run() is None
    assert bed.asked
    assert bed.states() == {"done": 1}
