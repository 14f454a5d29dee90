"""The middleware that counts and times each call, and answers unexpected errors."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import problem_response
from api.metrics.registry import UNKNOWN, Metrics
from shared.errors import VoxelQError
from shared.telemetry import log_unexpected_error

# A client may send any other word as its method; it must not become a label.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestLog:
    """ASGI middleware; calls are labelled by route, never by path, which may hold a job's id."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.perf_counter()
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception as error:
            log_unexpected_error("unexpected_error", error, route=_route(scope))
            if status:
                return  # the answer has begun: the server closes the connection
            unexpected = VoxelQError("An unexpected error happened; it was logged.")
            await problem_response(unexpected, scope["path"])(scope, receive, observed_send)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else UNKNOWN
            labels = (method, _route(scope))
            self._metrics.requests.labels(*labels, str(status)).inc()
            self._metrics.duration_s.labels(*labels).observe(time.perf_counter() - started_at)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", UNKNOWN)
