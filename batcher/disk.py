"""The seam to this machine's files: what the stages need of them, so that a night can be simulated."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from batcher.model import Job
from batcher.requests import Request
from batcher.service import Audio
from batcher.store.admission import Candidate, Examined


class Recording(Audio, Protocol):
    """A recording opened for sending; its digest is known when all of it was read."""

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of everything read."""


class Disk(Protocol):
    """This machine's files. Only `write` changes anything, and only inside OUT."""

    async def roots(self) -> list[bytes]:
        """Return the inputs as absolute paths. Raises UsageError for one that does not exist."""

    def folder_name(self, root: bytes) -> str:
        """Return the name that mirrors an input root inside OUT."""

    def scan(self, prefixes: dict[bytes, str]) -> AsyncIterator[list[Candidate]]:
        """Find the recordings below every root, in a stable order, some hundred at a time."""

    async def examine(self, jobs: Sequence[Job]) -> list[Examined]:
        """Look into recordings: can they be sent, how long are they, and their digest where `compare` asks."""

    def recording(self, job: Job) -> AbstractAsyncContextManager[Recording]:
        """Open a recording as the table knows it. Raises SourceError or SourceChanged."""

    async def write(self, outputs: Sequence[tuple[str, bytes]], *, replace: bool) -> None:
        """Write outputs inside OUT, each whole or not at all. Raises OutputError or MachineRefuses.

        With `replace` files of these names are this job's own earlier outputs and may be replaced.
        """

    async def missing(self, outputs: Sequence[str]) -> list[str]:
        """Return those of the outputs that are not there."""

    async def requests(self) -> dict[str, Request]:
        """Return the requests that were left in the batch's directory, by name, in the order they were made."""

    async def asked(self) -> bool:
        """Tell whether any request is left there that can be carried out."""

    async def drop_request(self, name: str) -> bool:
        """Remove a request that was carried out, and tell whether it is gone for good."""

    async def free_bytes(self) -> int:
        """Return how much room is left where the table and the outputs are."""
