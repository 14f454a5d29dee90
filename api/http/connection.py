"""One client's connection, bounded in time, size and number.

It limits how long and how large the head of a request may be, how many connections are open, and
how long a client may leave an answer unread. uvicorn's own protocol has none of these limits. The
limits of bodies are in `api.submission.request_body`.
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

#: From the first byte of a request, or a new connection, to the end of the request's headers.
HEAD_TIMEOUT_S = 15.0

#: The size of the request line with all headers and trailers; and the number of these.
MAX_HEAD_BYTES = 1 << 16
MAX_HEADERS = 128

#: A client that reads no byte of its answer for this long has stopped reading.
UNREAD_TIMEOUT_S = 60.0

#: Open connections of one process; each blocked client has one.
MAX_CONNECTIONS = 10_000

_TITLES = {
    400: "The request is malformed",
    408: "The request was too slow",
    431: "The request's headers are too large",
    503: "Too many connections",
}


class HeadTooLarge(Exception):
    """Raised in a callback of the parser, to stop it."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that a slow or greedy client cannot hold for long."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._field_bytes = self._fields = 0
        #: Bytes received since the parser's last callback: it buffers an incomplete field.
        self._unparsed_bytes = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start, unless too many connections are open."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, f"{MAX_CONNECTIONS} connections are open; try again shortly.")
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._cancel_head_timer()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the next bytes, up to the limits of a head."""
        if self._refused:
            return
        if self._in_head and self._head_timer is None:
            self._start_head_timer()  # the next request of a keep-alive connection
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEAD_BYTES and not self._refused:
            self._refuse_large_head()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser cannot read, or at which it was stopped."""
        if self._field_bytes > MAX_HEAD_BYTES or self._fields > MAX_HEADERS:
            self._refuse_large_head()
        else:
            self._refuse(400, "This is not HTTP/1.1 as RFC 9112 defines it.")

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self._field_bytes = self._fields = 0
        self._in_head = True
        if self._head_timer is None:
            self._start_head_timer()

    def on_url(self, url: bytes) -> None:
        """Count a part of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header or a trailer; trailers are not used."""
        self._fields += 1
        self._count(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the answer."""
        self._unparsed_bytes = 0
        self._in_head = False
        self._cancel_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unparsed_bytes = self._field_bytes = self._fields = 0
        self._in_head = True
        super().on_message_complete()

    def _count(self, field_bytes: int) -> None:
        self._unparsed_bytes = 0
        self._field_bytes += field_bytes
        if self._field_bytes > MAX_HEAD_BYTES or self._fields > MAX_HEADERS:
            raise HeadTooLarge

    # The time limit for an unread answer.

    def pause_writing(self) -> None:
        """Stop writing, and start the time limit for reading what was written."""
        super().pause_writing()
        self._start_unread_timer()

    def resume_writing(self) -> None:
        """Continue writing."""
        if self._unread_timer is not None and not self.transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        """End an answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_unread_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close a keep-alive connection that sends no further request."""
        super().timeout_keep_alive_handler()
        self._start_unread_timer()

    def _start_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(UNREAD_TIMEOUT_S, self._on_unread_timeout)

    def _on_unread_timeout(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._start_unread_timer()  # the client reads slowly
        else:
            log.warning("unread_answer_aborted", bytes=self._unread_bytes)
            self.transport.abort()

    # The time limit for a request's head.

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._on_head_timeout)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self._answering:
            self._start_head_timer()  # a pipelined request; its time starts after this answer
        elif self._unparsed_bytes or self._field_bytes:
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
        """Answer at once, unless another answer is being sent, and close."""
        self._refused = True
        self._cancel_head_timer()
        if self.transport.is_closing():
            return
        if not self._answering:
            self.transport.write(_problem(status, detail))
            self.app_state["metrics"].count_refused(status)
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self._start_unread_timer()


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
