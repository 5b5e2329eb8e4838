"""How the REST API says no: status, type and message as its OpenAPI document and its error catalogue give them."""

from dataclasses import dataclass
from enum import StrEnum

from batcher.emulator.objects import Refusal


class Bucket(StrEnum):
    """Requests are counted in buckets; the value is the name that the refusal gives to it."""

    FILES = "file management"
    TRANSCRIPTIONS = "async transcription"
    MODELS = "model listing"
    USAGE = "usage logs"


class Exhausted(StrEnum):
    """Why there is no money left; the value is the error's type."""

    BALANCE = "organization_balance_exhausted"
    ORGANIZATION = "organization_monthly_budget_exhausted"
    PROJECT = "project_monthly_budget_exhausted"


class Kind(StrEnum):
    """What an id can name; the value is the word in types and messages."""

    FILE = "file"
    TRANSCRIPTION = "transcription"


@dataclass(frozen=True, slots=True)
class Invalid:
    """One entry of `validation_errors`. `location` is a dotted path."""

    location: str
    message: str
    error_type: str = "value_error"


class RestRefusal(Refusal):
    """The REST API refuses. `code` is the error's type, `reason` the quota that was full."""

    def __init__(
        self, status: int, error_type: str, message: str, *, invalid: tuple[Invalid, ...] = (), reason: str = ""
    ) -> None:
        super().__init__(error_type, message)
        self.status = status
        self.invalid = invalid
        self.reason = reason


_EXHAUSTED = {
    Exhausted.BALANCE: "Organization balance exhausted. Please either add funds manually or enable autopay.",
    Exhausted.ORGANIZATION: "Organization monthly budget exhausted. Please increase it.",
    Exhausted.PROJECT: "Project monthly budget exhausted. Please increase it.",
}


def unauthenticated() -> RestRefusal:
    """Refuse a key that is missing, wrong, or another region's."""
    message = "Incorrect API key provided. You can get an API key at https://console.soniox.com"
    return RestRefusal(401, "unauthenticated", message)


def permission_denied() -> RestRefusal:
    """Refuse a key that is good, but not for this."""
    return RestRefusal(403, "permission_denied", "The API key does not have the permission for this request.")


def exhausted(which: Exhausted) -> RestRefusal:
    """Refuse for want of money."""
    return RestRefusal(402, which.value, _EXHAUSTED[which])


def invalid(*errors: Invalid) -> RestRefusal:
    """Refuse what does not pass the validation."""
    return RestRefusal(400, "invalid_request", "Your request did not pass validation.", invalid=errors)


def invalid_cursor() -> RestRefusal:
    """Refuse a cursor that no page gave."""
    return RestRefusal(400, "invalid_cursor", "The cursor is not valid. Please start from the first page.")


def model_not_available(model: str) -> RestRefusal:
    """Refuse a model that exists, but not here."""
    return RestRefusal(400, "model_not_available", f"The model {model} is not available.")


def not_found(kind: Kind) -> RestRefusal:
    """Refuse an id that names nothing."""
    return RestRefusal(404, f"{kind}_not_found", f"No {kind} with this ID exists in your project.")


def being_processed() -> RestRefusal:
    """Refuse to delete what is being worked on."""
    message = "This transcription is currently being processed and cannot be deleted yet. Please try again later."
    return RestRefusal(409, "transcription_invalid_state", message)


def not_ready() -> RestRefusal:
    """Refuse a transcript that is not there: too early, or the transcription failed."""
    message = "The transcript is not ready yet. Only a completed transcription has one."
    return RestRefusal(409, "transcription_invalid_state", message)


def too_many_requests(bucket: Bucket) -> RestRefusal:
    """Refuse for the number of requests in a minute."""
    message = f"Requests per minute limit for {bucket} has been exceeded for your organization."
    return RestRefusal(429, "limit_exceeded", message, reason="requests")


def full(reason: str, message: str) -> RestRefusal:
    """Refuse because a quota is used up."""
    return RestRefusal(429, "limit_exceeded", message, reason=reason)


def internal() -> RestRefusal:
    """Refuse for an error of the service's own."""
    message = "The server encountered an error. Please try again. If the issue persists contact support@soniox.com."
    return RestRefusal(500, "internal_error", message)


def timed_out() -> RestRefusal:
    """Refuse because it took too long."""
    return RestRefusal(408, "request_timeout", "The request took too long. Please try again.")
