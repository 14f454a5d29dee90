"""The measured cost of a scan, read from a benchmark's file."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planning.simulation import ONE_LANE, SimulationResult
from planning.workers import LaneSpeeds
from shared.batching.cost_model import LEAST_FIXED_SHARE, BatchCost
from shared.settings import Settings

#: The assumed spread of a scan's time (standard deviation of the logarithm).
USUAL_NOISE = 0.1
#: The service's default bounds.
MAX_BATCH: int = Settings.model_fields["max_batch_size"].default
MAX_LATENCY_S: float = Settings.model_fields["max_latency_ms"].default / 1000
#: A normal distribution's 95th percentile, in standard deviations.
_Z95 = 1.645
#: The default number of lanes of a CPU worker with this many cores or more.
_MOST_CPU_LANES = 4
#: Batch sizes with fewer scans are ignored.
_LEAST_SCANS = 10


class BadMeasurement(Exception):
    """A plan cannot be made from a file; ``str`` is a sentence for the user."""


@dataclass(frozen=True)
class MeasuredCost:
    """How fast one worker is.

    Args:
        cost: Seconds of a batch that is alone in its worker, from reading to writing.
        lanes: How many batches may be active at once, and how fast they are together.
        noise: Standard deviation of the logarithm of a batch's time.
        outside_s: Seconds that a client waits outside the worker: upload and response.
        busy_outside_s: The same while every lane has a batch, which uses the cores that uploads
            need; None: the same as ``outside_s``.
        upload_s: Seconds that an upload takes from a worker that computes on the same cores.
        device: ``cpu`` or a GPU; empty if unknown.
        max_batch: The largest batch.
        max_latency_s: How long a batch may gather.
    """

    cost: BatchCost
    lanes: LaneSpeeds = ONE_LANE
    noise: float = USUAL_NOISE
    outside_s: float = 0.0
    busy_outside_s: float | None = None
    upload_s: float = 0.0
    device: str = ""
    max_batch: int = MAX_BATCH
    max_latency_s: float = MAX_LATENCY_S

    @property
    def scans_per_s(self) -> float:
        """The most that one worker can compute."""
        sizes = range(1, self.max_batch + 1)
        scan_s = min(self.cost.seconds(size) / size for size in sizes)
        return 1 / (scan_s / self.lanes.most + self.upload_s)

    @property
    def unit(self) -> str:
        """What a user would buy more of."""
        return "GPU" if self.device.startswith("cuda") else "worker"

    def alone_s(self, z: float) -> float:
        """Return how long a client waits for a scan that no other scan delays.

        ``z`` is the percentile, in standard deviations of the logarithm.
        """
        factor = math.exp(z * self.noise - self.noise**2 / 2)
        return self.outside_s + self.cost.seconds(1) * factor

    def response_s(self, simulated: SimulationResult) -> NDArray[np.float64]:
        """Return how long a client waited for each scan of a simulation, in order.

        A response time is the client's side: the latency in the service, and the time outside.
        """
        busy_s = self.outside_s if self.busy_outside_s is None else self.busy_outside_s
        return simulated.latency_s + np.where(simulated.wait_s > 0, busy_s, self.outside_s)


def read_cost(path: Path) -> MeasuredCost:
    """Return the cost in a file of ``benchmarks.components`` or ``benchmarks.scan``.

    Raises:
        OSError: The file cannot be read.
        BadMeasurement: It is neither of the two, or has no round with a single client.
    """
    try:
        numbers = json.loads(path.read_bytes())
        if "rounds" in numbers:
            return cost_of_components(numbers)
        if "systems" in numbers:
            return _cost_of_scan(numbers)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError):
        pass
    raise BadMeasurement(
        f"{path.name} is not what `python -m benchmarks.components` or `python -m benchmarks.scan` "
        "writes. Measure again, or give --fixed and --per-scan."
    )


def cost_of_components(numbers: dict[str, Any]) -> MeasuredCost:
    """Return the cost in what ``benchmarks.components`` wrote.

    Raises:
        BadMeasurement: It has no round with a single client.
        LookupError: It is another kind of file.
    """
    service, rounds = numbers["service"], numbers["rounds"]
    single = [part for part in rounds if part["clients"] == 1]
    if not single:
        raise BadMeasurement(
            "This measurement has no round with a single client: run benchmarks.components with "
            "--concurrency 1 and a number above the worker's lanes."
        )
    worker, whole = single[0]["seconds"]["worker"], single[0]["seconds"]["end_to_end"]
    alone_s, lanes, workers = worker["mean"], int(service["lanes"]), int(service["workers"])
    on_cpu = service["device"] == "cpu"
    # an upload takes one of the worker's cores; of another machine only the lanes are known
    cores = (service.get("local", True) and numbers["machine"]["cores"]) or lanes * workers
    upload_s = single[0]["seconds"]["upload"]["mean"] * workers / cores if on_cpu else 0.0
    busiest = max(rounds, key=lambda part: int(part["clients"]))
    cost = _split_cost(alone_s, busiest["batches"])
    speed = 1.0
    active = min(lanes, int(busiest["clients"]) // workers)
    if active > 1:
        scans = sum(batch["scans"] for batch in busiest["batches"].values())
        work_s = sum(
            batch["scans"] * cost.seconds(int(size)) / int(size)
            for size, batch in busiest["batches"].items()
        )
        speed = _speed(work_s / scans, busiest["scans_per_s"] / workers, upload_s)
    return MeasuredCost(
        cost,
        lane_speeds(lanes, active, speed, on_cpu=on_cpu),
        noise=math.sqrt(math.log1p((worker["std"] / alone_s) ** 2)),
        outside_s=max(0.0, whole["mean"] - alone_s),
        busy_outside_s=_busy_outside_s(rounds, lanes * workers),
        upload_s=upload_s,
        device=str(service["device"]),
        **_bounds(numbers),
    )


def _speed(work_s: float, scans_per_s: float, upload_s: float) -> float:
    """Return how much work of a batch alone (s) the lanes do in a second, without uploads."""
    return work_s / max(1 / scans_per_s - upload_s, 1e-9)


def _busy_outside_s(rounds: list[dict[str, Any]], lanes: int) -> float | None:
    """Return what clients waited outside in the smallest round with two clients for each lane.

    In a larger round clients submit at the same time, because they get results at the same time.
    """
    busy_rounds = [part for part in rounds if part["clients"] >= 2 * lanes]
    if not busy_rounds:
        return None
    seconds = min(busy_rounds, key=lambda part: int(part["clients"]))["seconds"]
    inside_s = seconds["queue"]["mean"] + seconds["worker"]["mean"]
    return float(max(0.0, seconds["end_to_end"]["mean"] - inside_s))


def _cost_of_scan(numbers: dict[str, Any]) -> MeasuredCost:
    own, settings = numbers["systems"][0], numbers["settings"]
    idle = own["idle"]
    alone_s = idle["stages_s"]["total"] - idle["stages_s"]["queue"]
    lanes = int(settings.get("VOXELQ_LANES", 0)) or min(numbers["cores"], _MOST_CPU_LANES)
    active = min(lanes, numbers["clients"])
    outside_s = max(0.0, idle["p50_s"] - alone_s)
    upload_s = outside_s / numbers["cores"]  # nearly all of it is the upload
    speed = _speed(alone_s, own["load"]["scans_per_s"], upload_s)
    return MeasuredCost(
        _split_cost(alone_s, {}),
        lane_speeds(lanes, active, speed, on_cpu=True),
        noise=max(0.0, math.log(idle["p95_s"] / idle["p50_s"]) / _Z95),
        outside_s=outside_s,
        upload_s=upload_s,
        device="cpu",
        **_bounds(numbers),
    )


def _bounds(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the bounds of a batch that differ from the defaults."""
    settings = numbers["settings"]
    bounds: dict[str, Any] = {}
    if "VOXELQ_MAX_BATCH_SIZE" in settings:
        bounds["max_batch"] = int(settings["VOXELQ_MAX_BATCH_SIZE"])
    if "VOXELQ_MAX_LATENCY_MS" in settings:
        bounds["max_latency_s"] = float(settings["VOXELQ_MAX_LATENCY_MS"]) / 1000
    return bounds


def lane_speeds(lanes: int, active: int, speed: float, *, on_cpu: bool) -> LaneSpeeds:
    """Return the speeds of lanes of which ``active`` together do ``speed`` times the work of one.

    On a GPU one batch computes while others are read and written, so each lane adds its own work
    until the device is busy. On a CPU all share the cores, and each lane adds a part of the gain.
    """
    speed, concurrency = min(max(speed, 0.1), active), lanes if on_cpu else 1
    if lanes == 1 or active < 2:
        return LaneSpeeds((1.0,) * lanes, concurrency)
    speeds = [1.0]
    for number in range(2, lanes + 1):
        rising = 1 + (speed - 1) * min(1.0, (number - 1) / (active - 1))
        speeds.append(rising if on_cpu else min(float(number), speed))
    return LaneSpeeds(tuple(speeds), concurrency)


def _split_cost(alone_s: float, batches: dict[str, dict[str, float]]) -> BatchCost:
    """Return the cost of a scan that takes ``alone_s``; ``batches`` show how much of it is fixed.

    Several clients slow all batches down alike, so the ratio of the parts holds, not their sum.
    """
    sizes = {int(k): row for k, row in batches.items() if row["scans"] >= _LEAST_SCANS}
    fixed_share = 0.0
    if len(sizes) > 1:
        weight = sum(row["scans"] for row in sizes.values())
        size = sum(k * row["scans"] for k, row in sizes.items()) / weight
        mean_s = sum(row["mean_s"] * row["scans"] for row in sizes.values()) / weight
        rises = sum(
            row["scans"] * (k - size) * (row["mean_s"] - mean_s) for k, row in sizes.items()
        )
        slope_s = rises / sum(row["scans"] * (k - size) ** 2 for k, row in sizes.items())
        fixed_s = mean_s - slope_s * size
        if slope_s > 0 and fixed_s > 0:  # otherwise the noise is larger than the effect of the size
            fixed_share = fixed_s / (fixed_s + slope_s)
    fixed_share = max(fixed_share, LEAST_FIXED_SHARE)
    return BatchCost(fixed_share * alone_s, (1 - fixed_share) * alone_s)


def pluralize(count: int, unit: str) -> str:
    """Return the number with its noun, in the plural if need be."""
    return f"{count} {unit}{'s' if count != 1 else ''}"
