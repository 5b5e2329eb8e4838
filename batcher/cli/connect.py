"""The connection to the service that the settings name. The library of the API that is not used stays unloaded."""

from contextlib import AbstractAsyncContextManager

from pydantic import SecretStr, ValidationError

from batcher.cli.key import Key, find_webhook_secret
from batcher.config import Settings
from batcher.errors import UsageError
from batcher.options import Webhook
from batcher.service import Service
from batcher.shard import parse_shard

#: Requests that go beside uploads and collecting: a listing, a deletion, and some to spare.
_SPARE_CONNECTIONS = 16


def address(settings: Settings) -> str:
    """Return scheme and name of the service, for people."""
    if settings.host:
        return settings.host
    if settings.api == "grpc":
        from batcher.service.grpc_channel import DEFAULT_HOST  # noqa: PLC0415

        return DEFAULT_HOST
    from batcher.service.rest_http import HOSTS  # noqa: PLC0415

    return HOSTS[settings.region]


def check_connection(settings: Settings) -> None:
    """Raise the UsageError that connecting would raise; opens nothing."""
    if settings.api == "grpc":
        from batcher.service import grpc_channel  # noqa: PLC0415

        grpc_channel.check_address(address(settings), ca_file=settings.ca_file, insecure=settings.insecure)
    else:
        from batcher.service import rest_http  # noqa: PLC0415

        rest_http.check_address(address(settings), ca_file=settings.ca_file, insecure=settings.insecure)
        webhook(settings)
        _pace(settings)


def connect(settings: Settings, key: Key, workers: int = 0) -> AbstractAsyncContextManager[Service]:
    """Return the service, to be entered; `workers` may call it at the same time."""
    if settings.api == "grpc":
        from batcher.service.grpc import open_grpc  # noqa: PLC0415

        return open_grpc(settings.host, key.value, ca_file=settings.ca_file, insecure=settings.insecure)
    from batcher.service.rest import open_rest  # noqa: PLC0415

    return open_rest(
        address(settings),
        key.value,
        ca_file=settings.ca_file,
        insecure=settings.insecure,
        requests_per_minute=_pace(settings),
        webhook=webhook(settings),
        connections=workers + _SPARE_CONNECTIONS,
    )


def _pace(settings: Settings) -> int:
    """Return how many requests a minute this run may make; the shards of an account share its budget.

    It stays so to the end, also when the others are done: each of them would have to know at every moment who is left.
    Raises UsageError when there is not one a minute for each.
    """
    shard, most = parse_shard(settings.shard), settings.requests_per_minute
    if not shard or not most:
        return most
    if shard.parts > most:
        raise UsageError(
            f"requests_per_minute is {most}, which is not one for each of {shard.parts} shards",
            hint=f"Use at most {most} shards, fewer are quicker; or raise it if the account is allowed more.",
        )
    return most // shard.parts


def secrets(settings: Settings, key: Key) -> list[str]:
    """Return what may stand in no log: the key, and what the service sends along with its reports."""
    if settings.api == "grpc":  # it sends none, and none is looked for
        return [key.value]
    return [key.value, webhook(settings).header_value.get_secret_value()]


def webhook(settings: Settings) -> Webhook:
    """Return where the service is to report; the secret comes from the environment or a file. Raises UsageError."""
    if settings.webhook_secret_file and not settings.webhook_header:
        raise UsageError(
            "webhook_secret_file holds the value of a header, and webhook_header names none",
            hint="Name the header, or leave the file out.",
        )
    if not settings.webhook_url and not settings.webhook_header:
        return Webhook()
    secret = find_webhook_secret(settings.webhook_secret_file) if settings.webhook_header else ""
    try:
        return Webhook(url=settings.webhook_url, header_name=settings.webhook_header, header_value=SecretStr(secret))
    except ValidationError as error:
        words = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(words, hint="mend webhook_url, webhook_header or SONIOX_API_WEBHOOK_SECRET") from None
