"""Requests to the service, and its responses as records or errors."""

import base64
import os
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import httpx

from voxelq.errors import ServiceUnreachable, UnexpectedAnswer, VoxelQError, refusal
from voxelq.protocol.decoding import decode
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import Problem

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_PROBLEM = "application/problem+json"
#: Errors of a connection after which a retry may succeed.
_TRANSIENT = (
    httpx.NetworkError,
    httpx.TimeoutException,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
)


class HttpMessages:
    """The address of one service, its key, and its timeout.

    Raises:
        ValueError: The URL is not an http or https address, the key cannot be a header, or the
            timeout is not above 0.
    """

    def __init__(self, url: str | None, key: str | None, timeout_s: float) -> None:
        text = url or os.environ.get("VOXELQ_URL") or DEFAULT_URL
        try:
            self._url = httpx.URL(text).copy_with(query=None, fragment=None)
        except httpx.InvalidURL as error:
            raise ValueError(f"The service's URL cannot be read: {error}.") from error
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise ValueError(f"The service's URL is no http address, such as {DEFAULT_URL}.")
        if key is not None and not (key and key.isascii() and key.isprintable()):
            raise ValueError("The key has characters that no header may hold.")
        if not timeout_s > 0:
            raise ValueError("timeout_s must be above 0.")
        self._timeout_s = timeout_s
        self._headers = {"Accept": "*/*", "User-Agent": "voxelq-python"}
        if key is not None:
            self._headers["X-API-Key"] = key
        if self._url.userinfo:  # for a proxy before the service
            basic = base64.b64encode(unquote_to_bytes(self._url.userinfo)).decode()
            self._headers["Authorization"] = f"Basic {basic}"
            self._url = self._url.copy_with(username=None, password=None)
        self._headers["Host"] = self._url.netloc.decode("ascii")
        #: The address, without a password.
        self.url = str(self._url).rstrip("/")
        #: The environment's proxy is not for this machine itself.
        self.trust_env = self._url.host not in _LOOPBACK

    def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | float | None] | None = None,
        headers: Mapping[str, str] | None = None,
        body: UploadBody | None = None,
        *,
        hold_s: float = 0.0,
    ) -> httpx.Request:
        """Return a request whose response the service may hold for ``hold_s``; raises OSError."""
        timeout = httpx.Timeout(self._timeout_s, read=self._timeout_s + hold_s, pool=None)
        return httpx.Request(
            method,
            self._url.copy_with(raw_path=self._url.raw_path.rstrip(b"/") + path.encode()),
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers={
                **self._headers,
                **(headers or {}),
                **({} if body is None else body.headers()),
            },
            stream=body,
            extensions={"timeout": timeout.as_dict()},
        )

    def answer(self, result: httpx.Response | httpx.HTTPError) -> httpx.Response | VoxelQError:
        """Return ``result`` if it is a successful response, else its error."""
        if isinstance(result, httpx.HTTPError):
            return self._unreachable(result)
        if result.is_success:
            return result
        if not result.is_error:
            return UnexpectedAnswer(f"{self.url} answered with {result.status_code}.")
        return refusal(_problem(result), _retry_after_s(result))

    def read(self, kind: type[T], response: httpx.Response) -> T:
        """Return the JSON of a successful response as a record; raises UnexpectedAnswer."""
        try:
            return decode(kind, response.json())
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(
                f"{self.url} answered, but not as a VoxelQ service does ({error})."
            ) from error

    def _unreachable(self, error: httpx.HTTPError) -> ServiceUnreachable:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            words = f"No VoxelQ service answers at {self.url} ({error})."
        elif isinstance(error, httpx.TimeoutException):
            words = f"The service at {self.url} did not answer in time."
        else:
            words = f"The connection to {self.url} was cut ({type(error).__name__})."
        unreachable = ServiceUnreachable(words, transient=isinstance(error, _TRANSIENT))
        unreachable.__cause__ = error
        return unreachable


def _problem(response: httpx.Response) -> Problem:
    status = response.status_code
    if response.headers.get("content-type", "").startswith(_PROBLEM):
        try:
            return decode(Problem, {**response.json(), "status": status})
        except (ValueError, TypeError, RecursionError):
            pass
    request = response.request
    words = f"{request.method} {request.url.path} was answered with {status}."
    return Problem(title=response.reason_phrase or "Refused", status=status, detail=words)


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None
