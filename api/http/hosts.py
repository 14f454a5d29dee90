"""Which host names this service answers to, and which pages may write to it.

Any page in a browser can send requests to the machine that the browser runs on. A page of another
site whose name was made to point to this machine (DNS rebinding) is recognised by ``Host``, and one
that posts a form by ``Origin`` or ``Sec-Fetch-Site``.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import problem_response
from shared.errors import BadRequest, HostForbidden, OriginForbidden, VoxelQError

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ANY = "*"


@dataclass(frozen=True)
class Place:
    """A host and its port as a request names them; without a port it is the scheme's default."""

    name: str
    port: int | None

    @classmethod
    def parse(cls, netloc: str) -> Self | None:
        """Parse ``name``, ``name:port`` or ``[address]:port``; None for anything else."""
        try:
            parts = urlsplit(f"//{netloc}")
            name, port = parts.hostname, parts.port
        except ValueError:
            return None
        if not name or parts.netloc != netloc or "@" in netloc or netloc.endswith(":"):
            return None
        return cls(name.removesuffix("."), port)

    @property
    def literal(self) -> bool:
        """Whether it is an address, which no other site can make point to this machine."""
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return False
        return True

    @property
    def loopback(self) -> bool:
        """Whether it is a name that means this machine everywhere (RFC 6761)."""
        return self.name == "localhost" or self.name.endswith(".localhost")


class AllowedHosts:
    """The names of ``ALLOWED_HOSTS``, and the one that the service listens on."""

    def __init__(self, allowed: str, own: str = "") -> None:
        names = allowed.split(",")
        self._names = {name.strip().lower().removesuffix(".") for name in names} - {""}
        self._own = own.lower()

    def allows(self, place: Place) -> bool:
        """Return whether a request may name this host."""
        if place.literal or place.loopback or place.name == self._own:
            return True
        return _ANY in self._names or self.lists(place)

    def lists(self, place: Place) -> bool:
        """Return whether ``ALLOWED_HOSTS`` has this host, or ``*.`` and its domain."""
        if place.name in self._names:
            return True
        return any(name.startswith("*.") and place.name.endswith(name[1:]) for name in self._names)


class HostCheck:
    """ASGI middleware that refuses unknown hosts and writes from other sites."""

    def __init__(self, app: ASGIApp, allowed: AllowedHosts) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one call, or refuse it."""
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await problem_response(refusal, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> VoxelQError | None:
        hosts = _values(scope["headers"], b"host")
        if len(hosts) > 1 or (not hosts and scope["http_version"] == "1.1"):
            return BadRequest("A request names its host once (RFC 9112, section 3.2).")
        # Browsers always send it; a client of HTTP/1.0 without one is a probe.
        host = Place.parse(hosts[0]) if hosts else None
        if hosts and host is None:
            return BadRequest("The Host header names no host.")
        if host is not None and not self._allowed.allows(host):
            return HostForbidden(
                "The service does not know itself by the host name of this request. "
                "Its operator can add the name to VOXELQ_ALLOWED_HOSTS."
            )
        if scope["method"] not in _SAFE_METHODS and not self._may_write(scope["headers"], host):
            return OriginForbidden(
                "A page of another site asked for this, and only the service's own page may. "
                "Its operator can add the name of a site to VOXELQ_ALLOWED_HOSTS."
            )
        return None

    def _may_write(self, headers: Iterable[tuple[bytes, bytes]], host: Place | None) -> bool:
        origins = _values(headers, b"origin")
        if not origins:
            return "cross-site" not in _values(headers, b"sec-fetch-site")
        if len(origins) > 1:
            return False
        scheme, _, netloc = origins[0].partition("://")
        origin = Place.parse(netloc) if scheme in _DEFAULT_PORTS else None
        if origin is None:
            return False  # also for "null": a sandboxed page, or a file
        if self._allowed.lists(origin):
            return True
        if "cross-site" in _values(headers, b"sec-fetch-site") or host is None:
            return False
        # A proxy that terminates TLS passes the name on, but not the scheme.
        default = _DEFAULT_PORTS[scheme]
        return (origin.name, origin.port or default) == (host.name, host.port or default)


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip().lower() for name, value in headers if name == wanted]
