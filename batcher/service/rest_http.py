"""The service's own client with what a night needs: deadlines per verb, a pace, one pool, and nothing read unbounded.

The requests go over a `Wire` of aiohttp's, past the client's own httpx, which is left with the form of an answer. So a
request costs 0.12 ms of a CPU; 0.26 when httpx handed it to aiohttp, 0.70 by the official client as it comes (all of
it, this module included, without TLS; httpx 0.28, aiohttp 3.14).
"""

import math
import ssl
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from json import JSONDecodeError, dumps
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anyio
import httpx
from aiohttp.connector import Connection
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
MAX_ERROR_BYTES = 256 * 1024  #: what follows in a refusal is not read: the service has less to say
MAX_VALUES = 8_000_000  #: in one answer, by its commas; the longest transcript has half of it
MAX_OBJECTS = 700_000  #: in one answer, by its brackets: each takes 300 bytes of memory; the longest has half of it
WRITE_AHEAD_BYTES = 64 * 1024  #: an upload may be so far ahead of the network; asyncio's own is 512 KiB for TLS
KEEPALIVE_SECONDS = 15.0  #: shorter than any server's, so that a connection is not used just as it is closed


class BadAnswer(Exception):
    """The service answered with what makes no sense."""


#: What a call may end with besides an answer and a refusal (`SonioxAPIError`): an answer that cannot be read, …
UNREADABLE_ANSWERS = (
    BadAnswer, SonioxError, ValidationError, JSONDecodeError, UnicodeDecodeError, RecursionError, zlib.error,
)  # fmt: skip
#: … or none at all. All of them also stand for calls that were never sent.
BROKEN_CALLS = (aiohttp.ClientError, OSError)

_UNTYPED = "api_error"  # the official client's own word where a refusal has a message, but no type

Body = bytes | AsyncIterable[bytes]  #: what is sent, or made while it is sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back for a request; its body is still on the way."""

    status: int
    headers: Mapping[str, str]  #: whatever the case of their names
    pieces: AsyncIterator[bytes]  #: of the body as they come, compressed if the headers say so

    @property
    def is_success(self) -> bool:
        """Return whether the service did what it was asked."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP's own


class Wire(Protocol):
    """Carries requests to the service and its answers back: once each, to nobody else, and keeping nothing of them."""

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, silence: float | None
    ) -> AbstractAsyncContextManager[Answer]:
        """Send a request; `silence` is the longest time in which nothing may come back, in seconds.

        Raises one of `BROKEN_CALLS` when there is no answer, also while its body is read.
        """

    async def aclose(self) -> None:
        """End the connections."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How one sort of request is made: when its turn comes, and how long it may take (seconds)."""

    bucket: Bucket
    urgency: Urgency
    whole: float  #: the longest for everything, from its turn on
    silence: float | None  #: the longest in which nothing comes

    @property
    def most(self) -> int:
        """Return how many bytes the answer may have."""
        return MAX_ANSWER_BYTES if self.urgency is Urgency.FETCH else MAX_LIST_BYTES


UPLOADS = Manner(Bucket.FILES, Urgency.UPLOAD, math.inf, None)  #: the caller watches over their time


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
    """The official client. Its verbs call `request`; `upload` is for what it has no good verb for."""

    def __init__(self, base: str, key: Key, budget: Budget, wire: Wire) -> None:
        # Its own way to the service is closed: nothing goes but over the wire.
        super().__init__(key.value, base + "/v1", transport=httpx.AsyncBaseTransport(), trust_env=False)
        self._wire = wire
        self._headers = {
            "Authorization": f"Bearer {key.value}",
            "User-Agent": f"batcher/{__version__}",
            "Accept-Encoding": "gzip",
        }
        self.budget = budget

    def __repr__(self) -> str:
        return f"Client({self.api_base_url!r})"

    async def aclose(self) -> None:
        """End the connections."""
        await self._wire.aclose()
        await super().aclose()

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
        assert data is None, "forms are sent by `upload`"
        assert files is None, "files too"
        manner = manner_of(method, path)
        target = f"{path}?{urlencode(params)}" if params else path
        body = None if json is None else dumps(json, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {} if json is None else {"Content-Type": "application/json"}
        if manner.urgency is not Urgency.CREATE:
            await self.budget.turn(manner.bucket, manner.urgency)
        with anyio.fail_after(manner.whole):
            response = await self._exchange(method, target, headers, body, manner)
        if method == "DELETE" and response.content:
            # The page of a hotel's network, say: a success, but nothing was deleted.
            raise BadAnswer("the service answered a deletion with a text")
        return response

    async def upload(self, body: AsyncIterable[bytes], headers: Mapping[str, str]) -> httpx.Response:
        """Send a file whose turn has come; the caller watches over the time."""
        return await self._exchange("POST", "/files", headers, body, UPLOADS)

    async def turn_to_upload(self) -> None:
        """Wait until a file may be sent."""
        await self.budget.turn(Bucket.FILES, Urgency.UPLOAD)

    async def turn_to_create(self) -> None:
        """Wait until a transcription may be asked for."""
        await self.budget.turn(Bucket.TRANSCRIPTIONS, Urgency.CREATE)

    async def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Body | None, manner: Manner
    ) -> httpx.Response:
        url = self.api_base_url + target
        async with self._wire.ask(method, url, {**self._headers, **headers}, body, manner.silence) as answer:
            response = await _whole(answer, manner.most)
        if response.is_success:
            return response
        refusal = _refusal(response)
        if response.status_code == TOO_MANY:
            self._slow_down(manner.bucket, words_of(refusal), _retry_after(response))
        raise refusal

    def _slow_down(self, bucket: Bucket, words: str, pause: float | None) -> None:
        """Heed a 429: one about the pace slows down; one that may be about anything only pauses."""
        if is_about_pace(words):
            self.budget.refused(bucket, pause)
        elif not is_about_room(words):
            self.budget.pause(bucket, pause)


async def _whole(answer: Answer, most: int) -> httpx.Response:
    """Read an answer to its end, but never more than makes sense; a refusal is cut off there."""
    body = await _body(answer, most if answer.is_success else MAX_ERROR_BYTES)
    if answer.is_success and (body.count(b",") > MAX_VALUES or body.count(b"{") + body.count(b"[") > MAX_OBJECTS):
        raise BadAnswer("the service answered with more values than make sense")
    kept = {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}
    return httpx.Response(answer.status, headers=kept, content=body)


async def _body(answer: Answer, most: int) -> bytes:
    """Return the bytes of an answer, decompressed, and not one that is not wanted."""
    unpacked = _unpacker(answer.headers.get("content-encoding", "identity").strip().lower())
    body = bytearray()
    async for piece in answer.pieces:
        body += unpacked(piece, most + 1 - len(body))
        if len(body) > most and not answer.is_success:
            return bytes(body[:most])
        if len(body) > most:
            raise BadAnswer(f"the service answered with more than {most} bytes")
    return bytes(body)


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return what decompresses the pieces of a body, each to so many bytes at most; what comes unpacked stays whole."""
    if encoding == "identity":
        return lambda piece, _: piece
    if encoding not in ("gzip", "deflate"):
        raise BadAnswer("the service answered in an encoding that it was not asked for")
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress  # 32: of either, as the first bytes say


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


def type_of(error: SonioxAPIError) -> str:
    """Return the error type of a refusal; none is in a text that has not the service's form."""
    given = error.api_error.error_type if error.api_error else ""
    return "" if given == _UNTYPED else given


def words_of(error: SonioxAPIError) -> str:
    """Return what a refusal says, with the fields it complains about."""
    complaints = error.api_error.validation_errors if error.api_error else []
    fields = "; ".join(f"{each.location}: {each.message}" for each in complaints)
    return _spellable(" ".join(filter(None, (str(error.args[0]), fields))))


def _spellable(text: str) -> str:
    """Return `text` as UTF-8 can hold it: JSON may spell half a character, which the table could not keep."""
    return text.encode("utf-8", "replace").decode()


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


def open_wire(base: str, *, ca_file: Path | None, connections: int) -> Wire:
    """Return the pool of connections to `base`.

    A proxy named by the environment is used (over https the key stays encrypted on its way through), except to
    this machine itself; so are SSL_CERT_FILE and SSL_CERT_DIR. Nothing else of the environment is.

    Raises:
        UsageError: `ca_file` or the proxy cannot be used.
    """
    trusted, proxy = _trusted(ca_file), _proxy(base)
    connector = aiohttp.TCPConnector(limit=connections, ssl=trusted, keepalive_timeout=KEEPALIVE_SECONDS)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), request_class=_Request, auto_decompress=False
    )
    # It would repeat a deletion or a listing whose connection was lost; repeating is for the job table.
    session._retry_connection = False  # noqa: SLF001
    return _Connections(session, proxy)


class _Connections:
    """A pool of connections."""

    def __init__(self, session: aiohttp.ClientSession, proxy: httpx.Proxy | None) -> None:
        self._session = session
        self._proxy = str(proxy.url) if proxy else None
        self._login = aiohttp.BasicAuth(*proxy.auth) if proxy and proxy.auth else None

    @asynccontextmanager
    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, silence: float | None
    ) -> AsyncIterator[Answer]:
        """Send a request; see `Wire`. No redirects: they would carry the key to where nobody sent it."""
        async with self._session.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=silence),
            proxy=self._proxy,
            proxy_auth=self._login,
        ) as answer:
            yield Answer(answer.status, answer.headers, answer.content.iter_any())

    async def aclose(self) -> None:
        """End the connections."""
        await self._session.close()


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
    except (ValueError, httpx.InvalidURL) as error:
        message = f"the proxy of {url.scheme.upper()}_PROXY cannot be used: {error}"
        raise UsageError(message, hint="it must be http://NAME:PORT") from error
