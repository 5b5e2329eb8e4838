"""Reading a recording for sending: whole, unchanged, hashed, or refused."""

import gc
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from blockbuster import blockbuster_ctx

from batcher.errors import SourceChanged, SourceError
from batcher.files import Recording, Stat, in_flight, offload, open_recording
from batcher.service import CHUNK_BYTES, Audio

SMALL = b"small recording " * 100
LARGE = os.urandom(64) * (CHUNK_BYTES // 16)  # four chunks


def known(path: Path) -> Stat:
    """Return what a scan would have noted."""
    status = path.stat()
    return Stat(status.st_size, status.st_mtime_ns)


def open_files() -> int:
    """Return how many files this process holds open."""
    gc.collect()  # what other tests left to be tidied up is not to be tidied up between two counts
    return len(list(Path("/dev/fd").iterdir()))


async def read(path: Path, expected: Stat | None = None, meanwhile: Callable[[], object] = lambda: None) -> bytes:
    """Read a recording as an upload does; `meanwhile` happens after the first chunk."""
    pieces: list[bytes] = []
    async with open_recording(os.fsencode(path), expected or known(path)) as recording:
        async for piece in recording.chunks():
            if not pieces:
                meanwhile()
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", SMALL, LARGE[:CHUNK_BYTES], LARGE[: CHUNK_BYTES + 1], LARGE])
async def test_a_recording_is_read_whole_in_bounded_chunks(tmp_path: Path, content: bytes) -> None:
    """Every byte comes once, at most a chunk at a time, and the digest is that of the bytes."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(content)
    async with open_recording(os.fsencode(path), known(path)) as recording:
        audio: Audio = recording
        pieces = [piece async for piece in audio.chunks()]
        assert recording.size == len(content)
        assert recording.digest == hashlib.sha256(content).digest()
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)


def counted_hops(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with every call that goes to a thread."""
    run_sync, calls = to_thread.run_sync, list[object]()

    async def counted(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return await run_sync(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(to_thread, "run_sync", counted)
    return calls


@pytest.mark.anyio
@pytest.mark.parametrize(("content", "hops"), [(b"", 1), (SMALL, 1), (LARGE[:CHUNK_BYTES], 1), (LARGE, 4)])
async def test_a_small_recording_costs_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, hops: int
) -> None:
    """What fits in a chunk is opened, read, hashed and compared in one go; else opening, each two chunks, closing."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(content)
    calls = counted_hops(monkeypatch)
    await read(path)
    assert len(calls) == hops


@pytest.mark.anyio
async def test_beside_others_every_chunk_goes_to_a_thread_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that hashes for long keeps the loop from its processor."""
    path, other = tmp_path / "talk.mp3", threading.Event()
    path.write_bytes(LARGE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: offload(other.wait))
        await anyio.wait_all_tasks_blocked()
        calls = counted_hops(monkeypatch)
        try:
            await read(path)
        finally:
            other.set()
    assert len(calls) == 6


@pytest.mark.anyio
async def test_reading_never_blocks_the_loop(tmp_path: Path) -> None:
    """Opening, reading and closing happen in threads."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)
    expected = known(path)
    with blockbuster_ctx("batcher.files"):
        assert await read(path, expected) == LARGE


@pytest.mark.anyio
async def test_a_file_that_grows_while_read_is_refused(tmp_path: Path) -> None:
    """The last chunk is withheld, so that no one takes the recording for complete."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(SourceChanged):
        await read(path, meanwhile=grow)


@pytest.mark.anyio
async def test_a_file_that_shrinks_while_read_is_refused(tmp_path: Path) -> None:
    """Fewer bytes than promised are never the whole recording."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)
    with pytest.raises(SourceChanged):
        await read(path, meanwhile=lambda: os.truncate(path, CHUNK_BYTES + 5))


@pytest.mark.anyio
async def test_a_file_rewritten_while_read_is_refused(tmp_path: Path) -> None:
    """The same size at another time is another recording."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)
    with pytest.raises(SourceChanged):
        await read(path, meanwhile=lambda: os.utime(path, ns=(1, 1)))


@pytest.mark.anyio
async def test_a_file_replaced_while_read_is_refused(tmp_path: Path) -> None:
    """A rename over the name is noticed even when size and time are the same."""
    path, other = tmp_path / "talk.mp3", tmp_path / "other.mp3"
    path.write_bytes(LARGE)
    other.write_bytes(LARGE)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(SourceChanged, match="another file"):
        await read(path, meanwhile=lambda: other.rename(path))


@pytest.mark.anyio
async def test_a_file_removed_while_read_is_refused(tmp_path: Path) -> None:
    """What can no longer be looked at again is not sent."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)
    with pytest.raises(SourceChanged, match="it is not there"):
        await read(path, meanwhile=path.unlink)


@pytest.mark.anyio
@pytest.mark.parametrize("expected", [Stat(3, 0), Stat(4, 5)])
async def test_a_file_that_is_not_what_the_table_knows_is_not_opened(tmp_path: Path, expected: Stat) -> None:
    """Another size or another time since the scan means another recording."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(b"1234")
    with pytest.raises(SourceChanged, match="since it was looked at"):
        await read(path, expected)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone", "it is not there"), ("directory", "regular file"), ("pipe", "regular file"), ("n\0", "name")],
)
async def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, name: str, reason: str) -> None:
    """A missing file, a directory and a pipe without a writer are told apart from a change, and none hangs."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=reason) as caught:
        await read(tmp_path / name, Stat(1, 1))
    assert not isinstance(caught.value, SourceChanged)


@pytest.mark.anyio
@pytest.mark.parametrize("content", [SMALL, LARGE])
async def test_a_read_that_the_disk_refuses_is_a_source_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """An input/output error fails the recording with words, and leaves no file open."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(content)
    expected, opened = known(path), open_files()

    def refuse(handle: int, buffers: list[memoryview]) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", refuse)
        with pytest.raises(SourceError, match="input/output error"):
            await read(path, expected)
    assert open_files() <= opened


@pytest.mark.anyio
async def test_short_reads_are_put_up_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system may give less than asked for; nothing is lost by it."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(SMALL)
    expected, whole = known(path), os.readv
    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", lambda handle, buffers: whole(handle, [buffers[0][:1000]]))
        assert await read(path, expected) == SMALL


@pytest.mark.anyio
async def test_a_piece_stays_what_it_was_when_the_next_one_is_read(tmp_path: Path) -> None:
    """All are read into the same memory, and a piece may still wait to be sent."""
    path = tmp_path / "talk.mp3"
    content = os.urandom(CHUNK_BYTES * 2 + 1)
    path.write_bytes(content)
    async with open_recording(os.fsencode(path), known(path)) as recording:
        kept = [piece async for piece in recording.chunks()]
    assert b"".join(kept) == content


@pytest.mark.anyio
async def test_a_recording_is_read_once_and_its_digest_comes_last(tmp_path: Path) -> None:
    """A second reading would send other bytes than were hashed."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)
    async with open_recording(os.fsencode(path), known(path)) as recording:
        with pytest.raises(AssertionError, match="not read to its end"):
            _ = recording.digest
        assert [piece async for piece in recording.chunks()]
        with pytest.raises(AssertionError, match="read once"):
            await anext(recording.chunks())


async def refused_once_closed(recording: Recording, closed: threading.Event) -> None:
    """Read a chunk, and the others only when the file is closed: or all may be read before the closing has its turn."""
    chunks = recording.chunks()
    await anext(chunks)
    assert await to_thread.run_sync(closed.wait, 30)
    with pytest.raises(SourceError, match="was closed"):
        async for _ in chunks:
            pass


@pytest.mark.anyio
async def test_a_file_is_not_closed_under_a_thread_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving up waits for the read under way; a read after that is refused instead of reaching another file."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(LARGE)
    reading, go_on, closed, order = threading.Event(), threading.Event(), threading.Event(), []
    whole, close = os.readv, os.close

    def slow(handle: int, buffers: list[memoryview]) -> int:
        reading.set()
        go_on.wait()
        order.append("read")
        return whole(handle, buffers)

    def noted(handle: int) -> None:
        order.append("closed")
        close(handle)
        closed.set()

    async def release() -> None:
        while in_flight() < 2:  # until the closing waits for the reading
            await anyio.lowlevel.checkpoint()
        go_on.set()

    expected = known(path)
    async with anyio.create_task_group() as tasks:
        with monkeypatch.context() as patch:
            async with open_recording(os.fsencode(path), expected) as recording:
                patch.setattr(os, "readv", slow)
                patch.setattr(os, "close", noted)
                tasks.start_soon(refused_once_closed, recording, closed)
                await to_thread.run_sync(reading.wait)
                tasks.start_soon(release)
        assert (order[0], order[-1]) == ("read", "closed")  # another chunk may be read before the closing has its turn
