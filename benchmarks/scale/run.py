"""One run of locust against a running service, and what it and the service's clocks tell."""

import csv
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.common.core_time import CoreTime
from benchmarks.common.services import child
from benchmarks.scale.rows import Combination, Row, read_locust
from benchmarks.scale.services import Running
from voxelq.local.supervisor import available_cores

#: How long locust may take to start and to write its report (seconds).
_START_S = 120.0
_LOOK_S = 0.5
_CLOCKS = ("voxelq_device_busy_seconds_total", "voxelq_worker_seconds_total")


@dataclass(frozen=True)
class Traffic:
    """How locust is to be run, whatever the combination."""

    run_time_s: float
    shapes: str
    wait_limit_s: float

    @property
    def longest_s(self) -> float:
        """Return how long locust may take, from its start to its report."""
        return self.run_time_s + 2 * self.wait_limit_s + _START_S


@dataclass(frozen=True)
class Look:
    """The clocks at a moment: cores, and the workers' busy and whole seconds."""

    at_s: float
    core_time: CoreTime | None
    client_s: float
    busy_s: float
    there_s: float


def measure(
    running: Running, combination: Combination, traffic: Traffic, *, device: str, stem: Path
) -> Row:
    """Load a service and return what came of it.

    ``stem`` names the report, ``.html``; locust's CSVs go to ``csv/`` beside it.

    Raises:
        RuntimeError: Locust could not do its work.
    """
    tables = stem.parent / "csv" / stem.name
    tables.parent.mkdir(parents=True, exist_ok=True)
    arguments = [
        *("-m", "locust", "--headless", "--only-summary", "--exit-code-on-error", "0"),
        *("--host", running.base, "--users", str(combination.users)),
        *("--spawn-rate", f"{combination.spawn_rate:g}", "--reset-stats"),
        *("--run-time", f"{traffic.run_time_s:g}s", "--shapes", traffic.shapes),
        *("--wait-limit", f"{traffic.wait_limit_s:g}"),
        # nobody leaves before the answer, so no scan is left behind and no long wait uncounted
        *("--stop-timeout", f"{2 * traffic.wait_limit_s:g}"),
        *("--csv", str(tables), "--html", f"{stem}.html"),
    ]
    with child(arguments, tables.with_name(f"{stem.name}.log"), {}) as locust:
        looks = _watch(locust, running, traffic.longest_s)
        if locust.returncode != 0:
            raise RuntimeError(f"locust ended with {locust.returncode}; see above.")
    tables.with_name(f"{stem.name}.log").unlink()
    ramp_s = combination.users / combination.spawn_rate
    seen = shares(looks, traffic.run_time_s - ramp_s)
    with tables.with_name(f"{stem.name}_stats.csv").open(newline="") as file:
        counted = read_locust(list(csv.DictReader(file)))
    with tables.with_name(f"{stem.name}_failures.csv").open(newline="") as file:
        reasons = [f"{row['Occurrences']} x {row['Error']}" for row in csv.DictReader(file)]
    return Row(
        device=device,
        **combination._asdict(),
        shapes=traffic.shapes,
        run_time_s=traffic.run_time_s,
        **counted._asdict(),
        workers_busy=seen.workers_busy,
        cores=available_cores(),
        cores_idle=seen.cores_idle,
        others=seen.others if running.parts else None,
        client_cores=seen.client_cores,
        reasons="; ".join(reasons),
    )


@dataclass(frozen=True)
class Shares:
    """Who was busy in a window; None where it could not be seen."""

    workers_busy: float | None = None
    cores_idle: float | None = None
    others: float | None = None
    client_cores: float | None = None


def shares(looks: Sequence[Look], window_s: float) -> Shares:
    """Return what the last ``window_s`` of some looks at the clocks tell."""
    within = [look for look in looks if look.at_s >= looks[-1].at_s - window_s]
    if len(within) < 2:
        return Shares()
    first, last = within[0], within[-1]
    there_s = last.there_s - first.there_s
    took: dict[str, float] = {}
    if first.core_time is not None and last.core_time is not None:
        took = last.core_time.since(first.core_time).shares()
    return Shares(
        workers_busy=min(1.0, (last.busy_s - first.busy_s) / there_s) if there_s > 0 else None,
        cores_idle=took.get("idle"),
        others=took.get("others"),
        client_cores=(last.client_s - first.client_s) / (last.at_s - first.at_s),
    )


def _watch(locust: subprocess.Popen[str], running: Running, limit_s: float) -> list[Look]:
    """Look at the clocks until locust ends; what was seen while it did not run is left out."""
    process, looks = psutil.Process(locust.pid), list[Look]()
    deadline = time.monotonic() + limit_s
    with httpx.Client(timeout=10, trust_env=False) as client:
        while locust.poll() is None:
            if time.monotonic() > deadline:
                raise RuntimeError("locust does not come to an end.")
            try:
                look = _look(client, running, process)
            except (httpx.HTTPError, psutil.NoSuchProcess):
                look = None  # too busy to tell, or just over
            if look is not None and locust.poll() is None:
                looks.append(look)
            time.sleep(_LOOK_S)
    return looks


def _look(client: httpx.Client, running: Running, locust: psutil.Process) -> Look:
    text = client.get(f"{running.base}/metrics").raise_for_status().text
    busy_s, there_s = (_metric(text, name) for name in _CLOCKS)
    times = locust.cpu_times()
    parts = running.parts if sys.platform == "linux" else None  # elsewhere nobody tells
    return Look(
        at_s=time.perf_counter(),
        core_time=None if parts is None else CoreTime.now({**parts, "clients": [locust]}),
        client_s=times.user + times.system,
        busy_s=busy_s,
        there_s=there_s,
    )


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
