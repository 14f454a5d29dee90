"""The web page: its files, read once when the process starts, and their headers.

The page needs no other site, so its policy allows none: scripts, styles and calls from this origin
only, nothing inline, and pictures that the viewer makes itself.
"""

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from fastapi import APIRouter, Request, Response

from api.http.etag import etag_of, not_modified
from shared.errors import NotFound

WEB = Path(__file__).parents[1] / "web"
INDEX = "index.html"

#: Content Security Policy, level 3. NiiVue holds its font as `data:` pictures.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}

#: A vendored file has its version in its path; the browser revalidates ours each time, by ETag.
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"

# Python's own table depends on the system.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class PageFile:
    """One file of the page, as it is and gzipped, with its headers."""

    content: bytes
    gzipped: bytes
    headers: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file at ``path``."""
        content = path.read_bytes()
        vendored = "vendor" in path.relative_to(WEB).parts
        return cls(
            content=content,
            gzipped=gzip.compress(content, 6, mtime=0),
            headers={
                **_HEADERS,
                "Cache-Control": _IMMUTABLE if vendored else _REVALIDATE,
                "Content-Type": _TYPES.get(path.suffix, _TEXT),
                # Weak, because the gzipped file has the same tag.
                "ETag": etag_of(content, weak=True),
            },
        )

    def response(self, request: Request) -> Response:
        """Return the file, or 304 if the browser has it."""
        if (unchanged := not_modified(request, self.headers)) is not None:
            return unchanged
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = {**self.headers, "Content-Encoding": "gzip"}
            return Response(self.gzipped, headers=headers)
        return Response(self.content, headers=self.headers)


@cache
def page_files() -> dict[str, PageFile]:
    """Return all files of the page by their path below ``web``; read and gzipped once."""
    return {
        path.relative_to(WEB).as_posix(): PageFile.read(path)
        for path in WEB.rglob("*")
        if path.is_file()
    }


def page_router() -> APIRouter:
    """Return the calls that serve the page."""
    files = page_files()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return files[INDEX].response(request)

    @router.api_route("/web/{name:path}", methods=["GET", "HEAD"])
    async def page_file(request: Request, name: str) -> Response:
        if name not in files:
            raise NotFound("The page has no file of this name.")
        return files[name].response(request)

    return router
