"""What a batch remembers of its latest `run`: how it was called, so that later words say what to type.

The verbs that take only OUT also work with the options that were given then (where the service is, which formats),
unless they are told otherwise: asking another service what became of a batch would be told that nothing is there.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from batcher.cli.place import Place
from batcher.errors import AccountRefused, UsageError

#: What was meant for that run alone: whoever goes on giving an account up is not warned when it is another one again.
_ONCE = ("--other-account",)
#: Where the service is and whose key it is: what a refused account may be wrong about.
_WHERE = ("api", "region", "host", "key_file")
_NOWHERE = "none of --api, --region, --host and --key-file"


@contextmanager
def remembering(place: Place, arguments: Sequence[str], flags: Mapping[str, object]) -> Iterator[None]:
    """Keep how `run` was called, unless it is refused: that is not the command to repeat.

    Where an account is refused that is another one than the latest run's, that one stays known, and is named.

    The key is never among a command's arguments. How a run shows itself is for that run alone.
    """
    before = _recall(place)
    kept = {name: value for name, value in flags.items() if name != "progress"}
    _keep(place, {"directory": str(Path.cwd()), "arguments": list(arguments), "flags": kept})
    try:
        yield
    except UsageError:
        _keep(place, before)
        raise
    except AccountRefused as error:
        earlier = before.get("flags")
        if isinstance(earlier, dict) and _where(earlier) != _where(kept):
            error.hint = f"{error.hint} The run before had {_where(earlier) or _NOWHERE}.".lstrip()
            _keep(place, before)
        raise


def _where(flags: Mapping[str, object]) -> str:
    """Return where a run looked for the service, as it was typed: nothing where nothing of it was given."""
    given = [(name.replace("_", "-"), flags[name]) for name in _WHERE if name in flags]
    return " ".join(
        f"--{name} {shlex.quote(_absolute(value) if isinstance(value, Path) else str(value))}" for name, value in given
    )


def _keep(place: Place, content: Mapping[str, object]) -> None:
    place.last_run.touch(mode=0o600)
    place.last_run.chmod(0o600)  # one of an earlier version was open to others
    place.last_run.write_text(json.dumps(content, default=_absolute), "utf-8")


def _absolute(value: object) -> str:
    assert isinstance(value, Path)
    return os.path.abspath(value.expanduser())  # noqa: PTH100 - links stay as they are


def _recall(place: Place) -> dict[str, object]:
    try:
        content = json.loads(place.last_run.read_text("utf-8"))
    except (OSError, ValueError):  # never run, or cut off: nothing is known
        return {}
    return content if isinstance(content, dict) else {}


def remembered_flags(place: Place) -> dict[str, object]:
    """Return the settings that were given on the latest run's command line."""
    flags = _recall(place).get("flags")
    return flags if isinstance(flags, dict) else {}


def run_again(place: Place) -> str:
    """Return the command that goes on with this batch, ready to be typed."""
    known = _recall(place)
    if "arguments" not in known or "directory" not in known:
        return f"batcher run INPUT -o {place.typed}"
    arguments = [each for each in cast("list[str]", known["arguments"]) if each not in _ONCE]
    command = shlex.join(["batcher", *arguments])
    if not command.isprintable():
        return "the same `batcher run` command as before"
    directory = str(known["directory"])
    return command if directory == str(Path.cwd()) else f"cd {shlex.quote(directory)} && {command}"
