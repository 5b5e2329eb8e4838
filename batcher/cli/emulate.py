"""`batcher emulate`: the service on this machine, for trying things out."""

import json
import signal
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import anyio
import typer
from pydantic import ValidationError

from batcher.cli import screen
from batcher.config import nearest
from batcher.emulator.knobs import Knob, Knobs, RestKnobs, all_knobs, turned
from batcher.emulator.server import EmulatorSettings, RecognizerName, Running, serve
from batcher.errors import UsageError
from batcher.text import show_text

_KNOBS = Knobs()
_DAY_MS = 86_400_000


class Face(StrEnum):
    """Which of the service's two APIs."""

    REST = "rest"
    GRPC = "grpc"
    BOTH = "both"


_Face = Annotated[Face, typer.Option(help="Which API to serve.", show_choices=True)]
_Port = Annotated[int, typer.Option(min=0, max=65535, help="gRPC's port on 127.0.0.1; 0 is any free one.")]
_RestPort = Annotated[int, typer.Option(min=0, max=65535, help="REST's port on 127.0.0.1, likewise.")]
_Recognizer = Annotated[RecognizerName, typer.Option(help="Where the words come from.", show_choices=True)]
_Model = Annotated[str, typer.Option(help="For whisper: a model's name or directory.", metavar="NAME")]
_Speed = Annotated[
    float | None,
    typer.Option(min=0.001, help="How many times faster than real time. Default: a job takes under two seconds."),
]
_Pending = Annotated[int, typer.Option(min=0, help="Limit of pending files or transcriptions.")]
_Stored = Annotated[int, typer.Option(min=0, help="Limit of stored files or transcriptions.")]
_Files = Annotated[int, typer.Option(min=0, help="REST: limit of stored files.")]
_Bytes = Annotated[int, typer.Option("--bytes", min=0, help="REST: limit of all files.")]
_Requests = Annotated[int, typer.Option(min=0, help="REST: limit of each bucket of requests; 0 is none.")]
_Knob = Annotated[
    list[str] | None,
    typer.Option(
        "--knob", metavar="NAME=VALUE", help="Turn one knob, over the options above. Repeatable.", show_default=False
    ),
]
_ListKnobs = Annotated[bool, typer.Option("--knobs", help="List all knobs with what they are and mean, and stop.")]
_Faults = Annotated[
    str,
    typer.Option(
        help="none, some, many, or rates: lost-after=0.1,… Late uploads show after up to 30 s: a longer --settle is needed.",
        metavar="PLAN",
    ),
]
_Seed = Annotated[
    int | None,
    typer.Option(help="Seed of the faults, the shuffled lists and the ids; random by default.", show_default=False),
]
_MustDecode = Annotated[bool, typer.Option("--must-decode", help="For echo: fail what is not audio.")]
_Report = Annotated[Path | None, typer.Option(help="Write what happened to this file at the end.", metavar="FILE")]


def command(
    *,
    face: _Face = Face.BOTH,
    port: _Port = 0,
    rest_port: _RestPort = 0,
    recognizer: _Recognizer = RecognizerName.ECHO,
    model: _Model = "",
    speed: _Speed = None,
    pending: _Pending = _KNOBS.pending,
    stored: _Stored = _KNOBS.stored,
    files: _Files = _KNOBS.rest.files,
    bytes_: _Bytes = _KNOBS.rest.bytes,
    requests_per_minute: _Requests = _KNOBS.rest.requests_per_minute,
    knob: _Knob = None,
    knobs: _ListKnobs = False,
    faults: _Faults = "none",
    seed: _Seed = None,
    must_decode: _MustDecode = False,
    report: _Report = None,
) -> None:
    """Imitate the service on this machine.

    Prints one JSON line when it listens, stops on TERM or Ctrl-C.
    """
    if knobs:
        screen.say(_described(each) for each in all_knobs())
        return
    rest = RestKnobs(files=files, bytes=bytes_, requests_per_minute=requests_per_minute)
    settings = EmulatorSettings(
        port=port,
        rest_port=rest_port,
        grpc=face is not Face.REST,
        rest=face is not Face.GRPC,
        knobs=_turned(_knobs(pending, stored, speed, rest), knob or []),
        recognizer=recognizer,
        model=model,
        must_decode=must_decode,
        faults=faults,
        seed=seed,
    )
    anyio.run(_serve, settings, report)


def _knobs(pending: int, stored: int, speed: float | None, rest: RestKnobs) -> Knobs:
    """Return the knobs; a speed that was asked for holds without the default's bound on how long a job takes."""
    knobs = Knobs(pending=pending, stored=stored, rest=rest)
    return knobs if speed is None else replace(knobs, speed=speed, max_work_ms=_DAY_MS)


def _described(knob: Knob) -> str:
    return f"{knob.name}={knob.default}\n    {knob.meaning}"


def _turned(knobs: Knobs, wishes: list[str]) -> Knobs:
    """Return the knobs as ``NAME=VALUE`` wants them, one after the other. Raises UsageError."""
    known = {each.name: each for each in all_knobs()}
    for wish in wishes:
        name, sign, text = wish.partition("=")
        name = name.strip().replace("-", "_")
        if not sign:
            raise UsageError(f"--knob {show_text(wish)}: must be NAME=VALUE", hint=_names(name, known))
        if name not in known:
            raise UsageError(f"--knob {show_text(wish)}: there is no such knob", hint=_names(name, known))
        try:
            knobs = turned(knobs, name, text)
        except ValidationError as error:
            raise _complaint(wish, error, _names(name, known)) from None
    return knobs


def _complaint(wish: str, error: ValidationError, hint: str) -> UsageError:
    """Return what is wrong with a value, in the words of a person who types it."""
    text = error.errors()[0]["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return UsageError(f"--knob {show_text(wish)}: {text}", hint=hint)


def _names(name: str, known: dict[str, Knob]) -> str:
    """Return the names of all knobs, the nearest first, and what the one of this name means."""
    meaning = f"{name} is: {known[name].meaning}. " if name in known else ""
    return f"{meaning}The knobs, the nearest first: {', '.join(nearest(name, known))}. --knobs explains them."


async def _serve(settings: EmulatorSettings, report: Path | None) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve(settings) as running:
            urls = {"rest": running.rest_url, "grpc": running.grpc_url}
            screen.say([json.dumps({name: url for name, url in urls.items() if url})])
            async for _signal in signals:
                break
        if report is not None:
            _write(report, running)


def _write(report: Path, running: Running) -> None:
    try:
        report.write_text(json.dumps(running.core.report(), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error.strerror or error}") from error
