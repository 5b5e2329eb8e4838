"""The service's own client with what a night needs: deadlines per verb, a pace, one pool, and nothing read unbounded.

The requests go through aiohttp, which answers httpx's calls: a request costs it a fifth of the time that httpx's
own transport takes (0.5 against 2.4 ms of a CPU over TLS, measured with httpx 0.28 and aiohttp 3.14), a sent
megabyte three quarters.
"""

import ssl
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anyio
import httpx
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport
from pydantic import ValidationError
from soniox import AsyncSonioxClient  # noqa: TID251 - this is the rest implementation
from soniox.errors import SonioxAPIError, SonioxError

from batcher import __version__
from batcher.errors import UsageError
from batcher.service.rest_budget import Bucket, Budget, Urgency
from batcher.service.rest_errors import TOO_MANY, is_about_pace, is_about_room
from batcher.service.shared import Key, authority, is_loopback, split_host

HOSTS = {
    "us": "https://api.soniox.com",
    "eu": "https://api.eu.soniox.com",
    "jp": "https://api.jp.soniox.com",
}  #: the service's regions, by its documentation; a key works in that of its project only
DEFAULT_REGION = "us"

CONNECT_SECONDS = 20.0
MAX_ANSWER_BYTES = 128 * 1024 * 1024  #: more than any transcript of the documented limits can be
MAX_LIST_BYTES = 64 * 1024 * 1024  #: of every other answer: a page of 1,000 with the longest contexts has 40 MB
MAX_ERROR_BYTES = 256 * 1024  #: what follows in a refusal is not read: its status counts in any case
MAX_VALUES = 8_000_000  #: in one answer, by its commas; the longest transcript has half of it
MAX_OBJECTS = 700_000  #: in one answer, by its brackets: each takes 300 bytes of memory; the longest has half of it
WRITE_AHEAD_BYTES = 64 * 1024  #: an upload may be so far ahead of the network; asyncio's own is 512 KiB for TLS
KEEPALIVE_SECONDS = 15.0  #: shorter than any server's, so that a connection is not used just as it is closed


class BadAnswer(Exception):
    """The service answered with what makes no sense."""


#: What a call may end with besides an answer and a refusal (`SonioxAPIError`): an answer that cannot be read, …
UNREADABLE_ANSWERS = (
    BadAnswer, SonioxError, ValidationError, JSONDecodeError, UnicodeDecodeError, RecursionError, httpx.DecodingError,
)  # fmt: skip
#: … or none at all. All of them also stand for calls that were never sent.
BROKEN_CALLS = (httpx.HTTPError, aiohttp.ClientError, OSError)


@dataclass(frozen=True, slots=True)
class Manner:
    """How one sort of request is made: when its turn comes, and how long it may take (seconds)."""

    bucket: Bucket
    urgency: Urgency
    whole: float  #: the longest for everything, from its turn on
    silence: float  #: the longest in which nothing comes

    @property
    def most(self) -> int:
        """Return how many bytes the answer may have."""
        return MAX_ANSWER_BYTES if self.urgency is Urgency.FETCH else MAX_LIST_BYTES


def manner_of(method: str, path: str) -> Manner:
    """Return how a request is made."""
    bucket = Bucket.TRANSCRIPTIONS if path.startswith("/transcriptions") else Bucket.FILES
    if method == "DELETE":
        return Manner(bucket, Urgency.DELETE, 30, 30)
    if path.endswith("/transcript"):
        return Manner(bucket, Urgency.FETCH, 15 * 60, 60)
    if method == "GET":
        return Manner(bucket, Urgency.SURVEY, 30, 30)
    return Manner(bucket, Urgency.CREATE, 60, 60)


class Client(AsyncSonioxClient):
    """The official client. Its verbs call `request`; `send` is for what it has no good verb for."""

    def __init__(self, base: str, key: Key, budget: Budget, transport: httpx.AsyncBaseTransport) -> None:
        # No proxies, certificates or passwords of the environment but those chosen in `open_transport`; no
        # redirects: they would carry the key to where nobody sent it.
        super().__init__(key.value, base + "/v1", transport=transport, trust_env=False, follow_redirects=False)
        self._http_client.headers["User-Agent"] = f"batcher/{__version__}"
        self._http_client.headers["Accept-Encoding"] = "gzip"
        self.budget = budget

    def __repr__(self) -> str:
        return f"Client({self.api_base_url!r})"

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any | None = None,
        data: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """Make a request when its turn comes, and return its answer. Raises SonioxAPIError unless it is a success.

        The turn of a new transcription is the caller's to wait for, because the seal comes between.
        """
        manner = manner_of(method, path)
        request = self._http_client.build_request(
            method, path, params=params, json=json, data=data, files=files, timeout=_timeout(manner.silence)
        )
        if manner.urgency is not Urgency.CREATE:
            await self.budget.turn(manner.bucket, manner.urgency)
        with anyio.fail_after(manner.whole):
            response = await self._exchange(request, manner.bucket, manner.most)
        if method == "DELETE" and response.content:
            # The page of a hotel's network, say: a success, but nothing was deleted.
            raise BadAnswer("the service answered a deletion with a text")
        return response

    async def upload(self, body: AsyncIterable[bytes], headers: Mapping[str, str]) -> httpx.Response:
        """Send a file whose turn has come; the caller watches over the time."""
        request = self._http_client.build_request(
            "POST", "/files", content=body, headers=dict(headers), timeout=_timeout(None)
        )
        return await self._exchange(request, Bucket.FILES, MAX_LIST_BYTES)

    async def turn_to_upload(self) -> None:
        """Wait until a file may be sent."""
        await self.budget.turn(Bucket.FILES, Urgency.UPLOAD)

    async def turn_to_create(self) -> None:
        """Wait until a transcription may be asked for."""
        await self.budget.turn(Bucket.TRANSCRIPTIONS, Urgency.CREATE)

    async def _exchange(self, request: httpx.Request, bucket: Bucket, most: int) -> httpx.Response:
        answer = await self._http_client.send(request, stream=True)
        try:
            response = await _whole(answer, request, most)
        finally:
            await answer.aclose()
        if response.is_success:
            return response
        refusal = _refusal(response)
        if response.status_code == TOO_MANY:
            self._slow_down(bucket, words_of(refusal), _retry_after(response))
        raise refusal

    def _slow_down(self, bucket: Bucket, words: str, pause: float | None) -> None:
        """Heed a 429: one about the pace slows down; one that may be about anything only pauses."""
        if is_about_pace(words):
            self.budget.refused(bucket, pause)
        elif not is_about_room(words):
            self.budget.pause(bucket, pause)


def _timeout(silence: float | None) -> httpx.Timeout:
    return httpx.Timeout(silence, connect=CONNECT_SECONDS, pool=None)


async def _whole(answer: httpx.Response, request: httpx.Request, most: int) -> httpx.Response:
    """Read an answer to its end, but never more than makes sense; a refusal is cut off there."""
    body = await _body(answer, most if answer.is_success else MAX_ERROR_BYTES)
    if answer.is_success and (body.count(b",") > MAX_VALUES or body.count(b"{") + body.count(b"[") > MAX_OBJECTS):
        raise BadAnswer("the service answered with more values than make sense")
    kept = {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}
    return httpx.Response(answer.status_code, headers=kept, content=body, request=request)


async def _body(answer: httpx.Response, most: int) -> bytes:
    """Return the bytes of an answer, decompressed. One piece grows a thousandfold at most, and not twice."""
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("identity", "gzip", "deflate"):
        raise BadAnswer("the service answered in an encoding that it was not asked for")
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > most and not answer.is_success:
            return bytes(body[:most])
        if len(body) > most:
            raise BadAnswer(f"the service answered with more than {most} bytes")
    return bytes(body)


def _refusal(response: httpx.Response) -> SonioxAPIError:
    try:
        error = SonioxAPIError.from_response(response)
        if error.api_error:
            error.api_error.error_type = _spellable(error.api_error.error_type)
        return error  # noqa: TRY300 - what may raise is above
    except SonioxAPIError as error:  # raised, not returned, for a body of another form
        return error
    except RecursionError:  # brackets in brackets, thousands deep
        return SonioxAPIError("a text that makes no sense", response=response)


def words_of(error: SonioxAPIError) -> str:
    """Return what a refusal says, with the fields it complains about."""
    complaints = error.api_error.validation_errors if error.api_error else []
    fields = "; ".join(f"{each.location}: {each.message}" for each in complaints)
    return _spellable(" ".join(filter(None, (str(error.args[0]), fields))))


def _spellable(text: str) -> str:
    """Return `text` as UTF-8 can hold it: JSON may spell half a character, which the table could not keep."""
    return text.encode("utf-8", "replace").decode()


def name_of(error: Exception) -> str:
    """Return what a broken call is called: by aiohttp where it raised it, as the bridge to httpx renames it wrongly."""
    return type(error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error).__name__


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def base_url(host_or_region: str, *, insecure: bool) -> str:
    """Return the address of a region or of a host; empty is the service's own. Raises UsageError."""
    host = HOSTS.get(host_or_region or DEFAULT_REGION, host_or_region)
    parts = split_host(host, insecure=insecure, example=HOSTS[DEFAULT_REGION])
    return f"{parts.scheme}://{authority(parts)}"


def check_address(host_or_region: str, *, ca_file: Path | None, insecure: bool) -> None:
    """Raise the UsageError that connecting would raise; opens nothing."""
    base = base_url(host_or_region, insecure=insecure)
    _proxy(base)
    if base.startswith("https:"):
        _trusted(ca_file)


def open_transport(base: str, *, ca_file: Path | None, connections: int) -> httpx.AsyncBaseTransport:
    """Return the pool of connections to `base`.

    A proxy named by the environment is used (over https the key stays encrypted on its way through), except to
    this machine itself; so are SSL_CERT_FILE and SSL_CERT_DIR. Nothing else of the environment is.

    Raises:
        UsageError: `ca_file` cannot be read.
    """
    trusted, proxy = _trusted(ca_file), _proxy(base)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=connections, ssl=trusted, keepalive_timeout=KEEPALIVE_SECONDS)
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), request_class=_Request
        )
        # It would repeat a deletion or a listing whose connection was lost; repeating is for the job table.
        session._retry_connection = False  # noqa: SLF001
        return session

    return AiohttpTransport(verify=trusted, proxy=proxy, client=session)


class _Request(aiohttp.ClientRequest):
    """A request that holds little in memory which the network does not take yet: there may be many uploads."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send the request over `conn` and return the answer to come."""
        if conn.transport is not None:
            conn.transport.set_write_buffer_limits(WRITE_AHEAD_BYTES)
        return await super().send(conn)


def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # also what ssl raises for a file without certificates
        reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"the certificates in {ca_file} cannot be read: {reason}") from error


def _proxy(base: str) -> httpx.Proxy | None:
    url = httpx.URL(base)
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if named is None or is_loopback(url.host) or proxy_bypass(url.host):
        return None
    try:
        return httpx.Proxy(named if "://" in named else f"http://{named}")
    except ValueError as error:
        message = f"the proxy of {url.scheme.upper()}_PROXY cannot be used: {error}"
        raise UsageError(message, hint="it must be http://NAME:PORT") from error
