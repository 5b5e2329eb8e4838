"""What a rendered transcript says about its recording and how it was made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import batcher


@dataclass(frozen=True, slots=True)
class About:
    """Everything of the job that the ``json`` format shows beside the words.

    Empty strings and None mean that the fact is unknown; it is then left out.
    """

    name: str  #: what to call the recording, as a person reads it
    path: bytes  #: the file system's own bytes
    size: int | None  #: bytes; None for a URL, whose recording only the service has seen
    sha256: str | None = None  #: of the recording's content, lower-case hex
    duration_ms: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)  #: what the service was asked to do
    api: str = ""  #: `grpc` or `rest`
    model: str = ""  #: the model asked for; the transcript's own goes before it
    reference: str | None = None  #: of the attempt that made the transcript
    remote: str | None = None  #: the id the object had at the service
    batch: str = ""
    times: Mapping[str, int] = field(default_factory=dict)  #: what happened (`submitted`, …) → UTC milliseconds
    version: str = batcher.__version__  #: of the batcher that renders
