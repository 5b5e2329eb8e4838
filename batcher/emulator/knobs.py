"""Everything about the imitated service that is unknown, contradictory or worth turning, with sensible defaults.

What the documentation of the legacy API states: at most 100 pending files, at most 2,000 stored files, at most
500 MB each, references of at most 256 characters, a result only when completed. The rest is not documented.
"""

from dataclasses import dataclass
from enum import StrEnum


class NoEof(StrEnum):
    """What becomes of an upload that ends without its end mark."""

    NOTHING = "nothing"  #: it never existed
    FAILED = "failed"  #: a failed file is stored


class UnknownId(StrEnum):
    """What a status query for an unknown id is answered with."""

    NOT_FOUND = "not-found"
    EMPTY = "empty"  #: an empty list


class Order(StrEnum):
    """The order of the list of files."""

    NEWEST = "newest"  #: newest first
    SHUFFLED = "shuffled"  #: another order at every call


@dataclass(frozen=True, slots=True)
class Knobs:
    """How the imitated service behaves. Times are milliseconds."""

    pending: int = 100  #: limit of files queued or being transcribed, by the legacy documentation
    stored: int = 2000  #: limit of files that were not deleted, by the legacy documentation
    max_bytes: int = 500_000_000  #: limit of one recording, by the legacy documentation
    models: frozenset[str] | None = None  #: models that exist; None accepts every name
    refuse_after_bytes: bool = False  #: answer a full quota only after the whole upload was read
    queue_ms: int = 200  #: how long a file stays queued when a place is free
    speed: float = 100.0  #: how many times faster than real time a recording is transcribed
    min_work_ms: int = 300  #: shortest transcription
    max_work_ms: int = 1500  #: longest transcription; with the queue a job takes under two seconds
    parallel: int | None = None  #: transcriptions of one account at the same time; None: any number
    bytes_per_second: int = 16_000  #: converts bytes to a recording's length where the length is not known
    delete_while_transcribing: bool = False  #: allow what the service presumably refuses
    no_eof: NoEof = NoEof.NOTHING
    unknown_id: UnknownId = UnknownId.NOT_FOUND
    order: Order = Order.NEWEST
    list_lag_ms: int = 0  #: objects younger than this are missing from the list
    retention_ms: int | None = None  #: age at which the service removes a file by itself; None: never
    memory_ms: int = 600_000  #: how long deleted files are remembered, for stale lists
    words_per_message: int = 200  #: a result is streamed in messages of so many words
    provisional_words: int = 0  #: words at the end of a message that are not final and sent again by the next
    trace: int = 1000  #: how many calls the trace of an account remembers
