"""One client's connection, bounded in time, in size and in number.

How long and how large a request's head may be, how many connections there are, and how long a
client may leave an answer unread. Written for uvicorn's protocol of httptools, which bounds none of
these. What belongs to bodies is `api.admission.upload_gate`'s.
"""

import asyncio
import json
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.http.problems import MEDIA_TYPE
from api.http.security_headers import DEFAULTS
from shared.errors import PROBLEM_TYPE_PREFIX

log = structlog.get_logger()

#: From the first byte of a request, or a fresh connection, to the end of the request's headers.
HEAD_TIMEOUT_S = 15.0

#: The request line with all headers, trailers included; and how many of them.
MAX_HEAD_BYTES = 1 << 16
MAX_HEADERS = 128

#: A client that takes no byte of its answer for so long has stopped reading.
UNREAD_TIMEOUT_S = 60.0

#: Connections of one process; a blocked client is one.
MAX_CONNECTIONS = 10_000

_TITLES = {
    400: "The request is malformed",
    408: "The request was too slow",
    431: "The request's headers are too large",
    503: "Too many connections",
}


class HeadTooLarge(Exception):
    """Raised within the parser, which then stops."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that a client cannot hold, nor fill, for nothing."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._field_bytes = self._fields = 0
        #: Bytes that came since the parser last told anything: it keeps what it cannot tell yet.
        self._untold_bytes = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many already."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, f"{MAX_CONNECTIONS} connections are open; try again shortly.")
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._head_came()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take the next bytes, up to the bounds of a head."""
        if self._refused:
            return
        if self._in_head and self._head_timer is None:
            self._await_head()  # a kept connection's next request
        self._untold_bytes += len(data)
        super().data_received(data)
        if self._untold_bytes > MAX_HEAD_BYTES and not self._refused:
            self._refuse_large_head()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser cannot read, or what it was stopped at."""
        if self._field_bytes > MAX_HEAD_BYTES or self._fields > MAX_HEADERS:
            self._refuse_large_head()
        else:
            self._refuse(400, "This is not HTTP/1.1 as RFC 9112 has it.")

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._field_bytes = self._fields = 0
        self._in_head = True
        if self._head_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which nothing here reads."""
        self._fields += 1
        self._count(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._untold_bytes = 0
        self._in_head = False
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._untold_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._untold_bytes = self._field_bytes = self._fields = 0
        self._in_head = True
        super().on_message_complete()

    def _count(self, field_bytes: int) -> None:
        self._untold_bytes = 0
        self._field_bytes += field_bytes
        if self._field_bytes > MAX_HEAD_BYTES or self._fields > MAX_HEADERS:
            raise HeadTooLarge

    # A client that reads no further.

    def pause_writing(self) -> None:
        """Stop writing; the client has so long to take what was written."""
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        """Go on writing."""
        if self._unread_timer is not None and not self.transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        """End an answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_unread()

    def timeout_keep_alive_handler(self) -> None:
        """Close a kept connection without a next request."""
        super().timeout_keep_alive_handler()
        self._watch_unread()

    def _watch_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(UNREAD_TIMEOUT_S, self._look_at_unread)

    def _look_at_unread(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._watch_unread()  # slow, and still reading
        else:
            log.warning("unread_answer_cut", bytes=self._unread_bytes)
            self.transport.abort()

    # A head that does not come.

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._answering:
            self._await_head()  # the next one of a pipeline; its time begins with its turn
        elif self._untold_bytes or self._field_bytes:
            self._refuse(408, f"The request's headers took longer than {HEAD_TIMEOUT_S:.0f} s.")
        else:
            self._close()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_large_head(self) -> None:
        self._refuse(
            431,
            f"All headers together take {MAX_HEAD_BYTES} bytes at most, in {MAX_HEADERS} lines.",
        )

    def _refuse(self, status: int, detail: str) -> None:
        """Answer at once, unless another answer is on its way, and close."""
        self._refused = True
        self._head_came()
        if self.transport.is_closing():
            return
        if not self._answering:
            self.transport.write(_problem(status, detail))
            self.app_state["metrics"].count_refused(status)
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self._watch_unread()


def _problem(status: int, detail: str) -> bytes:
    members = {
        "type": f"{PROBLEM_TYPE_PREFIX}http-{status}",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
    }
    body = json.dumps(members).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *DEFAULTS,
    ]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return STATUS_LINE[status] + b"".join(lines) + b"\r\n" + body
