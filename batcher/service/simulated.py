"""The service in-process: the emulator's core behind the seam, with latencies that follow the event loop's time.

Under a loop with virtual time a night passes in a moment; the same seed gives the same night.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from batcher.clock import Dice
from batcher.emulator import faults
from batcher.emulator.account import Account, Upload
from batcher.emulator.core import Core
from batcher.emulator.faults import Fault, Plan
from batcher.emulator.objects import Config, Refusal
from batcher.emulator.tally import Call
from batcher.errors import Kind, ServiceError
from batcher.model import RemoteObject, RemoteStatus, Survey, Transcript
from batcher.options import GRPC_DEFAULT_MODEL, Options
from batcher.service import Audio, Seal, Service, Submission, Verb
from batcher.service.grpc_errors import hint, remedy, sort


@dataclass(frozen=True, slots=True)
class Pace:
    """How long calls take, in seconds, drawn evenly between `least` and `most`; an upload's bytes come on top."""

    least: float = 0.01
    most: float = 0.2
    bytes_per_second: float = 2_000_000.0


@asynccontextmanager
async def open_simulated(
    core: Core,
    key: str,
    *,
    dice: Dice | None = None,
    plan: Plan | None = None,
    pace: Pace | None = None,
    poll_seconds: float = 2.0,
) -> AsyncIterator[Service]:
    """Yield the service of the account `key` of `core`; `plan` says what goes wrong on the way."""
    yield _Simulated(core, key, dice=dice or Dice(0), plan=plan, pace=pace or Pace(), poll_seconds=poll_seconds)


class _Simulated:
    name = "simulated"
    bare_uploads = False
    slowed = ""

    def __init__(self, core: Core, key: str, *, dice: Dice, plan: Plan | None, pace: Pace, poll_seconds: float) -> None:
        self.account = f"simulated {key}"
        self.poll_seconds = poll_seconds
        self._core = core
        self._key = key
        self._dice = dice
        self._plan = plan
        self._pace = pace

    async def submit(self, submission: Submission, seal: Seal) -> str:
        """Walk through an upload as the wire does: opening, bytes, seal, effect, answer."""
        fault = self._fault(Call.SUBMIT)
        await self._travel(Call.SUBMIT)
        with _sorted(Verb.SUBMIT):
            faults.opening(fault)
            upload = self._account().upload(submission.reference, to_config(submission.options))
        with upload:
            await self._send(submission.audio, upload, fault)
            await seal()
            await self._travel(Call.SUBMIT)
            with _sorted(Verb.SUBMIT_SEALED):
                faults.passed(fault)
                faults.before_effect(fault)
                self._account()  # a key may be revoked while the bytes travel
                file = upload.accept(hidden_ms=faults.hidden_ms(fault))
        await self._answer(Call.SUBMIT, fault, Verb.SUBMIT_SEALED)
        return file.id

    async def survey(self, *, thorough: bool = True) -> Survey:  # noqa: ARG002 - one call shows everything
        """Return the list of files. It is one answer, so it is always complete."""
        fault = await self._begin(Call.SURVEY, Verb.SURVEY)
        with _sorted(Verb.SURVEY):
            objects = faults.survey(self._account(), fault)
        await self._answer(Call.SURVEY, fault, Verb.SURVEY)
        return Survey(tuple(map(_judged, objects)))

    async def fetch(self, remote: str) -> Transcript:
        """Return the words of a completed file."""
        fault = await self._begin(Call.FETCH, Verb.FETCH)
        with _sorted(Verb.FETCH):
            _, transcript = self._account().fetch(remote)
            faults.passed(fault)
        await self._answer(Call.FETCH, fault, Verb.FETCH)
        return transcript

    async def delete(self, remote: str) -> None:
        """Delete a file; an unknown one is already deleted."""
        fault = await self._begin(Call.DELETE, Verb.DELETE)
        with _sorted(Verb.DELETE):
            try:
                self._account().delete(remote)
            except Refusal as refusal:
                if refusal.code != "NOT_FOUND":
                    raise
        await self._answer(Call.DELETE, fault, Verb.DELETE)

    def _account(self) -> Account:
        return self._core.enter(self._key)

    def _fault(self, call: Call) -> Fault | None:
        fault = self._plan.decide(call) if self._plan is not None else None
        if fault is not None:
            self._core.account(self._key).tally.injected[f"{call}.{fault.trouble}"] += 1
        return fault

    async def _begin(self, call: Call, verb: Verb) -> Fault | None:
        fault = self._fault(call)
        await self._travel(call)
        with _sorted(verb):
            faults.opening(fault)
            faults.before_effect(fault)
        return fault

    async def _answer(self, call: Call, fault: Fault | None, verb: Verb) -> None:
        await self._travel(call)
        await anyio.sleep(faults.delay_ms(fault) / 1000)
        with _sorted(verb):
            faults.answering(fault)

    async def _travel(self, call: Call) -> None:
        seconds = self._dice.stream(f"simulated.{call}").uniform(self._pace.least, self._pace.most)
        await anyio.sleep(seconds / 2)

    async def _send(self, audio: Audio, upload: Upload, fault: Fault | None) -> None:
        count = 0
        async with _closing(audio.chunks()) as chunks:
            async for chunk in chunks:
                with _sorted(Verb.SUBMIT):
                    faults.passing(fault, count)
                await anyio.sleep(len(chunk) / self._pace.bytes_per_second)
                upload.add(chunk)
                count += 1


@asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close the recording's reader as soon as it is no longer read, not when it is collected."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


@contextmanager
def _sorted(verb: Verb) -> Iterator[None]:
    """Turn a refusal into the error that the wire's implementation would raise for the same code."""
    try:
        yield
    except Refusal as refusal:
        kind = sort(refusal.code, refusal.message, verb)
        said = hint(refusal.code, refusal.message) if kind is Kind.STOP else ""
        raise ServiceError(kind, f"{refusal.code}: {refusal.message}", code=refusal.code, hint=said) from refusal


def _judged(listed: RemoteObject) -> RemoteObject:
    """Return an object with what may help it, as the wire's implementation reads it from the message."""
    return listed._replace(remedy=remedy(listed.error)) if listed.status is RemoteStatus.FAILED else listed


def to_config(options: Options) -> Config:
    """Return `options` as the core keeps them."""
    return Config(
        model=options.model or GRPC_DEFAULT_MODEL,
        separate_channels=options.separate_channels,
        speakers=options.speaker_diarization,
        speaker_names=options.speaker_names,
        document=bool(options.document_formatting),
        audio_format=options.audio_format,
        sample_rate=options.sample_rate,
        channels=options.channels,
        as_sent=options.model_dump(mode="json", exclude_defaults=True),
    )
