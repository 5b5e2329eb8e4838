"""Everything about the imitated service that is unknown, contradictory or worth turning, with sensible defaults.

What the documentation of the legacy API states: at most 100 pending files, at most 2,000 stored files, at most
500 MB each, references of at most 256 characters, a result only when completed. What that of REST states: at most
100 pending and 2,000 transcriptions, 1,000 files, 10 GB in all, 1 GiB each. The rest is not documented.
"""

from dataclasses import dataclass, field
from enum import StrEnum

LEGACY_MAX_BYTES = 500_000_000  #: by the legacy documentation
REST_MAX_BYTES = 1 << 30  #: by the description of the upload in REST's OpenAPI document


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
    OLDEST = "oldest"  #: oldest first
    SHUFFLED = "shuffled"  #: another order at every call


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is of each of the four things that REST limits."""

    pending: int = 0
    transcriptions: int = 0
    files: int = 0
    bytes: int = 0

    def plus(self, other: "Load") -> "Load":
        """Return the sum."""
        return Load(
            self.pending + other.pending,
            self.transcriptions + other.transcriptions,
            self.files + other.files,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True, slots=True)
class RestKnobs:
    """How the REST API of the imitated service behaves, beyond what both APIs share. Times are milliseconds."""

    files: int = 1000  #: limit of stored files; one copy of the documentation says 10,000
    bytes: int = 10_000_000_000  #: limit of all stored files together
    requests_per_minute: int = 500  #: of each bucket; observed once, not documented; 0: any number
    retry_after: bool = False  #: answer too many requests with that header; none is documented
    processing_is_pending: bool = True  #: the strict reading; the documentation speaks of jobs not yet started
    delete_queued: bool = True  #: a queued transcription can be deleted; the documentation only forbids one at work
    cascade: bool = False  #: deleting a transcription deletes its file too
    max_duration_ms: int | None = None  #: longest recording, as its size tells; None: any length
    over_long: str = "max_audio_duration_reached"  #: how a longer one fails; sources disagree
    null_keys: bool = True  #: optional keys of a token are there and null; otherwise they are absent
    piece_letters: int = 6  #: longer words come in several tokens; 0: every word is one
    wrong_inner_status: bool = False  #: error bodies say 400 whatever the status of the answer is
    bytes_text: str = "Total file size limit has been exceeded for your organization. Please delete some."
    pending_text: str = "The limit of pending transcriptions has been exceeded for your organization."
    filename_characters: int = 255  #: a longer name of a file is refused; the number is not documented
    unavailable_models: frozenset[str] = frozenset()  #: models that exist, but not for this key
    other_region_keys: frozenset[str] = frozenset()  #: keys that are only good at another region's host
    siblings: Load = Load()  #: of other projects of the organisation: no list shows it, every limit counts it
    playground: Load = Load()  #: made in the service's web page: only counts show it, every limit counts it
    fetch_urls: bool = (
        False  #: download what `audio_url` names, from this machine only; otherwise its text is the sound
    )
    webhook_retry_ms: tuple[int, ...] = (500, 1000, 2000)  #: waits between deliveries; the numbers are not documented
    webhook_timeout_ms: int = 5000


@dataclass(frozen=True, slots=True)
class Knobs:
    """How the imitated service behaves. Times are milliseconds."""

    pending: int = 100  #: limit of files queued or being transcribed, by the legacy documentation
    stored: int = 2000  #: limit of files that were not deleted, by the legacy documentation
    max_bytes: int | None = None  #: limit of one recording; None: what the API at hand documents
    keys: frozenset[str] | None = None  #: keys that are good; None: every one
    models: frozenset[str] | None = None  #: models of the legacy API that exist; None: every name
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
    rest: RestKnobs = field(default_factory=RestKnobs)
