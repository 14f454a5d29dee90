"""One run of locust against a running service, and the clocks of the service meanwhile."""

import csv
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.common.core_time import CoreTime
from benchmarks.common.processes import python_process
from benchmarks.common.service_state import read_metric
from benchmarks.scale.rows import Combination, Row, read_locust
from benchmarks.scale.services import Running
from voxelq.local.supervisor import available_cores

#: How long locust may take to start and to write its report (seconds).
_START_S = 120.0
_PAUSE_S = 0.5
_CLOCKS = ("voxelq_device_busy_seconds_total", "voxelq_worker_seconds_total")


@dataclass(frozen=True)
class Traffic:
    """The options of locust that are the same for every combination."""

    run_time_s: float
    shapes: str
    wait_limit_s: float

    @property
    def longest_s(self) -> float:
        """Return how long locust may take, from its start to its report."""
        return self.run_time_s + 2 * self.wait_limit_s + _START_S


@dataclass(frozen=True)
class ClockReading:
    """The clocks at a moment: core time, and the workers' busy and total seconds."""

    at_s: float
    core_time: CoreTime | None
    client_s: float
    busy_s: float
    worker_s: float


def measure(
    running: Running, combination: Combination, traffic: Traffic, *, device: str, stem: Path
) -> Row:
    """Load a service and return the numbers of the run.

    ``stem`` names the report, ``.html``; locust's CSVs go to ``csv/`` beside it.

    Raises:
        RuntimeError: Locust failed.
    """
    tables = stem.parent / "csv" / stem.name
    tables.parent.mkdir(parents=True, exist_ok=True)
    arguments = [
        *("-m", "locust", "--headless", "--only-summary", "--exit-code-on-error", "0"),
        *("--host", running.base, "--users", str(combination.users)),
        *("--spawn-rate", f"{combination.spawn_rate:g}", "--reset-stats"),
        *("--run-time", f"{traffic.run_time_s:g}s", "--shapes", traffic.shapes),
        *("--wait-limit", f"{traffic.wait_limit_s:g}"),
        # no user stops before its result, so that no scan is left behind and every wait is counted
        *("--stop-timeout", f"{2 * traffic.wait_limit_s:g}"),
        *("--csv", str(tables), "--html", f"{stem}.html"),
    ]
    with python_process(arguments, tables.with_name(f"{stem.name}.log"), {}) as locust:
        readings = _read_clocks(locust, running, traffic.longest_s)
        if locust.returncode != 0:
            raise RuntimeError(f"locust ended with {locust.returncode}; see above.")
    tables.with_name(f"{stem.name}.log").unlink()
    ramp_s = combination.users / combination.spawn_rate
    busy = shares(readings, traffic.run_time_s - ramp_s)
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
        workers_busy=busy.workers_busy,
        cores=available_cores(),
        cores_idle=busy.cores_idle,
        others=busy.others if running.parts else None,
        client_cores=busy.client_cores,
        reasons="; ".join(reasons),
    )


@dataclass(frozen=True)
class Shares:
    """Shares of busy time in a window; None where they could not be measured."""

    workers_busy: float | None = None
    cores_idle: float | None = None
    others: float | None = None
    client_cores: float | None = None


def shares(readings: Sequence[ClockReading], window_s: float) -> Shares:
    """Return the shares in the last ``window_s`` of some readings."""
    within = [each for each in readings if each.at_s >= readings[-1].at_s - window_s]
    if len(within) < 2:
        return Shares()
    first, last = within[0], within[-1]
    worker_s = last.worker_s - first.worker_s
    shares_by_part: dict[str, float] = {}
    if first.core_time is not None and last.core_time is not None:
        shares_by_part = last.core_time.since(first.core_time).shares()
    return Shares(
        workers_busy=min(1.0, (last.busy_s - first.busy_s) / worker_s) if worker_s > 0 else None,
        cores_idle=shares_by_part.get("idle"),
        others=shares_by_part.get("others"),
        client_cores=(last.client_s - first.client_s) / (last.at_s - first.at_s),
    )


def _read_clocks(
    locust: subprocess.Popen[str], running: Running, limit_s: float
) -> list[ClockReading]:
    """Read the clocks again and again until locust ends."""
    process, readings = psutil.Process(locust.pid), list[ClockReading]()
    deadline = time.monotonic() + limit_s
    with httpx.Client(timeout=10, trust_env=False) as client:
        while locust.poll() is None:
            if time.monotonic() > deadline:
                raise RuntimeError("locust did not end in time.")
            try:
                reading = _read_once(client, running, process)
            except (httpx.HTTPError, psutil.NoSuchProcess):
                reading = None  # the API is too busy, or locust has just ended
            if reading is not None and locust.poll() is None:
                readings.append(reading)
            time.sleep(_PAUSE_S)
    return readings


def _read_once(client: httpx.Client, running: Running, locust: psutil.Process) -> ClockReading:
    text = client.get(f"{running.base}/metrics").raise_for_status().text
    busy_s, worker_s = (read_metric(text, name) or 0.0 for name in _CLOCKS)
    times = locust.cpu_times()
    parts = running.parts if sys.platform == "linux" else None  # only Linux reports it
    return ClockReading(
        at_s=time.perf_counter(),
        core_time=None if parts is None else CoreTime.now({**parts, "clients": [locust]}),
        client_s=times.user + times.system,
        busy_s=busy_s,
        worker_s=worker_s,
    )
