"""A multipart form, parsed while it arrives: scans are written on, short fields are kept."""

import logging
from collections.abc import Set as AbstractSet

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.submission.channel_writer import ChannelWriter
from api.submission.scan_writer import ScanWriter
from shared.errors import BadRequest

MAX_FIELD_BYTES = 1024

# Its warnings quote what was sent.
logging.getLogger("python_multipart.multipart").disabled = True


class MultipartForm:
    """One ``multipart/form-data`` body, an `api.submission.pump.Sink`."""

    def __init__(
        self,
        content_type: str,
        writer: ScanWriter,
        *,
        scan_fields: AbstractSet[str],
        text_fields: AbstractSet[str],
    ) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise BadRequest("The multipart Content-Type names no boundary.")
        #: The short fields by name.
        self.fields: dict[str, str] = {}
        self._writer = writer
        self._scan_fields = scan_fields
        self._text_fields = text_fields
        self._header_name = self._header_value = b""
        self._field = ""
        self._channel: ChannelWriter | None = None
        self._text: bytearray | None = None
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise BadRequest("The multipart boundary is too long.") from error

    @property
    def header_pending(self) -> bool:
        """Whether the next bytes may show that the scan must be refused."""
        if self._channel is None:
            return self._text is None
        return self._channel.header_pending

    def write(self, block: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            BadRequest: The form is malformed, or has a field that no submit takes.
            VoxelQError: The scan is refused.

        """
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise BadRequest("The multipart body is malformed.") from error

    def finish(self) -> None:
        """Check that the form is complete; raises BadRequest."""
        if not self._complete:
            raise BadRequest("The multipart body is cut short: its closing boundary is missing.")

    def _on_part_begin(self) -> None:
        self._field = ""

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        name = self._field
        if name in self._scan_fields:
            self._channel = self._writer.open_channel(name)
        elif name in self._text_fields:
            if name in self.fields:
                raise BadRequest(f"The field {name} was sent twice.")
            self._text = bytearray()
        else:
            known = ", ".join(sorted(self._scan_fields | self._text_fields))
            raise BadRequest(f"The form has a field that no submit takes; known are {known}.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._channel is not None:
            self._channel.write(data[start:end])
        elif self._text is not None:
            self._text += data[start:end]
            if len(self._text) > MAX_FIELD_BYTES:
                raise BadRequest(f"The field {self._field} is longer than {MAX_FIELD_BYTES} bytes.")

    def _on_part_end(self) -> None:
        if self._channel is not None:
            self._channel.finish()
        elif self._text is not None:
            self.fields[self._field] = self._text.decode("utf-8", "replace")
        self._channel = self._text = None

    def _on_end(self) -> None:
        self._complete = True
