"""When a run may end: only over a list that shows everything."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from batcher.model import Survey
from batcher.service import Service
from tests.engine_bed import Bed
from tests.test_engine import folder

__all__ = ["folder"]  # the fixture

BLIND_LOOKS = 3


class HalfBlind(Bed):
    """When every recording is done, something of ours is still there, and the next lists miss it and say so."""

    looks = 0

    @asynccontextmanager
    async def open_service(self) -> AsyncIterator[Service]:
        """Open the service, and stand between it and the engine."""
        async with super().open_service() as service:
            whole = service.survey

            async def survey(*, thorough: bool = True) -> Survey:
                seen = await whole(thorough=thorough)
                return replace(seen, objects=(), complete=False) if self._misses() else seen

            service.survey = survey  # type: ignore[method-assign]
            yield service

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
