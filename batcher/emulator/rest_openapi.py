"""The OpenAPI 3.1 description of the REST face, made from the endpoints and the models of their bodies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from batcher.emulator.rest_bodies import (
    UUID_PATTERN,
    CountBody,
    CreateTranscription,
    ErrorBody,
    FileBody,
    FilesPage,
    ModelsBody,
    TranscriptBody,
    TranscriptionBody,
    TranscriptionsPage,
    UsagePage,
)
from batcher.emulator.rest_calls import CALLS, RestCall
from batcher.emulator.rest_models import CURRENT
from batcher.emulator.tally import Call

_SCHEMAS = "#/components/schemas/"

_WORDS = {
    400: "The request is not valid.",
    401: "The key is missing or not good here.",
    402: "There is no money left.",
    403: "The key has no permission for this.",
    404: "There is no such object.",
    408: "It took too long.",
    409: "The transcription is not in the state for this.",
    429: "A quota or a request budget is used up.",
    500: "The service failed.",
}
_ALWAYS = (400, 401, 403, 408, 429, 500)

_LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}
_CURSOR = {"name": "cursor", "in": "query", "schema": {"type": "string"}}
_PERIOD = [
    {"name": name, "in": "query", "required": True, "schema": {"type": "string", "format": "date-time"}}
    for name in ("start_time", "end_time")
]
_SORT = {"name": "sort", "in": "query", "schema": {"type": "string", "enum": ["end_time_asc", "end_time_desc"]}}
_UPLOAD = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "client_reference_id": {"type": "string", "maxLength": 256},
    },
}
_EXAMPLE = {"model": CURRENT, "audio_url": "https://example.com/recording.wav"}
_MADE = "$response.body#/id"  #: the id of what a request made


@dataclass(frozen=True, slots=True)
class _Told:
    """What the description says of one endpoint beyond its path."""

    summary: str
    status: int = 200
    answer: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    parameters: tuple[dict[str, Any], ...] = ()


_TOLD = {
    "GET /v1/files": _Told("List files", answer=FilesPage, parameters=(_LIMIT, _CURSOR)),
    "POST /v1/files": _Told("Upload a file", 201, FileBody),
    "GET /v1/files/count": _Told("Count files", answer=CountBody),
    "GET /v1/files/{file_id}": _Told("Get a file", answer=FileBody, errors=(404,)),
    "DELETE /v1/files/{file_id}": _Told("Delete a file", 204, errors=(404,)),
    "GET /v1/transcriptions": _Told("List transcriptions", answer=TranscriptionsPage, parameters=(_LIMIT, _CURSOR)),
    "POST /v1/transcriptions": _Told("Create a transcription", 201, TranscriptionBody, (402,)),
    "GET /v1/transcriptions/count": _Told("Count transcriptions", answer=CountBody),
    "GET /v1/transcriptions/{transcription_id}": _Told("Get a transcription", answer=TranscriptionBody, errors=(404,)),
    "DELETE /v1/transcriptions/{transcription_id}": _Told("Delete a transcription", 204, errors=(404, 409)),
    "GET /v1/transcriptions/{transcription_id}/transcript": _Told(
        "Get the words", answer=TranscriptBody, errors=(404, 409)
    ),
    "GET /v1/models": _Told("List models", answer=ModelsBody),
    "GET /v1/usage-logs": _Told(
        "List what was paid for", answer=UsagePage, parameters=(*_PERIOD, _LIMIT, _CURSOR, _SORT)
    ),
}


def document() -> dict[str, Any]:
    """Return the description."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, _TOLD[call.name])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Imitation of the Soniox Public API", "version": "1.0.0"},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def _schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [CreateTranscription, ErrorBody]
    models += dict.fromkeys(told.answer for told in _TOLD.values() if told.answer is not None)
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_SCHEMAS + "{model}")
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _operation(call: RestCall, told: _Told) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": told.summary,
        "operationId": _id(call),
        "parameters": [*_path_parameters(call.path), *told.parameters],
        "responses": {str(told.status): _answer(told.summary, told.answer)},
    }
    for status in sorted((*_ALWAYS, *told.errors)):
        operation["responses"][str(status)] = _answer(_WORDS[status], ErrorBody)
    made = operation["responses"][str(told.status)]
    if call.call is Call.UPLOAD:
        operation["requestBody"] = _body("multipart/form-data", _UPLOAD)
        made["links"] = _links("file_id") | {
            "transcribe": {"operationId": "post_v1_transcriptions", "requestBody": {"model": CURRENT, "file_id": _MADE}}
        }
    if call.call is Call.SUBMIT:
        schema = {"$ref": _SCHEMAS + CreateTranscription.__name__}
        operation["requestBody"] = _body("application/json", schema, example=_EXAMPLE)
        made["links"] = _links("transcription_id")
    return operation


def _links(name: str) -> dict[str, Any]:
    """Return what can be done with what was made: everything whose path has its id."""
    calls = [call for call in CALLS if f"{{{name}}}" in call.path]
    return {_id(call): {"operationId": _id(call), "parameters": {name: _MADE}} for call in calls}


def _id(call: RestCall) -> str:
    return re.sub(r"\W+", "_", call.name.lower()).strip("_")


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _answer(description: str, model: type[BaseModel] | None) -> dict[str, Any]:
    if model is None:
        return {"description": description}
    content = {"application/json": {"schema": {"$ref": _SCHEMAS + model.__name__}}}
    return {"description": description, "content": content}


def _body(kind: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema, **more}}}
