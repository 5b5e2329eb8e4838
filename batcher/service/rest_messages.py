"""Between the words of the domain and the messages of the REST API. No calls are made here.

What is sent goes through the types of the service's own client. What is received is read more tolerantly than
those types do: to them one unknown status makes a whole list unreadable, and a long transcript takes them three
times as long.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field
from soniox.types import CreateTranscriptionConfig, StructuredContext, TranslationConfig

from batcher.errors import Kind, ServiceError
from batcher.model import Part, Remedy, RemoteObject, RemoteStatus, Transcript, Word
from batcher.options import Options, Webhook
from batcher.service.rest_errors import remedy

#: By the documentation. Whatever else it may say one day is taken for work in progress.
STATUSES = {
    "queued": RemoteStatus.QUEUED,
    "processing": RemoteStatus.PROCESSING,
    "completed": RemoteStatus.COMPLETED,
    "error": RemoteStatus.FAILED,
    "failed": RemoteStatus.FAILED,  # a word of the service's own texts for the same
}

MAX_ITEMS = 10_000  #: on one page, many times what is asked for

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")  # the service's are UUIDs; what goes into a path is checked
_MOST_BYTES = 1 << 40  # of one file: sums of what makes no sense must not leave the numbers of the table
_LARGEST = 1e15  # of a time or a confidence; what is no number is not less than it either


class ListedFile(BaseModel):
    """A file in the service's list."""

    id: str = ""
    size: int = 0
    created_at: datetime | None = None
    client_reference_id: str | None = None


class ListedTranscription(BaseModel):
    """A transcription in the service's list."""

    id: str = ""
    status: str = ""
    created_at: datetime | None = None
    model: str | None = None
    file_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    client_reference_id: str | None = None


Item = TypeVar("Item", ListedFile, ListedTranscription)


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_page_cursor: str | None = None


class FilesPage(Page[ListedFile]):
    """One page of the list of files."""

    items: list[ListedFile] = Field(validation_alias="files", max_length=MAX_ITEMS)


class TranscriptionsPage(Page[ListedTranscription]):
    """One page of the list of transcriptions."""

    items: list[ListedTranscription] = Field(validation_alias="transcriptions", max_length=MAX_ITEMS)


def join_id(transcription: str, file: str) -> str:
    """Return the id of an object: that of its transcription and that of its file, either of which may be missing.

    By the slash in between it is told from an id that the legacy API gave, which is a number.
    """
    return f"{transcription}/{file}"


def split_id(remote: str) -> tuple[str, str]:
    """Return the ids that `join_id` joined."""
    assert is_id(remote), "no id of this service"
    transcription, _, file = remote.partition("/")
    return transcription, file


def transcription_config(options: Options, webhook: Webhook) -> CreateTranscriptionConfig:
    """Return `options` and `webhook` as the service spells them; what was left alone is not spelled."""
    translation = options.translation.model_dump(exclude_defaults=True)
    context = options.context.model_dump(exclude_defaults=True)
    return CreateTranscriptionConfig(
        language_hints=list(options.language_hints) or None,
        language_hints_strict=options.language_hints_strict or None,
        enable_speaker_diarization=options.speaker_diarization or None,
        enable_language_identification=options.language_identification or None,
        translation=TranslationConfig.model_validate(translation) if translation else None,
        context=StructuredContext.model_validate(context) if context else None,
        webhook_url=webhook.url or None,
        webhook_auth_header_name=webhook.header_name or None,
        webhook_auth_header_value=webhook.header_value.get_secret_value() or None,
    )


def is_id(remote: str) -> bool:
    """Tell whether an object can be acted on: what came from the service goes into paths."""
    transcription, joint, file = remote.partition("/")
    return bool(joint and (transcription or file)) and all(
        not part or _ID.fullmatch(part) for part in (transcription, file)
    )


def joined(files: Iterable[ListedFile], transcriptions: Iterable[ListedTranscription]) -> tuple[RemoteObject, ...]:
    """Return one object per transcription, and one per file that none of them uses.

    A file that several transcriptions use is counted with the first of them.
    """
    uncounted = {file.id: file for file in files}
    objects = [_transcription(each, uncounted.pop(each.file_id or "", None)) for each in transcriptions]
    return (*objects, *(_upload(file) for file in uncounted.values()))


def _transcription(each: ListedTranscription, file: ListedFile | None) -> RemoteObject:
    status = STATUSES.get(each.status, RemoteStatus.PROCESSING)
    failed = status is RemoteStatus.FAILED
    reason = ": ".join(filter(None, (each.error_type, each.error_message)))
    return RemoteObject(
        id=join_id(each.id, each.file_id or ""),
        reference=each.client_reference_id or "",
        status=status,
        error=reason if failed else "",
        created=_milliseconds(each.created_at),
        bytes=_size(file) if file else 0,
        files=1 if file else 0,
        remedy=remedy(each.error_type or "") if failed else Remedy.NONE,
    )


def _upload(file: ListedFile) -> RemoteObject:
    return RemoteObject(
        id=join_id("", file.id),
        reference=file.client_reference_id or "",
        status=RemoteStatus.UPLOADED,
        created=_milliseconds(file.created_at),
        bytes=_size(file),
        files=1,
    )


def _size(file: ListedFile) -> int:
    return min(max(file.size, 0), _MOST_BYTES)


def _milliseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def transcript(body: bytes, model: str) -> Transcript:
    """Return the transcript in an answer. Blocks for two seconds per million tokens.

    Keys that are absent, keys that are null and values of another sort than documented mean the same: unknown.
    The words are the service's tokens.

    Raises:
        ServiceError: LATER for an answer that makes no sense.
    """
    try:
        words = tuple(_word(token) for token in json.loads(body)["tokens"] or ())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ServiceError(
            Kind.LATER, "the service answered with a transcript that makes no sense", code="200"
        ) from error
    return Transcript((Part(words),), model=model)


def _word(token: Mapping[str, Any]) -> Word:
    text, speaker, status = token["text"], token.get("speaker"), token.get("translation_status")
    if not isinstance(text, str):
        raise TypeError("a token has no text")
    return Word(
        text=text,
        start_ms=_moment(token.get("start_ms")),
        end_ms=_moment(token.get("end_ms")),
        confidence=_number(token.get("confidence")),
        speaker=str(speaker) if isinstance(speaker, str | int) else None,
        language=_label(token.get("language")),
        translation=status if status in ("original", "translation") else "",
        source_language=_label(token.get("source_language")),
        is_audio_event=token.get("is_audio_event") is True,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < _LARGEST else None


def _moment(value: object) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _label(value: object) -> str | None:
    return value if isinstance(value, str) else None
