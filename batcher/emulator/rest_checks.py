"""What the REST API checks of a request beyond the form of its body."""

from batcher.emulator import rest_refusals as refuse
from batcher.emulator.knobs import Container, RestKnobs
from batcher.emulator.rest_models import routed
from batcher.emulator.rest_refusals import Bucket, Exhausted, Invalid

REFERENCE_CHARACTERS = 256  #: by the OpenAPI document
HEAD_BYTES = 12  #: of a file, enough to tell its container

_STARTS = {
    b"fLaC": Container.FLAC,
    b"OggS": Container.OGG,
    b"#!AMR": Container.AMR,
    b"ID3": Container.MP3,  # a tag; that of an AAC file is taken for one too
    b"\x1a\x45\xdf\xa3": Container.WEBM,  # Matroska, of which it is a kind
    b"\x30\x26\xb2\x75": Container.ASF,
}
_FORMS = {  # a container of pieces says at its start what they are pieces of
    (b"RIFF", b"WAVE"): Container.WAV,
    (b"FORM", b"AIFF"): Container.AIFF,
    (b"FORM", b"AIFC"): Container.AIFF,
}
_M4A_BRANDS = (b"M4A ", b"M4B ")  #: of a file in the form of MP4; all others, which sound alone may have too, are MP4
_SYNC, _LAYER = 0xFFE0, 0x0006  #: how a frame of MPEG audio begins, and the bits of its layer: none in AAC


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


def check_permission(bucket: Bucket, forbidden: frozenset[Bucket]) -> None:
    """Raise RestRefusal when the key is not good for such a request."""
    if bucket in forbidden:
        raise refuse.permission_denied()


def check_money(exhausted: Exhausted | None, balance: int | None) -> None:
    """Raise RestRefusal when there is no money left: it was said so, or what there was is used up."""
    if exhausted is not None or balance == 0:
        raise refuse.exhausted(exhausted or Exhausted.BALANCE)


def container_of(head: bytes) -> Container | None:
    """Return what the first bytes of a file tell about its container, None when they tell nothing."""
    if head[4:8] == b"ftyp":
        return Container.M4A if head[8:12] in _M4A_BRANDS else Container.MP4
    start = next((container for start, container in _STARTS.items() if head.startswith(start)), None)
    return start or _FORMS.get((head[:4], head[8:12])) or _mpeg(int.from_bytes(head[:2], "big"))


def _mpeg(start: int) -> Container | None:
    if start & _SYNC != _SYNC:
        return None
    return Container.MP3 if start & _LAYER else Container.AAC


def last_segment(url: str) -> str:
    """Return what the service calls the file of a URL."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _too_long(location: str, most: int) -> Invalid:
    return Invalid(location, f"At most {most} characters are allowed.", "string_too_long")
