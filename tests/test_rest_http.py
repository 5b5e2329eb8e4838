"""Where the REST client connects to, whom it trusts, and what of the environment it heeds."""

import ssl
import zlib
from asyncio import sslproto
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream

from batcher import __version__
from batcher.errors import AccountRefused, Kind, UsageError
from batcher.service.rest import HOSTS, RestService, open_rest
from batcher.service.rest_budget import Bucket, Urgency
from batcher.service.rest_http import _proxy, base_url, manner_of
from tests.rest_tools import KEY, a_transcription, failure, http, listening, read_head
from tests.test_grpc_channel import certificate

pytestmark = pytest.mark.anyio

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without any."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("method", "path", "bucket", "urgency", "whole", "silence"),
    [
        ("GET", "/files", Bucket.FILES, Urgency.SURVEY, 30, 30),
        ("GET", "/files/count", Bucket.FILES, Urgency.SURVEY, 30, 30),
        ("DELETE", "/files/x", Bucket.FILES, Urgency.DELETE, 30, 30),
        ("GET", "/transcriptions", Bucket.TRANSCRIPTIONS, Urgency.SURVEY, 30, 30),
        ("GET", "/transcriptions/count", Bucket.TRANSCRIPTIONS, Urgency.SURVEY, 30, 30),
        ("GET", "/transcriptions/x/transcript", Bucket.TRANSCRIPTIONS, Urgency.FETCH, 900, 60),
        ("POST", "/transcriptions", Bucket.TRANSCRIPTIONS, Urgency.CREATE, 60, 60),
        ("DELETE", "/transcriptions/x", Bucket.TRANSCRIPTIONS, Urgency.DELETE, 30, 30),
    ],
)
def test_every_sort_of_request_has_its_own_patience(
    method: str, path: str, bucket: Bucket, urgency: Urgency, whole: float, silence: float
) -> None:
    """Seconds for the whole and for silence; the bucket it is counted in, and who goes first."""
    manner = manner_of(method, path)
    assert (manner.bucket, manner.urgency, manner.whole, manner.silence) == (bucket, urgency, whole, silence)


@pytest.mark.parametrize(
    ("variables", "base", "proxy"),
    [
        ({}, "https://api.soniox.com:443", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.soniox.com:443", "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, "https://api.soniox.com:443", "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, "https://api.soniox.com:443", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "https://api.soniox.com:443", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".soniox.com"}, "https://api.soniox.com:443", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://127.0.0.1:80", None),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://localhost:80", None),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://[::1]:80", None),
    ],
)
def test_the_proxy_of_the_environment_is_used_but_to_this_machine(
    variables: dict[str, str], base: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other tool does."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen = _proxy(base)
    assert (str(chosen.url) if chosen else None) == proxy


@pytest.mark.parametrize("proxy", ["gopher://proxy:70", "http://proxy:abc", "http://proxy:3128:3128"])
async def test_a_proxy_that_cannot_be_one_is_a_mistake_that_is_told(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Before anything is sent past it."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError, match="HTTPS_PROXY cannot be used"):
        async with open_rest("us", KEY):
            pass


async def test_requests_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the service is resolved there, not here."""
    asked: list[str] = []

    async def proxy(stream: SocketStream) -> None:
        first, _, _ = await read_head(stream)
        asked.append(first)
        await stream.send(http(204))

    async with listening(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        async with open_rest("http://service.invalid:81", KEY, insecure=True) as rest:
            await rest.delete("/file-1")
    assert asked == ["DELETE http://service.invalid:81/v1/files/file-1 HTTP/1.1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # aiohttp has announced another form for its next version
async def test_a_proxy_gets_the_login_that_its_address_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody the address with the login in it."""
    asked: list[tuple[str, dict[str, str]]] = []

    async def proxy(stream: SocketStream) -> None:
        first, headers, _ = await read_head(stream)
        asked.append((first, headers))
        await stream.send(http(204))

    async with listening(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("://", "://user:pass%20word@"))
        async with open_rest("http://service.invalid:81", KEY, insecure=True) as rest:
            await rest.delete("/file-1")
    [(first, headers)] = asked
    assert first == "DELETE http://service.invalid:81/v1/files/file-1 HTTP/1.1"
    assert headers["proxy-authorization"] == "Basic " + b64encode(b"user:pass word").decode()


ODD_CURSOR = "a b/?&=+%2F#é"


async def test_a_request_says_what_is_needed_and_a_cursor_goes_back_as_it_came() -> None:
    """The key, who asks, and how the answer may be packed; a cursor is the service's own business."""
    asked: list[tuple[str, dict[str, str]]] = []

    async def handle(stream: SocketStream) -> None:
        first, headers, _ = await read_head(stream)
        asked.append((first.split(" ")[1], headers))
        cursor = ODD_CURSOR if len(asked) == 1 else None
        await stream.send(http(200, {"files": [], "next_page_cursor": cursor}, ["Connection: close"]))

    async with listening(handle) as url, open_rest(url, KEY) as rest:
        await failure(rest.survey())  # the counts that follow have another form
    targets = [target for target, _ in asked]
    assert targets[:1] == ["/v1/files?limit=1000"]
    assert parse_qs(urlsplit(targets[1]).query) == {"limit": ["1000"], "cursor": [ODD_CURSOR]}
    headers = asked[0][1]
    assert set(headers) == {"host", "authorization", "user-agent", "accept", "accept-encoding"}
    assert (headers["authorization"], headers["accept-encoding"]) == (f"Bearer {KEY}", "gzip")
    assert headers["user-agent"] == f"batcher/{__version__}"


async def test_nothing_that_the_service_hands_out_is_kept() -> None:
    """Every request is one of a stranger with a key."""
    asked: list[dict[str, str]] = []

    async def handle(stream: SocketStream) -> None:
        while True:
            asked.append((await read_head(stream))[1])
            await stream.send(http(204, None, ["Set-Cookie: a=b; Path=/"]))

    async with listening(handle) as url, open_rest(url.replace("127.0.0.1", "localhost"), KEY) as rest:
        await rest.delete("job-1/file-1")
    assert ["cookie" in headers for headers in asked] == [False, False]


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("GZIP", 31), ("deflate", 15)])
async def test_a_compressed_answer_is_unpacked(encoding: str, wbits: int) -> None:
    """However it is cut into pieces."""
    packer = zlib.compressobj(wbits=wbits)
    body = packer.compress(b'{"tokens": [{"text": "' + b"word " * 1000 + b'"}]}') + packer.flush()
    head = f"HTTP/1.1 200 X\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def handle(stream: SocketStream) -> None:
        while True:
            first, _, _ = await read_head(stream)
            if first.startswith("GET /v1/transcriptions/job-1/transcript"):
                await stream.send(head + body[:5])
                await stream.send(body[5:])
            else:
                await stream.send(http(200, a_transcription()))

    async with listening(handle) as url, open_rest(url, KEY) as rest:
        transcript = await rest.fetch("job-1/file-1")
    assert [word.text for word in transcript.parts[0].words] == ["word " * 1000]


async def test_nothing_goes_past_the_wire() -> None:
    """The official client's own way to the service knows no deadlines, pace or bounds of ours."""
    async with open_rest("us", KEY) as rest:
        assert isinstance(rest, RestService)
        with pytest.raises(NotImplementedError):
            await rest._client._http_client.get("/files")


@asynccontextmanager
async def encrypted(tmp_path: Path, heard: list[bytes]) -> AsyncIterator[tuple[str, Path]]:
    """Answer deletions over TLS; yield the host and the certificate to trust it by."""
    private, pem, ca_file = certificate(tmp_path)
    (tmp_path / "chain.pem").write_bytes(private + pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "chain.pem")

    async def handle(stream: SocketStream) -> None:
        with suppress(ssl.SSLError):
            secure = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
            heard.append(await secure.receive())
            await secure.send(http(204, None, ["Connection: close"]))

    async with listening(handle) as url:
        yield url.replace("http://127.0.0.1", "https://localhost"), ca_file


async def test_a_certificate_of_ones_own_is_trusted_when_it_is_given(tmp_path: Path) -> None:
    """And not otherwise: not a word is sent to a stranger."""
    heard: list[bytes] = []
    async with encrypted(tmp_path, heard) as (host, ca_file):
        async with open_rest(host, KEY) as rest:
            error = await failure(rest.delete("/file-1"))
            assert (error.kind, error.code) == (Kind.UNREACHABLE, "ClientConnectorCertificateError")
            assert heard == []
        async with open_rest(host, KEY, ca_file=ca_file) as rest:
            await rest.delete("/file-1")
            assert heard[0].startswith(b"DELETE /v1/files/file-1")


async def test_little_is_encrypted_before_the_network_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself asyncio would hold half a megabyte for every upload, and as much again on its way out."""
    asked: list[int] = []
    transport = sslproto._SSLProtocolTransport
    monkeypatch.setattr(transport, "set_write_buffer_limits", lambda _, high: asked.append(high))
    async with encrypted(tmp_path, []) as (host, ca_file), open_rest(host, KEY, ca_file=ca_file) as rest:
        await rest.delete("/file-1")
    assert asked == [64 * 1024]


@pytest.mark.parametrize(("region", "host"), [*HOSTS.items(), ("", HOSTS["us"])])
def test_regions_are_hosts(region: str, host: str) -> None:
    """The service's own, with their ports; none is the United States."""
    assert base_url(region, insecure=False) == f"{host}:443"


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("https://example.com:8443", "https://example.com:8443"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("http://[::1]:9/", "http://[::1]:9"),
    ],
)
def test_other_hosts_are_taken(host: str, base: str) -> None:
    """As gRPC takes them."""
    assert base_url(host, insecure=False) == base


@pytest.mark.parametrize(
    "host", ["de", "api.soniox.com", "https://x/v1", "http://example.com", "ftp://x", "https://a:b"]
)
def test_hosts_that_cannot_be_meant_are_refused(host: str) -> None:
    """Above all those that would get the key unencrypted."""
    with pytest.raises(UsageError):
        base_url(host, insecure=False)


def test_an_unencrypted_host_may_be_insisted_on() -> None:
    """In so many words."""
    assert base_url("http://example.com", insecure=True) == "http://example.com:80"


@pytest.mark.parametrize("key", ["", " ", "clé", "a\nb"])
async def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    """Before anything is sent."""
    with pytest.raises(AccountRefused):
        async with open_rest("us", key):
            pass


async def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A missing file, or one without certificates."""
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"nothing")
    for file, words in ((tmp_path / "none.pem", "No such file"), (empty, "it holds no certificates")):
        with pytest.raises(UsageError, match=words):
            async with open_rest("us", KEY, ca_file=file):
                pass
