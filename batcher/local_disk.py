"""This machine's files behind the `Disk` seam: everything blocking goes through `offload`."""

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import structlog

from batcher.disk import Recording
from batcher.errors import UsageError
from batcher.files import (
    Examination,
    Found,
    Input,
    Inputs,
    NameTaken,
    OutputError,
    Stat,
    Verdict,
    WalkProblem,
    WalkRules,
    as_flac,
    batches,
    examine,
    free_bytes,
    missing_outputs,
    offload,
    open_recording,
    output_name,
    url_output,
    write_output,
)
from batcher.killpoints import reach
from batcher.left_requests import LeftRequests
from batcher.model import FileBounds, Job
from batcher.requests import Request
from batcher.shard import Shard
from batcher.states import Event
from batcher.store.admission import Candidate, Examined

_ANOTHER_SHARDS = (
    "if it is another shard's, run this one with another OUT, and with --db for this table: it is paid for"
)
_URLS = 1_000  #: URLs brought into the table at a time

_log = structlog.get_logger()


class LocalDisk:
    """Inputs, outputs and requests of one batch on this machine."""

    def __init__(
        self,
        inputs: Inputs,
        out: Path,
        state: Path,
        *,
        rules: WalkRules,
        bounds: FileBounds,
        raw: bool,
        shard: Shard | None = None,
    ) -> None:
        self._inputs = inputs
        self._out = out
        self._state = state
        self._left = LeftRequests(state / "requests")
        self._rules = rules
        self._bounds = bounds
        self._raw = raw
        self._shard = shard
        #: What the scan could not look into; the closing lines tell of it.
        self.problems: list[WalkProblem] = []
        self.elsewhere = 0  #: recordings that the scan left to other shards

    async def roots(self) -> list[bytes]:
        """Return the directories that outputs mirror."""
        return self._inputs.roots

    def folder_name(self, root: bytes) -> str:
        """Return the safe name of a root's own directory."""
        return output_name(root.rpartition(b"/")[2] or b"root")

    async def scan(self, prefixes: dict[bytes, str]) -> AsyncIterator[list[Candidate]]:
        """Walk every input in the order given, then take the URLs."""
        self.problems.clear()
        self.elsewhere = 0
        for each in self._inputs.paths:
            async for found in self._found(each):
                ours = [file for file in found if self._ours(each.named(file.path))]
                yield [_candidate(_below(file.path, each.root), file, prefixes[each.root]) for file in ours]
        urls = self._inputs.urls
        for start in range(0, len(urls), _URLS):
            taken = [url for url in urls[start : start + _URLS] if self._ours(url)]
            yield [Candidate(url, url_output(url, alone=self._shard is None), 0, 0) for url in taken]

    def _ours(self, name: bytes) -> bool:
        """Tell whether a recording belongs to this shard, and count it otherwise."""
        ours = self._shard is None or self._shard.holds(name)
        self.elsewhere += not ours
        return ours

    async def _found(self, each: Input) -> AsyncIterator[list[Found]]:
        """Walk one input. One that a list names and that is not there is a problem of its own."""
        try:
            async for found in batches(each.path, self._rules, self.problems.append):
                yield found
        except UsageError as error:
            if not each.listed:
                raise
            self.problems.append(WalkProblem(each.path, str(error)))

    async def examine(self, jobs: Sequence[Job]) -> list[Examined]:
        """Look into the recordings in a thread. What a URL leads to is the service's to find out."""
        return await offload(lambda: [_unseen(job) if job.url else self._examine(job) for job in jobs])

    def _examine(self, job: Job) -> Examined:
        return _examined(job, examine(job.path, job.compare, self._bounds, self._raw))

    def recording(self, job: Job) -> AbstractAsyncContextManager[Recording]:
        """Open a recording, provided that it is still what the table knows."""
        if job.url:
            return nullcontext(Nothing(job.path))
        if job.convert:
            return self._converted(job)
        return open_recording(job.path, Stat(job.size, job.mtime_ns))

    @asynccontextmanager
    async def _converted(self, job: Job) -> AsyncIterator[Recording]:
        """Open a recording as FLAC. The digest stays the original's, which is read whole for it."""
        known = Stat(job.size, job.mtime_ns)
        async with open_recording(job.path, known) as original:
            async for _chunk in original.chunks():
                pass
        async with as_flac(job.path, self._state) as copy:
            reach("converted")
            async with open_recording(job.path, known):
                pass  # it did not change while it was converted
            status = await offload(copy.stat)
            async with open_recording(os.fsencode(copy), Stat(status.st_size, status.st_mtime_ns)) as recording:
                yield Converted(recording, original.digest)

    async def write(self, outputs: Sequence[tuple[str, bytes]], *, replace: bool) -> None:
        """Write the outputs of one job."""
        await offload(self._write, outputs, replace)

    def _write(self, outputs: Sequence[tuple[str, bytes]], replace: bool) -> None:
        owner = self._shard.tag if self._shard else ""
        try:
            for name, data in outputs:
                write_output(self._out, name, data, replace=replace, owner=owner)
        except NameTaken as error:
            raise (OutputError(f"{error}; {_ANOTHER_SHARDS}") if owner else error) from None

    async def missing(self, outputs: Sequence[str]) -> list[str]:
        """Return those of the outputs that are not there."""
        return await offload(missing_outputs, self._out, outputs)

    async def requests(self) -> dict[str, Request]:
        """Read what was left in the requests directory."""
        return await self._left.requests()

    async def asked(self) -> bool:
        """Tell whether any request is left in the requests directory that can be carried out."""
        return await self._left.asked()

    async def drop_request(self, name: str) -> bool:
        """Remove a request's file, and tell whether it is gone."""
        return await self._left.drop_request(name)

    async def free_bytes(self) -> int:
        """Return the smaller of the rooms left for the table and for the outputs."""
        return min(await offload(free_bytes, self._out), await offload(free_bytes, self._state))


NO_CHUNKS: tuple[bytes, ...] = ()


class Nothing:
    """The recording of a URL: nothing is sent, and the URL stands for the content that nobody here has seen."""

    size = 0

    def __init__(self, url: bytes) -> None:
        self.digest = url_digest(url)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield nothing."""
        for chunk in NO_CHUNKS:
            yield chunk


class Converted:
    """A recording sent in another format: the bytes of the copy, the digest of the original."""

    def __init__(self, copy: Recording, digest: bytes) -> None:
        self._copy = copy
        self.size = copy.size
        self.digest = digest

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the copy."""
        return self._copy.chunks()


def url_digest(url: bytes) -> bytes:
    """Return what stands for the content of a URL, by which the table knows it again."""
    return hashlib.sha256(url).digest()


def _below(path: bytes, root: bytes) -> bytes:
    """Return a recording's path below its root, which its outputs mirror."""
    return path.removeprefix(os.path.join(root, b""))  # noqa: PTH118 - bytes


def _candidate(below: bytes, file: Found, prefix: str) -> Candidate:
    name = output_name(below)
    return Candidate(file.path, f"{prefix}/{name}" if prefix else name, file.size, file.mtime_ns)


def _unseen(job: Job) -> Examined:
    return Examined(job, job.size, job.mtime_ns, digest=url_digest(job.path))


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
