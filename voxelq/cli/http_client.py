"""The Python client: submit a scan, wait for it, fetch its mask; HTTP and nothing else.

::

    ClientError            the service answered, and refused; ``status`` is the HTTP status
    ├── ServiceUnreachable no answer at all, or a service whose queue is away (503)
    └── BadUrl             not the address of a service
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from voxelq.cli import uploads
from voxelq.cli.answers import JobAnswer, JobsAnswer, ModelAnswer, ModelsAnswer, Problem
from voxelq.cli.sse import MEDIA_TYPE, read_events

DEFAULT_URL = "http://127.0.0.1:8080"
LONG_POLL_S = 20
#: A long poll answers at most this much later than it promised.
ANSWER_MARGIN_S = 30.0
#: How long `wait` bears with a service that is being restarted.
PATIENCE_S = 20.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
AnswerT = TypeVar("AnswerT", JobAnswer, JobsAnswer, ModelAnswer, ModelsAnswer)


class ClientError(Exception):
    """The service refused a call; ``str`` is a sentence for a person."""

    def __init__(self, words: str, *, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


class ServiceUnreachable(ClientError):
    """Nobody answers at the URL, or the service cannot reach its queue."""


class BadUrl(ClientError):
    """The service's URL is not an http or https address."""


class VoxelQClient:
    """One service, spoken to over HTTP.

    The URL defaults to ``VOXELQ_URL``, then to ``http://127.0.0.1:8080``. Uploads carry the
    bytes of a scan and never its file name. Close it, or use it as a context manager.

    Raises:
        BadUrl: The URL is not an http or https address.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = (url or os.environ.get("VOXELQ_URL") or DEFAULT_URL).rstrip("/")
        try:
            parts = urlsplit(self.url)
            parts.port  # noqa: B018 - reading it checks it
        except ValueError as error:
            raise BadUrl(f"{self.url}: {error}.") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadUrl(f"{self.url} is not an http address, such as {DEFAULT_URL}.")
        self._http = httpx.Client(
            base_url=self.url,
            transport=httpx.HTTPTransport(retries=1) if parts.hostname in _LOOPBACK else None,
            # a proxy of the environment is never meant for this machine itself
            trust_env=parts.hostname not in _LOOPBACK,
            timeout=httpx.Timeout(LONG_POLL_S + ANSWER_MARGIN_S, connect=5.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        scan: Path | Mapping[str, Path],
        *,
        model: str | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> JobAnswer:
        """Hand in one scan (``.nii`` or ``.nii.gz``), streamed from disk; return its queued job.

        A scan of several channels is a mapping from the model's inputs to files. ``on_progress``
        is called with the bytes sent so far.

        Raises:
            OSError: A file cannot be read.
            ClientError: The scan or a parameter was refused.
            ServiceUnreachable: The connection failed.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        with ExitStack() as files:
            body = uploads.body(scan, files, on_progress)
            response = self._call(
                "POST",
                "/jobs",
                params=_given(model=model, priority=priority),
                headers={**headers, **body.headers},
                content=body.chunks,
            )
        return _parse(JobAnswer, response)

    def job(self, job_id: str, *, wait_s: int | None = None) -> JobAnswer:
        """Return a job; with ``wait_s``, held back until it is terminal or the time is over.

        Raises:
            ClientError: There is no such job.
            ServiceUnreachable: The connection failed.
        """
        return _parse(JobAnswer, self._call("GET", f"/jobs/{job_id}", params=_given(wait=wait_s)))

    def wait(
        self, job_id: str, *, on_change: Callable[[JobAnswer], None] | None = None
    ) -> JobAnswer:
        """Block until a job is terminal, however long that takes, and return it.

        A service that is restarted meanwhile is borne with for 20 seconds.

        Raises:
            ClientError: There is no such job.
            ServiceUnreachable: The service stayed away.
        """
        last_answer = time.monotonic()
        while True:
            try:
                job = self.job(job_id, wait_s=LONG_POLL_S)
            except ServiceUnreachable:
                if time.monotonic() - last_answer > PATIENCE_S + LONG_POLL_S:
                    raise
                time.sleep(0.5)
                continue
            last_answer = time.monotonic()
            if on_change is not None:
                on_change(job)
            if job.terminal:
                return job

    def follow(self, job_id: str, on_change: Callable[[JobAnswer], None]) -> JobAnswer:
        """Block as `wait` does, and hear of every change of status, place, stage and progress.

        Where the service answers with no events, or ceases to, this is `wait`; raises as it does.
        """
        last_id = ""
        try:
            while True:
                before = last_id
                for message_id, job in self._events(job_id, before):
                    last_id = message_id
                    on_change(job)
                    if job.terminal:
                        return job
                if last_id == before:
                    break  # streams that end without a word would do so for ever
        except ClientError:
            pass
        return self.wait(job_id, on_change=on_change)

    def mask(self, job_id: str, destination: Path) -> None:
        """Write the mask of a finished job to ``destination`` (``.nii.gz``).

        Raises:
            OSError: The destination cannot be written.
            ClientError: The job is not finished, or there is none.
            ServiceUnreachable: The connection failed.
        """
        self._download(f"/jobs/{job_id}/mask", destination)

    def preview(self, job_id: str, destination: Path) -> None:
        """Write the picture of a finished job to ``destination`` (PNG); raises as `mask` does."""
        self._download(f"/jobs/{job_id}/preview.png", destination)

    def cancel(self, job_id: str) -> None:
        """Withdraw a job that is not terminal; a terminal one is purged with its scan and mask.

        Raises:
            ClientError: There is no such job.
            ServiceUnreachable: The connection failed.
        """
        self._call("DELETE", f"/jobs/{job_id}")

    def jobs(
        self, *, status: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> JobsAnswer:
        """Return a page of jobs, newest first.

        Raises:
            ClientError: A parameter was refused.
            ServiceUnreachable: The connection failed.
        """
        params = _given(status=status, limit=limit, cursor=cursor)
        return _parse(JobsAnswer, self._call("GET", "/jobs", params=params))

    def models(self) -> ModelsAnswer:
        """Return the models on offer, and those that are not and why.

        Raises:
            ServiceUnreachable: The connection failed.
        """
        return _parse(ModelsAnswer, self._call("GET", "/models"))

    def model(self, name: str) -> ModelAnswer:
        """Return the model that ``name`` or ``name@version`` stands for.

        Raises:
            ClientError: There is no such model, or it is broken.
            ServiceUnreachable: The connection failed.
        """
        return _parse(ModelAnswer, self._call("GET", f"/models/{name}"))

    def queue(self) -> dict[str, Any]:
        """Return the queue's state: jobs queued and started, workers, seconds a scan costs."""
        body: dict[str, Any] = self._call("GET", "/queue").json()
        return body

    def _events(self, job_id: str, last_id: str) -> Iterator[tuple[str, JobAnswer]]:
        headers = {"Accept": MEDIA_TYPE} | ({"Last-Event-ID": last_id} if last_id else {})
        try:
            with self._http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
                if response.is_error:
                    response.read()
                _raise_refusal(response)
                if not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
                    raise _not_voxelq(response)
                try:
                    yield from read_events(response.iter_lines())
                except ValidationError as error:
                    raise _not_voxelq(response) from error
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _download(self, path: str, destination: Path) -> None:
        # written aside first, so that a mask on disk is a whole mask
        partial = destination.with_name(destination.name + ".part")
        try:
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                _raise_refusal(response)
                with partial.open("wb") as file:
                    for chunk in response.iter_bytes(uploads.CHUNK_BYTES):
                        file.write(chunk)
        except httpx.HTTPError as error:
            partial.unlink(missing_ok=True)
            raise self._unreachable(error) from error
        partial.replace(destination)

    def _call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        _raise_refusal(response)
        return response

    def _unreachable(self, error: httpx.HTTPError) -> ServiceUnreachable:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return ServiceUnreachable(f"No VoxelQ service answers at {self.url}.")
        if isinstance(error, httpx.TimeoutException):
            return ServiceUnreachable(f"The service at {self.url} did not answer in time.")
        return ServiceUnreachable(f"The connection to {self.url} was cut.")


def _given(**params: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}


def _parse(kind: type[AnswerT], response: httpx.Response) -> AnswerT:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise _not_voxelq(response) from error


def _not_voxelq(response: httpx.Response) -> ClientError:
    return ClientError(f"{response.url} answered, but not as a VoxelQ service does.")


def _raise_refusal(response: httpx.Response) -> None:
    if not response.is_error:
        return
    status = response.status_code
    try:
        words = Problem.model_validate_json(response.content).words()
    except ValidationError:
        words = f"{response.request.method} {response.url.path} was answered with {status}."
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        raise ServiceUnreachable(words, status=status)
    raise ClientError(words, status=status)
