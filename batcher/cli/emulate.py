"""`batcher emulate`: the service on this machine, for trying things out."""

import json
import signal
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import anyio
import typer

from batcher.cli import screen
from batcher.emulator.knobs import Knobs, RestKnobs
from batcher.emulator.server import EmulatorSettings, RecognizerName, Running, serve
from batcher.errors import UsageError

_KNOBS = Knobs()
_DAY_MS = 86_400_000


class Face(StrEnum):
    """Which of the service's two APIs."""

    REST = "rest"
    GRPC = "grpc"
    BOTH = "both"


def command(
    *,
    face: Annotated[Face, typer.Option(help="Which API to serve.", show_choices=True)] = Face.BOTH,
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC's port on 127.0.0.1; 0 is any free one.")] = 0,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="REST's port on 127.0.0.1, likewise.")] = 0,
    recognizer: Annotated[
        RecognizerName, typer.Option(help="Where the words come from.", show_choices=True)
    ] = RecognizerName.ECHO,
    model: Annotated[str, typer.Option(help="For whisper: a model's name or directory.", metavar="NAME")] = "",
    speed: Annotated[
        float | None,
        typer.Option(min=0.001, help="How many times faster than real time. Default: a job takes under two seconds."),
    ] = None,
    pending: Annotated[int, typer.Option(min=0, help="Limit of pending files or transcriptions.")] = _KNOBS.pending,
    stored: Annotated[int, typer.Option(min=0, help="Limit of stored files or transcriptions.")] = _KNOBS.stored,
    files: Annotated[int, typer.Option(min=0, help="REST: limit of stored files.")] = _KNOBS.rest.files,
    bytes_: Annotated[int, typer.Option("--bytes", min=0, help="REST: limit of all files.")] = _KNOBS.rest.bytes,
    requests_per_minute: Annotated[
        int, typer.Option(min=0, help="REST: limit of each bucket of requests; 0 is none.")
    ] = _KNOBS.rest.requests_per_minute,
    faults: Annotated[
        str,
        typer.Option(
            help="none, some, many, or rates: lost-after=0.1,… Late uploads show after up to 30 s: a longer --settle is needed.",
            metavar="PLAN",
        ),
    ] = "none",
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 0,
    must_decode: Annotated[bool, typer.Option("--must-decode", help="For echo: fail what is not audio.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what happened to this file at the end.", metavar="FILE")
    ] = None,
) -> None:
    """Imitate the service on this machine.

    Prints one JSON line when it listens, stops on TERM or Ctrl-C.
    """
    settings = EmulatorSettings(
        port=port,
        rest_port=rest_port,
        grpc=face is not Face.REST,
        rest=face is not Face.GRPC,
        knobs=_knobs(pending, stored, speed, RestKnobs(files, bytes_, requests_per_minute)),
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
