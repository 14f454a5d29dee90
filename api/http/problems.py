"""Every error as an RFC 9457 problem, ``application/problem+json``."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared.errors import (
    PROBLEM_TYPE_PREFIX,
    BadRequest,
    JobNotFound,
    NotFound,
    ServiceUnavailable,
    VoxelQError,
)

MEDIA_TYPE = "application/problem+json"


def problem_response(error: VoxelQError, path: str) -> Response:
    """Return ``error`` as a response to a request for ``path``."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return _response(error.problem(path), headers)


def install_problem_handlers(
    app: FastAPI, has_lost: Callable[[Request, str], Awaitable[bool]]
) -> None:
    """Answer every error of ``app`` with a problem.

    ``has_lost`` returns whether the queue has lost a job that is about to be recovered.
    """

    @app.exception_handler(VoxelQError)
    async def refused(request: Request, error: VoxelQError) -> Response:
        if isinstance(error, JobNotFound) and await has_lost(request, error.job_id):
            error = ServiceUnavailable(
                "The queue has lost its data and is getting this job back; ask again shortly.",
                retry_after_s=2,
            )
        return problem_response(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [
            f"{' '.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        ]
        return problem_response(BadRequest("; ".join(faults)), request.url.path)

    @app.exception_handler(HTTPException)
    async def unroutable(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            unknown = NotFound("No call of this service has this path.")
            return problem_response(unknown, request.url.path)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            # The router gives the methods of one route only, and a path may have several routes.
            path = getattr(request.scope.get("route"), "path", "")
            methods = app.openapi()["paths"].get(path, {})
            headers["Allow"] = ", ".join(sorted(method.upper() for method in methods))
        members = {
            "type": PROBLEM_TYPE_PREFIX + f"http-{error.status_code}",
            "title": error.detail,
            "status": error.status_code,
            "detail": f"{request.method} is not taken here."
            if error.status_code == 405
            else error.detail,
            "instance": request.url.path,
        }
        return _response(members, headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # it is not sent: the client is gone


def _response(members: dict[str, Any], headers: Mapping[str, str]) -> Response:
    return Response(
        json.dumps(members),
        status_code=members["status"],
        headers=dict(headers),
        media_type=MEDIA_TYPE,
    )
