"""The directory in which `batcher retry` and `batcher cancel` leave requests for a run."""

import errno
from contextlib import suppress
from pathlib import Path

import structlog

from batcher.errors import UsageError
from batcher.files import offload, read_small, remove_file
from batcher.files.reasons import why
from batcher.requests import Request

#: A request of more bytes is none of ours, see `cli.wishes.MOST_JOBS`.
MOST_BYTES = 16 * 1024 * 1024

#: Why a file that is sound cannot be read at the moment.
_JUST_NOW = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})

_log = structlog.get_logger()


class LeftRequests:
    """What was left in one such directory, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stuck: set[str] = set()  #: what was carried out and cannot be removed
        self.refused: set[str] = set()  #: what could not be read or understood, and is logged

    async def requests(self) -> dict[str, Request]:
        """Read what was left, in the order in which it was."""
        return await offload(self._read)

    def _read(self) -> dict[str, Request]:
        found = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        read = {path.name: self._read_request(path) for path in found}
        self.stuck &= read.keys()
        self.refused &= read.keys()
        return {name: request for name, request in read.items() if request is not None}

    def _read_request(self, path: Path) -> Request | None:
        """Return a request, unless it cannot be read or understood."""
        try:
            return Request.from_json(read_small(path, MOST_BYTES).decode("utf-8"))
        except (UsageError, OSError, UnicodeDecodeError) as error:
            self._refuse(path, error)
            return None

    def _refuse(self, path: Path, error: Exception) -> None:
        """Log once what cannot be read, and set it aside unless it may be read later.

        Later is when only the machine cannot read it just now: no more open files, a failing disk.
        """
        later = getattr(error, "errno", None) in _JUST_NOW
        if path.name not in self.refused:
            what = "a request cannot be read just now" if later else "request not understood"
            _log.warning(what, file=path.name, reason=str(error))
        self.refused.add(path.name)
        if not later:
            with suppress(OSError):  # then it is looked at again, and left where it is again
                path.rename(path.with_suffix(".refused"))

    async def asked(self) -> bool:
        """Tell whether anything is left that can be carried out: what comes after one that is stuck cannot."""
        return bool(await self.requests()) and not self.stuck

    async def drop_request(self, name: str) -> bool:
        """Remove a request's file, so that not even a power cut brings it back; tell whether it is gone."""
        return await offload(self._drop, name)

    def _drop(self, name: str) -> bool:
        try:
            remove_file(self._folder / name)
        except FileNotFoundError:  # somebody was quicker
            pass
        except OSError as error:
            if name not in self.stuck:
                _log.warning("a request that was carried out cannot be removed", file=name, reason=why(error))
            self.stuck.add(name)
            return False
        self.stuck.discard(name)
        return True
