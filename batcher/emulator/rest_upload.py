"""Uploads as they come in: ``multipart/form-data`` is taken apart while it is read, and never held whole."""

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batcher.emulator import rest_refusals as refuse
from batcher.emulator.rest_refusals import Invalid

_FIELD_BYTES = 64 * 1024  #: a text field may have so many; its own limit is much lower


class Form:
    """The parts of one upload. The bytes of the part `file` go to `sink`, other parts are short texts.

    Raises RestRefusal wherever the body is not what it should be; what `sink` raises comes out unchanged.
    """

    def __init__(self, content_type: str, sink: Callable[[bytes], None]) -> None:
        self.filename: str | None = None  #: of the file, once its part began
        self.texts: dict[str, str] = {}
        self._sink = sink
        self._ended = False
        self._header = bytearray()
        self._value = bytearray()
        self._name = ""
        self._is_file = False
        self._text = bytearray()
        self._parser = MultipartParser(
            _boundary(content_type),
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _malformed() from error

    def finish(self) -> str:
        """Tell that the body is over, and return the name of the file."""
        if not self._ended:
            raise _malformed()
        if self.filename is None:
            raise refuse.invalid(Invalid("file.file", "Field required", "missing"))
        return self.filename

    def _begin(self) -> None:
        self._name, self._is_file, self._text = "", False, bytearray()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = _text(options.get(b"name", b""))
            if self._name == "file" and b"filename" in options:
                self._is_file = True
                self._name_file(_text(options[b"filename"]))
        self._header, self._value = bytearray(), bytearray()

    def _name_file(self, filename: str) -> None:
        if self.filename is not None:
            raise refuse.invalid(Invalid("file.file", "Only one file is allowed."))
        self.filename = filename

    def _name_part(self) -> None:
        if not self._name:
            raise _malformed()

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._sink(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _FIELD_BYTES:
            raise refuse.invalid(Invalid(f"body.{self._name}", "The text is too long.", "string_too_long"))

    def _end_part(self) -> None:
        if not self._is_file:
            self.texts[self._name] = _text(bytes(self._text))

    def _end(self) -> None:
        self._ended = True


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise refuse.invalid(Invalid("body", "The body must be multipart/form-data with a boundary."))
    return options[b"boundary"]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse.invalid(Invalid("body", "Texts must be UTF-8.")) from error


def _malformed() -> refuse.RestRefusal:
    return refuse.invalid(Invalid("body", "The body is not well-formed multipart/form-data."))
