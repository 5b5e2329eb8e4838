"""What a failed call of the REST API means: one table, HTTP status × error type × verb → `Kind`.

The status counts, not the one repeated in the body: the service's own examples contradict themselves there. An
error type that is not listed under its status counts as any other of that status. A refusal without any type is not
in the form in which the service refuses: it is a page of something on the way (a gateway, a hotel's network), or of
another host, and refuses nothing in the service's name. Reading the table needs no HTTP.
"""

import re

from batcher.errors import Kind
from batcher.model import Remedy
from batcher.service import Verb

_H, _L, _U, _S = Kind.HOPELESS, Kind.LATER, Kind.UNREACHABLE, Kind.STOP
_UNSURE, _FULL, _RATE, _GONE, _WAIT = Kind.UNCERTAIN, Kind.FULL, Kind.RATE, Kind.GONE, Kind.NOT_READY

OTHER = ""  #: any error type that has no row of its own under its status
PAGE = "<page>"  #: no error type, under a status of 4xx (see `is_page`) or one like 500
BROKEN = 0  #: the status of a call that had no answer: connection refused, cut, or silent for too long
TIMED_OUT, TOO_MANY = 408, 429  #: HTTP's own numbers
UNREADABLE = 200  #: the status of a success whose answer makes no sense

# Before the seal an upload is sent, after it a transcription is created; FETCH asks for a transcript. A listing
# has no job of its own that could be hopeless, so what can never work stops the batch there; and one in whose place
# there is not a word of the service's own tells that it is away (the page of a hotel may be a success).
_ROWS: dict[tuple[int, str], tuple[Kind, Kind, Kind, Kind, Kind]] = {
    #                                                submit  sealed   survey  fetch  delete
    (BROKEN, OTHER):                                (_U,    _UNSURE, _U,     _U,    _U),
    (UNREADABLE, OTHER):                            (_L,    _UNSURE, _U,     _L,    _L),
    (300, OTHER):                                   (_U,    _UNSURE, _U,     _U,    _U),
    (400, "invalid_request"):                       (_H,    _H,      _S,     _H,    _H),
    (400, "invalid_cursor"):                        (_H,    _H,      _L,     _H,    _H),
    (400, "model_not_available"):                   (_S,    _S,      _S,     _S,    _S),
    (400, OTHER):                                   (_H,    _H,      _S,     _H,    _H),
    # Whatever the number on a page, the service has not spoken: it is waited for, and looked at before anything that
    # it may have accepted is sent again. But a recording that is too large for a gateway will always be.
    (400, PAGE):                                    (_U,    _UNSURE, _U,     _U,    _U),
    (413, PAGE):                                    (_H,    _UNSURE, _U,     _U,    _U),
    (401, "unauthenticated"):                       (_S,    _S,      _S,     _S,    _S),
    (401, OTHER):                                   (_S,    _S,      _S,     _S,    _S),
    (402, "organization_balance_exhausted"):        (_S,    _S,      _S,     _S,    _S),
    (402, "organization_monthly_budget_exhausted"): (_S,    _S,      _S,     _S,    _S),
    (402, "project_monthly_budget_exhausted"):      (_S,    _S,      _S,     _S,    _S),
    (402, OTHER):                                   (_S,    _S,      _S,     _S,    _S),
    (403, "permission_denied"):                     (_S,    _S,      _S,     _S,    _S),
    (403, "temp_api_key_session_expired"):          (_S,    _S,      _S,     _S,    _S),
    (403, OTHER):                                   (_S,    _S,      _S,     _S,    _S),
    # A file that is gone when its transcription is created was deleted by somebody; the listing tells, and the
    # recording is sent again. Only the service's own words prove that something is gone.
    (404, "file_not_found"):                        (_L,    _UNSURE, _L,     _GONE, _GONE),
    (404, "transcription_not_found"):               (_L,    _UNSURE, _L,     _GONE, _GONE),
    (404, "not_found"):                             (_L,    _UNSURE, _L,     _GONE, _GONE),
    (404, OTHER):                                   (_U,    _UNSURE, _U,     _U,    _U),
    (408, "request_timeout"):                       (_L,    _UNSURE, _L,     _L,    _L),
    (408, OTHER):                                   (_L,    _UNSURE, _L,     _L,    _L),
    (409, "transcription_invalid_state"):           (_L,    _UNSURE, _L,     _WAIT, _WAIT),
    (409, OTHER):                                   (_L,    _UNSURE, _L,     _WAIT, _WAIT),
    (413, "max_duration_reached"):                  (_H,    _H,      _L,     _L,    _L),
    (413, OTHER):                                   (_H,    _H,      _L,     _L,    _L),
    (429, "limit_exceeded"):                        (_FULL, _FULL,   _RATE,  _RATE, _RATE),
    (429, OTHER):                                   (_FULL, _FULL,   _RATE,  _RATE, _RATE),
    (500, "internal_error"):                        (_L,    _UNSURE, _L,     _L,    _L),
    (500, OTHER):                                   (_L,    _UNSURE, _L,     _L,    _L),
    (500, PAGE):                                    (_L,    _UNSURE, _U,     _L,    _L),
    (502, OTHER):                                   (_U,    _UNSURE, _U,     _U,    _U),
    (503, "service_unavailable"):                   (_U,    _UNSURE, _U,     _U,    _U),
    (503, OTHER):                                   (_U,    _UNSURE, _U,     _U,    _U),
    (504, OTHER):                                   (_U,    _UNSURE, _U,     _U,    _U),
}  # fmt: skip

TABLE: dict[tuple[int, str], dict[Verb, Kind]] = {key: dict(zip(Verb, row, strict=True)) for key, row in _ROWS.items()}

#: By the documentation they mean the same under whatever status they come.
ACCOUNT_TYPES = frozenset(
    {
        "unauthenticated",
        "permission_denied",
        "organization_balance_exhausted",
        "organization_monthly_budget_exhausted",
        "project_monthly_budget_exhausted",
    }
)

# 429 has one error type for three things, and only the text tells them apart. "pending" also stands in texts of
# the other two kinds of limit, should the service ever reword them; the pace is asked about first.
_PACE = re.compile(r"requests per minute", re.IGNORECASE)
_FILE_GONE = re.compile(
    r"\bfile_id\b.*\bno file\b", re.IGNORECASE
)  # a complaint about the field of a new transcription
_ROOM = re.compile(r"\bplease delete some\b|\btotal\b|\bpending\b", re.IGNORECASE)

_NO_MONEY = "add funds or raise the budget in the Soniox console, then run the same command again"
_HINTS = {
    300: "check --host: what answers there sends us elsewhere",
    400: "check --model, the options and --host: the service does not take what is asked",
    401: "check SONIOX_API_KEY and --region: a key works only in the region of its project",
    402: _NO_MONEY,
    403: "check SONIOX_API_KEY: this key may not do that (it needs the permission to write transcriptions)",
}

#: Status families with one meaning; what is in none of them counts as 400, 500 or 300 by its first digit.
_LIKE = {405: 404, 410: 404, 421: 503, 425: 503, 520: 502, 521: 502, 522: 502, 523: 502, 524: 504, 530: 502}


def sort(status: int, error_type: str, message: str, verb: Verb) -> Kind:
    """Return what an answer means for a call of `verb`; see `BROKEN` and `UNREADABLE` for calls without one."""
    if status == TOO_MANY and is_about_pace(message):
        return Kind.RATE
    if verb is Verb.SUBMIT_SEALED and _FILE_GONE.search(message):
        return Kind.UNCERTAIN  # somebody deleted the upload: not the recording's fault, and like `file_not_found`
    if error_type in ACCOUNT_TYPES and _family(status) == 400 and status != TIMED_OUT:  # noqa: PLR2004 - HTTP's own
        return Kind.STOP
    return _row(status, error_type)[verb]


def _row(status: int, error_type: str) -> dict[Verb, Kind]:
    if is_page(status, error_type):
        return TABLE.get((status, PAGE), TABLE[400, PAGE])
    known = status if (status, OTHER) in TABLE else _LIKE.get(status, _family(status))
    if not error_type and (known, PAGE) in TABLE:
        return TABLE[known, PAGE]
    return TABLE.get((known, error_type), TABLE[known, OTHER])


def is_page(status: int, error_type: str) -> bool:
    """Tell whether a refusal is none of the service's. A 429 is heeded whoever says it: to ask less harms nobody."""
    return _family(status) == 400 and not error_type and status != TOO_MANY  # noqa: PLR2004 - HTTP's own


def _family(status: int) -> int:
    return {1: BROKEN, 2: UNREADABLE, 3: 300, 4: 400, 5: 500}.get(status // 100, BROKEN)


def is_about_pace(message: str) -> bool:
    """Tell whether a 429 says that requests came too fast."""
    return bool(_PACE.search(message))


def is_about_room(message: str) -> bool:
    """Tell whether a 429 says that the account is full. A text nobody knows may mean this or the pace."""
    return bool(_ROOM.search(message)) and not is_about_pace(message)


def hint(status: int, error_type: str) -> str:
    """Return one sentence that says how to mend a failure of kind STOP."""
    if error_type == "model_not_available":
        return "name another --model: the service does not offer this one to your account"
    if "balance" in error_type or "budget" in error_type:
        return _NO_MONEY
    if error_type == "permission_denied":
        return _HINTS[403]
    return _HINTS.get(status) or _HINTS.get(_family(status), "check SONIOX_API_KEY and --host")


#: Error types of a transcription that failed. The field is free text: what is not listed here has no remedy,
#: because whatever is sent again may be billed again.
REMEDIES = {
    "invalid_audio_file": Remedy.CONVERT,
    "file_not_found": Remedy.AGAIN,  # deleted by somebody before it was begun
    "internal_error": Remedy.AGAIN,
    "max_duration_reached": Remedy.NONE,
    "max_audio_duration_reached": Remedy.NONE,
    "transcription_output_too_long": Remedy.NONE,
    "file_download_error": Remedy.NONE,
    "model_not_available": Remedy.STOP,
    "organization_balance_exhausted": Remedy.STOP,
    "organization_monthly_budget_exhausted": Remedy.STOP,
    "project_monthly_budget_exhausted": Remedy.STOP,
}


def remedy(error_type: str) -> Remedy:
    """Return what may help a transcription that failed with `error_type`."""
    return REMEDIES.get(error_type, Remedy.NONE)
