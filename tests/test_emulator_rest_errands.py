"""What the REST face does by itself: webhooks with retries, and downloads of what ``audio_url`` names."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import pytest

from batcher.emulator.knobs import RestKnobs
from batcher.emulator.objects import Failure
from batcher.emulator.recognizers import echo_text
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_errands import is_here
from batcher.emulator.rest_objects import RestFile, RestJob
from tests.emulator_tools import Tape
from tests.rest_wire import Wire, wire

pytestmark = pytest.mark.anyio

QUICK = RestKnobs(webhook_retry_ms=(1, 1))
DOWNLOADS = RestKnobs(fetch_urls=True)


@dataclass
class Listener:
    """A small HTTP server that answers what the test says, and keeps what it was asked."""

    url: str
    statuses: list[int]
    body: bytes
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def answer(self, stream: anyio.abc.SocketStream) -> None:
        """Answer one request and close the connection."""
        async with stream:
            text = b""
            while b"\r\n\r\n" not in text:
                text += await stream.receive()
            head, _, body = text.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            while lengths and len(body) < int(lengths[0].split(b":")[1]):
                body += await stream.receive()
            self.asked.append((head.decode(), body))
            status = self.statuses.pop(0) if self.statuses else 200
            begin = f"HTTP/1.1 {status} X\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
            await stream.send(begin.encode() + self.body)


@asynccontextmanager
async def listening(*statuses: int, body: bytes = b"") -> AsyncIterator[Listener]:
    """Run a listener for the length of the block; it answers these statuses, then always 200."""
    server = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = server.extra(anyio.abc.SocketAttribute.local_port)
    listener = Listener(f"http://127.0.0.1:{port}/talk.wav?mine=1", list(statuses), body)
    async with server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, listener.answer)
        yield listener
        tasks.cancel_scope.cancel()


async def job_after(api: Wire, create: Callable[[], Awaitable[Any]], change: str, times: int = 1) -> dict[str, Any]:
    """Return how a transcription looks after something happened to one so many times; time runs on meanwhile."""
    heard: list[RestJob] = []
    enough = anyio.Event()

    def hear(_account: RestAccount, changed: str, item: RestFile | RestJob) -> None:
        if changed == change and isinstance(item, RestJob):
            heard.append(item)
        if len(heard) >= times:
            enough.set()

    api.core.watch_rest(hear)
    await create()
    api.clock.pass_ms(10_000)
    if change == "ended":
        api.core.advance_rest()
    with anyio.fail_after(10):
        await enough.wait()
    answer: dict[str, Any] = (await api.get(f"/transcriptions/{heard[-1].id}")).json()
    return answer


async def test_a_webhook_is_called_when_a_transcription_ends_though_nobody_asks() -> None:
    """With id and status and nothing else, the header that was given, and the query of its URL."""
    async with wire(QUICK) as api, listening(204) as hook:
        secret = {"webhook_auth_header_name": "X-Secret", "webhook_auth_header_value": "very secret"}
        job = await job_after(api, lambda: api.create(webhook_url=hook.url, **secret), "notified")
        [(head, body)] = hook.asked
        assert head.startswith("POST /talk.wav?mine=1 ")
        assert "X-Secret: very secret" in head
        assert json.loads(body) == {"id": job["id"], "status": "completed"}
        assert job["webhook_status_code"] == 204
        assert api.account.tally.webhooks == {"delivered": 1}


async def test_a_webhook_hears_of_failures() -> None:
    """The status is ``error``."""
    async with wire(QUICK) as api, listening() as hook:

        async def fail() -> None:
            api.account.finish((await api.create(webhook_url=hook.url)).json()["id"], Failure("no"))

        await job_after(api, fail, "notified")
        assert json.loads(hook.asked[0][1])["status"] == "error"


async def test_a_webhook_that_does_not_listen_is_called_again() -> None:
    """Until it answers well; its last status is kept."""
    async with wire(QUICK) as api, listening(500, 404) as hook:
        job = await job_after(api, lambda: api.create(webhook_url=hook.url), "notified", 3)
        assert len(hook.asked) == 3
        assert (job["webhook_status_code"], api.account.tally.webhooks) == (200, {"failed": 2, "delivered": 1})


async def test_a_webhook_that_never_listens_is_given_up() -> None:
    """After the last of the knob's waits."""
    async with wire(QUICK) as api, listening(*[503] * 10) as hook:
        job = await job_after(api, lambda: api.create(webhook_url=hook.url), "notified", 4)
        assert (job["webhook_status_code"], api.account.tally.webhooks) == (503, {"failed": 3, "given up": 1})


async def test_a_webhook_that_is_not_there_has_no_status() -> None:
    """Nothing was answered. A header that HTTP cannot carry is nobody's crash."""
    async with listening() as hook:
        gone = hook.url
    async with wire(QUICK) as api:
        odd = {"webhook_auth_header_name": "X-Ünïcode ", "webhook_auth_header_value": "\N{SNOWMAN}"}
        for more in ({}, odd):
            job = await job_after(api, lambda more=more: api.create(webhook_url=gone, **more), "notified", 4)  # type: ignore[misc]
            assert job["webhook_status_code"] is None
        assert api.account.tally.webhooks["given up"] == 2


async def test_webhooks_of_other_machines_are_left_alone() -> None:
    """The emulator calls nobody but this machine."""
    async with wire(QUICK) as api:
        job = await job_after(api, lambda: api.create(webhook_url="http://192.0.2.1/hook"), "notified")
        assert (job["webhook_status_code"], api.account.tally.webhooks) == (None, {"elsewhere": 1})


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:80/x", True),
        ("https://localhost/", True),
        ("http://[::1]:8/", True),
        ("http://127.0.0.1.example.com/", False),
        ("http://example.com/", False),
        ("http://user@10.0.0.1/", False),
        ("http://[broken/", False),
        ("", False),
    ],
)
def test_what_is_this_machine(url: str, here: bool) -> None:
    """Loopback, by name or by number."""
    assert is_here(url) is here


async def test_a_url_of_this_machine_is_downloaded_by_a_knob() -> None:
    """Then its content is the sound."""
    async with wire(DOWNLOADS) as api, listening(body=b"some audio" * 1000) as source:
        job = await job_after(api, lambda: api.create(audio_url=source.url), "ended")
        assert (job["status"], job["filename"], job["audio_duration_ms"]) == ("completed", "talk.wav", 625)
        text = (await api.get(f"/transcriptions/{job['id']}/transcript")).json()["text"]
        assert text == echo_text(Tape(b"some audio" * 1000).digest)


async def test_a_url_that_cannot_be_downloaded_fails_its_transcription() -> None:
    """Not there, or not on this machine."""
    async with wire(DOWNLOADS) as api, listening(404) as source:
        for url in (source.url, "http://192.0.2.1/talk.wav"):
            job = await job_after(api, lambda url=url: api.create(audio_url=url), "ended")  # type: ignore[misc]
            assert (job["status"], job["error_type"]) == ("error", "file_download_error")
