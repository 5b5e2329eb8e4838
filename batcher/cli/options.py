"""The options that several verbs share, each spelled once."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The output directory of the batch.", show_default=False)]
OutOption = Annotated[
    Path, typer.Option("-o", "--out", metavar="OUT", help="Where the transcripts go.", show_default=False)
]
Jobs = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH|ID", help="Recordings by name, or jobs by id.", show_default=False),
]
One = Annotated[str, typer.Argument(metavar="PATH|ID", help="A recording by name, or a job by id.")]
Every = Annotated[bool, typer.Option("--all", help="Every job that it fits.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


Db = Annotated[
    Path | None,
    typer.Option("--db", help="The job table, if it is not in OUT.", metavar="FILE", show_default=False),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard", help="Which part of a sharded batch, if there are several.", metavar="I/N", show_default=False
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration file (TOML).", metavar="FILE", show_default=False)
]
OtherAccount = Annotated[
    bool,
    typer.Option(
        "--other-account",
        help="The account or the API is another one now, for good; what was sent to the old one is given up.",
    ),
]
FilesFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--files-from",
        help="List of recordings, directories and URLs, one a line; - is standard input. Repeatable.",
        metavar="FILE",
        show_default=False,
    ),
]
