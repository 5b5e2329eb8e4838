"""Nothing may stand still: with room in the quota and a job due, an upload starts within a bounded time."""

from typing import TYPE_CHECKING

import anyio

from batcher.emulator.rest_account import RestAccount
from batcher.states import PENDING_STATES
from tests.simulation.batch import Batch

if TYPE_CHECKING:
    from tests.simulation.night import Night

LOOK_SECONDS = 60.0
#: How long a job may be due with room for it. A share that was cut by refusals is held for 16 minutes at most.
IDLE_SECONDS = 25 * 60.0
PROBES_AN_HOUR = 70.0


class Watch:
    """Looks every minute whether a batch could send something and does not."""

    def __init__(self, night: "Night") -> None:
        self._night = night
        self._since: dict[str, float] = {}  #: since when a batch could

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            for batch in self._night.batches:
                self._look(batch)

    def _look(self, batch: Batch) -> None:
        now = self._night.world.read()
        if not self._could(batch):
            self._since.pop(batch.name, None)
            return
        since = max(self._since.setdefault(batch.name, now), batch.claimed_at)
        if now - since > IDLE_SECONDS:
            self._night.violated(f"{batch.name} sends nothing for {now - since:.0f} s though it could")
            self._since.pop(batch.name)

    def _could(self, batch: Batch) -> bool:
        night, life = self._night, batch.life
        if life is None or life.stopped_at is not None or life.engine is None:
            return False
        if batch.world.room is not None or night.weather.outage() or night.account.balance_exhausted:
            return False
        context = life.engine._context
        if context is None or not context.reach:
            return False  # its listings fail: with many pages and much loss that may take long
        if any(batch.counts[state] for state in PENDING_STATES):
            return False  # it holds something pending; whether it could hold more depends on its share
        return self._due(batch) and self._room()

    def _due(self, batch: Batch) -> bool:
        now = self._night.world.now() + batch.skew_ms
        return bool(batch.rows("SELECT 1 FROM job WHERE state = 'waiting' AND not_before <= ? LIMIT 1", now))

    def _room(self) -> bool:
        """Tell whether the service would take one more, with as much to spare as others lately needed."""
        account = self._night.account
        limits, spare = account.limits, 1 + 2 * len(self._night.foreign)
        if account.pending + spare > limits.pending or account.stored + spare > limits.stored:
            return False
        if not isinstance(account, RestAccount):
            return True
        siblings, files = account.siblings, account.files
        used = sum(file.size for file in files) + siblings.bytes
        return (
            account.pending + siblings.pending + spare <= limits.pending
            and account.stored + siblings.transcriptions + spare <= limits.stored
            and (limits.files is None or len(files) + siblings.files + spare <= limits.files)
            and (limits.bytes is None or used + 1_500_000 + 400_000 * len(self._night.foreign) <= limits.bytes)
        )


def check_outages(night: "Night") -> None:
    """Hold the night's outages against what is polite while they last, and prompt when they are over."""
    for begin, end in night.weather.ended():
        hours, lives = (end - begin) / 3600, sum(night.kills.values()) + 12 * len(night.batches)
        most = len(night.batches) * (PROBES_AN_HOUR * hours + 40) + 12 * lives
        if night.weather.calls[begin] > most:
            night.violated(f"{night.weather.calls[begin]} calls in an outage of {hours:.1f} hours")
