"""Walking the inputs: which files of a tree are recordings.

Every directory is read in the order of its names' bytes, directories at the place of ``name/``. Hidden files and
directories are left out, and so is the output directory. A symbolic link to a file counts as that file. A link to
a directory is followed after the tree itself and only if its directory was not met before, so loops end, and a
link never takes a real directory's place.
"""

import errno
import os
import re
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from batcher.errors import UsageError
from batcher.files.offload import offload
from batcher.files.patterns import compile_patterns
from batcher.files.reasons import why
from batcher.text import show_path

BATCH = 1_000  #: files found per step

#: Endings of the recordings that are looked for when no include pattern says otherwise, upper case too: the
#: containers that the service's documentation names, and those that FFmpeg finds sound in. ``.ts`` is left out,
#: because there are more programs than broadcasts of that name; raw audio has no ending of its own.
EXTENSIONS = tuple(
    b".3g2 .3ga .3gp .3gpp .aac .ac3 .aif .aifc .aiff .amr .ape .asf .au .avi .awb .caf .dss .eac3 .f4v .flac .flv"
    b" .gsm .m2ts .m4a .m4b .m4v .mka .mkv .mov .mp2 .mp3 .mp4 .mpeg .mpg .mpga .mts .mxf .oga .ogg .ogv .ogx .opus"
    b" .qcp .ra .rm .snd .spx .tta .vob .voc .w64 .wav .wave .weba .webm .wma .wmv .wv".split()
)

_KNOWN = frozenset(EXTENSIONS)


@dataclass(frozen=True, slots=True)
class WalkRules:
    """What a walk takes and leaves. See `batcher.files.patterns` for the patterns.

    With include patterns a file is taken when one of them matches, whatever its ending; an exclude pattern
    always wins. `out` is the output directory, which is never entered when it lies below the input.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    out: bytes | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a walk took. `path` is absolute, `relative` below the input (its name, for a single file)."""

    path: bytes
    relative: bytes
    size: int
    mtime_ns: int
    dev: int
    ino: int


@dataclass(frozen=True, slots=True)
class WalkProblem:
    """Something the walk could not look into, and why; the walk goes on."""

    path: bytes
    reason: str
    hides: bool = True  #: recordings may be hidden there; a pipe or a link to nothing is none


Report = Callable[[WalkProblem], None]


def walk(root: bytes, rules: WalkRules, report: Report) -> Iterator[list[Found]]:
    """Yield the recordings below `root`, or `root` itself if it is a file, about `BATCH` at a time.

    Nothing is held open between two steps. The first step raises UsageError when there is no such input.
    """
    found = _input(root, rules, report)
    while batch := list(islice(found, BATCH)):
        yield batch


async def batches(root: bytes, rules: WalkRules, report: Report) -> AsyncIterator[list[Found]]:
    """Yield what `walk` yields, each step taken in a thread; `report` is called in the loop's."""
    problems: deque[WalkProblem] = deque()
    steps = walk(root, rules, problems.append)
    while True:
        batch = await offload(next, steps, None)
        while problems:
            report(problems.popleft())
        if batch is None:
            return
        yield batch


def _input(root: bytes, rules: WalkRules, report: Report) -> Iterator[Found]:
    status = _input_status(root)
    path = os.path.abspath(root)
    if stat.S_ISDIR(status.st_mode):
        return _Tree(path, rules, report).files()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"the input {show_path(root)} is neither a file nor a directory")
    return iter([_found(path, os.path.basename(path), status)])


def _input_status(root: bytes) -> os.stat_result:
    if not root or b"\0" in root:
        raise UsageError(f"{show_path(root) or 'an empty name'} cannot be the name of an input")
    try:
        return os.stat(root)
    except FileNotFoundError as error:
        raise UsageError(f"there is no input {show_path(root)}") from error
    except OSError as error:
        raise UsageError(f"cannot read the input {show_path(root)}: {why(error)}") from error


def _found(path: bytes, relative: bytes, status: os.stat_result) -> Found:
    return Found(path, relative, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


class _Tree:
    """One walk through one directory. Relative paths of directories end in a slash, but for the input's own."""

    def __init__(self, root: bytes, rules: WalkRules, report: Report) -> None:
        self._prefix = os.path.join(root, b"")
        self._include = compile_patterns(rules.include)
        self._exclude = compile_patterns(rules.exclude)
        self._out = None if rules.out is None else os.path.join(os.path.abspath(rules.out), b"")
        self._report = report
        self._links: deque[bytes] = deque()  # to directories, looked into last
        self._met: set[tuple[int, int]] = set()
        if self._out is not None and os.path.exists(self._out):
            self._is_new(self._out)

    def files(self) -> Iterator[Found]:
        yield from self._below(b"")
        while self._links:
            yield from self._below(self._links.popleft())

    def _below(self, directory: bytes) -> Iterator[Found]:
        """Yield the files below one directory; a stack of its own, because a tree may be deeper than Python's."""
        stack = [iter(self._names(directory))]
        while stack:
            relative = next(stack[-1], None)
            if relative is None:
                stack.pop()
            elif relative.endswith(b"/"):
                stack.append(iter(self._names(relative)))
            elif (found := self._file(relative)) is not None:
                yield found

    def _names(self, directory: bytes) -> list[bytes]:
        """Return the relative paths of what to take or enter in one directory, sorted; remember its links."""
        path = self._prefix + directory
        links: list[bytes] = []
        try:
            new = self._is_new(path) and path != self._out
            if directory and not new:  # the input itself is always read, even if it is the output directory
                return []
            with os.scandir(path) as entries:
                names = [name for entry in entries if (name := self._wanted(directory, entry, links))]
        except OSError as error:
            self._report(WalkProblem(os.path.abspath(path), why(error)))
            return []
        self._links.extend(sorted(links))
        names.sort()
        return names

    def _is_new(self, directory: bytes) -> bool:
        """Tell whether the directory was not met before, and note it."""
        status = os.stat(directory)
        identity = (status.st_dev, status.st_ino)
        new = identity not in self._met
        self._met.add(identity)
        return new

    def _wanted(self, directory: bytes, entry: os.DirEntry[bytes], links: list[bytes]) -> bytes | None:
        if entry.name.startswith(b"."):
            return None
        relative = directory + entry.name
        if not _is_directory(entry):
            return relative if self._takes(relative, entry.name) else None
        relative += b"/"
        if _matches(self._exclude, relative):
            return None
        if entry.is_symlink():
            links.append(relative)
            return None
        return relative

    def _takes(self, relative: bytes, name: bytes) -> bool:
        if self._include is None:
            taken = name[name.rfind(b".") :].lower() in _KNOWN
        else:
            taken = _matches(self._include, relative)
        return taken and not _matches(self._exclude, relative)

    def _file(self, relative: bytes) -> Found | None:
        path = self._prefix + relative
        try:
            status = os.stat(path)
        except OSError as error:
            self._report(_unreachable(path, error))
            return None
        if not stat.S_ISREG(status.st_mode):
            self._report(WalkProblem(path, "it is not a regular file", hides=False))
            return None
        return _found(path, relative, status)


def _unreachable(path: bytes, error: OSError) -> WalkProblem:
    if os.path.islink(path) and error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
        return WalkProblem(path, "a link to nothing", hides=False)
    return WalkProblem(path, why(error))


def _is_directory(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads in circles: taken for a file, its own look says what is wrong


def _matches(patterns: re.Pattern[str] | None, relative: bytes) -> bool:
    return patterns is not None and patterns.fullmatch(os.fsdecode(relative)) is not None
