"""The key goes to one host only, and encrypted unless that host is this machine. For both APIs, over real sockets."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import anyio
import grpc
import grpc.aio
import pytest
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream

from batcher.cli.app import main
from batcher.errors import Kind
from batcher.service import Service
from batcher.service.grpc import open_grpc
from batcher.service.rest import open_rest
from batcher.service.stubs import speech_service_pb2_grpc as rpc
from tests.grpc_tools import Fake, Sealing, running
from tests.rest_tools import KEY, failure, http, listening, read_head, sent
from tests.test_grpc_channel import certificate

pytestmark = pytest.mark.anyio

Opening = Callable[..., AbstractAsyncContextManager[Service]]
APIS = pytest.mark.parametrize("opening", [open_rest, open_grpc])
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without any."""
    for name in (*PROXIES, "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def set_proxies(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Name one proxy for everything, in every spelling."""
    for name in PROXIES:
        monkeypatch.setenv(name, url)
        monkeypatch.setenv(name.upper(), url)


@asynccontextmanager
async def ear(answer: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen to whatever is said, after an answer to the first of it; yield the address and what was heard."""
    heard: list[bytes] = []

    async def handle(stream: SocketStream) -> None:
        heard.append(await stream.receive())
        await stream.send(answer)
        while True:
            heard.append(await stream.receive())

    async with listening(handle) as url:
        yield url, heard


@APIS
async def test_a_certificate_for_another_name_gets_no_key(opening: Opening, tmp_path: Path) -> None:
    """It is signed by whom we trust, and still not who we mean: the same as an unknown one."""
    private, pem, ca_file = certificate(tmp_path)  # for localhost, which is not 127.0.0.1
    heard: list[bytes] = []
    (tmp_path / "chain.pem").write_bytes(private + pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "chain.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def handle(stream: SocketStream) -> None:
        with suppress(ssl.SSLError):
            secure = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
            heard.append(await secure.receive())

    async with listening(handle) as url, opening(url.replace("http:", "https:"), KEY, ca_file=ca_file) as service:
        assert (await failure(service.survey())).kind is Kind.UNREACHABLE
    assert heard == []


@APIS
async def test_a_host_that_does_not_encrypt_gets_no_key(opening: Opening) -> None:
    """What begins with https:// never goes on without TLS."""
    async with ear(http(200, {})) as (url, heard), opening(url.replace("http:", "https:"), KEY) as service:
        assert (await failure(service.survey())).kind is Kind.UNREACHABLE
    assert heard
    assert KEY.encode() not in b"".join(heard)


@APIS
async def test_a_proxy_sees_no_key(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told where to connect to, and passes on what is encrypted for the service."""
    async with ear(b"HTTP/1.1 200 OK\r\n\r\n") as (url, heard):
        set_proxies(monkeypatch, url)
        with anyio.move_on_after(10):
            async with opening("https://service.invalid:443", KEY) as service, anyio.create_task_group() as tasks:
                tasks.start_soon(failure, service.survey())
                while len(heard) < 2:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
    assert heard[0].startswith(b"CONNECT service.invalid:443 HTTP/1.")
    assert heard[1].startswith(b"\x16\x03")  # a TLS handshake
    assert KEY.encode() not in b"".join(heard)


async def test_a_proxy_is_not_asked_for_this_machine_by_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key travels in the clear there, and stays here."""
    served: list[bytes] = []

    async def handle(stream: SocketStream) -> None:
        served.append((await read_head(stream))[1]["authorization"].encode())
        await stream.send(http(204))

    async with ear(http(204)) as (proxy, heard), listening(handle) as url:
        set_proxies(monkeypatch, proxy)
        async with open_rest(url, KEY) as service:
            await service.delete("/file-1")
    assert (served, heard) == ([f"Bearer {KEY}".encode()], [])


async def test_a_proxy_is_not_asked_for_this_machine_by_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same."""
    fake, server = Fake(), grpc.aio.server()
    rpc.add_SpeechServiceServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    async with ear() as (proxy, heard), running(server):
        set_proxies(monkeypatch, proxy)
        async with open_grpc(f"http://127.0.0.1:{port}", KEY) as service:
            await service.survey()
    assert (fake.calls["status"], heard) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """Neither the key nor a recording goes where nobody sent it: not by a listing, an upload, nor a deletion."""
    asked: list[str] = []
    async with ear(http(200, {"id": "x"})) as (elsewhere, heard):

        async def handle(stream: SocketStream) -> None:
            first, _, _ = await read_head(stream)
            asked.append(first.partition(" ")[0])
            await stream.send(http(status, None, [f"Location: {elsewhere}/v1/files", "Connection: close"]))

        async with listening(handle) as url, open_rest(url, KEY) as service:
            errors = [await failure(service.survey()), await failure(service.submit(sent(), Sealing()))]
            errors.append(await failure(service.delete("/file-1")))
    assert {error.kind for error in errors} == {Kind.UNREACHABLE}
    assert (asked, heard) == (["GET", "POST", "DELETE"], [])


@pytest.mark.parametrize("api", ["rest", "grpc"])
@pytest.mark.parametrize("host", ["http://192.0.2.1:80", "http://localhost.example.com:80", "http://[2001:db8::1]:80"])
def test_the_command_sends_nothing_unencrypted_to_another_machine(
    api: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless told to with --insecure; the refusal comes before anything is opened or made."""
    monkeypatch.setenv("SONIOX_API_KEY", KEY)
    monkeypatch.setenv("BATCHER_CONFIG", "/dev/null")
    assert main(["run", str(tmp_path), "-o", str(tmp_path / "out"), "--api", api, "--host", host]) == 2
    assert "unencrypted to another machine" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
