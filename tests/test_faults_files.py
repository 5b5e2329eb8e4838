"""What may happen to the files of a batch: the real disk under the real engine, in virtual time.

Work that goes to a thread elsewhere is done in place here, because a thread knows nothing of virtual time.
"""

import errno
import os
import sys
import wave
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, TypeVar, TypeVarTuple

import pytest
from anyio.lowlevel import checkpoint

from batcher.emulator.recognizers import echo_text
from batcher.files import WalkRules, gather, sweep_temporaries
from batcher.local_disk import LocalDisk
from batcher.model import FileBounds, Limits
from batcher.store import jobs
from tests.engine_bed import Bed
from tests.test_engine import at, folder
from tests.test_faults_ends import Place, silence

__all__ = ["folder", "silence"]  # the fixtures

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def in_place(work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Do what would be done in a thread."""
    await checkpoint()
    return work(*arguments)


class Real(Bed):
    """A batch on the real disk: inputs below `source`, outputs below `out`, the table beside them."""

    def __init__(self, folder: Path, *inputs: str, api: str = "grpc") -> None:
        super().__init__(folder, api=api)
        self.source, self.out = folder / "in", folder / "out"
        self.source.mkdir()
        self.out.mkdir()
        self.inputs = inputs or ("in",)
        self._folder = folder

    def renew(self) -> None:
        """Be what a new command of the same words is: tidy up, and look for the inputs anew."""
        written = [str(output) for (output,) in self.rows(jobs._BEING_WRITTEN)] if self.path.exists() else []
        sweep_temporaries(self.out, {output.rpartition("/")[0] for output in written})
        inputs = gather([str(self._folder / name) for name in self.inputs])
        rules = WalkRules(out=os.fsencode(self.out))
        self.disk = LocalDisk(  # type: ignore[assignment]
            inputs, self.out, self._folder / "state", rules=rules, bounds=FileBounds(), raw=False
        )

    def put(self, name: str, seed: int) -> bytes:
        """Write a short recording of noise and return its content."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(Random(seed).randbytes(2_000))
        return path.read_bytes()

    def says(self, name: str, content: bytes) -> bool:
        """Tell whether an output is the transcript of this content."""
        text = (self.out / f"{name}.txt").read_text("utf-8")
        return text.split() == echo_text(sha256(content).digest()).split()

    def jobs(self, column: str) -> list[Any]:
        """Return a column of all jobs, in the order of their paths."""
        return [value for (value,) in self.rows(f"SELECT {column} FROM job ORDER BY path")]

    def accepted(self) -> int:
        """Return how many attempts the service accepted."""
        return self.account.tally.accepted.total()


@pytest.fixture(autouse=True)
def no_threads() -> Iterator[None]:
    """Do everything in place."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("local_disk", "left_requests", "files.walk", "files.recording"):
            patch.setattr(sys.modules[f"batcher.{module}"], "offload", in_place)
        yield


def test_one_recording_reached_by_many_ways_is_paid_once(folder: Path) -> None:
    """Named twice, below two inputs, hard-linked, linked to, and in a directory that is linked to."""
    bed = Real(folder, "in", "in/sub", "in")
    content, other = bed.put("sub/a.wav", 1), bed.put("b.wav", 2)
    (bed.source / "hard.wav").hardlink_to(bed.source / "sub/a.wav")
    (bed.source / "link.wav").symlink_to("sub/a.wav")
    (bed.source / "circle").symlink_to(".")
    bed.renew()
    assert bed.run() is None
    paths = [os.fsdecode(path).rpartition("/")[2] for path in bed.jobs("path")]
    assert paths == ["b.wav", "hard.wav", "link.wav", "a.wav"]
    assert bed.states() == {"done": 4}
    for output in map(str, bed.jobs("output")):
        assert bed.says(output, other if output.endswith("b.wav") else content)
    assert bed.accepted() == 2


def fill(bed: Real) -> Callable[[], None]:
    """Fill the account, and return what makes room again."""
    others = bed.account.add_foreign(100)

    def leave() -> None:
        for number in others:
            bed.account.finish(number)
            bed.account.vanish(number)

    return leave


def test_a_recording_that_vanishes_fails_alone_and_is_done_when_it_is_back(folder: Path) -> None:
    """It was there when it was found; the others go on, and the same command takes it up by itself."""
    bed = Real(folder)
    contents = [bed.put(f"{number}.wav", number) for number in range(4)]
    leave, path = fill(bed), bed.source / "1.wav"
    bed.renew()
    assert bed.run(at(50, lambda: path.rename(folder / "away")), at(100, leave)) is None
    assert bed.states() == {"done": 3, "failed": 1}
    ((reason,),) = bed.rows("SELECT reason FROM job WHERE state = 'failed'")
    assert "not there" in str(reason)
    (folder / "away").rename(path)
    bed.renew()
    assert bed.run() is None
    assert bed.states() == {"done": 4}
    assert all(bed.says(f"{number}.wav", content) for number, content in enumerate(contents))
    assert bed.accepted() == 4


def test_another_audio_under_the_same_name_size_and_time_is_noticed(folder: Path) -> None:
    """Between the look and the upload: what the transcript says is what was sent, and that is what lies there now."""
    bed = Real(folder)
    bed.put("a.wav", 1)
    other = bed.put("b.wav", 2)
    leave, path = fill(bed), bed.source / "a.wav"

    def replace() -> None:
        before = path.stat()
        new = bed.put("new.wav", 3)
        (bed.source / "new.wav").rename(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.read_bytes() == new

    bed.renew()
    assert bed.run(at(50, replace), at(100, leave)) is None
    assert bed.states() == {"done": 2}
    assert bed.says("a.wav", path.read_bytes())
    assert bed.says("b.wav", other)
    assert bed.accepted() == 2
    assert bed.rows("SELECT count(*) FROM history WHERE event = 'source_changed'") == [(1,)]


def test_a_read_that_the_disk_refuses_fails_its_recording_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it was accepted, everybody else goes on, and the next run reads it again."""
    bed = Real(folder)
    contents = [bed.put(f"{number}.wav", number) for number in range(3)]
    bad, read = (bed.source / "1.wav").stat().st_ino, os.readv
    bed.renew()

    def readv(handle: int, buffers: list[memoryview]) -> int:
        if os.fstat(handle).st_ino == bad:
            raise OSError(errno.EIO, "")
        return read(handle, buffers)

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", readv)
        assert bed.run() is None
    assert bed.states() == {"done": 2, "failed": 1}
    assert bed.accepted() == 2
    bed.renew()
    assert bed.run() is None
    assert all(bed.says(f"{number}.wav", content) for number, content in enumerate(contents))
    assert bed.accepted() == 3


def test_an_output_directory_that_goes_away_is_waited_for(folder: Path) -> None:
    """The transcripts are in the table, the remote copies stay; when it is back the outputs are there."""
    bed = Real(folder)
    contents = [bed.put(f"{number}.wav", number) for number in range(3)]
    bed.renew()
    held: list[object] = []

    def look() -> None:
        held.extend([bed.states(), bed.account.stored])

    away = at(3, lambda: bed.out.rename(folder / "elsewhere"))
    back = at(200, lambda: (folder / "elsewhere").rename(bed.out))
    bed.disk.free_bytes = plenty  # type: ignore[method-assign]
    assert bed.run(away, at(190, look), back) is None
    assert held == [{"stored": 3}, 3]
    assert bed.states() == {"done": 3}
    assert all(bed.says(f"{number}.wav", content) for number, content in enumerate(contents))


async def plenty() -> int:
    """Return enough free space."""
    return 10**12


def test_a_process_out_of_file_numbers_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table stays open; what cannot be opened waits or is taken up by the next run, and nothing is paid twice."""
    bed = Real(folder)
    contents = [bed.put(f"{number}.wav", number) for number in range(12)]
    bed.renew()

    def refuse(*_arguments: object, **_named: object) -> int:
        raise OSError(errno.EMFILE, "")

    full = at(0.5, lambda: monkeypatch.setattr(os, "open", refuse))
    again = at(100, monkeypatch.undo)
    assert bed.run(full, again, limits=Limits(3, 2_000)) is None
    bed.renew()
    assert bed.run() is None
    assert bed.states() == {"done": 12}
    assert all(bed.says(f"{number}.wav", content) for number, content in enumerate(contents))
    assert bed.accepted() == 12


def test_a_file_of_somebody_elses_is_never_overwritten(folder: Path) -> None:
    """Its job fails with words; the transcript is kept, and written without another payment when the way is free."""
    bed = Real(folder)
    content = bed.put("a.wav", 1)
    (bed.out / "a.wav.txt").write_text("my own notes")
    bed.renew()
    assert bed.run() is None
    assert bed.states() == {"failed": 1}
    assert (bed.out / "a.wav.txt").read_text() == "my own notes"
    assert bed.account.files == []
    (bed.out / "a.wav.txt").unlink()
    bed.renew()
    assert bed.run() is None
    assert bed.says("a.wav", content)
    assert bed.accepted() == 1


def test_an_output_that_a_person_edits_or_removes_is_left_or_made_again(folder: Path) -> None:
    """The same command leaves an edited one alone, and makes a missing one anew from the table, for nothing."""
    bed = Real(folder)
    contents = [bed.put(f"{number}.wav", number) for number in range(2)]
    bed.renew()
    assert bed.run() is None
    (bed.out / "0.wav.txt").write_text("mended by hand")
    (bed.out / "1.wav.txt").unlink()
    bed.renew()
    assert bed.run() is None
    assert (bed.out / "0.wav.txt").read_text() == "mended by hand"
    assert bed.says("1.wav", contents[1])
    assert bed.accepted() == 2


POINTS = ("chunk-read", "directory-made", "output-temp-written", "output-renamed", "output-directory-synced")


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_between_reading_and_naming_no_output_is_ever_half_there(folder: Path, point: str) -> None:
    """At every turn: what has its name is whole, and the same command completes the rest and sweeps up."""
    turn = 0
    while True:
        turn += 1
        (home := folder / str(turn)).mkdir()
        bed, place = Real(home), Place(point, turn)
        contents = {name: bed.put(name, seed) for seed, name in enumerate(("a.wav", "sub/b.wav"))}
        bed.renew()
        bed.run(kill=place)
        there = {name: content for name, content in contents.items() if (bed.out / f"{name}.txt").exists()}
        assert all(bed.says(name, content) for name, content in there.items())
        bed.renew()
        assert bed.run() is None
        assert all(bed.says(name, content) for name, content in contents.items())
        assert bed.accepted() == 2
        assert [path.name for path in bed.out.rglob(".batcher*")] == []
        if not place.hit:
            break
    assert turn > 1
