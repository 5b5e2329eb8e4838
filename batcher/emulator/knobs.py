"""Everything about the imitated service that is unknown, contradictory or worth turning, with sensible defaults.

What the documentation of the legacy API states: at most 100 pending files, at most 2,000 stored files, at most
500 MB each, references of at most 256 characters, a result only when completed. What that of REST states: at most
100 pending and 2,000 transcriptions, 1,000 files, 10 GB in all, 1 GiB each. The rest is not documented.

A knob is a field; the text that is the last part of its annotation says what it means, to whoever reads this and
to whoever asks the command for a list.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter

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


class Container(StrEnum):
    """The kinds of file that REST recognises by itself, by its documentation."""

    AAC = "aac"
    AIFF = "aiff"
    AMR = "amr"
    ASF = "asf"
    FLAC = "flac"
    M4A = "m4a"
    MP3 = "mp3"
    MP4 = "mp4"
    OGG = "ogg"
    WAV = "wav"
    WEBM = "webm"


# How a text of the command line becomes the value of a knob, where pydantic needs to be told.


def _listed(value: object) -> object:
    """Return the items of a text with commas."""
    return _items(value) if isinstance(value, str) else value


def _paired(value: object) -> object:
    """Return the pairs of a text like ``internal_error:3,file_not_found:1``."""
    if not isinstance(value, str):
        return value
    if not all(re.fullmatch(r"[^:]+:\d+", item) for item in _items(value)):
        raise ValueError("must be types and numbers, like internal_error:3,file_not_found:1")
    return [item.split(":") for item in _items(value)]


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _absent(value: object) -> object:
    return None if value == "none" else value


Count = Annotated[int, Field(ge=0)]
Some = Annotated[int, Field(ge=1)]
Names = Annotated[frozenset[str], BeforeValidator(_listed)]
Containers = Annotated[frozenset[Container], BeforeValidator(_listed)]
Waits = Annotated[tuple[Count, ...], BeforeValidator(_listed)]
Counts = Annotated[tuple[tuple[str, Count], ...], BeforeValidator(_paired)]
OrNone = BeforeValidator(_absent)


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is of each of the four things that REST limits."""

    pending: Annotated[Count, "pending transcriptions"] = 0
    transcriptions: Annotated[Count, "transcriptions"] = 0
    files: Annotated[Count, "files"] = 0
    bytes: Annotated[Count, "bytes of files"] = 0

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

    files: Annotated[Count, "limit of stored files; one copy of the documentation says 10,000"] = 1000
    bytes: Annotated[Count, "limit of all stored files together"] = 10_000_000_000
    requests_per_minute: Annotated[
        Count, "limit of requests of each bucket; observed once, not documented; 0: any number"
    ] = 500
    retry_after: Annotated[bool, "answer too many requests with that header; none is documented"] = False
    processing_is_pending: Annotated[
        bool, "what is being transcribed counts as pending: the strict reading; the documentation says not yet started"
    ] = True
    delete_queued: Annotated[
        bool, "a queued transcription can be deleted; the documentation only forbids one at work"
    ] = True
    cascade: Annotated[bool, "deleting a transcription deletes its file too"] = False
    max_duration_ms: Annotated[Count | None, OrNone, "longest recording, as its size tells; none: any length"] = None
    over_long: Annotated[str, "the type of error with which a longer one fails; sources disagree"] = (
        "max_audio_duration_reached"
    )
    null_keys: Annotated[bool, "optional keys of a token are there and null; otherwise they are absent"] = True
    piece_letters: Annotated[Count, "longer words come in several tokens; 0: every word is one"] = 6
    wrong_inner_status: Annotated[bool, "error bodies say 400 whatever the status of the answer is"] = False
    bytes_text: Annotated[str, "what is said when `bytes` is reached; not documented"] = (
        "Total file size limit has been exceeded for your organization. Please delete some."
    )
    pending_text: Annotated[str, "what is said when `pending` is reached; not documented"] = (
        "The limit of pending transcriptions has been exceeded for your organization."
    )
    filename_characters: Annotated[
        Count, "a longer name of a file is refused; that is documented, the number is not"
    ] = 255
    unavailable_models: Annotated[Names, "models that exist, but not for this key"] = frozenset()
    other_region_keys: Annotated[Names, "keys that are only good at another region's host: 401"] = frozenset()
    unpermitted_keys: Annotated[Names, "keys that may list the models and nothing else: 403"] = frozenset()
    balance: Annotated[
        Count | None,
        OrNone,
        "how many transcriptions each key may create before its money is gone: 402; none: any number",
    ] = None
    job_errors: Annotated[
        Counts,
        "types of error and how many of each key's next transcriptions end with each, in this order, not billed: "
        "internal_error:3,model_not_available:1",
    ] = ()
    undecodable: Annotated[
        Containers, "containers that are taken, but whose transcription ends with invalid_audio_file: m4a,mp4"
    ] = frozenset()
    siblings: Annotated[Load, "of other projects of the organisation: no list shows them, every limit counts them"] = (
        Load()
    )
    playground: Annotated[Load, "made in the service's web page: only counts show them, every limit counts them"] = (
        Load()
    )
    fetch_urls: Annotated[
        bool, "download what `audio_url` names, from this machine only; otherwise its text is the sound"
    ] = False
    webhook_retry_ms: Annotated[Waits, "waits between deliveries; the numbers are not documented"] = (500, 1000, 2000)
    webhook_timeout_ms: Annotated[Some, "how long a webhook may take to answer"] = 5000


@dataclass(frozen=True, slots=True)
class Knobs:
    """How the imitated service behaves. Times are milliseconds."""

    pending: Annotated[Count, "limit of files queued or being transcribed, by the legacy documentation"] = 100
    stored: Annotated[Count, "limit of files that were not deleted, by the legacy documentation"] = 2000
    max_bytes: Annotated[Count | None, OrNone, "limit of one recording; none: what the API at hand documents"] = None
    keys: Annotated[Names | None, OrNone, "keys that are good, others get 401; none: every one"] = None
    models: Annotated[Names | None, OrNone, "models of the legacy API that exist; none: every name"] = None
    refuse_full: Annotated[bool, "refuse what a quota has no room for; otherwise it is only counted"] = True
    refuse_after_bytes: Annotated[bool, "answer a full quota only after the whole upload was read"] = False
    queue_ms: Annotated[Count, "how long a file stays queued when a place is free"] = 200
    speed: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        "how many times faster than real time a recording is transcribed, between the two bounds of the work",
    ] = 100.0
    min_work_ms: Annotated[Count, "shortest transcription"] = 300
    max_work_ms: Annotated[Count, "longest transcription; with the queue a job takes under two seconds"] = 1500
    parallel: Annotated[Some | None, OrNone, "transcriptions of one account at the same time; none: any number"] = None
    bytes_per_second: Annotated[Some, "converts bytes to a recording's length where the length is not known"] = 16_000
    delete_while_transcribing: Annotated[bool, "allow what the service presumably refuses"] = False
    no_eof: Annotated[
        NoEof, "what becomes of a legacy upload that ends without its end mark: nothing, or a failed file"
    ] = NoEof.NOTHING
    unknown_id: Annotated[
        UnknownId, "the legacy answer to a status query for an unknown id: not-found, or an empty list"
    ] = UnknownId.NOT_FOUND
    order: Annotated[Order, "order of lists: newest or oldest first, or shuffled at every call"] = Order.NEWEST
    list_lag_ms: Annotated[Count, "objects younger than this are missing from lists"] = 0
    retention_ms: Annotated[
        Count | None, OrNone, "age at which the service removes an object by itself; none: never"
    ] = None
    memory_ms: Annotated[Count, "how long deleted objects are remembered, for stale lists"] = 600_000
    words_per_message: Annotated[Some, "a legacy result is streamed in messages of so many words"] = 200
    provisional_words: Annotated[
        Count, "words at the end of such a message that are not final and sent again by the next"
    ] = 0
    trace: Annotated[Count, "how many calls the trace of an account remembers"] = 1000
    rest: RestKnobs = field(default_factory=RestKnobs)


# The knobs by name.

_Group = TypeVar("_Group", Knobs, RestKnobs, Load)


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob, as the command line knows it."""

    name: str  #: with its place: ``rest.siblings.pending``
    default: str  #: as `turned` reads it
    meaning: str


def all_knobs(group: object = None, place: str = "", of: str = "") -> Iterator[Knob]:
    """Yield every knob. Those of a group inside the knobs stand at `place` and mean something `of` it."""
    group = Knobs() if group is None else group
    for name, hint in get_type_hints(type(group), include_extras=True).items():
        value, meaning = getattr(group, name), " ".join(filter(None, (*_texts(hint), of)))
        if is_dataclass(value):
            yield from all_knobs(value, f"{place}{name}.", meaning)
        else:
            yield Knob(place + name, _spell(value), meaning)


def turned(group: _Group, name: str, text: str) -> _Group:
    """Return the knobs with the one of this name set to what `text` says. Raises pydantic's ValidationError."""
    first, _, inner = name.partition(".")
    if inner:
        value: Any = turned(getattr(group, first), inner, text)
    else:
        value = TypeAdapter(get_type_hints(type(group), include_extras=True)[first]).validate_python(text)
    return replace(group, **{first: value})


def _texts(hint: Any) -> list[str]:
    return [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, str)]


def _spell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_spell, value)) if isinstance(value, (tuple, frozenset)) else str(value)
