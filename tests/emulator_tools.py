"""What the tests of the emulator and of the services share: a clock set by hand, recordings, scripted faults."""

import hashlib
import io
import wave
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from batcher.emulator.core import Core
from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.objects import Config, File, Recognizer
from batcher.emulator.recognizers import Echo
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_bodies import CreateTranscription
from batcher.emulator.rest_models import CURRENT
from batcher.emulator.rest_objects import RestFile, RestJob
from batcher.emulator.rest_refusals import RestRefusal
from batcher.emulator.tally import Call
from batcher.errors import Kind, ServiceError, SourceError
from batcher.options import Options
from batcher.service import Audio, Service, Submission

START = 1_700_000_000_000  #: 2023-11-14, in milliseconds


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> int:
        """Return UTC milliseconds."""
        return self.time

    def pass_ms(self, ms: int) -> None:
        """Let time pass."""
        self.time += ms


class Tape:
    """A recording in memory, as the seam wants it."""

    def __init__(self, content: bytes, chunk: int = 1000) -> None:
        self.content = content
        self.size = len(content)
        self._chunk = chunk

    @property
    def digest(self) -> bytes:
        """SHA-256 of the recording."""
        return hashlib.sha256(self.content).digest()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the recording in pieces."""
        for start in range(0, self.size, self._chunk):
            yield self.content[start : start + self._chunk]


def new_core(clock: HandClock, recognizer: Recognizer | None = None, **knobs: Any) -> Core:
    """Return a core with these knobs turned."""
    return Core(clock, recognizer or Echo(), Knobs(**knobs))


def send(core: Core, reference: str = "r", content: bytes = b"audio", key: str = "key", **config: Any) -> File:
    """Upload a recording the whole way."""
    with core.enter(key).upload(reference, Config(**config)) as upload:
        upload.add(content)
        return upload.accept()


class Scripted:
    """A plan that does what the test says, one fault per call, and then nothing."""

    def __init__(self) -> None:
        self._next: dict[Call, deque[Fault]] = {}

    def add(self, call: Call, trouble: Trouble, code: str = "UNAVAILABLE", **details: int) -> None:
        """Let the next call of this verb go wrong."""
        self._next.setdefault(call, deque()).append(Fault(trouble, code, **details))

    def decide(self, verb: Call) -> Fault | None:
        """Return the next fault of the script."""
        waiting = self._next.get(verb)
        return waiting.popleft() if waiting else None


@dataclass
class Bench:
    """An open service, and what stands behind it."""

    service: Service
    account: Any  #: of the API at hand
    clock: HandClock
    plan: Scripted
    sealed: list[str]

    async def submit(self, reference: str = "r", audio: Audio | None = None, **options: Any) -> str:
        """Send a recording; the seal is noted in `sealed`."""

        async def seal() -> None:
            self.sealed.append(reference)

        return await self.service.submit(Submission(reference, Options(**options), audio or Tape(b"some audio")), seal)

    def finish_all(self) -> None:
        """Let the service work off everything."""
        self.clock.pass_ms(60_000)


async def kind_of(call: Callable[..., Any], *args: Any, **named: Any) -> Kind:
    """Return the kind of the error that the call must end with."""
    with pytest.raises(ServiceError) as caught:
        await call(*args, **named)
    return caught.value.kind


class BrokenTape(Tape):
    """A recording that cannot be read to its end."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield some, then fail."""
        yield self.content[:10]
        raise SourceError("the disk is broken")


def stereo_wav() -> bytes:
    """Return a quarter of a second of silence on two channels."""
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(8000))
    return target.getvalue()


def rest_account(clock: HandClock, rest: RestKnobs | None = None, **knobs: Any) -> RestAccount:
    """Return an account with these knobs turned."""
    return Core(clock, Echo(), Knobs(rest=rest or RestKnobs(), **knobs)).enter_rest("key")


def store_file(
    account: RestAccount, content: bytes = b"audio", reference: str = "r", filename: str = "a.wav"
) -> RestFile:
    """Upload a recording the whole way."""
    with account.upload() as upload:
        upload.add(content)
        return upload.accept(filename, reference)


def create_job(account: RestAccount, file: RestFile | None = None, reference: str = "r", **options: Any) -> RestJob:
    """Create a transcription of a file, or of a URL when there is none."""
    source = {"file_id": file.id} if file is not None else {"audio_url": "http://example.com/a/talk.mp3?x=1"}
    options = {"model": CURRENT, **source, **options}
    return account.create(CreateTranscription(client_reference_id=reference, **options))


def refused_rest(call: Any, *args: Any, **named: Any) -> RestRefusal:
    """Return the refusal that the call must end with."""
    with pytest.raises(RestRefusal) as caught:
        call(*args, **named)
    return caught.value
