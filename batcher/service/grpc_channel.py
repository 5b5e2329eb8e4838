"""The connection to the legacy API: where to, how safe, and with which settings."""

from pathlib import Path

import grpc
import grpc.aio

from batcher.errors import UsageError
from batcher.service.shared import authority, is_loopback, split_host

DEFAULT_HOST = "https://api.soniox.com:443"  #: by the legacy client
MAX_SEND_BYTES = 6 * 1024 * 1024  #: the legacy client's own cap
MAX_RECEIVE_BYTES = 32 * 1024 * 1024  #: a list of 2,000 files with long names and errors is a few MiB

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
    parts = split_host(host, insecure=insecure, example=DEFAULT_HOST)
    options = [*SETTINGS.items(), ("grpc.enable_http_proxy", 0 if is_loopback(parts.hostname or "") else 1)]
    if parts.scheme == "https":
        return grpc.aio.secure_channel(authority(parts), _credentials(ca_file), options)
    return grpc.aio.insecure_channel(authority(parts), options)


def check_address(host: str, *, ca_file: Path | None, insecure: bool) -> None:
    """Raise the UsageError that `open_channel` would raise; opens nothing."""
    parts = split_host(host, insecure=insecure, example=DEFAULT_HOST)
    if parts.scheme == "https":
        _credentials(ca_file)


def _credentials(ca_file: Path | None) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(ca_file.read_bytes() if ca_file else None)
    except OSError as error:
        raise UsageError(f"the certificates in {ca_file} cannot be read: {error.strerror}") from error
