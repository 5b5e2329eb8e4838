"""From the core's objects to the JSON bodies of the REST API."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from batcher.emulator.knobs import RestKnobs
from batcher.emulator.rest_bodies import FileBody, TokenBody, TranscriptBody, TranscriptionBody, UsageBody
from batcher.emulator.rest_objects import Paid, RestFile, RestJob, spoken_language, translated_to
from batcher.model import RemoteStatus, Transcript, Word

STATUS_WORDS: dict[RemoteStatus, Any] = {
    RemoteStatus.QUEUED: "queued",
    RemoteStatus.PROCESSING: "processing",
    RemoteStatus.COMPLETED: "completed",
    RemoteStatus.FAILED: "error",
}

_MASK = "*" * 18  #: stands for the secret of a webhook, however long it is
_SENTENCE = 8  #: words after which their translation comes
_USD_PER_HOUR = Decimal("0.10")  #: the service's list price
_AUDIO_TOKEN_MS = 120  #: only for figures of the usage log that nobody compares
_HOUR_MS = 3_600_000


def time_text(ms: int) -> str:
    """Return a time as the service writes it: RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def file_body(file: RestFile) -> FileBody:
    """Return one file."""
    return FileBody(
        id=file.id,
        filename=file.filename,
        size=file.size,
        created_at=time_text(file.created),
        client_reference_id=file.reference or None,
    )


def job_body(job: RestJob, status: RemoteStatus) -> TranscriptionBody:
    """Return one transcription, with the status that is to be shown."""
    asked, failed = job.asked, status is RemoteStatus.FAILED
    return TranscriptionBody(
        id=job.id,
        status=STATUS_WORDS[status],
        created_at=time_text(job.created),
        model=job.model,
        filename=job.filename,
        enable_speaker_diarization=bool(asked.enable_speaker_diarization),
        enable_language_identification=bool(asked.enable_language_identification),
        audio_url=asked.audio_url,
        file_id=asked.file_id,
        language_hints=list(asked.language_hints) if asked.language_hints is not None else None,
        context=asked.model_dump(mode="json", exclude_none=True).get("context"),
        audio_duration_ms=0 if status is RemoteStatus.QUEUED else job.duration_ms,
        error_type=job.error_type if failed else None,
        error_message=job.error if failed else None,
        webhook_url=asked.webhook_url,
        webhook_auth_header_name=asked.webhook_auth_header_name,
        webhook_auth_header_value=_MASK if asked.webhook_auth_header_value is not None else None,
        webhook_status_code=job.webhook_status,
        client_reference_id=asked.client_reference_id,
    )


def transcript_body(job: RestJob, transcript: Transcript, knobs: RestKnobs) -> TranscriptBody:
    """Return the words of a transcription as tokens, with what was asked for: speakers, languages, translation."""
    words = [word for part in transcript.parts for word in _joined(part.words, transcript.separator)]
    tokens: list[TokenBody] = []
    for start in range(0, len(words), _SENTENCE):
        tokens += _sentence(words[start : start + _SENTENCE], job, knobs)
    text = "".join(token.text for token in tokens if token.translation_status != "translation")
    return TranscriptBody(id=job.id, text=text.strip(), tokens=tokens)


def usage_body(paid: Paid) -> UsageBody:
    """Return one entry of the usage log."""
    cost = _decimal(_USD_PER_HOUR * paid.duration_ms / _HOUR_MS)
    return UsageBody(
        uuid=paid.uuid,
        client_reference_id=paid.reference,
        model=paid.model,
        start_time=time_text(paid.started),
        end_time=time_text(paid.ended),
        input_audio_tokens=paid.duration_ms // _AUDIO_TOKEN_MS,
        input_audio_duration_ms=paid.duration_ms,
        output_text_tokens=paid.tokens,
        cost_usd=cost,
        input_cost_usd=cost,
        input_audio_cost_usd=cost,
    )


def _decimal(number: Decimal) -> str:
    return format(number.quantize(Decimal("0.00000001")), "f")


def _joined(words: tuple[Word, ...], separator: str) -> list[Word]:
    """Return the words with the blank that is before each, where the core has blanks as words of their own."""
    joined: list[Word] = []
    blank = ""
    for word in words:
        if word.text.isspace():
            blank = word.text
            continue
        between = blank or (separator if joined else "")
        joined.append(Word(between + word.text, word.start_ms, word.end_ms, word.confidence, word.speaker))
        blank = ""
    return joined


def _sentence(words: list[Word], job: RestJob, knobs: RestKnobs) -> list[TokenBody]:
    """Return the tokens of some words, and after them those of their translation."""
    asked = job.asked
    language = spoken_language(asked) if asked.enable_language_identification or asked.translation else None
    target = translated_to(asked)
    status = None if asked.translation is None else "none" if target is None else "original"
    tokens = [
        TokenBody(
            text=piece.text,
            start_ms=piece.start_ms,
            end_ms=piece.end_ms,
            confidence=piece.confidence,
            speaker=piece.speaker,
            language=language,
            translation_status=status,
        )
        for word in words
        for piece in _pieces(word, knobs.piece_letters)
    ]
    if target is not None:
        tokens += [_translated(word, target, language) for word in words]
    return tokens


def _pieces(word: Word, letters: int) -> list[Word]:
    """Return a word in pieces of so many letters, each with its share of the time."""
    size = letters + len(word.text) - len(word.text.lstrip())
    if not letters or len(word.text) <= size or word.start_ms is None or word.end_ms is None:
        return [word]
    middle = word.start_ms + (word.end_ms - word.start_ms) * size // len(word.text)
    head = Word(word.text[:size], word.start_ms, middle, word.confidence, word.speaker)
    tail = Word(word.text[size:], middle, word.end_ms, word.confidence, word.speaker)
    return [head, *_pieces(tail, letters)]


def _translated(word: Word, target: str, source: str | None) -> TokenBody:
    """Return what the imitation calls a translation: the word, marked with the language. It has no times."""
    return TokenBody(
        text=f"{word.text}-{target}",
        confidence=word.confidence,
        speaker=word.speaker,
        language=target,
        translation_status="translation",
        source_language=source,
    )
