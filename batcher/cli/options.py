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


def _option(name: str, *more: str, text: str, metavar: str = "", rule: str = "") -> object:
    names = [*more, name]
    return typer.Option(*names, help=text, metavar=metavar or None, rich_help_panel=rule or None, show_default=False)


Db = Annotated[Path | None, _option("--db", text="The job table, if it is not in OUT.", metavar="FILE")]
Config = Annotated[Path | None, _option("--config", text="Configuration file (TOML).", metavar="FILE")]
Api = Annotated[str | None, _option("--api", text="Which API to use: rest, or the legacy grpc.", metavar="NAME")]
Region = Annotated[str | None, _option("--region", text="Region of the key's project: us, eu or jp.", metavar="NAME")]
Host = Annotated[str | None, _option("--host", text="Scheme, name and port of the service.", metavar="URL")]
Insecure = Annotated[bool | None, _option("--insecure/--no-insecure", text="Allow http:// to another machine.")]
CaFile = Annotated[Path | None, _option("--ca-file", text="Certificates (PEM) to trust.", metavar="FILE")]
KeyFile = Annotated[
    Path | None, _option("--key-file", text="File with the API key, if SONIOX_API_KEY is not set.", metavar="FILE")
]
Settle = Annotated[
    str | None, _option("--settle", text="How long after a lost answer absence is proof.", metavar="SECONDS")
]
Format = Annotated[
    list[str] | None,
    _option("--format", "-f", text="Formats to write, with commas: txt,json,srt,vtt.", metavar="NAMES"),
]
Model = Annotated[str | None, _option("--model", text="The service's model.", metavar="NAME")]
MaxPending = Annotated[
    str | None, _option("--max-pending", text="The account's limit of pending transcriptions.", metavar="N")
]
MaxStored = Annotated[str | None, _option("--max-stored", text="The account's limit of transcriptions.", metavar="N")]
MaxFiles = Annotated[str | None, _option("--max-files", text="The account's limit of uploaded files.", metavar="N")]
MaxBytes = Annotated[
    str | None, _option("--max-bytes", text="The account's limit of all uploaded files together.", metavar="SIZE")
]
RequestsPerMinute = Annotated[
    str | None, _option("--requests-per-minute", text="Requests a minute in each bucket; 0: no limit.", metavar="N")
]
Convert = Annotated[bool | None, _option("--convert/--no-convert", text="Send as FLAC what the service cannot decode.")]
WebhookUrl = Annotated[
    str | None, _option("--webhook-url", text="Where the service reports ended transcriptions.", metavar="URL")
]
WebhookHeader = Annotated[str | None, _option("--webhook-header", text="Header that it sends along.", metavar="NAME")]
WebhookSecretFile = Annotated[
    Path | None,
    _option(
        "--webhook-secret-file", text="File with its value, if SONIOX_API_WEBHOOK_SECRET is not set.", metavar="FILE"
    ),
]
FilesFrom = Annotated[
    list[str] | None,
    _option(
        "--files-from",
        text="List of recordings, directories and URLs, one a line; - is standard input.",
        metavar="FILE",
    ),
]
MaxFileSize = Annotated[
    str | None, _option("--max-file-size", text="Skip larger recordings, like 500MB.", metavar="SIZE")
]
MaxDuration = Annotated[str | None, _option("--max-duration", text="Skip longer recordings, like 5h.", metavar="TIME")]
UploadConcurrency = Annotated[
    str | None, _option("--upload-concurrency", text="How many recordings are sent at once.", metavar="N")
]
Include = Annotated[
    list[str] | None, _option("--include", text="Take only what matches, like '*.wav'. Repeatable.", metavar="PATTERN")
]
Exclude = Annotated[
    list[str] | None, _option("--exclude", text="Leave out what matches. Repeatable.", metavar="PATTERN")
]
Progress = Annotated[str | None, _option("--progress", text="auto, bar, plain, json or none.", metavar="VIEW")]
LogLevel = Annotated[str | None, _option("--log-level", text="debug, info, warning or error.", metavar="LEVEL")]
MinFreeSpace = Annotated[
    str | None, _option("--min-free-space", text="Send nothing new with less disk space free.", metavar="SIZE")
]
