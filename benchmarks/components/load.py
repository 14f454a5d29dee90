"""One scan handed in again and again, and what each part of every call took."""

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from rich.progress import Progress

#: What the worker does with a scan, and then what a call consists of.
STAGES = ("load", "preprocess", "inference", "postprocess", "store")
PARTS = ("network", "upload", "queue", *STAGES, "answer")
#: Sums: the worker's stages, the server's whole time, the client's whole time.
WHOLES = ("worker", "server_total", "end_to_end")

#: Calls of every client before the first that counts.
WARM_UP = 2
#: Scans that each client hands in at least, in the mean: a crowd's first and last are no crowd's.
TURNS = 5
_TIMEOUT_S = 330.0
_ENTRY = re.compile(r"(\w+);dur=([\d.]+)")


class NotMeasured(Exception):
    """A service that cannot be measured; ``str`` is a sentence for a person."""


@dataclass(frozen=True)
class Sample:
    """One call: seconds of every part and whole, and how many scans shared its batch."""

    seconds: dict[str, float]
    batch_size: int
    shape: tuple[int, ...]


class Caller(Protocol):
    """A client's own connection."""

    def ask(self) -> Sample:
        """Hand the scan in and wait for its answer; raises NotMeasured."""

    def close(self) -> None:
        """Close the connection."""


class Way(Protocol):
    """A protocol by which a service is spoken to."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def connect(self) -> Caller:
        """Return a connection for one client."""


@dataclass(frozen=True)
class Rest:
    """``POST /predict`` of the service at ``url`` with the bytes of ``scan``."""

    url: str
    scan: bytes
    name: str = "REST"

    def connect(self) -> "RestCaller":
        """Return a connection for one client."""
        return RestCaller(self)


class RestCaller:
    """A client that keeps its connection."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._http = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)

    def ask(self) -> Sample:
        """Hand the scan in and wait for its answer; raises NotMeasured."""
        began_s = time.perf_counter()
        try:
            response = self._http.post(
                f"{self._rest.url}/predict",
                content=self._rest.scan,
                headers={"Content-Type": "application/octet-stream"},
            )
        except httpx.HTTPError as error:
            raise NotMeasured(
                f"no VoxelQ service answers at {self._rest.url} ({type(error).__name__})."
            ) from error
        return read_sample(response, time.perf_counter() - began_s)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def read_sample(response: httpx.Response, end_to_end_s: float) -> Sample:
    """Return what a call that took ``end_to_end_s`` consisted of; raises NotMeasured."""
    job = _job(response)
    told = {
        name: float(value) / 1000
        for name, value in _ENTRY.findall(response.headers.get("server-timing", ""))
    }
    if missing := [name for name in ("server", *PARTS[1:]) if name not in told]:
        raise NotMeasured(
            f"the service does not tell its {', '.join(missing)} in Server-Timing; "
            "it is older than this tool."
        )
    seconds = {name: told[name] for name in PARTS[1:]}
    return Sample(
        {
            "network": end_to_end_s - told["server"],
            **seconds,
            "worker": sum(told[name] for name in STAGES),
            "server_total": told["server"],
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
    """What ``clients`` in a loop saw of one protocol in ``seconds``."""

    protocol: str
    clients: int
    seconds: float
    samples: Sequence[Sample]

    @property
    def shape(self) -> list[int]:
        """Voxels of the scan on each axis."""
        return list(self.samples[0].shape)


def measure(way: Way, *, requests: int, clients: int) -> Round:
    """Have clients ask ``requests`` times between them, each as soon as it was answered.

    It is :data:`TURNS` times for each client at least.

    Raises:
        NotMeasured: A call was not answered with a finished job.
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
        caller = way.connect()
        try:
            for _ in range(WARM_UP):
                caller.ask()
            warm.wait()
            began_s.append(time.perf_counter())
            while take():
                samples.append(caller.ask())
                bar.advance(task)
        except Exception:
            warm.abort()  # or the others would wait for this one
            raise
        finally:
            caller.close()

    with Progress(transient=True) as bar, ThreadPoolExecutor(clients) as pool:
        task = bar.add_task(f"{way.name}, {clients} at once", total=total)
        running = [pool.submit(loop) for _ in range(clients)]
        faults = [fault for one in running if (fault := one.exception()) is not None]
    seconds = time.perf_counter() - min(began_s, default=0.0)
    for fault in sorted(faults, key=lambda fault: isinstance(fault, threading.BrokenBarrierError)):
        raise fault
    return Round(way.name, clients, seconds, samples)


def service_facts(url: str) -> dict[str, Any]:
    """Return what a planner must know of the service: its workers, their device and lanes.

    Raises:
        NotMeasured: It does not tell.
    """
    try:
        with httpx.Client(timeout=10, trust_env=False) as http:
            workers = http.get(f"{url}/queue").json()["workers"]
            metrics = http.get(f"{url}/metrics").text
        return {
            "workers": len(workers),
            "device": workers[0]["device"],
            "lanes": max(1, round(_metric(metrics, "lane") / _metric(metrics, "worker"))),
        }
    except (httpx.HTTPError, ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise NotMeasured("the service does not tell of its workers.") from error


def _metric(text: str, who: str) -> float:
    found = re.search(rf"^voxelq_{who}_seconds_total ([\d.e+-]+)$", text, re.MULTILINE)
    if found is None:
        raise KeyError(who)
    return float(found[1])
