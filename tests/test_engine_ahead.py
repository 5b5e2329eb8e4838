"""Whole runs from a drive over the network, in virtual time: no place at the service waits for a recording to open."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from batcher.disk import Recording
from batcher.emulator.tally import Call
from batcher.engine import Engine
from batcher.errors import SourceError
from batcher.model import Job, Limits
from batcher.requests import Request
from batcher.service import CHUNK_BYTES
from batcher.service.simulated import Pace
from batcher.stages.ahead import KEPT_SECONDS, Ahead
from tests.engine_bed import KNOBS, Bed, Disk
from tests.simulation.__main__ import memory

QUICK = Pace(least=0.002, most=0.002, bytes_per_second=1e9)
LIMITS = Limits(10, 5_000)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory for the table, in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        yield Path(name)


class Drive(Disk):
    """A disk that takes its time to open a recording, and counts those that are open."""

    seconds = 0.0
    opened = 0
    now_open = most_open = 0

    @asynccontextmanager
    async def recording(self, job: Job) -> AsyncIterator[Recording]:
        """Open slowly."""
        await anyio.sleep(self.seconds)
        async with super().recording(job) as recording:
            self.opened += 1
            self.now_open += 1
            self.most_open = max(self.most_open, self.now_open)
            try:
                yield recording
            finally:
                self.now_open -= 1


class _Thorough:
    """A recording that is read as threads read: what was begun goes on to its end, whoever gives it up meanwhile."""

    def __init__(self, recording: Recording) -> None:
        self.size = recording.size
        self.closed = False
        self._recording = recording

    @property
    def digest(self) -> bytes:
        """Return the digest."""
        return self._recording.digest

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read slowly; a file that somebody closes meanwhile cannot be read on."""
        async for chunk in self._recording.chunks():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.3)
            if self.closed:
                raise SourceError("the recording was closed while it was read")
            yield chunk


class SlowDrive(Drive):
    """A disk from which also reading takes its time."""

    @asynccontextmanager
    async def recording(self, job: Job) -> AsyncIterator[Recording]:
        """Open."""
        async with super().recording(job) as recording:
            thorough = _Thorough(recording)
            try:
                yield thorough
            finally:
                thorough.closed = True


def bed_on(
    folder: Path, seconds: float, jobs: int, work_ms: int, *, drive: type[Drive] = Drive, size: int = 1_000
) -> tuple[Bed, Drive]:
    """Return a batch on a drive that takes so long, with ten places at the service."""
    knobs = replace(KNOBS, pending=10, queue_ms=1, min_work_ms=work_ms, max_work_ms=work_ms)
    bed = Bed(folder, *range(size, size + jobs), knobs=knobs, pace=QUICK)
    bed.disk = disk = drive(bed.world)
    disk.seconds = seconds
    return bed, disk


def from_room_to_upload(bed: Bed) -> list[float]:
    """Return for how long places were free before uploads took them: from each claim to its upload's beginning."""
    claimed = [at for (at,) in bed.rows("SELECT at FROM history WHERE event = 'claimed' ORDER BY id")]
    begun = [moment for moment, call in bed.calls if call is Call.SUBMIT]
    start = bed.world.now() / 1000 - bed.world.moment
    return [moment - (int(str(at)) / 1000 - start) for at, moment in zip(claimed, begun, strict=True)]


@pytest.mark.parametrize(("longest_first", "settled"), [(False, 40), (True, 60)])
def test_a_place_that_is_free_waits_for_no_drive(longest_first: bool, settled: int, folder: Path) -> None:
    """A tenth of a second to open each: those that fill the places first wait for it, all others go at once.

    With the longest first, what was the longest before all were found is kept open for half a minute first.
    """
    bed, drive = bed_on(folder, 0.1, 200, 5_000)
    assert bed.run(limits=LIMITS, longest_first=longest_first) is None
    waits = from_room_to_upload(bed)
    assert min(waits[:8]) >= 0.099
    assert sum(wait < 0.02 for wait in waits[settled:]) >= 0.95 * len(waits[settled:])
    assert bed.wrong() == []
    assert drive.opened == 200 + Ahead.places * longest_first
    assert drive.now_open == 0
    assert drive.most_open <= 10 + Ahead.places


def test_where_opening_takes_no_time_nothing_is_opened_ahead(folder: Path) -> None:
    """It would cost a look at the table for every recording, and gain nothing."""
    bed, drive = bed_on(folder, 0.001, 100, 5_000)
    assert bed.run(limits=LIMITS) is None
    assert drive.opened == 100
    assert drive.most_open <= 10


def test_a_recording_that_is_not_wanted_for_long_is_opened_anew(folder: Path) -> None:
    """Jobs take a quarter of an hour: what is open meanwhile is never older than half a minute, and never more."""
    bed, drive = bed_on(folder, 0.1, 60, 900_000)
    assert bed.run(limits=LIMITS) is None
    assert drive.opened <= 100 + Ahead.places * bed.world.moment / KEPT_SECONDS
    assert drive.most_open <= 10 + Ahead.places
    assert drive.now_open == 0
    assert bed.wrong() == []


def test_a_recording_that_changes_after_it_was_opened_is_done_as_it_is_then(folder: Path) -> None:
    """What was read before is sent as what it was; the next run sees that it is another one now."""
    bed, _ = bed_on(folder, 0.1, 40, 5_000)

    async def change(_engine: Engine) -> None:
        await anyio.sleep_until(4)
        for number in range(8, 40):
            bed.change(f"{number:03}.wav", bytes([number]) * 2_000)

    assert bed.run(change, limits=LIMITS) is None
    assert bed.run(limits=LIMITS) is None
    assert bed.states() == {"done": 40}
    assert bed.wrong() == []


@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_a_recording_that_cannot_be_opened_fails_for_itself_with_its_own_reason(seconds: float, folder: Path) -> None:
    """Ahead of its turn that is nobody's business; in its turn it is the upload's, also of one that waits for it."""
    bed, drive = bed_on(folder, seconds, 40, 5_000)

    async def deny(_engine: Engine) -> None:
        await anyio.sleep_until(4)
        bed.world.files[b"/in/035.wav"].denied = True
        del bed.world.files[b"/in/036.wav"]

    assert bed.run(deny, limits=LIMITS) is None
    assert bed.states() == {"done": 38, "failed": 2}
    assert bed.rows("SELECT reason FROM job WHERE state = 'failed' ORDER BY id") == [
        ("permission denied",),
        ("the recording has vanished",),
    ]
    assert drive.now_open == 0


def test_a_recording_tried_again_with_another_content_is_opened_anew(folder: Path) -> None:
    """What is open from before is the file of before, and the table knows better."""
    bed, _ = bed_on(folder, 0.1, 40, 15_000)

    async def change(_engine: Engine) -> None:
        await anyio.sleep_until(4)
        bed.disk.leave(Request("cancel", [15]))
        bed.change("014.wav", b"another" * 300)
        await anyio.sleep_until(6)
        bed.disk.leave(Request("retry", [15]))

    assert bed.run(change, limits=LIMITS) is None
    assert bed.states() == {"done": 40}
    assert bed.events("014.wav").count("claimed") == 1
    assert bed.wrong() == []


def test_one_that_is_just_being_opened_is_waited_for_and_not_opened_twice(folder: Path) -> None:
    """Jobs that take a second, and a drive that takes three."""
    bed, drive = bed_on(folder, 3.0, 60, 1_000)
    assert bed.run(limits=LIMITS) is None
    assert drive.opened == 60
    assert bed.wrong() == []


@pytest.mark.parametrize(("seconds", "work_ms"), [(0.1, 5_000), (3.0, 1_000)])
def test_an_unforeseen_error_while_opening_ahead_harms_nothing(seconds: float, work_ms: int, folder: Path) -> None:
    """The upload opens it again by itself, also when it was waiting for it."""
    bed, drive = bed_on(folder, seconds, 40, work_ms)
    unlucky = {b"/in/012.wav", b"/in/021.wav", b"/in/030.wav", b"/in/031.wav"}

    def before(verb: str, path: bytes) -> None:
        if verb == "open" and path in unlucky:
            unlucky.discard(path)
            raise RuntimeError("never heard of")

    drive.before = before
    assert bed.run(limits=LIMITS) is None
    assert bed.states() == {"done": 40}
    assert bed.rows("SELECT max(failures), max(attempt) FROM job") == [(0, 1)]
    assert bed.wrong() == []


@pytest.mark.parametrize("moment", [1.05, 3.0, 5.1, 7.3])
def test_a_stop_waits_for_nothing_that_is_open_ahead(moment: float, folder: Path) -> None:
    """Whatever is just being opened, and whoever reads it."""
    bed, drive = bed_on(folder, 0.3, 60, 5_000)

    async def stop(engine: Engine) -> None:
        await anyio.sleep_until(moment)
        engine.drain()

    assert bed.run(stop, limits=LIMITS) is None
    assert bed.world.moment <= moment + 0.5
    assert drive.now_open == 0
    assert bed.run(limits=LIMITS) is None
    assert bed.wrong() == []


@pytest.mark.parametrize("moment", [2.05, 4.25, 4.85, 5.75, 6.35])
def test_a_stop_closes_nothing_that_is_still_read(moment: float, folder: Path) -> None:
    """An upload that ends between two chunks ends before its recording does, and no recording is called unreadable."""
    bed, drive = bed_on(folder, 0.1, 40, 500, drive=SlowDrive, size=5 * CHUNK_BYTES)

    async def stop(engine: Engine) -> None:
        await anyio.sleep_until(moment)
        engine.drain()

    with capture_logs() as logs:
        assert bed.run(stop, limits=LIMITS) is None
    assert drive.now_open == 0
    assert bed.states()["failed"] == 0
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    assert bed.run(limits=LIMITS) is None
    assert bed.rows("SELECT max(failures) FROM job") == [(0,)]
    assert bed.wrong() == []


def test_a_recording_given_up_while_it_is_open_is_closed(folder: Path) -> None:
    """Nobody takes it over, and half a minute later nobody holds it."""
    bed, drive = bed_on(folder, 0.1, 60, 60_000)

    async def cancel(_engine: Engine) -> None:
        await anyio.sleep_until(10)
        bed.disk.leave(Request("cancel", list(range(11, 61))))
        await anyio.sleep_until(12 + KEPT_SECONDS)
        assert drive.now_open == 0

    assert bed.run(cancel, limits=LIMITS) is None
    assert bed.states() == {"done": 10, "cancelled": 50}
