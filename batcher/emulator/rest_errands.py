"""What the REST API does by itself, between requests: it calls webhooks, and downloads what `audio_url` names.

Both only on this machine: an imitation has no business with anybody else's servers.
"""

import ipaddress
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx

from batcher.emulator.core import Core
from batcher.emulator.objects import Failure
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_messages import STATUS_WORDS
from batcher.emulator.rest_objects import RestFile, RestJob

TICK_SECONDS = 0.05  #: how often the clock is looked at while somebody waits for a webhook

_Errand = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


class Errands:
    """Hears of every change and does what is to be done; `run` does it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._awaited: set[RestJob] = set()  #: not over, and somebody waits for the webhook
        self._errands: deque[_Errand] = deque()
        self._news = anyio.Event()
        core.watch_rest(self._heard)

    async def run(self) -> None:
        """Work until cancelled."""
        async with anyio.create_task_group() as tasks:
            await self._news.wait()
            async with httpx.AsyncClient(trust_env=False) as client:
                tasks.start_soon(self._tick, name="emulator ticks")
                while True:
                    while self._errands:
                        tasks.start_soon(self._errands.popleft(), client, name="emulator errand")
                    self._news = anyio.Event()
                    await self._news.wait()

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            if self._awaited:
                self._core.advance_rest()

    def _heard(self, account: RestAccount, change: str, item: RestFile | RestJob) -> None:
        if not isinstance(item, RestJob) or item.foreign:
            return
        if change == "accepted" and item.asked.webhook_url is not None:
            self._awaited.add(item)
            self._news.set()
        if change == "accepted" and item.asked.audio_url is not None and account.knobs.rest.fetch_urls:
            self._add(partial(_download, account, item))
        if change != "accepted" and item in self._awaited:
            self._awaited.discard(item)
            if change == "ended":
                self._add(partial(_deliver, account, item))

    def _add(self, errand: _Errand) -> None:
        self._errands.append(errand)
        self._news.set()


def is_here(url: str) -> bool:
    """Tell whether a URL names this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _deliver(account: RestAccount, job: RestJob, client: httpx.AsyncClient) -> None:
    """Tell the webhook how a transcription ended, again and again for a short while when it does not listen."""
    knobs = account.knobs.rest
    if not is_here(job.asked.webhook_url or ""):
        account.notified(job, "elsewhere")
        return
    for wait_ms in (0, *knobs.webhook_retry_ms):
        await anyio.sleep(wait_ms / 1000)
        status = await _post(job, client, knobs.webhook_timeout_ms / 1000)
        if status is not None and 200 <= status < 300:  # noqa: PLR2004 - HTTP's own
            account.notified(job, "delivered", status)
            return
        account.notified(job, "failed", status)
    account.notified(job, "given up")


async def _post(job: RestJob, client: httpx.AsyncClient, seconds: float) -> int | None:
    asked = job.asked
    name, value = asked.webhook_auth_header_name, asked.webhook_auth_header_value
    headers = {name: value} if name and value is not None else {}
    body = {"id": job.id, "status": STATUS_WORDS[job.status]}
    try:
        answer = await client.post(asked.webhook_url or "", json=body, headers=headers, timeout=seconds)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError):
        return None
    return answer.status_code


async def _download(account: RestAccount, job: RestJob, client: httpx.AsyncClient) -> None:
    """Fetch the recording of a transcription; a failure is the transcription's."""
    url, intake = job.asked.audio_url or "", account.intake()
    try:
        if not is_here(url):
            raise httpx.UnsupportedProtocol("Only this machine's own addresses are downloaded.")
        async with client.stream("GET", url) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                intake.add(chunk)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        intake.audio().discard()
        account.failed(job, Failure(f"The audio could not be downloaded: {error}", "file_download_error"))
        return
    account.arrived(job, intake.audio())
