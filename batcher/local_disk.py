"""This machine's files behind the `Disk` seam: everything blocking goes through `offload`."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import structlog

from batcher.disk import Recording
from batcher.errors import UsageError
from batcher.files import (
    Examination,
    Found,
    Stat,
    Verdict,
    WalkProblem,
    WalkRules,
    batches,
    examine,
    free_bytes,
    missing_outputs,
    offload,
    open_recording,
    output_name,
    write_output,
)
from batcher.model import FileBounds, Job
from batcher.requests import Request
from batcher.states import Event
from batcher.store.admission import Candidate, Examined
from batcher.text import show_path

_log = structlog.get_logger()


class LocalDisk:
    """Inputs, outputs and requests of one batch on this machine."""

    def __init__(
        self, inputs: Sequence[Path], out: Path, state: Path, *, rules: WalkRules, bounds: FileBounds, raw: bool
    ) -> None:
        self._inputs = [os.path.abspath(os.fsencode(path)) for path in inputs]  # noqa: PTH100 - bytes, links kept
        self._out = out
        self._state = state
        self._rules = rules
        self._bounds = bounds
        self._raw = raw
        #: What the scan could not look into; the closing lines tell of it.
        self.problems: list[WalkProblem] = []

    async def roots(self) -> list[bytes]:
        """Return the directories of the inputs; a single file belongs to the directory it is in."""
        return list(dict.fromkeys([await offload(_root_of, path) for path in self._inputs]))

    def folder_name(self, root: bytes) -> str:
        """Return the safe name of a root's own directory."""
        return output_name(root.rpartition(b"/")[2] or b"root")

    async def scan(self, prefixes: dict[bytes, str]) -> AsyncIterator[list[Candidate]]:
        """Walk every input in the order given."""
        self.problems.clear()
        for path in self._inputs:
            prefix = prefixes[await offload(_root_of, path)]
            async for found in batches(path, self._rules, self.problems.append):
                yield [_candidate(file, prefix) for file in found]

    async def examine(self, jobs: Sequence[Job]) -> list[Examined]:
        """Look into each recording in a thread."""
        return [_examined(job, await self._examine(job)) for job in jobs]

    async def _examine(self, job: Job) -> Examination:
        return await offload(examine, job.path, job.compare, self._bounds, self._raw)

    def recording(self, job: Job) -> AbstractAsyncContextManager[Recording]:
        """Open a recording, provided that it is still what the table knows."""
        return open_recording(job.path, Stat(job.size, job.mtime_ns))

    async def write(self, outputs: Sequence[tuple[str, bytes]], *, replace: bool) -> None:
        """Write the outputs of one job."""
        await offload(self._write, outputs, replace)

    def _write(self, outputs: Sequence[tuple[str, bytes]], replace: bool) -> None:
        for name, data in outputs:
            write_output(self._out, name, data, replace=replace)

    async def missing(self, outputs: Sequence[str]) -> list[str]:
        """Return those of the outputs that are not there."""
        return await offload(missing_outputs, self._out, outputs)

    async def requests(self) -> dict[str, Request]:
        """Read what was left in the requests directory."""
        return await offload(self._requests)

    def _requests(self) -> dict[str, Request]:
        folder = self._state / "requests"
        found = sorted(folder.glob("*.json")) if folder.is_dir() else []
        read = {path.name: _read_request(path) for path in found}
        return {name: request for name, request in read.items() if request is not None}

    async def drop_request(self, name: str) -> None:
        """Remove a request's file."""
        await offload((self._state / "requests" / name).unlink)

    async def free_bytes(self) -> int:
        """Return the smaller of the rooms left for the table and for the outputs."""
        return min(await offload(free_bytes, self._out), await offload(free_bytes, self._state))


def _root_of(path: bytes) -> bytes:
    if not os.path.exists(path):  # noqa: PTH110 - bytes
        raise UsageError(f"there is no {show_path(path)}", hint="Check the spelling of the input.")
    return path if os.path.isdir(path) else os.path.dirname(path)  # noqa: PTH112, PTH120 - bytes


def _candidate(file: Found, prefix: str) -> Candidate:
    name = output_name(file.relative)
    return Candidate(file.path, f"{prefix}/{name}" if prefix else name, file.size, file.mtime_ns)


_VERDICTS = {
    Verdict.SUITABLE: None,
    Verdict.CHANGED: None,
    Verdict.UNSUITABLE: Event.UNSUITABLE,
    Verdict.UNREADABLE: Event.UNREADABLE,
}


def _examined(job: Job, found: Examination) -> Examined:
    return Examined(
        job=job,
        size=job.size if found.size is None else found.size,
        mtime_ns=job.mtime_ns if found.mtime_ns is None else found.mtime_ns,
        digest=found.digest,
        duration_ms=found.duration_ms,
        verdict=_VERDICTS[found.verdict],
        reason=found.reason or None,
        changing=found.verdict is Verdict.CHANGED,
    )


def _read_request(path: Path) -> Request | None:
    """Return a request; one that cannot be understood is set aside and logged."""
    try:
        return Request.from_json(path.read_text("utf-8"))
    except (UsageError, OSError, UnicodeDecodeError) as error:
        _log.warning("request not understood", file=path.name, reason=str(error))
        path.rename(path.with_suffix(".refused"))
        return None
