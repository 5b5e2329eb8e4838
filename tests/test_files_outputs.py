"""Writing outputs: whole or not at all, private, inside OUT, and never over somebody else's file."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batcher import killpoints
from batcher.errors import MachineRefuses
from batcher.files import (
    OutputError,
    free_bytes,
    missing_outputs,
    private_directory,
    sweep_temporaries,
    write_output,
)
from batcher.files.outputs import _making


def tree(root: Path) -> dict[str, bytes]:
    """Return every file below `root` with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def mode(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let new files be readable and writable by everyone, were it for the umask."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.usefixtures("open_umask")
def test_an_output_and_its_directories_are_made_private(tmp_path: Path, replace: bool) -> None:
    """A transcript is for its owner's eyes, whatever the umask says."""
    write_output(tmp_path, "a/b/talk.mp3.txt", b"words", replace=replace)
    write_output(os.fsencode(tmp_path), "a/ü.txt", b"more", replace=replace)
    assert tree(tmp_path) == {"a/b/talk.mp3.txt": b"words", "a/ü.txt": b"more"}
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/talk.mp3.txt", "a/ü.txt")] == [
        0o700,
        0o700,
        0o600,
        0o600,
    ]


@pytest.mark.parametrize("replace", [True, False])
def test_every_step_is_on_disk_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    """New directories, then the content, then the name, then the directory that holds it."""
    steps: list[str] = []
    honest = os.fsync

    def name_with(call: Callable[..., None]) -> Callable[..., None]:
        def named(*args: object, **kwargs: object) -> None:
            call(*args, **kwargs)
            steps.append("name")

        return named

    def sync(handle: int) -> None:
        status = os.fstat(handle)
        honest(handle)
        steps.append("sync directory" if stat.S_ISDIR(status.st_mode) else f"sync {status.st_size} bytes")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", name_with(os.rename))
    monkeypatch.setattr(os, "link", name_with(os.link))
    monkeypatch.setattr(killpoints, "hook", steps.append)
    write_output(tmp_path, "a/talk.txt", b"words", replace=replace)
    assert steps == [
        "directory-made",
        "sync directory",
        "sync 5 bytes",
        "output-temp-written",
        "name",
        "output-renamed",
        "sync directory",
        "output-directory-synced",
    ]
    steps.clear()
    write_output(tmp_path, "a/talk.txt", b"words", replace=False)
    assert steps == ["sync 5 bytes", "sync directory", "output-directory-synced"]


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    ("point", "written"), [("output-temp-written", False), ("output-renamed", True), ("output-directory-synced", True)]
)
def test_a_kill_at_any_point_leaves_the_whole_output_or_none(
    tmp_path: Path, point: str, written: bool, replace: bool
) -> None:
    """After kill -9 the name is absent or complete, the rest is swept, and writing again completes it."""
    program = (
        "import sys; from batcher import killpoints; from batcher.files import write_output; "
        "killpoints.install_from_environment(); "
        "write_output(sys.argv[1].encode(), 'a/talk.txt', b'words', replace=sys.argv[2] == 'True')"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(replace)]
    done = subprocess.run(command, env={**os.environ, "BATCHER_KILL": f"{point}:1"}, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert sweep_temporaries(tmp_path, ["a"]) == (0 if written else 1)
    assert tree(tmp_path) == ({"a/talk.txt": b"words"} if written else {})
    write_output(tmp_path, "a/talk.txt", b"words", replace=False)
    assert tree(tmp_path) == {"a/talk.txt": b"words"}


def test_an_output_of_our_own_is_replaced(tmp_path: Path) -> None:
    """Outputs are renderings and can be made again."""
    write_output(tmp_path, "talk.txt", b"old", replace=False)
    write_output(tmp_path, "talk.txt", b"new", replace=True)
    assert tree(tmp_path) == {"talk.txt": b"new"}


def test_a_file_that_is_not_ours_stays(tmp_path: Path) -> None:
    """Without leave to replace, other content is refused and left as it is; the same content will do."""
    (tmp_path / "talk.txt").write_bytes(b"mine")
    for other in (b"your", b"longer"):
        with pytest.raises(OutputError, match="another file is in the way"):
            write_output(tmp_path, "talk.txt", other, replace=False)
    inode = (tmp_path / "talk.txt").stat().st_ino
    write_output(tmp_path, "talk.txt", b"mine", replace=False)
    assert (tmp_path / "talk.txt").stat().st_ino == inode
    assert tree(tmp_path) == {"talk.txt": b"mine"}


def test_a_file_that_appears_at_the_last_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the naming nobody's file is lost either."""
    monkeypatch.setattr(killpoints, "hook", lambda _: (tmp_path / "talk.txt").write_bytes(b"mine"))
    with pytest.raises(OutputError, match="another file is in the way"):
        write_output(tmp_path, "talk.txt", b"your", replace=False)
    assert tree(tmp_path) == {"talk.txt": b"mine"}


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a second name is impossible the file is renamed."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_output(tmp_path, "talk.txt", b"words", replace=False)
    assert tree(tmp_path) == {"talk.txt": b"words"}


@pytest.mark.parametrize("replace", [True, False])
def test_no_symbolic_link_leads_out_of_out(tmp_path: Path, replace: bool) -> None:
    """A linked directory or file below OUT is not written through."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "talk.txt").write_bytes(b"mine")
    (out / "a").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="symbolic link"):
        write_output(out, "a/talk.txt", b"words", replace=replace)
    (out / "talk.txt").symlink_to(elsewhere / "talk.txt")
    if replace:
        write_output(out, "talk.txt", b"words", replace=True)
        assert not (out / "talk.txt").is_symlink()
    else:
        with pytest.raises(OutputError, match="symbolic link"):
            write_output(out, "talk.txt", b"words", replace=False)
    assert tree(elsewhere) == {"talk.txt": b"mine"}


def test_out_itself_may_be_a_link(tmp_path: Path) -> None:
    """Where OUT is, is its owner's choice."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write_output(tmp_path / "out", "talk.txt", b"words", replace=False)
    assert tree(tmp_path / "disk") == {"talk.txt": b"words"}


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a//x", "a/", ".", "a/./x", "nul\0"])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Names are made by `output_name`; whatever is not, is not written."""
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="cannot be the name"):
        write_output(tmp_path / "out", name, b"words", replace=True)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 256, "too long"), ("directory", "directory|in the way"), ("file/talk.txt", "no directory")],
)
def test_what_is_wrong_with_one_output_fails_that_one(tmp_path: Path, name: str, reason: str, replace: bool) -> None:
    """Other jobs go on; nothing is left behind."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OutputError, match=reason):
        write_output(tmp_path, name, b"words", replace=replace)
    assert tree(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_or_failing_disk_stops_everything_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, replace: bool
) -> None:
    """What every job would meet is the machine's refusal; the old output stays as it was."""
    (tmp_path / "talk.txt").write_bytes(b"words" if not replace else b"old")
    before = tree(tmp_path)

    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        for name in ("talk.txt", "other.txt", "new/talk.txt"):
            with pytest.raises(MachineRefuses):
                write_output(tmp_path, name, b"words", replace=replace)
    assert tree(tmp_path) == before


def test_a_file_larger_than_allowed_leaves_nothing(tmp_path: Path) -> None:
    """A write that ends half way through is undone: the real kernel's refusal, in a process of its own."""
    program = (
        "import resource, signal, sys; from batcher.files import OutputError, write_output; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_output(sys.argv[1].encode(), 'talk.txt', bytes(5000), replace=True)\n"
        "except OutputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "cannot write talk.txt: file too large\n"
    assert tree(tmp_path) == {}


def test_an_output_directory_that_is_gone_stops_everything(tmp_path: Path) -> None:
    """OUT is not made anew under our feet: a disk may have been unmounted."""
    with pytest.raises(MachineRefuses, match="it is not there"):
        write_output(tmp_path / "out", "talk.txt", b"words", replace=True)


def test_many_threads_may_write_into_directories_they_make_together(tmp_path: Path) -> None:
    """Names do not clash and no directory is in anybody's way."""
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            write_output(tmp_path, f"a/b/{number}.txt", b"%d" % number, replace=False)
        except BaseException as error:  # noqa: BLE001 - shown below, from whichever thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert tree(tmp_path) == {f"a/b/{number}.txt": b"%d" % number for number in range(32)}


def test_a_new_directory_is_used_only_once_it_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its name is synced, no other thread may open the directory and believe its output safe."""
    held: list[bool] = []
    honest = os.fsync

    def sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            held.append(_making.locked())
        honest(handle)

    monkeypatch.setattr(os, "fsync", sync)
    write_output(tmp_path, "a/b/talk.txt", b"words", replace=True)
    assert held == [True, True, False]


def test_a_directory_that_another_process_makes_first_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being second is no failure."""
    honest = os.mkdir

    def second(*args: Any, **kwargs: Any) -> None:
        honest(*args, **kwargs)
        honest(*args, **kwargs)

    monkeypatch.setattr(os, "mkdir", second)
    write_output(tmp_path, "a/talk.txt", b"words", replace=True)
    assert tree(tmp_path) == {"a/talk.txt": b"words"}


def test_a_name_left_by_a_process_of_the_same_number_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale temporary file never ends up under an output's name."""
    monkeypatch.setattr("batcher.files.temporaries._numbers", iter(range(100)))
    stale = tmp_path / f".batcher-{os.getpid()}-0.tmp"
    stale.write_bytes(b"stale")
    write_output(tmp_path, "talk.txt", b"words", replace=True)
    assert tree(tmp_path) == {stale.name: b"stale", "talk.txt": b"words"}


def test_only_our_own_temporary_files_are_swept(tmp_path: Path) -> None:
    """What is not named as we name it stays, and no link is followed."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for directory in (out / "a", out / ".batcher", elsewhere, elsewhere / "b"):
        directory.mkdir(parents=True)
        (directory / ".batcher-12-3.tmp").write_bytes(b"")
    (out / "link").symlink_to(elsewhere)
    for kept in (".batcher-notes.tmp", ".batcher-12-3.tmp.txt", "x.batcher-12-3.tmp"):
        (out / kept).write_bytes(b"")
    assert sweep_temporaries(out, ["", "a", ".batcher", "link", "link/b", "nowhere"]) == 2
    assert sweep_temporaries(tmp_path / "nowhere") == 0
    assert sorted(tree(out)) == [".batcher-12-3.tmp.txt", ".batcher-notes.tmp", "x.batcher-12-3.tmp"]
    assert sorted(tree(elsewhere)) == [".batcher-12-3.tmp", "b/.batcher-12-3.tmp"]


def test_missing_outputs_are_those_that_are_absent_empty_or_no_files(tmp_path: Path) -> None:
    """An output counts when it is a regular file with something in it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ü.txt").write_bytes(b"words")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "link.txt").symlink_to("a/ü.txt")
    (tmp_path / "moved").symlink_to("a")
    assert missing_outputs(tmp_path, ["moved/ü.txt"]) == []
    names = ["a/ü.txt", "empty.txt", "link.txt", "a", "gone.txt", "a/ü.txt/x"]
    assert missing_outputs(tmp_path, names) == names[1:]
    assert missing_outputs(tmp_path / "nowhere", names) == names


@pytest.mark.usefixtures("open_umask")
def test_a_private_directory_is_closed_to_others_even_if_it_was_open(tmp_path: Path) -> None:
    """New ones are made private with those above them; one that is there is closed, its parents are left alone."""
    private_directory(tmp_path / "out" / ".batcher")
    assert [mode(tmp_path / "out"), mode(tmp_path / "out" / ".batcher")] == [0o700, 0o700]
    (tmp_path / "old" / ".batcher").mkdir(parents=True)
    private_directory(os.fsencode(tmp_path / "old" / ".batcher"))
    assert [mode(tmp_path / "old"), mode(tmp_path / "old" / ".batcher")] == [0o777, 0o700]


def test_a_private_directory_that_cannot_be_is_the_machines_refusal(tmp_path: Path) -> None:
    """A file in the way stops the batch with words."""
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/below"):
        with pytest.raises(MachineRefuses, match="cannot make the directory"):
            private_directory(tmp_path / name)


def test_free_space_is_known_before_the_directory_is(tmp_path: Path) -> None:
    """The space where OUT will be is that of the nearest directory that exists."""
    free = free_bytes(tmp_path / "not" / "yet")
    known = os.statvfs(tmp_path)
    assert abs(free - known.f_bavail * known.f_frsize) < 2**30
    assert free > 0
