"""Recordings once more as FLAC: what is in the copy, what is refused, and that nothing is left behind."""

import errno
import os
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import anyio
import av
import pytest

from batcher.errors import MachineRefuses, SourceError
from batcher.files import flac, sweep_temporaries
from batcher.files.flac import as_flac

pytestmark = pytest.mark.anyio


def record(path: Path, codec: str, *, rate: int = 44_100, layout: str = "stereo", seconds: float = 3.0) -> bytes:
    """Write a tone with this codec, in the container of the name's ending, and return the path as the table has it."""
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream(codec, rate=rate, layout=layout)
        frame_size = stream.codec_context.frame_size or 1024
        channels = len(av.AudioLayout(layout).channels)
        done = 0
        while done < rate * seconds:
            frame = av.AudioFrame(format=stream.format.name, layout=layout, samples=frame_size)
            for plane in frame.planes:
                plane.update(bytes((number * 7 + channels) % 64 for number in range(plane.buffer_size)))
            frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
            target.mux(stream.encode(frame))
            done += frame_size
        target.mux(stream.encode(None))
    return os.fsencode(path)


def left(folder: Path) -> list[str]:
    """Return the names of all files in a directory."""
    return sorted(each.name for each in folder.iterdir())


def damage(path: Path) -> None:
    """Overwrite a piece in the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)


def content_of(path: bytes) -> bytes:
    """Return what is in a file."""
    return Path(os.fsdecode(path)).read_bytes()


def heard(path: Path) -> tuple[str, int, str, float]:
    """Return codec, rate, layout and decoded seconds of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        return stream.codec_context.name, stream.rate, stream.layout.name, samples / stream.rate


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout", "becomes"),
    [
        ("talk.m4a", "aac", 44_100, "stereo", 16_000),
        ("talk.m4a", "alac", 48_000, "5.1", 16_000),
        ("talk.wav", "pcm_s16le", 8_000, "mono", 8_000),
        ("talk.mov", "pcm_s16le", 22_050, "stereo", 16_000),
    ],
)
async def test_the_sound_is_all_in_the_copy(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str, becomes: int
) -> None:
    """Its length is the original's; it has one channel, at most 16 kHz, and nobody else may read it."""
    path = record(tmp_path / name, codec, rate=rate, layout=layout)
    *_, seconds = heard(tmp_path / name)
    async with as_flac(path, tmp_path) as copy:
        assert heard(copy)[:3] == ("flac", becomes, "mono")
        assert heard(copy)[3] == pytest.approx(seconds, abs=0.01)
        assert copy.stat().st_mode & 0o777 == 0o600


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """The copy is gone after its use, and the recording is as it was."""
    path = record(tmp_path / "talk.m4a", "aac")
    before = content_of(path)
    async with as_flac(path, tmp_path):
        pass
    assert left(tmp_path) == ["talk.m4a"]
    assert content_of(path) == before


async def test_a_copy_that_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """Its name is one of those that are removed when the batch is next opened."""
    path = record(tmp_path / "talk.m4a", "aac")
    async with as_flac(path, tmp_path) as copy:
        assert sweep_temporaries(tmp_path) == 1
        assert not copy.exists()


async def test_a_damaged_piece_does_not_cost_the_rest(tmp_path: Path) -> None:
    """What can be decoded before and after it is in the copy."""
    path = record(tmp_path / "talk.flac", "flac", seconds=10)
    damage(tmp_path / "talk.flac")
    async with as_flac(path, tmp_path) as copy:
        assert heard(copy)[3] > 8


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "not there"), (b"", "cannot be"), (b"no sound at all" * 100, "cannot be decoded")],
)
async def test_what_cannot_be_decoded_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    """With a reason for the job, and without a trace."""
    path = tmp_path / "talk.m4a"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        async with as_flac(os.fsencode(path), tmp_path):
            pass
    assert left(tmp_path) == ([] if content is None else ["talk.m4a"])


async def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    """There is nothing to convert."""
    with av.open(str(tmp_path / "film.mp4"), "w") as target:
        stream: Any = target.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        target.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        target.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no sound"):
        async with as_flac(os.fsencode(tmp_path / "film.mp4"), tmp_path):
            pass


async def test_an_impossible_name_is_refused(tmp_path: Path) -> None:
    """It is the job's trouble, not the batch's."""
    with pytest.raises(SourceError):
        async with as_flac(b"a\0b", tmp_path):
            pass


async def test_no_access_is_the_machines_refusal(tmp_path: Path) -> None:
    """No other recording could be converted either."""
    path = record(tmp_path / "talk.wav", "pcm_s16le")
    with pytest.raises(MachineRefuses):
        async with as_flac(path, tmp_path / "nowhere"):
            pass


async def test_a_full_disk_is_the_machines_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording is not given up for it."""
    path = record(tmp_path / "talk.wav", "pcm_s16le", seconds=30)

    class Full(FileIO):
        def write(self, data: Any, /) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(flac, "FileIO", Full)
    with pytest.raises(MachineRefuses, match="no space"):
        async with as_flac(path, tmp_path):
            pass
    assert left(tmp_path) == ["talk.wav"]


async def test_a_stop_ends_a_long_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done in steps, and between two of them it can be ended."""
    path = record(tmp_path / "talk.wav", "pcm_s16le", seconds=30)
    monkeypatch.setattr(flac, "PACKETS_AT_A_TIME", 1)
    steps = 0
    step = flac._Conversion.step
    with anyio.CancelScope() as scope:

        def counted(conversion: flac._Conversion) -> bool:
            nonlocal steps
            steps += 1
            anyio.from_thread.run_sync(scope.cancel)
            return step(conversion)

        monkeypatch.setattr(flac._Conversion, "step", counted)
        async with as_flac(path, tmp_path):
            pytest.fail("it was not stopped")
    assert (scope.cancelled_caught, steps) == (True, 1)
    assert left(tmp_path) == ["talk.wav"]
