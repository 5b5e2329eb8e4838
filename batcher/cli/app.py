"""The command line: which verbs there are. A verb's module is imported when the verb is used, not before."""

from collections.abc import Callable
from importlib import import_module
from traceback import format_exception
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from batcher import __version__
from batcher.cli import screen
from batcher.errors import BatcherError, innermost
from batcher.text import show_text

VERBS = (
    "run", "status", "list", "show", "retry", "cancel", "reconcile", "doctor", "init", "emulate", "demo",
)  # fmt: skip
#: Verbs whose names are words of Python's own.
_MODULES = {"list": "listing"}


class Verbs(TyperGroup):
    """The verbs, each made from the function `command` of its module."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return the verbs in the order in which they are needed."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return the verb, or None when there is none of that name."""
        if cmd_name not in VERBS:
            return None
        function: Callable[..., None] = import_module(f"batcher.cli.{_MODULES.get(cmd_name, cmd_name)}").command
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name)(function)
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=Verbs,
    name="batcher",
    help="Turn directories of recordings into transcripts overnight.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        screen.say([f"batcher {__version__}"])
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    verbose: bool = typer.Option(False, "-v", "--verbose", help="Say what led to an error; may stand anywhere."),
) -> None:
    del version, verbose  # a callback and `main` see to them


def _verbosity(arguments: list[str]) -> tuple[list[str], bool]:
    """Take -v out, wherever it stands: it belongs to every verb, and to errors that come before any is known."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest = [word for word in arguments[:end] if word not in {"-v", "--verbose"}]
    return rest + arguments[end:], len(rest) < end


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code; an error is said on stderr in a line or two."""
    screen.prepare()
    arguments, verbose = _verbosity(arguments)
    try:
        ended = app(args=arguments, prog_name="batcher", standalone_mode=False)
        return ended if isinstance(ended, int) else 0
    except TyperException as error:  # what was typed cannot be understood; it is repeated, so it is cleaned
        complaint: Any = error
        complaint.message = show_text(complaint.message)
        complaint.show()
        return int(complaint.exit_code)
    except BatcherError as error:
        screen.complain(error, verbose=verbose)
        return error.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # noqa: BLE001 - what is left is a mistake of ours
        _apologise(error, verbose=verbose)
        return 1


def _apologise(error: Exception, *, verbose: bool) -> None:
    """Say on stderr what nobody foresaw, without the secrets of the run; `verbose` shows where it came from, too."""
    from batcher.logs import blot  # noqa: PLC0415 - most commands need no log

    if verbose:
        screen.warn("\n".join(map(show_text, blot("".join(format_exception(error))).splitlines())))
    cause = innermost(error)
    screen.warn(f"batcher: unexpected: {type(cause).__name__}: {show_text(blot(str(cause)))}")
    screen.warn("  This is a mistake in batcher; nothing is lost. OUT/.batcher/log.jsonl tells more, -v shows all.")
