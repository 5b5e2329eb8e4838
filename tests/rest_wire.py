"""What the tests of the REST face on the wire share: an emulator that listens, and a client without an SDK."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from batcher.emulator.core import Core
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_models import CURRENT
from batcher.emulator.server import EmulatorSettings, serve
from tests.emulator_tools import HandClock, Scripted

KEY = "key"


@dataclass
class Wire:
    """An emulator behind a socket, a client of it, and what stands behind it."""

    client: httpx.AsyncClient
    account: RestAccount
    clock: HandClock
    plan: Scripted
    core: Core

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """Ask for something below ``/v1``."""
        return await self.client.get(path, params=query)

    async def upload(self, content: bytes = b"audio", filename: str = "a.wav", **texts: str) -> httpx.Response:
        """Send a file."""
        return await self.client.post("/files", files={"file": (filename, content)}, data=texts)

    async def create(self, **asked: Any) -> httpx.Response:
        """Create a transcription, of a URL when no file is named."""
        source = {} if "file_id" in asked else {"audio_url": "http://example.com/talk.mp3"}
        return await self.client.post("/transcriptions", json={"model": CURRENT, **source, **asked})

    async def completed(self, **asked: Any) -> str:
        """Create a transcription, let it end, and return its id."""
        answer = await self.create(**asked)
        self.clock.pass_ms(10_000)
        return str(answer.json()["id"])

    async def delete(self, path: str) -> httpx.Response:
        """Delete something below ``/v1``."""
        return await self.client.delete(path)


@asynccontextmanager
async def wire(rest: RestKnobs | None = None, *, key: str = KEY, **knobs: Any) -> AsyncIterator[Wire]:
    """Run an emulator with these knobs, its clock set by hand, its faults given call by call."""
    clock, plan = HandClock(), Scripted()
    settings = EmulatorSettings(grpc=False, knobs=Knobs(rest=rest or RestKnobs(), **knobs))
    async with serve(settings, clock=clock, plan=plan) as running:
        headers = {"Authorization": f"Bearer {key}"}
        base = f"{running.rest_url}/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, verify=False) as client:
            yield Wire(client, running.core.rest(KEY), clock, plan, running.core)


def said(answer: httpx.Response) -> tuple[int, str]:
    """Return status and type of an error."""
    return answer.status_code, answer.json()["error_type"]
