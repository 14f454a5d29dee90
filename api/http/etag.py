"""Content that a client has already: the ``ETag`` of an answer and ``If-None-Match`` of a call."""

import hashlib
from collections.abc import Mapping

from fastapi import Request, Response


def etag_of(content: bytes, *, weak: bool = False) -> str:
    """Return the tag of ``content``; a weak one is for other encodings of it too."""
    return f'{"W/" if weak else ""}"{hashlib.sha256(content).hexdigest()[:32]}"'


def not_modified(request: Request, headers: Mapping[str, str]) -> Response | None:
    """Return a 304 with ``headers`` if the client has the content of their ``ETag``, else None."""
    if headers["ETag"] not in request.headers.get("if-none-match", ""):
        return None
    return Response(status_code=304, headers=dict(headers))
