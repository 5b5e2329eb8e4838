"""Writing outputs: a file appears whole under its name, or not at all, and survives a power cut.

Files are private to the user (mode 0600, directories 0700), because a transcript is. No symbolic link below OUT
is followed, so that nothing is ever written outside of it.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from batcher.errors import BatcherError, MachineRefuses
from batcher.files.below import DIRECTORY_FLAGS, descend, enter
from batcher.files.reasons import why
from batcher.files.temporaries import open_temporary
from batcher.killpoints import reach
from batcher.text import show_path, show_text

_PRIVATE = 0o700
_OTHERS = 0o077

#: Refusals that every other job would meet too.
_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
)
#: What a file system says that has no hard links, or cannot sync a directory.
_UNSUPPORTED = frozenset({errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_making = Lock()  # a directory that another thread has just made is used only once its name is on disk


class OutputError(BatcherError):
    """This output cannot be written (it fails its job only)."""


class NameTaken(OutputError):
    """A file that is not of this batch has the output's name."""


def write_output(root: Path | bytes, name: str, data: bytes, *, replace: bool, owner: str = "") -> None:
    """Write `data` as the file `name` below the directory `root`, making directories as needed. Blocks.

    On return the file is on disk under its name; before, the name is absent or what it was. Without
    `replace` a file of other content that is already there stays, and one of the same content will do. `owner` names
    temporary files where several batchers write to one `root`.

    Raises OutputError when only this output is refused, MachineRefuses when any would be (no space, read-only,
    `root` gone); either way nothing is left half done.
    """
    *parents, last = _parts(name)
    with _refusals(f"cannot write {show_text(name)}"), _directory(root, parents) as directory:
        if replace or not _same_content(directory, last, data):
            temporary = _write_temporary(directory, data, owner)
            reach("output-temp-written")
            _place(directory, temporary, last, replace)
            reach("output-renamed")
        _sync_directory(directory)
        reach("output-directory-synced")


def missing_outputs(root: Path | bytes, names: Iterable[str]) -> list[str]:
    """Return those of `names` below `root` that are not there as regular files with something in them. Blocks.

    A link to a directory is followed here: nothing is changed, and a user may have put the directory elsewhere.
    """
    prefix = os.path.join(os.fsencode(root), b"")
    return [name for name in names if not _is_written(prefix + name.encode())]


def private_directory(path: Path | bytes) -> None:
    """Make the directory `path`, and those above it, unless it is there; nobody else may look into it. Blocks.

    Raises MachineRefuses when that cannot be, and when it or something in it is a symbolic link: what is written
    there would land wherever the link leads, and whoever packed or shared the directory could have put it there.
    """
    place = os.path.abspath(os.fsencode(path))
    try:
        _make_private(place)
        if link := _first_link(place):
            raise MachineRefuses(
                f"{show_path(link)} is a symbolic link", hint="Remove it; --db puts a table elsewhere."
            )
        if os.stat(place).st_mode & _OTHERS:
            os.chmod(place, _PRIVATE)
    except OSError as error:
        raise MachineRefuses(f"cannot make the directory {show_path(place)}: {why(error)}") from error


def free_bytes(path: Path | bytes) -> int:
    """Return how much space is left for us where `path` is or would be. Blocks."""
    place = os.path.abspath(os.fsencode(path))
    while not os.path.exists(place):
        place = os.path.dirname(place)
    try:
        return shutil.disk_usage(place).free
    except OSError as error:
        raise MachineRefuses(f"cannot ask for the free space at {show_path(place)}: {why(error)}") from error


def _make_private(place: bytes) -> None:
    """Make the directory and what is missing above it, each on disk before the next."""
    if os.path.isdir(place):
        return
    parent = os.path.dirname(place)
    _make_private(parent)
    with suppress(FileExistsError):  # another process was quicker
        os.mkdir(place, _PRIVATE)
    handle = os.open(parent, DIRECTORY_FLAGS)
    try:
        _sync_directory(handle)
    finally:
        os.close(handle)


def _first_link(place: bytes) -> bytes | None:
    """Return the directory itself if it is a symbolic link, or one in it."""
    if os.path.islink(place):
        return place
    with os.scandir(place) as entries:
        return next((entry.path for entry in entries if entry.is_symlink()), None)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Sort what the file system refuses into MachineRefuses and OutputError."""
    try:
        yield
    except OSError as error:
        kind = MachineRefuses if error.errno in _MACHINE else OutputError
        raise kind(f"{what}: {why(error)}") from error


def _parts(name: str) -> list[str]:
    """Return the parts of an output's name; one that might lead elsewhere is refused."""
    parts = name.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in name:
        raise OutputError(f"{show_text(name)!r} cannot be the name of an output")
    return parts


@contextmanager
def _directory(root: Path | bytes, parents: list[str]) -> Iterator[int]:
    """Open the directory `parents` below `root`, making what is missing, without following a link on the way."""
    try:
        top = os.open(root, DIRECTORY_FLAGS)
    except OSError as error:
        raise MachineRefuses(f"cannot open {show_path(os.fsencode(root))}: {why(error)}") from error
    with descend(top, parents, _step_into) as directory:
        yield directory


def _step_into(directory: int, part: str) -> int:
    with _making:
        try:
            return enter(directory, part)
        except FileNotFoundError:
            with suppress(FileExistsError):  # another process was quicker
                os.mkdir(part, _PRIVATE, dir_fd=directory)
                reach("directory-made")
            _sync_directory(directory)
            return enter(directory, part)


def _same_content(directory: int, name: str, data: bytes) -> bool:
    """Tell whether the file is there with this content; raise OutputError if with any other."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return False
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data) or file.read() != data:
            raise _in_the_way(name)
        os.fsync(handle)  # whoever wrote it may have been interrupted before this
    return True


def _in_the_way(name: str) -> NameTaken:
    return NameTaken(
        f"cannot write {show_text(name)}: another file is in the way, and it is not one of this batch",
        hint="Move it away, or choose another output directory; then retry the job.",
    )


def _write_temporary(directory: int, data: bytes, owner: str) -> str:
    """Write `data` to a file of its own and return its name; it is on disk then, or gone."""
    name, handle = open_temporary(os.O_WRONLY | os.O_NOFOLLOW, directory, owner)
    try:
        with open(handle, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(handle)
    except BaseException:
        _discard(directory, name)
        raise
    return name


def _place(directory: int, temporary: str, name: str, replace: bool) -> None:
    """Give the temporary file its name; without `replace`, only if nothing has the name by now."""
    try:
        if replace or not _link(directory, temporary, name):
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            os.unlink(temporary, dir_fd=directory)
    except BaseException:
        _discard(directory, temporary)
        raise


def _discard(directory: int, temporary: str) -> None:
    with suppress(OSError):  # the first refusal is the one to tell of; a sweep gets what stays
        os.unlink(temporary, dir_fd=directory)


def _link(directory: int, temporary: str, name: str) -> bool:
    """Give the file its name as well, which fails where the name is taken; tell whether links exist here."""
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except FileExistsError:
        raise _in_the_way(name) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True


def remove_file(path: Path) -> None:
    """Remove a file, which may be gone already, so that not even a power cut brings it back. Blocks. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have what was placed in a directory, or removed, outlast a power cut. Blocks. Raises OSError."""
    directory = os.open(path, DIRECTORY_FLAGS)
    try:
        _sync_directory(directory)
    finally:
        os.close(directory)


def _sync_directory(directory: int) -> None:
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some network file systems cannot, and need not
            raise


def _is_written(path: bytes) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False  # whatever the reason, writing it again will tell
    return stat.S_ISREG(status.st_mode) and status.st_size > 0
