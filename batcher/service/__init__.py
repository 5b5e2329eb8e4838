"""The seam to the transcription service: four verbs, interchangeable implementations.

An implementation sends, lists, fetches and deletes; it never retries, never waits for a quota and never
keeps state. Retrying lives in the job table, so that it survives a restart. Every failure leaves here as a
`ServiceError` sorted by the implementation's one table (wire code × verb → `Kind`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from batcher.model import Survey, Transcript
from batcher.options import Options

CHUNK_BYTES = 256 * 1024  #: how much of a recording is read and sent at a time


class Verb(StrEnum):
    """What was asked when it failed. A submission is two verbs, because the seal changes what a failure means."""

    SUBMIT = "submit"  #: before the seal: nothing can have been accepted
    SUBMIT_SEALED = "submit-sealed"  #: after the seal: only an explicit refusal proves that nothing was accepted
    SURVEY = "survey"
    FETCH = "fetch"
    DELETE = "delete"


class Audio(Protocol):
    """A recording opened for sending."""

    size: int

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole recording, at most `CHUNK_BYTES` at a time.

        A normal end proves that exactly `size` bytes of a file that did not change meanwhile were read.
        Raises SourceError or SourceChanged otherwise.
        """


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt: what is sent, with which options, under which reference."""

    reference: str
    options: Options
    audio: Audio
    audio_url: str = ""  #: REST only: where the service itself fetches the recording; `audio` is not read then


Seal = Callable[[], Awaitable[None]]
"""Makes durable that from here on the service may accept (and bill) the attempt."""


class Service(Protocol):
    """The remote service. All verbs but `submit` are idempotent. All of them end by themselves (deadlines)."""

    name: str  #: `grpc`, `rest` or `simulated`
    account: str  #: stands for host and key, without telling them: another one may not show what was sent before
    poll_seconds: float  #: the shortest time between two surveys that is polite
    bare_uploads: bool  #: audio is an object of its own before anything transcribes it, and may be left without

    @property
    def slowed(self) -> str:
        """Return what on this side holds calls up just now, for a person, or nothing."""

    async def submit(self, submission: Submission, seal: Seal) -> str:
        """Send one recording and return the id of the object the service made of it.

        `seal` is awaited exactly once, after the last audio byte was read and before the message that lets
        the service accept the attempt. An error raised by `seal` or by the audio (SourceError) comes out
        unchanged, and then nothing was accepted. A ServiceError raised before the seal is never UNCERTAIN;
        after it, FULL, RATE, HOPELESS and STOP prove that nothing was accepted, and everything else is UNCERTAIN.
        """

    async def survey(self, *, thorough: bool = True) -> Survey:
        """Return everything the account holds, other clients' objects included.

        A look that need not be thorough may leave out what takes calls of its own, and is then not complete.
        """

    async def fetch(self, remote: str) -> Transcript:
        """Return the transcript of a completed object: all of it or a ServiceError (GONE, NOT_READY, …)."""

    async def delete(self, remote: str) -> None:
        """Remove the object. Already gone is success; still running is a ServiceError of kind NOT_READY."""


ServiceFactory = Callable[[], AbstractAsyncContextManager[Service]]
"""Opens the connection on entry and closes it on exit."""
