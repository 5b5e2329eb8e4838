"""What lies in the directory of requests: only a small regular file is one, and nothing there holds a run up."""

import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batcher import left_requests
from batcher.cli import wishes
from batcher.cli.place import place_of
from batcher.clock import SystemClock
from batcher.files import Inputs, WalkRules, private_directory
from batcher.left_requests import MOST_BYTES
from batcher.local_disk import LocalDisk
from batcher.model import FileBounds
from batcher.requests import Request

pytestmark = pytest.mark.anyio


@pytest.fixture
def disk(tmp_path: Path) -> LocalDisk:
    """Return the files of a batch in whose directory of requests nothing lies yet."""
    state = tmp_path / "out" / ".batcher"
    (state / "requests").mkdir(parents=True, mode=0o700)
    rules = WalkRules((), (), b"")
    return LocalDisk(Inputs(), tmp_path / "out", state, rules=rules, bounds=FileBounds(), raw=False)


def left(tmp_path: Path) -> Path:
    """Return the directory of requests."""
    return tmp_path / "out" / ".batcher" / "requests"


async def test_a_pipe_a_link_and_a_huge_file_are_no_requests(disk: LocalDisk, tmp_path: Path) -> None:
    """They are set aside unread, so that a run goes on and also ends; a request beside them is heeded."""
    request = Request("retry", [1])
    (tmp_path / "elsewhere").write_text(request.to_json())
    os.mkfifo(left(tmp_path) / "1.json")
    (left(tmp_path) / "2.json").symlink_to(tmp_path / "elsewhere")
    (left(tmp_path) / "3.json").write_text(request.to_json().ljust(MOST_BYTES + 1))
    (left(tmp_path) / "4.json").mkdir()
    (left(tmp_path) / "5.json").write_text(request.to_json())
    assert await disk.requests() == {"5.json": request}
    assert sorted(path.name for path in left(tmp_path).iterdir()) == [
        "1.refused",
        "2.refused",
        "3.refused",
        "4.refused",
        "5.json",
    ]


async def test_what_cannot_be_set_aside_is_left_alone(disk: LocalDisk, tmp_path: Path) -> None:
    """It keeps no run from its end, and is told of once: it is looked at every second of the night."""
    os.mkfifo(left(tmp_path) / "1.json")
    (left(tmp_path) / "1.refused").mkdir()
    with capture_logs() as logs:
        assert not await disk.asked()
        assert not await disk.asked()
    assert [log["event"] for log in logs] == ["request not understood"]


async def test_a_request_that_cannot_be_read_just_now_is_read_later(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound one that was set aside would never be carried out."""
    request = Request("cancel", [1])
    (left(tmp_path) / "1.json").write_text(request.to_json())

    def no_more_files(_path: Path, _most: int) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(left_requests, "read_small", no_more_files)
        assert await disk.requests() == {}
    assert [log["event"] for log in logs] == ["a request cannot be read just now"]
    assert await disk.requests() == {"1.json": request}


async def test_a_request_for_very_many_is_left_in_parts_that_are_read(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, and none of them too large to be read, whatever the numbers of the jobs are."""
    longest = Request("cancel", [2**63 - 1] * wishes.MOST_JOBS)
    assert len(longest.to_json()) <= MOST_BYTES
    monkeypatch.setattr(wishes, "MOST_JOBS", 2)
    wishes.leave(place_of(tmp_path / "out", None), Request("cancel", [1, 2, 3, 4, 5]), SystemClock())
    found = [request.jobs for _, request in sorted((await disk.requests()).items())]
    assert found == [[1, 2], [3, 4], [5]]


async def test_a_request_is_gone_for_good_before_the_next_one_is_carried_out(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power cut could bring it back, and it would be carried out after a later one."""
    (left(tmp_path) / "1.json").write_text(Request("retry", [1]).to_json())
    synced: list[tuple[bool, list[Path]]] = []

    def sync(handle: int) -> None:
        folder = left(tmp_path)
        synced.append((os.path.samestat(os.fstat(handle), folder.stat()), list(folder.iterdir())))

    monkeypatch.setattr(os, "fsync", sync)
    await disk.drop_request("1.json")
    assert synced == [(True, [])]


def test_a_later_wish_comes_later_also_when_the_clock_was_set_back(tmp_path: Path) -> None:
    """The latest word of a person counts, not the latest time."""
    place = place_of(tmp_path / "out", None)
    private_directory(place.requests)
    (place.requests / "099999999999999-1-000000000000.json").write_text(Request("retry", [1]).to_json())
    (place.requests / "what is this.json").write_text("{}")
    for verb in ("cancel", "retry"):
        wishes.leave(place, Request(verb, [1]), SystemClock())
    numbers = sorted(name for name in place.left() if name[0].isdecimal())
    assert [name[:15] for name in numbers] == ["099999999999999", "100000000000000", "100000000000001"]


def refuse(path: Path) -> None:
    """Answer as a disk that can be read and not written."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


async def test_a_request_that_is_gone_already_counts_as_removed(disk: LocalDisk, tmp_path: Path) -> None:
    """Whoever removed it: a person, or a run on another machine."""
    assert await disk.drop_request("1.json")
    left(tmp_path).rmdir()
    assert await disk.drop_request("1.json")


async def test_a_request_that_cannot_be_removed_is_told_of_once(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, keeps no run from its end, and is nothing special any more when it could be removed."""
    for name in ("1.json", "2.json"):
        (left(tmp_path) / name).write_text(Request("retry", [1]).to_json())
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(left_requests, "remove_file", refuse)
        for _ in range(3):
            assert not await disk.drop_request("1.json")
            assert not await disk.asked()
    assert [(each["log_level"], each["file"]) for each in logs] == [("warning", "1.json")]
    assert await disk.drop_request("1.json")
    assert await disk.asked()


async def test_a_request_that_a_person_has_removed_holds_nothing_up(
    disk: LocalDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hint says; what was left after it is carried out then."""
    for name in ("1.json", "2.json"):
        (left(tmp_path) / name).write_text(Request("retry", [1]).to_json())
    monkeypatch.setattr(left_requests, "remove_file", refuse)
    assert not await disk.drop_request("1.json")
    (left(tmp_path) / "1.json").unlink()
    assert await disk.asked()
