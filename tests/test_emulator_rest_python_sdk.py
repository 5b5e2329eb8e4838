"""The service's official Python SDK, unchanged, against the emulator's REST face: both its clients, and its errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread
from soniox import AsyncSonioxClient, SonioxClient
from soniox.errors import (
    SonioxAPIError,
    SonioxAuthenticationError,
    SonioxConflictError,
    SonioxInvalidRequestError,
    SonioxNotFoundError,
    SonioxPermissionDeniedError,
    SonioxRateLimitError,
    SonioxServerError,
)
from soniox.types import CreateTranscriptionConfig, StructuredContext, TranslationConfig

from batcher.emulator.faults import Trouble
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.recognizers import echo_text
from batcher.emulator.rest_models import CURRENT
from batcher.emulator.rest_refusals import Bucket
from batcher.emulator.server import EmulatorSettings, Running, serve
from batcher.emulator.tally import Call
from tests.emulator_tools import Scripted, Tape

pytestmark = pytest.mark.anyio

KEY = "key"
TAPE = Tape(b"some audio")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
AT_ONCE = {"queue_ms": 0, "min_work_ms": 0, "max_work_ms": 0}


@asynccontextmanager
async def sdk(
    rest: RestKnobs | None = None, plan: Scripted | None = None, **knobs: Any
) -> AsyncIterator[tuple[AsyncSonioxClient, Running]]:
    """Run an emulator and open the SDK's client of it."""
    settings = EmulatorSettings(grpc=False, knobs=Knobs(rest=rest or RestKnobs(), **(AT_ONCE | knobs)))
    async with serve(settings, plan=plan) as running:
        client = AsyncSonioxClient(api_key=KEY, api_base_url=f"{running.rest_url}/v1")
        try:
            yield client, running
        finally:
            await client.aclose()


async def test_the_whole_way() -> None:
    """Upload, create with every option, wait, transcript, and both deletes."""
    async with sdk(queue_ms=20, min_work_ms=20, max_work_ms=20) as (client, running):
        file = await client.files.upload(TAPE.content, filename="talk.wav", client_reference_id="mine")
        assert (file.filename, file.size, file.client_reference_id) == ("talk.wav", 10, "mine")
        config = CreateTranscriptionConfig(
            language_hints=["en", "de"],
            language_hints_strict=True,
            enable_speaker_diarization=True,
            enable_language_identification=True,
            translation=TranslationConfig(type="one_way", target_language="de"),
            context=StructuredContext(general={"topic": "fjords"}, terms=["fjord"], translation_terms={"a": "b"}),
            webhook_url="https://example.com/hook",
        )
        created = await client.stt.create(file_id=file.id, client_reference_id="mine", config=config)
        assert (created.status, created.model, created.client_reference_id) == ("queued", CURRENT, "mine")
        done = await client.stt.wait(created.id, interval_sec=0.01, timeout_sec=10)
        assert done.status == "completed"
        transcript = await client.stt.get_transcript(created.id)
        assert transcript.text == echo_text(TAPE.digest)
        assert {token.speaker for token in transcript.tokens} == {"1", "2"}
        assert {token.translation_status for token in transcript.tokens} == {"original", "translation"}
        await client.stt.destroy(created.id)
        assert await client.stt.get_or_none(created.id) is None
        assert await client.files.get_or_none(file.id) is None
        assert (running.core.rest(KEY).files, running.core.rest(KEY).jobs) == ([], [])


async def test_one_call_does_it_all(tmp_path: Path) -> None:
    """Also from a path, also with a clean-up at its end; and from a URL."""
    path = tmp_path / "a talk ☃.wav"
    path.write_bytes(TAPE.content)
    async with sdk() as (client, running):
        transcript = await client.stt.transcribe_and_wait_with_tokens(file=path, delete_after=True)
        assert transcript.text == echo_text(TAPE.digest)
        assert (running.core.rest(KEY).files, running.core.rest(KEY).jobs) == ([], [])
        job = await client.stt.transcribe_and_wait(audio_url="https://example.com/talk.mp3")
        assert (job.status, job.filename) == ("completed", "talk.mp3")
        translated = await client.stt.translate_and_wait_with_tokens(file=b"x", between=("en", "de"))
        assert {token.language for token in translated.tokens} == {"en", "de"}


async def test_lists_of_small_pages_and_deleting_everything() -> None:
    """Pages while the list shrinks under them; both kinds are gone at the end."""
    async with sdk() as (client, running):
        for number in range(7):
            file = await client.files.upload(b"x", client_reference_id=str(number))
            await client.stt.create(file_id=file.id, client_reference_id=str(number))
        names = [str(number) for number in reversed(range(7))]
        assert [file.client_reference_id async for file in client.files.list_all(limit=2)] == names
        assert [job.client_reference_id async for job in client.stt.list_all(limit=3)] == names
        assert ((await client.files.count()).total, (await client.stt.count()).total) == (7, 7)
        await client.stt.delete_all(limit=2)
        await client.files.delete_all(limit=3)
        assert (running.core.rest(KEY).files, running.core.rest(KEY).jobs) == ([], [])


async def test_destroying_everything_takes_the_files_too() -> None:
    """The SDK deletes a transcription and then its file."""
    async with sdk() as (client, running):
        for _ in range(3):
            await client.stt.transcribe(file=b"x")
        await client.stt.destroy_all(limit=2)
        assert (running.core.rest(KEY).files, running.core.rest(KEY).jobs) == ([], [])


async def test_models_and_the_usage_log() -> None:
    """Both are read into the SDK's own types."""
    async with sdk() as (client, _):
        assert CURRENT in {model.id for model in (await client.models.list()).models}
        await client.stt.transcribe_and_wait(file=b"x", client_reference_id="mine")
        now = datetime.now(UTC)
        window = ((now - timedelta(days=1)).isoformat(), (now + timedelta(days=1)).isoformat())
        [entry] = (await client.usage_logs.list(*window)).usage_logs
        assert (entry.client_reference_id, entry.model, float(entry.cost_usd)) == ("mine", CURRENT, 0.0)


async def test_each_refusal_is_the_error_that_the_sdk_has_for_it() -> None:
    """With status, type and request id; 402 has no class of its own there."""
    async with sdk(pending=0) as (client, running):
        account = running.core.rest(KEY)

        async def refused(kind: type[SonioxAPIError], error_type: str, call: Any) -> None:
            with pytest.raises(SonioxAPIError) as caught:
                await call
            assert type(caught.value) is kind
            assert caught.value.api_error is not None
            assert (caught.value.api_error.error_type, bool(caught.value.request_id)) == (error_type, True)

        url = "https://example.com/a"
        await refused(SonioxInvalidRequestError, "invalid_request", client.stt.create(audio_url=url, model="stt-rt-v5"))
        await refused(SonioxInvalidRequestError, "invalid_cursor", client.files.list(cursor="nonsense"))
        await refused(SonioxNotFoundError, "file_not_found", client.files.get(UNKNOWN))
        await refused(SonioxNotFoundError, "transcription_not_found", client.stt.get_transcript(UNKNOWN))
        await refused(SonioxRateLimitError, "limit_exceeded", client.stt.create(audio_url=url))
        [waiting] = account.add_foreign(force=True)
        await refused(SonioxConflictError, "transcription_invalid_state", client.stt.get_transcript(waiting))
        await refused(SonioxConflictError, "transcription_invalid_state", client.stt.delete(waiting))
        account.balance_exhausted = True
        await refused(SonioxAPIError, "organization_balance_exhausted", client.stt.create(audio_url=url))
        account.forbidden = frozenset(Bucket)
        await refused(SonioxPermissionDeniedError, "permission_denied", client.files.count())
        account.revoked = True
        await refused(SonioxAuthenticationError, "unauthenticated", client.models.list())


async def test_gateways_and_broken_connections_are_told_apart() -> None:
    """HTML is a server error without a body; a lost answer is an error of the network."""
    plan = Scripted()
    async with sdk(plan=plan) as (client, _):
        plan.add(Call.SURVEY, Trouble.REFUSED, "UNAVAILABLE")
        with pytest.raises(SonioxServerError) as caught:
            await client.stt.list()
        assert (caught.value.status_code, caught.value.api_error) == (503, None)
        plan.add(Call.UPLOAD, Trouble.LOST_AFTER)
        with pytest.raises(httpx.TransportError):
            await client.files.upload(b"x")
        assert (await client.files.count()).total == 1


async def test_tokens_without_their_optional_keys_are_understood() -> None:
    """Absent or null, it is the same to the SDK."""
    async with sdk(RestKnobs(null_keys=False)) as (client, _):
        transcript = await client.stt.transcribe_and_wait_with_tokens(file=TAPE.content)
        assert {(token.speaker, token.language) for token in transcript.tokens} == {(None, None)}


async def test_the_blocking_client_works_too() -> None:
    """It talks in a thread, the emulator answers meanwhile."""

    def work(url: str) -> tuple[str, int, int]:
        with SonioxClient(api_key=KEY, api_base_url=f"{url}/v1") as client:
            client.stt.transcribe(file=b"x")
            transcript = client.stt.transcribe_and_wait_with_tokens(file=TAPE.content, wait_interval_sec=0.01)
            listed = len(list(client.stt.list_all(limit=1)))
            client.stt.delete_all()
            client.files.delete_all(limit=1)
            return transcript.text, listed, client.files.count().total + client.stt.count().total

    async with sdk() as (_, running):
        with anyio.fail_after(30):
            assert await to_thread.run_sync(work, running.rest_url) == (echo_text(TAPE.digest), 2, 0)
