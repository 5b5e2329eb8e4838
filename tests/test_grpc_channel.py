"""Where the legacy API's implementation connects to, and what it refuses to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from batcher.errors import AccountRefused, Kind, UsageError
from batcher.service.grpc import open_grpc
from batcher.service.grpc_channel import open_channel
from batcher.service.stubs import speech_service_pb2_grpc as rpc
from tests.grpc_tools import KEY, Fake, failure, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("key", ["", "  ", "ключ", "two\nlines", "half\udcff"])
async def test_what_cannot_be_a_key_is_refused_unread(key: str) -> None:
    """Before anything is sent, with the fix, and without repeating it."""
    with pytest.raises(AccountRefused) as caught:
        async with open_grpc("", key):
            pass
    assert "SONIOX_API_KEY" in caught.value.hint
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "api.soniox.com",
        "api.soniox.com:443",
        "ftp://api.soniox.com",
        "https://",
        "https://api.soniox.com/v1",
        "https://api.soniox.com?x=1",
        "https://api.soniox.com#x",
        "https://user:pass@api.soniox.com",
        "https://api.soniox.com:99999",
        "https://[::1",
        "http://api.soniox.com",
        "http://10.0.0.1:80",
        "http://localhost.example.com",
    ],
)
async def test_a_host_that_will_not_do_is_refused(host: str) -> None:
    """No scheme, a path, credentials, or the key in the clear."""
    with pytest.raises(UsageError) as caught:
        open_channel(host, ca_file=None, insecure=False)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("https://api.soniox.com:443", False),
        ("https://api.soniox.com/", False),
        ("http://localhost:1", False),
        ("http://127.1.2.3:1", False),
        ("http://[::1]:1", False),
        ("http://10.0.0.1:80", True),
    ],
)
async def test_a_host_that_will_do_is_taken(host: str, insecure: bool) -> None:
    """TLS anywhere, the clear only on this machine or when it is meant."""
    await open_channel(host, ca_file=None, insecure=insecure).close()


async def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """With the name of the file."""
    with pytest.raises(UsageError, match=r"no-such\.pem"):
        open_channel("https://localhost", ca_file=tmp_path / "no-such.pem", insecure=False)


def certificate(directory: Path) -> tuple[bytes, bytes, Path]:
    """Return the key and the certificate of a server on this machine, and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=36_500))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (directory / "ca.pem").write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, pem, directory / "ca.pem"


async def test_an_unknown_authority_gets_no_key(tmp_path: Path) -> None:
    """The same server is talked to when its certificate is given, and not a word is sent otherwise."""
    private, pem, ca_file = certificate(tmp_path)
    fake, server = Fake(), grpc.aio.server()
    rpc.add_SpeechServiceServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(private, pem)]))
    async with running(server):
        async with open_grpc(f"https://localhost:{port}", KEY) as service:
            assert (await failure(service.survey())).kind is Kind.UNREACHABLE
            assert fake.calls.total() == 0
        async with open_grpc(f"https://localhost:{port}", KEY, ca_file=ca_file) as service:
            assert (await service.survey()).objects == ()
