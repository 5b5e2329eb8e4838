"""The one table of the legacy API's errors: complete, and careful after the seal."""

import subprocess
import sys

import grpc
import pytest

from batcher.errors import Kind
from batcher.service import Verb
from batcher.service.grpc_errors import TABLE, hint, sort

#: By gRPC's guide to status codes: never made by its library, so the service itself said it.
NEVER_MADE_BY_GRPC = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "DATA_LOSS",
}
REFUSALS_OF_THE_ACCOUNT = {"UNAUTHENTICATED", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}
EXPLICIT = {Kind.FULL, Kind.HOPELESS, Kind.STOP}
CODES = [code.name for code in grpc.StatusCode]


def test_every_status_code_is_sorted_for_every_verb() -> None:
    """A code that a new grpc brings must be thought about, and one that is gone must go."""
    assert set(TABLE) == set(CODES)
    for code in CODES:
        assert set(TABLE[code]) == set(Verb), code


@pytest.mark.parametrize("code", CODES)
def test_nothing_before_the_seal_is_uncertain(code: str) -> None:
    """An upload that was not sealed was not accepted, whatever is said."""
    assert sort(code, "", Verb.SUBMIT) is not Kind.UNCERTAIN


@pytest.mark.parametrize("code", CODES)
def test_after_the_seal_only_the_services_own_refusals_are_believed(code: str) -> None:
    """Whatever grpc may have made itself proves nothing about the service."""
    kind = sort(code, "", Verb.SUBMIT_SEALED)
    assert kind in EXPLICIT | {Kind.UNCERTAIN}
    if kind in EXPLICIT:
        assert code in NEVER_MADE_BY_GRPC | REFUSALS_OF_THE_ACCOUNT


@pytest.mark.parametrize(
    "code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED", "UNKNOWN", "ABORTED", "OK"]
)
def test_a_lost_answer_after_the_seal_is_uncertain(code: str) -> None:
    """The service may have accepted the upload."""
    assert sort(code, "", Verb.SUBMIT_SEALED) is Kind.UNCERTAIN


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.SUBMIT_SEALED])
def test_a_service_that_is_away_is_unreachable(verb: Verb) -> None:
    """Waiting for it counts against nobody."""
    assert sort("UNAVAILABLE", "Connection refused", verb) is Kind.UNREACHABLE


@pytest.mark.parametrize("verb", list(Verb))
def test_a_refused_key_stops_everything(verb: Verb) -> None:
    """Whatever was asked, and with a hint that names the variable."""
    for code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        assert sort(code, "bad key", verb) is Kind.STOP
        assert "SONIOX_API_KEY" in hint(code, "bad key")


@pytest.mark.parametrize("verb", list(Verb))
def test_an_exhausted_balance_stops_everything(verb: Verb) -> None:
    """It shares its code with a full account; only the text tells them apart."""
    details = "Organization balance exhausted. Please either add funds manually or enable autopay."
    assert sort("RESOURCE_EXHAUSTED", details, verb) is Kind.STOP
    assert "add funds" in hint("RESOURCE_EXHAUSTED", details)


@pytest.mark.parametrize("verb", [Verb.SUBMIT, Verb.SUBMIT_SEALED])
def test_a_full_account_is_full(verb: Verb) -> None:
    """A quota is the natural reading of the code, before and after the seal."""
    assert sort("RESOURCE_EXHAUSTED", "Too many pending files.", verb) is Kind.FULL


def test_grpcs_own_size_limit_is_no_quota() -> None:
    """A message that grpc refuses to carry will never be carried; after the seal it proves nothing."""
    details = "CLIENT: Received message larger than max (5000000 vs. 4194304)"
    kinds = {verb: sort("RESOURCE_EXHAUSTED", details, verb) for verb in Verb}
    assert kinds == {
        Verb.SUBMIT: Kind.HOPELESS,
        Verb.SUBMIT_SEALED: Kind.UNCERTAIN,
        Verb.SURVEY: Kind.STOP,
        Verb.FETCH: Kind.HOPELESS,
        Verb.DELETE: Kind.HOPELESS,
    }


@pytest.mark.parametrize("verb", list(Verb))
def test_an_internal_error_is_never_permanent(verb: Verb) -> None:
    """The code also stands for a true reason that grpc lost on the way."""
    assert sort("INTERNAL", "Internal error from Core", verb) in {Kind.LATER, Kind.UNCERTAIN}


def test_a_code_made_from_an_http_answer_proves_nothing_after_the_seal() -> None:
    """A proxy that lost the answer says 403 for the service."""
    details = "Received http2 header with status: 403"
    assert sort("PERMISSION_DENIED", details, Verb.SUBMIT_SEALED) is Kind.UNCERTAIN


@pytest.mark.parametrize("verb", [verb for verb in Verb if verb is not Verb.SUBMIT_SEALED])
@pytest.mark.parametrize(
    ("code", "status"),
    [("UNAUTHENTICATED", 401), ("PERMISSION_DENIED", 403), ("UNIMPLEMENTED", 404), ("INTERNAL", 400)],
)
def test_a_code_made_from_a_page_is_an_outage(code: str, status: int, verb: Verb) -> None:
    """A gateway or a hotel's network has answered; the same code of the service's own stops everything."""
    assert sort(code, f"Received http2 header with status: {status}", verb) is Kind.UNREACHABLE
    assert sort(code, "words", verb) is TABLE[code][verb]


def test_what_is_too_large_for_a_gateway_is_not_sent_for_ever() -> None:
    """Its tries are counted."""
    assert sort("UNKNOWN", "Received http2 header with status: 413", Verb.SUBMIT) is Kind.LATER


def test_an_object_in_another_state_is_not_ready() -> None:
    """A result too early, a delete while it is transcribed."""
    assert sort("FAILED_PRECONDITION", "", Verb.FETCH) is Kind.NOT_READY
    assert sort("FAILED_PRECONDITION", "", Verb.DELETE) is Kind.NOT_READY


def test_an_unknown_object_is_gone() -> None:
    """For a delete the implementation makes a success of it."""
    assert sort("NOT_FOUND", "", Verb.FETCH) is Kind.GONE
    assert sort("NOT_FOUND", "", Verb.DELETE) is Kind.GONE


def test_a_code_of_the_future_counts_as_unknown() -> None:
    """So gRPC itself reads codes it does not know."""
    for verb in Verb:
        assert sort("BRAND_NEW", "", verb) is TABLE["UNKNOWN"][verb]


def test_whatever_stops_says_what_to_mend() -> None:
    """No STOP without a sentence."""
    stopping = [code for code in CODES if Kind.STOP in TABLE[code].values()]
    assert stopping
    for code in stopping:
        assert hint(code, ""), code


def test_the_table_is_read_without_grpc() -> None:
    """The simulated service sorts by it, too."""
    probe = "import sys, batcher.service.grpc_errors; print('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "False\n"
