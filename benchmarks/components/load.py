"""One scan submitted again and again, and how long each part of every call took."""

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from rich.progress import Progress

from benchmarks.common.service_state import read_metric

#: The worker's stages of a scan, and all parts of a call.
STAGES = ("load", "preprocess", "inference", "postprocess", "store")
PARTS = ("network", "upload", "queue", *STAGES, "answer")
#: Sums: the worker's stages, the server's whole time, the client's whole time.
WHOLES = ("worker", "server_total", "end_to_end")

#: Calls of every client before the first that counts.
WARM_UP = 2
#: Mean number of scans of each client, at least: while the first and the last scans of a round are
#: processed, fewer clients are active.
TURNS = 5
_TIMEOUT_S = 330.0
_ENTRY = re.compile(r"(\w+);dur=([\d.]+)")


class NotMeasured(Exception):
    """A service cannot be measured; ``str`` says why."""


@dataclass(frozen=True)
class Sample:
    """One call: seconds of every part and whole, and how many scans shared its batch."""

    seconds: dict[str, float]
    batch_size: int
    shape: tuple[int, ...]


class Connection(Protocol):
    """The connection of one client."""

    def predict(self) -> Sample:
        """Submit the scan and wait for its result; raises NotMeasured."""

    def close(self) -> None:
        """Close the connection."""


class Endpoint(Protocol):
    """A service as it is reached by one protocol."""

    @property
    def name(self) -> str:
        """The name of the protocol in the report."""

    def connect(self) -> Connection:
        """Return a connection for one client."""


@dataclass(frozen=True)
class RestEndpoint:
    """``POST /predict`` of the service at ``url`` with the bytes of ``scan``."""

    url: str
    scan: bytes
    name: str = "REST"

    def connect(self) -> "RestConnection":
        """Return a connection for one client."""
        return RestConnection(self)


class RestConnection:
    """An HTTP connection that is kept open."""

    def __init__(self, endpoint: RestEndpoint) -> None:
        self._endpoint = endpoint
        self._http = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)

    def predict(self) -> Sample:
        """Submit the scan and wait for its result; raises NotMeasured."""
        began_s = time.perf_counter()
        try:
            response = self._http.post(
                f"{self._endpoint.url}/predict",
                content=self._endpoint.scan,
                headers={"Content-Type": "application/octet-stream"},
            )
        except httpx.HTTPError as error:
            raise NotMeasured(
                f"no VoxelQ service answers at {self._endpoint.url} ({type(error).__name__})."
            ) from error
        return read_sample(response, time.perf_counter() - began_s)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def read_sample(response: httpx.Response, end_to_end_s: float) -> Sample:
    """Return the parts of a call that took ``end_to_end_s``; raises NotMeasured."""
    job = _job(response)
    reported = {
        name: float(value) / 1000
        for name, value in _ENTRY.findall(response.headers.get("server-timing", ""))
    }
    if missing := [name for name in ("server", *PARTS[1:]) if name not in reported]:
        raise NotMeasured(
            f"the service does not report its {', '.join(missing)} in Server-Timing; "
            "it is older than this tool."
        )
    seconds = {name: reported[name] for name in PARTS[1:]}
    return Sample(
        {
            "network": end_to_end_s - reported["server"],
            **seconds,
            "worker": sum(reported[name] for name in STAGES),
            "server_total": reported["server"],
            "end_to_end": end_to_end_s,
        },
        job["batch"]["size"],
        tuple(job["result"]["scan"]["shape"]),
    )


def _job(response: httpx.Response) -> dict[str, Any]:
    try:
        job: dict[str, Any] = response.json()
        if response.status_code == httpx.codes.OK and job["status"] == "finished":
            return job
        problem = job["error"] if response.status_code == httpx.codes.OK else job
    except (ValueError, KeyError, TypeError) as error:
        raise NotMeasured(
            f"{response.url} answered {response.status_code}, and not as VoxelQ does."
        ) from error
    if response.status_code == httpx.codes.ACCEPTED:
        raise NotMeasured("a scan took longer than the service lets clients wait.")
    raise NotMeasured(f"the scan was not done: {problem.get('detail', response.status_code)}")


@dataclass(frozen=True)
class Round:
    """The calls of ``clients`` in a loop, by one protocol, in ``seconds``."""

    protocol: str
    clients: int
    seconds: float
    samples: Sequence[Sample]

    @property
    def shape(self) -> list[int]:
        """Voxels of the scan on each axis."""
        return list(self.samples[0].shape)


def measure(endpoint: Endpoint, *, requests: int, clients: int) -> Round:
    """Let clients make ``requests`` calls in all, each client one after another.

    There are at least :data:`TURNS` calls for each client.

    Raises:
        NotMeasured: A call did not return a finished job.
    """
    total = max(requests, TURNS * clients)
    left, lock = total, threading.Lock()
    warm = threading.Barrier(clients)
    samples: list[Sample] = []
    began_s: list[float] = []

    def take() -> bool:
        nonlocal left
        with lock:
            left -= 1
            return left >= 0

    def loop() -> None:
        connection = endpoint.connect()
        try:
            for _ in range(WARM_UP):
                connection.predict()
            warm.wait()
            began_s.append(time.perf_counter())
            while take():
                samples.append(connection.predict())
                bar.advance(task)
        except Exception:
            warm.abort()  # the others must not wait for this one
            raise
        finally:
            connection.close()

    with Progress(transient=True) as bar, ThreadPoolExecutor(clients) as pool:
        task = bar.add_task(f"{endpoint.name}, {clients} at once", total=total)
        running = [pool.submit(loop) for _ in range(clients)]
        faults = [fault for loop in running if (fault := loop.exception()) is not None]
    seconds = time.perf_counter() - min(began_s, default=0.0)
    for fault in sorted(faults, key=lambda fault: isinstance(fault, threading.BrokenBarrierError)):
        raise fault
    return Round(endpoint.name, clients, seconds, samples)


def service_facts(url: str) -> dict[str, Any]:
    """Return the facts of a service that a planner needs: its workers, their device and lanes.

    Raises:
        NotMeasured: The service does not report them.
    """
    try:
        with httpx.Client(timeout=10, trust_env=False) as http:
            workers = http.get(f"{url}/queue").json()["workers"]
            metrics = http.get(f"{url}/metrics").text
        lane_s, worker_s = (
            read_metric(metrics, f"voxelq_{name}_seconds_total") for name in ("lane", "worker")
        )
        if lane_s is None or not worker_s:
            raise NotMeasured("the service does not report its workers.")
        return {
            "workers": len(workers),
            "device": workers[0]["device"],
            "lanes": max(1, round(lane_s / worker_s)),
        }
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise NotMeasured("the service does not report its workers.") from error
