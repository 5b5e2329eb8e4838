"""A recording once more as FLAC, for a service that could not decode it.

Some containers that FFmpeg reads well (observed with M4A) are refused by the service as undecodable audio. What
is sent then is the same sound without loss of anything speech recognition uses: one channel, at most 16 kHz.
So it is smaller than most originals, and never near the service's limit of a file.
"""

import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from anyio import CancelScope

from batcher.errors import MachineRefuses, SourceError
from batcher.files.offload import offload
from batcher.files.reasons import why
from batcher.files.recording import READ_FLAGS
from batcher.files.temporaries import open_temporary

RATE = 16_000  #: samples a second at most; speech has nothing above what they carry
PACKETS_AT_A_TIME = 200  #: a few milliseconds' work to a few hundred: a stop never waits longer

_CONTAINER_OPTIONS = {"protocol_whitelist": "none"}  # a recording must not make us open other files or the network
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@asynccontextmanager
async def as_flac(path: bytes, directory: Path) -> AsyncIterator[Path]:
    """Yield a FLAC file in `directory` with the sound of the recording at `path`; it is removed at the end.

    Its name is one that `sweep_temporaries` removes, should the process be killed meanwhile. The work is done in
    a thread, in steps, and ends with the caller's cancellation.

    Raises:
        SourceError: the recording cannot be read, or nothing in it can be decoded.
        MachineRefuses: there is no space for the copy, or no access to `directory`.
    """
    conversion = await offload(_Conversion, path, directory)
    try:
        while await offload(conversion.step):
            pass
        yield conversion.target
    finally:
        with CancelScope(shield=True):
            await offload(conversion.discard)


class _Conversion:
    """The two files and what goes from one to the other. Its methods block."""

    def __init__(self, path: bytes, directory: Path) -> None:
        self._open = ExitStack()
        try:
            self.target, copy = _new_file(directory)
            self._open.callback(self.target.unlink, missing_ok=True)
            self._open.enter_context(copy)
            self._files = self._open.enter_context(ExitStack())
            with _refusals():
                self._begin(path, copy)
        except BaseException:
            self._open.close()
            raise

    def _begin(self, path: bytes, copy: FileIO) -> None:
        import av  # noqa: PLC0415 - costs a tenth of a second that most runs never need
        import av.logging  # noqa: PLC0415

        av.logging.set_libav_level(av.logging.PANIC)  # or it talks on stderr about every damaged packet
        recording = FileIO(os.fsdecode(path), "r", opener=lambda _path, _flags: os.open(path, READ_FLAGS))
        self._files.enter_context(recording)
        source = av.open(recording, "r", container_options=dict(_CONTAINER_OPTIONS), metadata_errors="replace")
        self._files.enter_context(source)
        if not source.streams.audio:
            raise SourceError("there is no sound in it")
        stream = source.streams.audio[0]
        rate = min(stream.rate or RATE, RATE)
        self._packets: Iterator[Any] = source.demux(stream)
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        self._sink = self._files.enter_context(av.open(copy, "w", format="flac"))
        self._encoder: Any = self._sink.add_stream("flac", rate=rate, layout="mono", format="s16")
        self._samples = 0
        self._invalid = av.error.InvalidDataError

    def step(self) -> bool:
        """Convert some more; False when the copy is whole."""
        with _refusals():
            for _ in range(PACKETS_AT_A_TIME):
                packet = next(self._packets, None)
                if packet is None:
                    self._finish()
                    return False
                self._convert(packet)
            return True

    def _convert(self, packet: Any) -> None:
        try:
            frames = packet.decode()
        except self._invalid:
            return  # a damaged piece; the rest may be good
        for frame in frames:
            frame.pts = None  # gaps and jumps of a damaged recording are no reason to refuse it
            self._encode(self._resampler.resample(frame))

    def _encode(self, frames: list[Any]) -> None:
        for frame in frames:
            frame.pts = self._samples
            self._samples += frame.samples
            self._sink.mux(self._encoder.encode(frame))

    def _finish(self) -> None:
        if not self._samples:
            raise SourceError("nothing in it can be decoded")
        self._encode(self._resampler.resample(None))
        self._sink.mux(self._encoder.encode(None))
        self._files.close()

    def discard(self) -> None:
        """Close everything and remove the copy."""
        self._open.close()


def _new_file(directory: Path) -> tuple[Path, FileIO]:
    try:
        name, handle = open_temporary(os.O_RDWR, directory)
    except OSError as error:
        raise MachineRefuses(f"no file can be made in the directory for conversions: {why(error)}") from error
    return directory / name, FileIO(handle, "r+")


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell a recording that cannot be decoded from a disk that is full."""
    import av  # noqa: PLC0415

    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceError(f"the recording cannot be decoded: {error}") from error
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise MachineRefuses(f"no space to convert a recording: {why(error)}") from error
        raise SourceError(f"the recording cannot be read: {why(error)}") from error
