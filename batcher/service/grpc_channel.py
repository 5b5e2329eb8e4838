"""The connection to the legacy API: where to, how safe, and with which settings."""

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import grpc
import grpc.aio

from batcher.errors import UsageError

DEFAULT_HOST = "https://api.soniox.com:443"  #: by the legacy client
MAX_SEND_BYTES = 6 * 1024 * 1024  #: the legacy client's own cap
MAX_RECEIVE_BYTES = 32 * 1024 * 1024  #: a list of 2,000 files with long names and errors is a few MiB

_HINT = "give scheme, name and port, like " + DEFAULT_HOST
_PORTS = {"https": 443, "http": 80}

SETTINGS: dict[str, int] = {
    "grpc.max_send_message_length": MAX_SEND_BYTES,
    "grpc.max_receive_message_length": MAX_RECEIVE_BYTES,
    # A peer that is gone without a word is noticed while calls wait. Servers end connections that ping more
    # often, or without calls, or without data; the call that ends so may be an upload just accepted.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 0,
    # An upload is billed: nobody but the job table may send it again, also not on advice found in DNS.
    "grpc.enable_retries": 0,
    "grpc.service_config_disable_resolution": 1,
    # By default the pause grows to two minutes, for which the service would seem away after it came back.
    # One connection attempt each five seconds burdens nobody.
    "grpc.initial_reconnect_backoff_ms": 1_000,
    "grpc.max_reconnect_backoff_ms": 5_000,
}


def open_channel(host: str, *, ca_file: Path | None, insecure: bool) -> grpc.aio.Channel:
    """Return a channel to `host`, which connects when it is first used.

    A proxy named by the environment is used (the key stays encrypted on its way through), except to this
    machine itself.

    Raises:
        UsageError: `host` is not a scheme with a name, is not safe to send a key to, or `ca_file` is unreadable.
    """
    parts = _split(host)
    name, loopback = parts.hostname or "", _is_loopback(parts.hostname or "")
    target = f"[{name}]" if ":" in name else name
    target = f"{target}:{parts.port or _PORTS[parts.scheme]}"
    options = [*SETTINGS.items(), ("grpc.enable_http_proxy", 0 if loopback else 1)]
    if parts.scheme == "https":
        return grpc.aio.secure_channel(target, _credentials(ca_file), options)
    _check_safety(host, parts, insecure=insecure)
    return grpc.aio.insecure_channel(target, options)


def check_address(host: str, *, ca_file: Path | None, insecure: bool) -> None:
    """Raise the UsageError that `open_channel` would raise; opens nothing."""
    parts = _split(host)
    _check_safety(host, parts, insecure=insecure)
    if parts.scheme == "https":
        _credentials(ca_file)


def _check_safety(host: str, parts: SplitResult, *, insecure: bool) -> None:
    if parts.scheme == "http" and not _is_loopback(parts.hostname or "") and not insecure:
        raise UsageError(
            f"{host} would carry the key and the recordings unencrypted to another machine",
            hint="use https://, or --insecure if this is meant",
        )


def _split(host: str) -> SplitResult:
    try:
        parts = urlsplit(host)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise UsageError(f"{host!r} is not a host: {error}", hint=_HINT) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UsageError(f"{host!r} does not say https:// (or http://) and a name", hint=_HINT)
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError(f"{host!r} says more than scheme, name and port", hint=_HINT)
    return parts


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _credentials(ca_file: Path | None) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(ca_file.read_bytes() if ca_file else None)
    except OSError as error:
        raise UsageError(f"the certificates in {ca_file} cannot be read: {error.strerror}") from error
