"""A real HTTP server with the service's responses, which a test scripts."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def job(job_id: str = "01JOB", status: str = "queued", **members: Any) -> dict[str, Any]:
    """Return a job as in the service's responses."""
    return {
        "id": job_id,
        "status": status,
        "priority": "routine",
        "attempts": 0,
        "model": {"name": "brain-tumor", "version": "1.0.0"},
        "created_at": "2026-11-21T09:00:00.123Z",
        "result": {"tumor": {"present": True, "probability": 0.97, "volume_ml": 83.1}}
        if status == "finished"
        else None,
        "timings_s": {"total": 0.33} if status == "finished" else None,
        **members,
    }


def problem(status: int, detail: str) -> dict[str, Any]:
    """Return an RFC 9457 problem."""
    return {"type": "urn:test", "title": "Refused", "status": status, "detail": detail}


@dataclass(frozen=True)
class Request:
    """A request of a client."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class TinyService:
    """Responds to a method and path with the next scripted response; the last one is repeated.

    The next ``cuts`` connections break once their request was read.
    """

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, bytes, str]]] = field(default_factory=dict)
    cuts: int = 0
    requests: list[Request] = field(default_factory=list)

    def on(
        self, method: str, path: str, status: int, body: Any, media_type: str | None = None
    ) -> None:
        """Add a scripted response; ``body`` is bytes or a JSON value (a problem from 400)."""
        if media_type is None:
            media_type = "application/problem+json" if status >= 400 else "application/json"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.setdefault((method, path), []).append((status, content, media_type))

    def answer(self, request: Request) -> tuple[int, bytes, str]:
        """Note the request and return its answer."""
        self.requests.append(request)
        scripted = self.answers.get((request.method, request.path.partition("?")[0]))
        if scripted is None:
            nothing = json.dumps(problem(404, "There is nothing here.")).encode()
            return 404, nothing, "application/problem+json"
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]


@contextmanager
def serving() -> Iterator[TinyService]:
    """Run a tiny service on a free port."""
    service = TinyService()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            if service.cuts:
                service.cuts -= 1
                service.requests.append(request)
                self.close_connection = True
                return
            status, content, media_type = service.answer(request)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do  # noqa: N815 - the base class names them so

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
