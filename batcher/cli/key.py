"""Where the API key comes from: the environment, a private file, or the system's keyring; never the command line."""

import os
import stat
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from batcher.cli.words import typeable
from batcher.errors import AccountRefused, UsageError
from batcher.text import show_path

VARIABLE = "SONIOX_API_KEY"
WEBHOOK_VARIABLE = "SONIOX_API_WEBHOOK_SECRET"  #: of the official clients too
SERVICE = "batcher"  #: under which the keyring keeps it, with the variable's name as the user
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it was found. The key itself shows in no representation."""

    value: str = field(repr=False)
    origin: str


def require_key(key_file: Path | None) -> Key:
    """Return the key. Raises AccountRefused when there is none, UsageError when its file is not private."""
    key = find_key(key_file)
    if key is None:
        raise AccountRefused(
            "there is no API key",
            hint=f"Type `export {VARIABLE}=...` with your key from the Soniox console, or name a file that holds it "
            "with --key-file; then run the same command again. Nothing was sent.",
        )
    return key


def find_key(key_file: Path | None) -> Key | None:
    """Return the key, or None when there is none anywhere."""
    value = os.environ.get(VARIABLE, "").strip()
    if value:
        return Key(value, f"the variable {VARIABLE}")
    if key_file is not None:
        return Key(_read(key_file), f"the file {show_path(os.fsencode(key_file))}")
    return _from_keyring()


def find_webhook_secret(file: Path | None) -> str:
    """Return the value of the header that the service sends along with its reports. Raises UsageError."""
    value = os.environ.get(WEBHOOK_VARIABLE, "").strip()
    if not value and file is not None:
        value = _read(file, "webhook secret")
    if not value:
        hint = f"Type `export {WEBHOOK_VARIABLE}=...`, or name a file that holds it with --webhook-secret-file."
        raise UsageError("webhook_header is set, but there is no value for that header", hint=hint)
    return value


def _read(path: Path, what: str = "key") -> str:
    name = f"the {what} file {show_path(os.fsencode(path))}"
    try:
        with path.open("rb") as file:
            _check_private(os.fstat(file.fileno()), path, name)
            content = file.read(_LONGEST)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from error
    value = content.decode("utf-8", "replace").strip()
    if not value:
        raise UsageError(f"{name} is empty", hint=f"Put the {what} into it, and nothing else.")
    return value


def _check_private(status: os.stat_result, path: Path, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{name} is not a regular file")
    if status.st_uid != os.getuid():
        raise UsageError(f"{name} belongs to another user", hint="Make a file of your own for it.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        hint = f"Type `chmod 600 {typeable(os.fsencode(path)) or 'FILE'}`."
        raise UsageError(f"{name} can be read by others", hint=hint)


def _from_keyring() -> Key | None:
    """Ask the system's keyring, if the extra that speaks to it is installed."""
    if find_spec("keyring") is None:
        return None
    keyring, errors = import_module("keyring"), import_module("keyring.errors")
    try:
        value = keyring.get_password(SERVICE, VARIABLE)
    except errors.KeyringError:  # no keyring runs here, or it stays locked: the same as no key in it
        return None
    return Key(value.strip(), "the keyring") if value and value.strip() else None
