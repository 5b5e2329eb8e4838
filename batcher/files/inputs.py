"""What a run is to look through: directories, single recordings, and URLs, from the command line and from lists.

The outputs of what lies below a root mirror it. A directory is its own root, a single recording belongs to its
directory, and the entries of all lists together to the deepest directory that holds them all.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from urllib.parse import unquote_to_bytes, urlsplit

from batcher.errors import UsageError
from batcher.files.names import output_name, with_suffix
from batcher.files.reasons import why
from batcher.text import show_path

URL_CHARACTERS = 4096  #: the longest URL that the service takes
_URL = re.compile(rb"https?://[^\s/]\S*", re.IGNORECASE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Input:
    """A directory or a file to look into, and the root that its outputs mirror. Both are absolute."""

    path: bytes
    root: bytes
    listed: bool = False  #: from a list: that it is missing concerns this entry alone
    name: bytes = b""  #: what `path` is called where recordings are divided among shards; a directory has no name

    def named(self, path: bytes) -> bytes:
        """Return what a recording found here is called there: nothing that depends on what else is looked through."""
        return (self.name + path.removeprefix(self.path)).lstrip(b"/")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a run is to look through, in the order given."""

    paths: tuple[Input, ...] = ()
    urls: tuple[bytes, ...] = ()

    @property
    def roots(self) -> list[bytes]:
        """Return the roots, each once, in order."""
        return list(dict.fromkeys(each.root for each in self.paths))


def gather(arguments: Sequence[str], lists: Sequence[str] = ()) -> Inputs:
    """Return what the command line names and what stands in lists, one to a line, ``-`` being standard input. Blocks.

    Raises:
        UsageError: an argument that is no URL does not exist, or a list cannot be read. A listed file that does
            not exist is no error here: the scan tells of it, and the others go on.
    """
    named = [os.fsencode(argument) for argument in arguments]
    listed = [line for name in lists for line in _lines(name)]
    paths = [_argument(entry) for entry in named if not names_url(entry)]
    paths += _entries([entry for entry in listed if not names_url(entry)])
    urls = dict.fromkeys(entry for entry in (*named, *listed) if names_url(entry))
    return Inputs(tuple(_named_once(paths)), tuple(urls))


def names_url(entry: bytes) -> bool:
    """Tell a URL that the service can fetch by itself from the name of a file."""
    if len(entry) > URL_CHARACTERS or not _URL.fullmatch(entry):
        return False
    try:
        return bool(urlsplit(entry.decode()).hostname)
    except ValueError:  # brackets without a pair, or bytes that are no text
        return False


def url_output(url: bytes, *, alone: bool = True) -> str:
    """Return where the outputs of a URL go: below its host, without what comes after a question mark.

    What that drops may be all that tells it from another. The table sees to it that their names differ; where others
    write into the same directory, which no table here knows of, a hash of the whole does.
    """
    parts = urlsplit(url.decode())
    host = (parts.hostname or "url").encode()
    name = output_name(host + b"/" + unquote_to_bytes(parts.path).lstrip(b"/"))
    if alone or not (parts.query or parts.fragment):
        return name
    return with_suffix(name, blake2b(url, digest_size=5).hexdigest())


def _argument(entry: bytes) -> Input:
    path = os.path.abspath(entry)
    if not os.path.exists(path):
        raise UsageError(f"there is no {show_path(entry)}", hint="Check the spelling of the input.")
    if os.path.isdir(path):
        return Input(path, path)
    return Input(path, os.path.dirname(path), name=os.path.basename(path))


def _entries(entries: Sequence[bytes]) -> list[Input]:
    paths = [os.path.abspath(entry) for entry in entries]
    there = [path for path in paths if os.path.exists(path)] or paths  # a missing one must not move all outputs
    homes = [path if os.path.isdir(path) else os.path.dirname(path) for path in there]
    root = os.path.commonpath(homes) if homes else b""
    return [Input(path, root, True, os.path.normpath(entry)) for path, entry in zip(paths, entries, strict=True)]


def _named_once(inputs: Sequence[Input]) -> Iterator[Input]:
    """Yield the inputs, each named below the outermost one that it lies in: what both hold has one name then."""
    names: dict[bytes, bytes] = {}
    for each in inputs:
        names.setdefault(each.path, each.name)
    outermost = cache(lambda directory: next((path for path in _ways_down(directory) if path in names), None))
    for each in inputs:
        top = outermost(os.path.dirname(each.path)) or each.path
        yield replace(each, name=names[top] + each.path.removeprefix(top))


def _ways_down(path: bytes) -> Iterator[bytes]:
    """Yield the directories that hold an absolute path, the outermost first, and then the path."""
    yield b"/"
    yield from (path[: slash.start()] for slash in re.finditer(rb"(?<!^)/", path))
    yield path


def _lines(name: str) -> Iterator[bytes]:
    """Yield the entries of a list; empty lines are none."""
    for line in _read(name).removeprefix(_BYTE_ORDER_MARK).split(b"\n"):
        if entry := line.removesuffix(b"\r"):
            yield entry


def _read(name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read()
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"the list {show_path(os.fsencode(name))} cannot be read: {why(error)}") from error
