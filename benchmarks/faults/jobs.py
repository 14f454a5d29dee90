"""The jobs that clients submit during faults, and how each ended."""

import gzip
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.common.clinic import GZIP, TERMINAL
from benchmarks.common.plain_nifti import plain_nifti
from benchmarks.faults.service import FaultedService

#: Statuses by which a service may refuse a call during a fault. Any other is an error of its own.
EXPECTED_REFUSALS = frozenset({408, 429, 503, 507})
_POLL_S = 0.25


def scan_bytes(edge: int = 20) -> bytes:
    """Return a gzipped NIfTI volume with a bright cube in it."""
    voxels: NDArray[np.int16] = np.zeros((edge,) * 3, np.int16)
    voxels[2:-2, 2:-2, 2:-2] = np.random.default_rng(0).integers(80, 120, (edge - 4,) * 3)
    voxels[6:-8, 6:-8, 6:-8] += 100
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(plain_nifti((edge,) * 3, voxels.tobytes(order="F"), voxel_mm=2.0))
    return packed.getvalue()


SCAN = scan_bytes()


@dataclass
class Jobs:
    """The accepted jobs, and the first terminal state of each; any thread may use it."""

    service: FaultedService
    healthy: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: When each terminal state was seen first (monotonic seconds).
    ended_at_s: dict[str, float] = field(default_factory=dict)
    #: Responses that are an error in any state of the service.
    unexpected: list[str] = field(default_factory=list)
    refused: int = 0
    #: True while Redis has lost its data, so that no job is known.
    lost_by_redis: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def accepted(self) -> set[str]:
        """The ids of all accepted jobs."""
        with self._lock:
            return self.healthy | self.bad

    def submit(self, client: httpx.Client, *, model: str | None = None, bad: bool = False) -> str:
        """Submit a scan; return the job's id, or "" if it was not accepted."""
        response = self._send(client, "POST", "/jobs", {"model": model} if model else {})
        # 200: the response to a first submit was lost, and its job has finished meanwhile
        if response is None or not self._is_good(response, {200, 202}):
            return ""
        job_id = str(response.json()["id"])
        with self._lock:
            (self.bad if bad else self.healthy).add(job_id)
        return job_id

    def predict(self, client: httpx.Client, *, wait_s: int = 10) -> None:
        """Submit a scan and block for its result."""
        headers = {"Prefer": f"wait={wait_s}"}
        response = self._send(client, "POST", "/predict", {}, headers)
        if response is not None and self._is_good(response, {200, 202}):
            job = response.json()
            with self._lock:
                self.healthy.add(job["id"])
            self._record(job)

    def poll_all(self, client: httpx.Client) -> None:
        """Poll every job whose terminal state was not seen yet."""
        for job_id in self.accepted - self.ended.keys():
            self.poll(client, job_id)

    def poll(self, client: httpx.Client, job_id: str) -> None:
        """Poll one job."""
        response = self._send(client, "GET", f"/jobs/{job_id}", {})
        if response is not None and self._is_good(response, {200}):
            self._record(response.json())

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Poll all jobs again and again until the block ends."""
        over = threading.Event()

        def poll() -> None:
            with self.service.client(5.0) as client:
                while not over.wait(_POLL_S):
                    self.poll_all(client)

        thread = threading.Thread(target=poll, name="poll")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait_for_all(self, bound_s: float) -> None:
        """Return once every job's terminal state was seen, or after ``bound_s``."""
        deadline = time.monotonic() + bound_s
        with self.service.client() as client:
            while self.accepted - self.ended.keys() and time.monotonic() < deadline:
                self.poll_all(client)
                time.sleep(0.05)

    def _send(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        parameters: dict[str, str],
        headers: dict[str, str] | None = None,
    ) -> httpx.Response | None:
        content = SCAN if method == "POST" else None
        media_type = GZIP if content else {}
        try:
            return client.request(
                method,
                path,
                params=parameters,
                content=content,
                headers={**media_type, **(headers or {})},
            )
        except httpx.HTTPError:
            return None  # the API cannot be reached

    def _is_good(self, response: httpx.Response, good: set[int]) -> bool:
        if response.status_code in good:
            return True
        with self._lock:
            self.refused += 1
            if self.lost_by_redis and response.status_code == httpx.codes.NOT_FOUND:
                return False
            if response.status_code not in EXPECTED_REFUSALS:
                self.unexpected.append(
                    f"{response.request.method} {response.status_code}: {_title(response)}"
                )
        return False

    def _record(self, job: dict[str, Any]) -> None:
        if job["status"] in TERMINAL:
            with self._lock:
                self.ended_at_s.setdefault(job["id"], time.monotonic())
                self.ended.setdefault(job["id"], job)


def _title(response: httpx.Response) -> str:
    try:
        return str(response.json()["title"])
    except (ValueError, KeyError, TypeError):
        return "not problem+json"
