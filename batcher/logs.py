"""The log of a batch: one JSON object a line, private to the user, small, and never with the key in it."""

import json
import logging
import os
import traceback
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import structlog

from batcher.clock import Clock
from batcher.errors import BatcherError, MachineRefuses
from batcher.text import iso

#: The log is moved aside at this size, over the one that was moved aside before.
LARGEST_BYTES = 5_000_000
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_HIDDEN = "[the API key]"
_CLOSED = -1

Entry = MutableMapping[str, Any]


#: How the secrets of this process's latest run may be spelled.
_known: list[str] = []


def spellings(secrets: Iterable[str]) -> list[str]:
    """Return how secrets may stand in a line: as they are, in a URL, as Python shows them; each in JSON too."""
    plain = {text for secret in secrets for text in (secret, quote(secret, safe=""), repr(secret)[1:-1]) if text}
    return sorted(plain | {json.dumps(text)[1:-1] for text in plain}, key=len, reverse=True)


def blot(text: str) -> str:
    """Return a text without the secrets of this process's latest run."""
    return _without(_known, text)


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text


class LogFile:
    """Lines appended to a file of mode 0600. A line that cannot be written is counted, and told of later."""

    def __init__(self, path: Path, secrets: Sequence[str] = ()) -> None:
        self._path = path
        self._secrets = spellings(secrets)
        self._lost = 0
        try:
            self._open()
        except OSError as error:
            raise MachineRefuses(f"the log cannot be written: {error.strerror or error}") from error

    def _open(self) -> None:
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(self._handle, 0o600)  # one of an earlier version may be open to others
        self._size = os.fstat(self._handle).st_size

    def write(self, line: str) -> None:
        """Append one line, without its secrets."""
        line = _without(self._secrets, line)
        note = json.dumps({"event": "lines lost", "level": "warning", "count": self._lost}) + "\n" if self._lost else ""
        data = (note + line + "\n").encode("utf-8", "backslashreplace")
        try:
            self._rotate(len(data))
            os.write(self._handle, data)
        except OSError:  # a full disk stops the batch by other means; its log must not do so first
            self._lost += 1
        else:
            self._size += len(data)
            self._lost = 0

    def _rotate(self, coming: int) -> None:
        if self._handle == _CLOSED:  # by a rotation that failed half way
            self._open()
        elif self._size and self._size + coming > LARGEST_BYTES:
            self._path.rename(self._path.with_name(self._path.name + ".1"))
            self.close()
            self._open()

    def close(self) -> None:
        """Close the file."""
        handle, self._handle = self._handle, _CLOSED  # the number may be another file's next: nothing is written to it
        if handle != _CLOSED:
            os.close(handle)

    # What structlog calls on a logger, by level.
    msg = debug = info = warning = error = critical = write


class _Forward(logging.Handler):
    """Brings what libraries log the standard way into the same file."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("library", logger=record.name, message=record.getMessage())


@contextmanager
def open_log(path: Path, level: str, clock: Clock, *secrets: str) -> Iterator[None]:
    """Write the log to `path` for the length of the block; `secrets` are blotted out wherever they appear.

    An error that nobody foresaw and that ends the block is logged as well.
    """
    file = LogFile(path, secrets)
    _known[:] = spellings(secrets)
    forward = _Forward(logging.WARNING)
    structlog.configure(
        processors=[structlog.processors.add_log_level, _Stamp(clock), _plain_traceback, _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_args: file,
        cache_logger_on_first_use=False,
    )
    logging.getLogger().addHandler(forward)
    try:
        yield
    except Exception as error:
        if not isinstance(error, BatcherError):
            structlog.get_logger().error("ended unexpectedly", exc_info=error)
        raise
    finally:
        logging.getLogger().removeHandler(forward)
        silence()
        file.close()


def silence() -> None:
    """Log nowhere: the state outside of a run, where structlog would print on the terminal by default."""
    structlog.reset_defaults()  # nothing of the run before is left, above all not its file
    structlog.configure(processors=[_drop])


def _drop(_logger: object, _method: str, _entry: Entry) -> Entry:
    raise structlog.DropEvent


class _Stamp:
    """Puts the batch's own time on every entry."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _method: str, entry: Entry) -> Entry:
        return {"at": iso(self._clock.now()), **entry}


def _plain_traceback(_logger: object, _method: str, entry: Entry) -> Entry:
    """Spell an exception out: calls and messages, never the values of variables."""
    error = entry.pop("exc_info", None)
    if isinstance(error, BaseException):
        entry["traceback"] = _traceback(error, error.__traceback__)
    return entry


def _traceback(error: BaseException, trace: TracebackType | None) -> str:
    return "".join(traceback.format_exception(type(error), error, trace))


def _as_json(_logger: object, _method: str, entry: Entry) -> str:
    return json.dumps(entry, default=str)
