"""The service of the job benchmarks: what `batcher emulate` serves, in a process of its own, with a stopwatch.

`serve` is started by `benchmarks.fresh.helper`. It says where it listens, and when its input ends, what it saw: its own
report, the time of every call, and when each transcription was accepted and ended.
"""

import sys
from collections import defaultdict, deque

from batcher.clock import wall_clock
from batcher.emulator.account import Account
from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs, turned
from batcher.emulator.objects import File
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_objects import RestFile, RestJob
from batcher.emulator.server import EmulatorSettings
from batcher.emulator.server import serve as emulate
from batcher.emulator.tally import Entry
from batcher.files import offload
from benchmarks.fresh import Figures, say
from benchmarks.gauges import cpu_seconds

KEY = "benchmark"  #: the account of whoever is measured


class _Calls(deque[Entry]):
    """The trace of an account that keeps the time of every call. UTC milliseconds."""

    def __init__(self) -> None:
        super().__init__(maxlen=1)
        self.times: dict[str, list[int]] = defaultdict(list)

    def append(self, entry: Entry, /) -> None:
        """Note a call that is over."""
        self.times[entry[0]].append(wall_clock())


class _Stopwatch:
    """Notes when transcriptions are accepted and when they end. UTC milliseconds."""

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.ended: list[int] = []

    def hear_legacy(self, _account: Account, change: str, file: File) -> None:
        """Take note of a file of the gRPC API."""
        self._hear(change, file.created, file.ended)

    def hear_rest(self, _account: RestAccount, change: str, item: RestFile | RestJob) -> None:
        """Take note of a transcription; a file by itself is none."""
        if isinstance(item, RestJob):
            self._hear(change, item.created, item.ended)

    def _hear(self, change: str, created: int, ended: int | None) -> None:
        if change == "accepted":
            self.accepted.append(created)
        elif change == "ended" and ended is not None:
            self.ended.append(ended)


async def serve(api: str, knobs: dict[str, str]) -> Figures:
    """Serve one API on a free port until the standard input ends; return what was seen, and what it cost."""
    settings = EmulatorSettings(grpc=api == "grpc", rest=api == "rest", knobs=_turned(knobs))
    async with emulate(settings) as running:
        calls, watch = _watched(running.core, api)
        say({"url": running.rest_url or running.grpc_url})
        begun = cpu_seconds()
        await offload(sys.stdin.read)
        report = running.core.report()["rest_accounts" if api == "rest" else "accounts"]
        assert isinstance(report, list)
        return {
            "cpu_s": cpu_seconds() - begun,
            "report": report[0],
            "calls": calls.times,
            "accepted": watch.accepted,
            "ended": watch.ended,
        }


def _turned(wishes: dict[str, str]) -> Knobs:
    knobs = Knobs()
    for name, text in wishes.items():
        knobs = turned(knobs, name, text)
    return knobs


def _watched(core: Core, api: str) -> tuple[_Calls, _Stopwatch]:
    """Have the account of `KEY` watched from now on."""
    calls, watch = _Calls(), _Stopwatch()
    core.watch(watch.hear_legacy)
    core.watch_rest(watch.hear_rest)
    account = core.rest(KEY) if api == "rest" else core.account(KEY)
    account.tally.trace = calls
    return calls, watch
