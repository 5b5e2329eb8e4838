"""The directory in which `batcher retry` and `batcher cancel` leave requests for a run."""

from contextlib import suppress
from pathlib import Path

import structlog

from batcher.errors import UsageError
from batcher.files import offload, read_small, remove_file
from batcher.requests import Request

#: A request of more bytes is none of ours, see `cli.wishes.MOST_JOBS`.
MOST_BYTES = 16 * 1024 * 1024

_log = structlog.get_logger()


class LeftRequests:
    """What was left in one such directory, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def requests(self) -> dict[str, Request]:
        """Read what was left, in the order in which it was."""
        return await offload(self._read)

    def _read(self) -> dict[str, Request]:
        found = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        read = {path.name: _read_request(path) for path in found}
        return {name: request for name, request in read.items() if request is not None}

    async def drop_request(self, name: str) -> None:
        """Remove a request's file, so that not even a power cut brings it back."""
        await offload(remove_file, self._folder / name)


def _read_request(path: Path) -> Request | None:
    """Return a request; one that cannot be understood is set aside and logged, as is what is no file of ours."""
    try:
        return Request.from_json(read_small(path, MOST_BYTES).decode("utf-8"))
    except (UsageError, OSError, UnicodeDecodeError) as error:
        _log.warning("request not understood", file=path.name, reason=str(error))
        with suppress(OSError):  # then it is looked at again, and left where it is again
            path.rename(path.with_suffix(".refused"))
        return None
