"""The ``json`` format: everything known, for programs. `transcript.schema.json` describes it."""

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping

from batcher.model import Part, Transcript, Word
from batcher.render.about import About
from batcher.render.safe import escape_json
from batcher.text import iso, show_text

SCHEMA = "batcher.transcript/1"
_LABELS = ("speaker", "language", "translation", "source_language")
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def structured(transcript: Transcript, about: About) -> bytes:
    """Return the transcript and all that is known about it as UTF-8 JSON, one word per line.

    The words are exactly the service's. What is unknown is left out; null appears only where the service
    itself, or an option, says so.
    """
    lines = [_line("schema", SCHEMA), _line("source", _source(about))]
    lines += [_line("options", about.options), _line("service", _service(transcript, about))]
    if about.times:
        lines.append(_line("times", {name: iso(ms) for name, ms in about.times.items()}))
    lines.append(_line("text", transcript.text))
    if translated := transcript.translation_text:
        lines.append(_line("translation_text", translated))
    lines.append(_parts(transcript.parts))
    if transcript.document is not None:
        lines.append(_line("document", transcript.document))
    lines.append(_line("batcher", _present(version=about.version, batch=about.batch)))
    return escape_json("{\n " + ",\n ".join(lines) + "\n}\n").encode()


def _line(key: str, value: object) -> str:
    return f'"{key}": {_encoder.encode(_plain(value))}'


def _source(about: About) -> dict[str, object]:
    """Return what is known of the recording. Bytes of its path that are no UTF-8 are escaped, and exact in base64."""
    path = about.path.decode("utf-8", "backslashreplace")
    is_text = path.encode() == about.path
    return _present(
        name=show_text(about.name),
        path=path,
        path_base64=None if is_text else b64encode(about.path).decode(),
        size=about.size,
        sha256=about.sha256,
        duration_ms=about.duration_ms,
    )


def _service(transcript: Transcript, about: About) -> dict[str, object]:
    model = transcript.model or about.model
    return _present(api=about.api, model=model, reference=about.reference, id=about.remote)


def _parts(parts: tuple[Part, ...]) -> str:
    return '"parts": [' + ",".join(_part(part) for part in parts) + "]"


def _part(part: Part) -> str:
    head = "".join(f'"{key}": {_encoder.encode(value)}, ' for key, value in _head(part))
    words = ",".join("\n   " + _word(word) for word in part.words)
    return f'\n  {{{head}"words": [{words}]}}'


def _head(part: Part) -> Iterator[tuple[str, object]]:
    if part.channel is not None:
        yield "channel", part.channel
    if part.speakers:
        yield "speakers", dict(part.speakers)


def _word(word: Word) -> str:
    """Return a word as JSON. Nearly all of a document is words: numbers are spelled here, which is three times as fast.

    The plus signs make numbers of what Python only takes for some, like True.
    """
    known = f'"text": {_encoder.encode(word.text)}'
    if word.start_ms is not None:
        known += f', "start_ms": {+word.start_ms}'
    if word.end_ms is not None:
        known += f', "end_ms": {+word.end_ms}'
    # JSON has no word for what is not a number, so it counts as unknown.
    if word.confidence is not None and math.isfinite(word.confidence):
        known += f', "confidence": {+word.confidence!r}'
    labels = (word.speaker, word.language, word.translation, word.source_language)
    for name, label in zip(_LABELS, labels, strict=True):
        if label:
            known += f', "{name}": {_encoder.encode(label)}'
    return f'{{{known}, "is_audio_event": true}}' if word.is_audio_event else f"{{{known}}}"


def _present(**values: object) -> dict[str, object]:
    """Return the values that are known."""
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _plain(value: object) -> object:
    """Return `value` in the types JSON has; a float that is not a number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
