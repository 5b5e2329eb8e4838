"""What a failed call of the legacy API means: one table, status code × verb → `Kind`.

Codes are spelled by name, so that reading the table needs no grpc. The legacy documentation lists no codes;
the meanings are gRPC's own (its guide to status codes says which of them its library makes by itself).
"""

import re

from batcher.errors import Kind
from batcher.model import Remedy
from batcher.service import Verb

_H, _L, _U, _S = Kind.HOPELESS, Kind.LATER, Kind.UNREACHABLE, Kind.STOP
_UNSURE, _FULL, _GONE, _WAIT = Kind.UNCERTAIN, Kind.FULL, Kind.GONE, Kind.NOT_READY

# A listing has no job of its own that could be hopeless, so what can never work stops the batch there.
# OK means a success without a usable answer: before the seal, the service ended an upload that was not over.
_ROWS: dict[str, tuple[Kind, Kind, Kind, Kind, Kind]] = {
    #                      submit  sealed   survey  fetch  delete
    "OK":                  (_H,    _UNSURE, _L,     _L,    _L),
    "CANCELLED":           (_L,    _UNSURE, _L,     _L,    _L),
    "UNKNOWN":             (_L,    _UNSURE, _L,     _L,    _L),
    "INVALID_ARGUMENT":    (_H,    _H,      _S,     _H,    _H),
    "DEADLINE_EXCEEDED":   (_U,    _UNSURE, _U,     _U,    _U),
    "NOT_FOUND":           (_H,    _H,      _L,     _GONE, _GONE),
    "ALREADY_EXISTS":      (_H,    _UNSURE, _L,     _L,    _L),
    "PERMISSION_DENIED":   (_S,    _S,      _S,     _S,    _S),
    "RESOURCE_EXHAUSTED":  (_FULL, _FULL,   _L,     _L,    _L),
    "FAILED_PRECONDITION": (_H,    _H,      _L,     _WAIT, _WAIT),
    "ABORTED":             (_L,    _UNSURE, _L,     _L,    _L),
    "OUT_OF_RANGE":        (_H,    _H,      _S,     _H,    _H),
    "UNIMPLEMENTED":       (_S,    _UNSURE, _S,     _S,    _S),
    "INTERNAL":            (_L,    _UNSURE, _L,     _L,    _L),
    "UNAVAILABLE":         (_U,    _UNSURE, _U,     _U,    _U),
    "DATA_LOSS":           (_L,    _UNSURE, _L,     _L,    _L),
    "UNAUTHENTICATED":     (_S,    _S,      _S,     _S,    _S),
}  # fmt: skip

TABLE: dict[str, dict[Verb, Kind]] = {code: dict(zip(Verb, kinds, strict=True)) for code, kinds in _ROWS.items()}

# grpc's own words where it makes one of these codes itself: a message over its size limit, headers over theirs (a
# long reason is one), and a code that it read from HTTP, of something between us and the service.
_TOO_LARGE = re.compile(r"message larger than max", re.IGNORECASE)
_HEADERS_TOO_LARGE = re.compile(r"metadata size exceeds", re.IGNORECASE)
_FROM_HTTP = re.compile(r"received http2 header with status|RST_STREAM", re.IGNORECASE)
# A page of HTTP's in place of an answer: whatever code grpc makes of its number, the service has refused nobody. But
# what is too large for a gateway will always be.
_PAGE = re.compile(r"received http2 header with status: 4(?!13)\d\d", re.IGNORECASE)
_NO_MONEY = re.compile(r"\b(balance|budget|funds|billing|payment)\b", re.IGNORECASE)
_MONEY_CODES = ("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION")

_HINTS = {
    "UNAUTHENTICATED": "check SONIOX_API_KEY: the service does not accept this key",
    "PERMISSION_DENIED": "check SONIOX_API_KEY: this key may not do that, or the account's balance is used up",
    "UNIMPLEMENTED": "check --host: what answers there does not speak Soniox's legacy gRPC API",
    "RESOURCE_EXHAUSTED": "the service's answer is larger than any list of its documented limits can be: check --host",
}
_MONEY_HINT = "add funds or raise the budget in the Soniox console, then run the same command again"


def sort(code: str, details: str, verb: Verb) -> Kind:
    """Return what status `code` with the text `details` means for a call of `verb`.

    A code that gRPC does not know yet counts as UNKNOWN, as gRPC itself has it.
    """
    if made_by_grpc(code, details) and verb is Verb.SUBMIT_SEALED:
        return Kind.UNCERTAIN
    if _PAGE.search(details):
        return Kind.UNREACHABLE
    if code == "RESOURCE_EXHAUSTED" and _HEADERS_TOO_LARGE.search(details):
        return Kind.LATER  # a refusal, most likely, whose reason nobody can read
    if code == "RESOURCE_EXHAUSTED" and _TOO_LARGE.search(details):
        return Kind.STOP if verb is Verb.SURVEY else Kind.HOPELESS
    if _is_about_money(code, details):
        return Kind.STOP
    return TABLE.get(code, TABLE["UNKNOWN"])[verb]


def hint(code: str, details: str) -> str:
    """Return one sentence that says how to mend a failure of kind STOP."""
    if _is_about_money(code, details):
        return _MONEY_HINT
    return _HINTS.get(code, "check SONIOX_API_KEY and --host: the service does not take what every client sends")


def made_by_grpc(code: str, details: str) -> bool:
    """Tell whether the details show that grpc made the code itself: the service never said it."""
    if _FROM_HTTP.search(details):
        return True
    too_large = _TOO_LARGE.search(details) or _HEADERS_TOO_LARGE.search(details)
    return code == "RESOURCE_EXHAUSTED" and too_large is not None


def _is_about_money(code: str, details: str) -> bool:
    return code in _MONEY_CODES and bool(_NO_MONEY.search(details))


def remedy(message: str) -> Remedy:
    """Return what may help a file that failed with `message`: only the word for the service's own fault does not."""
    return Remedy.AGAIN if "internal" in message.lower() else Remedy.NONE
