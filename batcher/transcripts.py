"""Transcripts as bytes for the table: small, exact and readable by later versions.

The form is compact JSON, an array per word, compressed with zlib (whose checksum finds damage). Readers
ignore keys and trailing array elements they do not know, so that new facts can be added without a new
version; the version only rises when an old reader would misunderstand.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from batcher.errors import BatcherError
from batcher.model import Part, Transcript, Word

VERSION = 1
_LEVEL = 4  # the usual 6 takes more than twice the time for the last four per cent
_WORD_FIELDS = 9


def pack(transcript: Transcript) -> bytes:
    """Return `transcript` as bytes that `unpack` turns back into an equal value."""
    content = {
        "version": VERSION,
        "separator": transcript.separator,
        "model": transcript.model,
        "document": transcript.document,
        "parts": [_packed_part(part) for part in transcript.parts],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=_plain)
    # A JSON answer may carry half a surrogate pair; it is kept like everything else.
    return zlib.compress(text.encode("utf-8", "surrogatepass"), _LEVEL)


def unpack(packed: bytes) -> Transcript:
    """Return the transcript that `pack` made these bytes of.

    Raises:
        BatcherError: The bytes are damaged, or a later batcher wrote them.
    """
    try:
        content = json.loads(_inflated(packed).decode("utf-8", "surrogatepass"))
        if content["version"] > VERSION:
            raise BatcherError(
                f"The stored transcript has version {content['version']}; this batcher reads up to {VERSION}.",
                hint="Update batcher.",
            )
        return _transcript(content)
    except (zlib.error, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BatcherError(
            f"A stored transcript of {len(packed)} bytes is damaged: {error}",
            hint="Restore the table from a backup, or transcribe the recording again.",
        ) from error


def _packed_part(part: Part) -> dict[str, object]:
    return {
        "channel": part.channel,
        "speakers": dict(part.speakers),
        "words": [_packed_word(word) for word in part.words],
    }


def _packed_word(word: Word) -> tuple[object, ...]:
    row = (word.text, word.start_ms, word.end_ms, word.confidence, word.speaker, word.language)
    if word.is_audio_event:
        return (*row, word.translation, word.source_language, True)
    if word.translation or word.source_language is not None:
        return (*row, word.translation, word.source_language)
    return row  # most know nothing of translations and sounds


def _plain(value: object) -> dict[str, object]:
    """Let json write mappings that are no dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"A transcript cannot hold a {type(value).__name__}")


def _inflated(packed: bytes) -> bytes:
    """Return the content, and refuse bytes that end early or go on afterwards."""
    inflater = zlib.decompressobj()
    content = inflater.decompress(packed)
    if not inflater.eof:
        raise ValueError("the end is missing")
    if inflater.unused_data:
        raise ValueError("something follows the end")
    return content


def _transcript(content: dict[str, Any]) -> Transcript:
    return Transcript(
        parts=tuple(_part(part) for part in content["parts"]),
        separator=content["separator"],
        model=content["model"],
        document=content["document"],
    )


def _part(packed: dict[str, Any]) -> Part:
    words = tuple(_word(row) for row in packed["words"])
    return Part(words=words, channel=packed["channel"], speakers=packed["speakers"])


def _word(row: list[Any]) -> Word:
    if not isinstance(row, list) or not isinstance(row[0], str):
        raise TypeError("a word has no text")
    return Word(*row[:_WORD_FIELDS])
