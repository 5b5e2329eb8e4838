"""Looking into a file before anything is spent on it: is it a recording that can be sent?

The container's header is read with FFmpeg's libraries. A damaged recording with a good header passes: what
speech can still be had from it is the service's to say.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO

from batcher.files.reasons import raise_if_short, why
from batcher.files.recording import READ_FLAGS
from batcher.model import FileBounds

#: A file must not make us open other files or the network (a playlist can); no protocol has this name.
_WHOLE_LOOK = {"protocol_whitelist": "none"}
#: By default FFmpeg reads on, up to megabytes of uncompressed sound, to find out which codec it is. Only whether there
#: is sound matters here, and nearly always the header tells.
_SHORT_LOOK = _WHOLE_LOOK | {"max_probe_packets": "1"}


class Verdict(StrEnum):
    """What a look into a file says."""

    SUITABLE = "suitable"  #: can be sent
    UNSUITABLE = "unsuitable"  #: empty, too big, too long, or not audio
    UNREADABLE = "unreadable"  #: vanished, permission denied, or the disk failed
    CHANGED = "changed"  #: it changed while it was looked at: look again later


@dataclass(frozen=True, slots=True)
class Examination:
    """What a look into a file found out.

    `size` (bytes) and `mtime_ns` are those of the file that was open, None if none was; `duration_ms` is the
    header's, None if it says nothing; `digest` is the SHA-256 of the content, None if it was not wanted or
    the file is not suitable.
    """

    verdict: Verdict
    reason: str = ""  #: for a person; empty when suitable
    size: int | None = None
    mtime_ns: int | None = None
    duration_ms: int | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Judgement:
    reason: str = ""  # why it cannot be sent; empty when it can
    duration_ms: int | None = None


def examine(path: bytes, want_digest: bool, bounds: FileBounds, raw: bool) -> Examination:
    """Look into the file at `path`. Blocks; 0.1 to 0.5 ms of CPU for the header.

    With `raw` the recordings have no header (headerless audio is configured) and only their size is judged.
    Raises MachineRefuses when this machine is short of open files or memory.
    """
    if b"\0" in path:
        return Examination(Verdict.UNREADABLE, "no file can have this name")
    try:
        with FileIO(os.fsdecode(path), "r", opener=lambda _path, _flags: os.open(path, READ_FLAGS)) as file:
            return _examine(file, want_digest, bounds, raw)
    except OSError as error:
        raise_if_short(error)
        return Examination(Verdict.UNREADABLE, why(error))


def _examine(file: FileIO, want_digest: bool, bounds: FileBounds, raw: bool) -> Examination:
    before = os.fstat(file.fileno())
    if not stat.S_ISREG(before.st_mode):
        return Examination(Verdict.UNREADABLE, "it is not a regular file")
    size, mtime_ns = before.st_size, before.st_mtime_ns
    judgement = _judge(file, size, bounds, raw)
    digest = _digest(file, size) if want_digest and not judgement.reason else None
    after = os.fstat(file.fileno())
    torn = want_digest and not judgement.reason and digest is None
    if torn or (after.st_size, after.st_mtime_ns) != (size, mtime_ns):
        return Examination(Verdict.CHANGED, "it changed while it was looked at", size, mtime_ns)
    verdict = Verdict.UNSUITABLE if judgement.reason else Verdict.SUITABLE
    return Examination(verdict, judgement.reason, size, mtime_ns, judgement.duration_ms, digest)


def _judge(file: FileIO, size: int, bounds: FileBounds, raw: bool) -> _Judgement:
    if size == 0:
        return _Judgement("empty")
    if size > bounds.bytes:
        return _Judgement(f"too big: {size:,} bytes, and {bounds.bytes:,} are allowed")
    if raw:
        return _Judgement()
    has_audio, duration_ms = _probe(file)
    if not has_audio:
        return _Judgement("not audio")
    if duration_ms is not None and duration_ms > bounds.duration_ms:
        return _Judgement(f"too long: {_clock(duration_ms)}, and {_clock(bounds.duration_ms)} is allowed", duration_ms)
    return _Judgement("", duration_ms)


def _probe(file: FileIO) -> tuple[bool, int | None]:
    """Return whether FFmpeg finds a stream of sound in the file, and how long the header says it is.

    The open file is handed over, not its name: what is judged is what is hashed, and a name can spell a
    protocol. Every refusal of FFmpeg's is an `av.error.FFmpegError`; an OSError of our own file comes out.
    """
    import av  # noqa: PLC0415 - costs a tenth of a second that most commands never need
    import av.logging  # noqa: PLC0415

    av.logging.set_libav_level(av.logging.PANIC)  # or it talks on stderr about every damaged file
    try:
        for options in (_SHORT_LOOK, _WHOLE_LOOK):
            file.seek(0)
            with av.open(file, "r", container_options=dict(options), metadata_errors="replace") as container:
                if container.streams.audio:
                    return True, _milliseconds(container.duration)
    except av.error.FFmpegError:
        pass  # no container that it knows
    return False, None


def _milliseconds(duration: int | None) -> int | None:
    """Return a container's duration, which comes in microseconds; None when it says nothing of use."""
    return duration // 1000 if duration is not None and duration > 0 else None


def _digest(file: FileIO, size: int) -> bytes | None:
    """Return the SHA-256 of the whole file, None when it ended elsewhere than it should (it is changing)."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()
    return digest if file.tell() == size else None


def _clock(milliseconds: int) -> str:
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
