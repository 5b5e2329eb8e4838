"""A disk that can lose its power: an ext4 file system in a file, mounted through a loop device."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_BYTES = 64 * 1024 * 1024
_TOOLS = ("mkfs.ext4", "mount", "umount", "unshare")
#: Nothing reaches the disk by itself within a run: not after the usual five seconds.
_OPTIONS = "loop,commit=300"


@dataclass(frozen=True, slots=True)
class Image:
    """The file and where it is mounted."""

    file: Path
    mount: Path

    def put_on(self) -> None:
        """Mount the file system; after a power cut that is when its journal is read."""
        call("mount", "-t", "ext4", "-o", _OPTIONS, str(self.file), str(self.mount))

    def take_off(self) -> None:
        """Unmount it."""
        call("umount", str(self.mount))

    def power_up(self) -> None:
        """Bring it back after its power was cut."""
        self.take_off()
        self.put_on()


@contextmanager
def image(folder: Path) -> Iterator[Image]:
    """Make a file system in `folder` and have it mounted for the length of the block."""
    made = Image(folder / "disk.img", folder / "disk")
    with made.file.open("wb") as file:
        file.truncate(_BYTES)
    call("mkfs.ext4", "-q", "-F", str(made.file))
    made.mount.mkdir()
    made.put_on()
    try:
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):  # it may be off already, when something went wrong
            made.take_off()


def call(*command: str) -> None:
    """Run a tool of the system. Raises CalledProcessError with what it said."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def why_not() -> str:
    """Return why no power can be cut here, or nothing."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        return f"it needs Linux with {', '.join(missing or _TOOLS)}"
    if os.geteuid() != 0:
        return "only root can mount a file system and cut its power"
    if not no_sync_library():
        return (
            "without eatmydata nobody can tell whether the rig would notice a loss (Debian: apt-get install eatmydata)"
        )
    try:
        with TemporaryDirectory() as folder:
            call("unshare", "--mount", sys.executable, "-m", "tests.crash.image", folder)
    except subprocess.CalledProcessError as error:
        return f"no image can be mounted here: {(error.stderr or error.stdout or str(error)).strip().splitlines()[-1]}"
    return ""


def no_sync_library() -> str:
    """Return the library that makes every sync a lie, or nothing where it is not installed."""
    return find_library("eatmydata") or ""


def in_private(module: str, arguments: Sequence[str]) -> int:
    """Run a module where its mounts are its own and end with it; return its exit code."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=False).returncode


def _try(folder: Path) -> None:
    from tests.crash.starter import cut_power  # noqa: PLC0415 - only for this

    with image(folder) as tried:
        cut_power(str(tried.mount))


if __name__ == "__main__":
    _try(Path(sys.argv[1]))
