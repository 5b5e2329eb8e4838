"""`batcher init`: write a commented configuration file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from batcher.cli import screen, words
from batcher.cli.example import example
from batcher.cli.place import user_config_file
from batcher.errors import MachineRefuses, UsageError

File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="Where to; the user's own configuration by default, - prints it."),
]


def command(file: File = None) -> None:
    """Write a commented configuration file.

    Every key stands in it with its meaning and default. Never overwrites one.
    """
    if file == Path("-"):
        screen.say(example().splitlines())
        return
    path = file or user_config_file()
    _write(path)
    screen.say([f"wrote {words.name(os.fsencode(os.path.abspath(path)))}"])  # noqa: PTH100 - links stay
    if file is not None:
        screen.say([f"next: edit it, then batcher run INPUT -o OUT --config {words.quoted(path)}"])


def _write(path: Path) -> None:
    name = words.name(os.fsencode(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(example())
    except FileExistsError as error:
        hint = "Move it away first, or name another file; `batcher init -` prints the text."
        raise UsageError(f"{name} is there already and was not touched", hint=hint) from error
    except OSError as error:
        raise MachineRefuses(f"{name} cannot be written: {error.strerror or error}") from error
