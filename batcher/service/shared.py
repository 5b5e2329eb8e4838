"""What the implementations of the wire share: the key out of sight, where it may be sent, and reading a recording."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import blake2b
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from anyio import CancelScope, current_time

from batcher.errors import AccountRefused, UsageError
from batcher.model import Survey

ERROR_CHARACTERS = 500  #: of why the service failed; more says nothing more to a person
LEAST_KEY = 8  #: characters; the service's own have 64
PORTS = {"https": 443, "http": 80}


class Key:
    """The API key, out of sight: it shows in no representation and is taken out of every text."""

    def __init__(self, value: str) -> None:
        if not value.isascii() or not value.isprintable() or not value.strip():
            what = "there is no API key" if not value.strip() else "the API key holds characters that no key has"
            raise AccountRefused(what, hint="set SONIOX_API_KEY to your key from the Soniox console")
        self.value = value

    def __repr__(self) -> str:
        return "<key>"

    def account(self, host: str) -> str:
        """Return what stands for this key at `host`: by it a batch notices that it was at another account before."""
        return blake2b(f"{host} {self.value}".encode(), digest_size=8, person=b"batcher.account").hexdigest()

    def is_in(self, name: str) -> bool:
        """Tell whether an id that the service gave holds the key; a key so short that ids hold it by chance is none."""
        return self.value == name or (len(self.value) >= LEAST_KEY and self.value in name)

    def hide(self, text: str) -> str:
        """Return `text` without the key, should the service have repeated it."""
        return text.replace(self.value, "<key>")


def keyless(survey: Survey, key: Key) -> Survey:
    """Return a survey without objects whose id holds the key: ids are kept in the table and the log."""
    objects = tuple(each for each in survey.objects if not key.is_in(each.id))
    return replace(survey, objects=objects, complete=survey.complete and len(objects) == len(survey.objects))


def hidden(survey: Survey, hide: Callable[[str], str]) -> Survey:
    """Return a survey in which the reasons of failures, the service's own texts, went through `hide`.

    They are cut only then: half a key would not be found.
    """
    objects = (
        each._replace(error=hide(each.error)[:ERROR_CHARACTERS]) if each.error else each for each in survey.objects
    )
    return replace(survey, objects=tuple(objects))


def split_host(host: str, *, insecure: bool, example: str) -> SplitResult:
    """Return the parts of `host`, which must be a scheme with a name and safe to send the key to.

    Args:
        host: ``https://NAME[:PORT]``; ``http://`` for this machine only, or anywhere with `insecure`.
        insecure: allow an unencrypted connection to another machine.
        example: a host as it should be, for the message.

    Raises:
        UsageError: `host` is none, or not a safe one.
    """
    hint = f"give scheme, name and port, like {example}"
    if "@" in host:  # not repeated: a password may stand before it
        raise UsageError("the host has a user's name or a password in it", hint=hint)
    try:
        parts = urlsplit(host)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise UsageError(f"{host!r} is not a host: {error}", hint=hint) from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise UsageError(f"{host!r} does not say https:// (or http://) and a name", hint=hint)
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError(f"{host!r} says more than scheme, name and port", hint=hint)
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise UsageError(
            f"{host} would carry the key and the recordings unencrypted to another machine",
            hint="use https://, or --insecure if this is meant",
        )
    return parts


def authority(parts: SplitResult) -> str:
    """Return name and port of a host, always with the port, an IPv6 address in brackets."""
    name = parts.hostname or ""
    return f"{f'[{name}]' if ':' in name else name}:{parts.port or PORTS[parts.scheme]}"


def is_loopback(name: str) -> bool:
    """Tell whether a name or address is this machine's own."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def put_off(watchdog: CancelScope, seconds: float) -> None:
    """Have a watchdog bark so many seconds from now, or up to a hundredth of them before.

    Recordings move in thousands of pieces a second; to set the alarm for each takes a twentieth of sending it.
    """
    deadline = current_time() + seconds
    if not 0 <= deadline - watchdog.deadline < seconds / 100:
        watchdog.deadline = deadline


@asynccontextmanager
async def reading(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """End the reading here and now, also when the call ended before it, and not when memory is next tidied."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
