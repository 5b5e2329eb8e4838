"""What each endpoint of the REST API does, once a request may do it. Uploads, which come in a stream, are elsewhere."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import Response

from batcher.clock import Dice
from batcher.emulator import faults
from batcher.emulator import rest_refusals as refuse
from batcher.emulator.faults import Fault, Trouble
from batcher.emulator.rest_account import RestAccount
from batcher.emulator.rest_bodies import (
    UUID_PATTERN,
    CountBody,
    CreateTranscription,
    FilesPage,
    ModelsBody,
    TranscriptionsPage,
    UsagePage,
)
from batcher.emulator.rest_messages import file_body, job_body, transcript_body, usage_body
from batcher.emulator.rest_models import all_models
from batcher.emulator.rest_objects import Seen
from batcher.emulator.rest_pages import page, wanted
from batcher.emulator.rest_refusals import Bucket, Invalid, Kind
from batcher.emulator.rest_usage import period
from batcher.emulator.tally import Call
from batcher.model import RemoteStatus


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that may go ahead."""

    account: RestAccount
    dice: Dice
    path: dict[str, Any]
    query: QueryParams
    body: bytes = b""
    fault: Fault | None = None

    def id(self, name: str) -> str:
        """Return an id out of the path. Raises RestRefusal when it is not a UUID."""
        text = str(self.path[name])
        if not re.match(UUID_PATTERN, text):
            raise refuse.invalid(Invalid(f"path.{name}", "Must be a UUID.", "uuid_parsing"))
        return text.lower()

    @property
    def age_ms(self) -> int:
        """Return how old the list is to be."""
        return self.fault.ms if self.fault is not None and self.fault.trouble is Trouble.STALE else 0


@dataclass(frozen=True, slots=True)
class RestCall:
    """One endpoint. `act` is None where the body comes in a stream."""

    method: str
    path: str
    bucket: Bucket
    call: Call
    act: Callable[[Ask], Response] | None = None

    @property
    def name(self) -> str:
        """Return what the tally calls it."""
        return f"{self.method} {self.path}"


def json_response(body: BaseModel, status: int = 200) -> Response:
    """Return a body as JSON."""
    return Response(body.model_dump_json(), status, media_type="application/json")


def _list_files(ask: Ask) -> Response:
    wish, knobs = wanted(ask.query.get("limit"), ask.query.get("cursor")), ask.account.knobs
    shown = page(ask.account.list_files(age_ms=ask.age_ms), wish, knobs.order, ask.dice)
    return json_response(FilesPage(files=[file_body(file) for file in shown.items], next_page_cursor=shown.cursor))


def _get_file(ask: Ask) -> Response:
    return json_response(file_body(ask.account.file(ask.id("file_id"))))


def _delete_file(ask: Ask) -> Response:
    ask.account.delete_file(ask.id("file_id"))
    return Response(status_code=204)


def _count(kind: Kind) -> Callable[[Ask], Response]:
    def count(ask: Ask) -> Response:
        public, playground = ask.account.count(kind)
        return json_response(CountBody(total=public + playground, public_api=public, playground=playground))

    return count


def _create(ask: Ask) -> Response:
    try:
        asked = CreateTranscription.model_validate_json(ask.body)
    except ValidationError as error:
        raise _invalid_body(error) from error
    job = ask.account.create(asked, hidden_ms=faults.hidden_ms(ask.fault))
    return json_response(job_body(job, RemoteStatus.QUEUED), 201)


def _invalid_body(error: ValidationError) -> refuse.RestRefusal:
    entries = (
        Invalid(".".join(["body", "payload", *map(str, each["loc"])]), each["msg"], each["type"])
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return refuse.invalid(*entries)


def _list_jobs(ask: Ask) -> Response:
    wish, knobs = wanted(ask.query.get("limit"), ask.query.get("cursor")), ask.account.knobs
    shown = page(ask.account.list_jobs(age_ms=ask.age_ms), wish, knobs.order, ask.dice)
    bodies = [job_body(seen.job, _shown_status(seen, ask.fault)) for seen in shown.items]
    return json_response(TranscriptionsPage(transcriptions=bodies, next_page_cursor=shown.cursor))


def _shown_status(seen: Seen, fault: Fault | None) -> RemoteStatus:
    backwards = fault is not None and fault.trouble is Trouble.BACKWARDS
    return RemoteStatus.PROCESSING if backwards and seen.status is RemoteStatus.COMPLETED else seen.status


def _get_job(ask: Ask) -> Response:
    job = ask.account.job(ask.id("transcription_id"))
    return json_response(job_body(job, job.status))


def _transcript(ask: Ask) -> Response:
    job, transcript = ask.account.transcript(ask.id("transcription_id"))
    knobs = ask.account.knobs.rest
    body = transcript_body(job, transcript, knobs)
    return Response(body.model_dump_json(exclude_none=not knobs.null_keys), media_type="application/json")


def _delete_job(ask: Ask) -> Response:
    ask.account.delete(ask.id("transcription_id"))
    return Response(status_code=204)


def _models(ask: Ask) -> Response:
    ask.account.tally.note(Call.MODELS, "")
    return json_response(ModelsBody(models=all_models()))


def _usage(ask: Ask) -> Response:
    wish = wanted(ask.query.get("limit"), ask.query.get("cursor"))
    wanted_period = period(ask.query, ask.account.advance())
    paid = [entry for entry in ask.account.usage() if wanted_period.start <= entry.ended < wanted_period.end]
    shown = page(paid, wish, wanted_period.order, ask.dice)
    return json_response(
        UsagePage(usage_logs=[usage_body(entry) for entry in shown.items], next_page_cursor=shown.cursor)
    )


_F, _T = Bucket.FILES, Bucket.TRANSCRIPTIONS
_ONE_FILE, _ONE_JOB = "/v1/files/{file_id}", "/v1/transcriptions/{transcription_id}"

CALLS = (
    RestCall("GET", "/v1/files", _F, Call.FILES, _list_files),
    RestCall("POST", "/v1/files", _F, Call.UPLOAD),
    RestCall("GET", "/v1/files/count", _F, Call.COUNT, _count(Kind.FILE)),
    RestCall("GET", _ONE_FILE, _F, Call.FILE, _get_file),
    RestCall("DELETE", _ONE_FILE, _F, Call.DELETE_FILE, _delete_file),
    RestCall("GET", "/v1/transcriptions", _T, Call.SURVEY, _list_jobs),
    RestCall("POST", "/v1/transcriptions", _T, Call.SUBMIT, _create),
    RestCall("GET", "/v1/transcriptions/count", _T, Call.COUNT, _count(Kind.TRANSCRIPTION)),
    RestCall("GET", _ONE_JOB, _T, Call.STATUS, _get_job),
    RestCall("DELETE", _ONE_JOB, _T, Call.DELETE, _delete_job),
    RestCall("GET", f"{_ONE_JOB}/transcript", _T, Call.FETCH, _transcript),
    RestCall("GET", "/v1/models", Bucket.MODELS, Call.MODELS, _models),
    RestCall("GET", "/v1/usage-logs", Bucket.USAGE, Call.USAGE, _usage),
)
