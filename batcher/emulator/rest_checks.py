"""What the REST API checks of a request beyond the form of its body."""

from batcher.emulator import rest_refusals as refuse
from batcher.emulator.knobs import RestKnobs
from batcher.emulator.rest_models import routed
from batcher.emulator.rest_refusals import Invalid

REFERENCE_CHARACTERS = 256  #: by the OpenAPI document


def check_upload(filename: str, reference: str, knobs: RestKnobs) -> None:
    """Raise RestRefusal when a text that comes with an upload is too long."""
    if len(reference) > REFERENCE_CHARACTERS:
        raise refuse.invalid(_too_long("body.client_reference_id", REFERENCE_CHARACTERS))
    if len(filename) > knobs.filename_characters:
        raise refuse.invalid(_too_long("file.filename", knobs.filename_characters))


def check_model(model: str, knobs: RestKnobs) -> None:
    """Raise RestRefusal when there is no such model, or not for this key."""
    if model in knobs.unavailable_models:
        raise refuse.model_not_available(model)
    if routed(model) is None:
        raise refuse.invalid(Invalid("body.payload.model", "Invalid model."))


def last_segment(url: str) -> str:
    """Return what the service calls the file of a URL."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _too_long(location: str, most: int) -> Invalid:
    return Invalid(location, f"At most {most} characters are allowed.", "string_too_long")
