"""What a scan was measured to cost, as `voxelq plan` takes it: from a file or from two numbers."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planning.simulation import ONE_LANE, Outcome
from planning.workers import Lanes
from shared.batching.cost_model import LEAST_FIXED_SHARE, BatchCost
from shared.settings import Settings

#: Spread of a scan's time where nothing is known of it (standard deviation of the logarithm).
USUAL_NOISE = 0.1
#: The service's own bounds, where nobody changed them.
MAX_BATCH: int = Settings.model_fields["max_batch_size"].default
MAX_LATENCY_S: float = Settings.model_fields["max_latency_ms"].default / 1000
#: A normal distribution's 95th percentile, in standard deviations.
_Z95 = 1.645
#: Lanes that a CPU worker takes by itself, at most one for each core.
_MOST_CPU_LANES = 4
#: A batch size of fewer scans tells nothing.
_LEAST_SCANS = 10


class BadMeasurement(Exception):
    """A file that a plan cannot be made from; ``str`` is a sentence for a person."""


@dataclass(frozen=True)
class MeasuredCost:
    """What one worker does.

    Args:
        cost: Seconds of a batch that is alone in its worker, from read to written.
        lanes: Batches in hand at once, and what they do together.
        noise: Standard deviation of the logarithm of a batch's time.
        outside_s: Seconds that a client waits while no worker is at work for it: upload, answer.
        busy_outside_s: The same while every lane has a batch in hand, which takes the cores that
            uploads need; None: no more than that.
        upload_s: What an upload takes from a worker that computes on the same cores.
        device: ``cpu`` or a GPU; empty if that is not known.
        max_batch: Scans in one batch, at most.
        max_latency_s: How long a batch may gather.
    """

    cost: BatchCost
    lanes: Lanes = ONE_LANE
    noise: float = USUAL_NOISE
    outside_s: float = 0.0
    busy_outside_s: float | None = None
    upload_s: float = 0.0
    device: str = ""
    max_batch: int = MAX_BATCH
    max_latency_s: float = MAX_LATENCY_S

    @property
    def scans_per_s(self) -> float:
        """The most that one worker gets done."""
        sizes = range(1, self.max_batch + 1)
        scan_s = min(self.cost.seconds(size) / size for size in sizes)
        return 1 / (scan_s / self.lanes.most + self.upload_s)

    @property
    def unit(self) -> str:
        """What has to be bought."""
        return "GPU" if self.device.startswith("cuda") else "worker"

    def alone_s(self, z: float) -> float:
        """Return how long a client waits for a scan that nothing else delays.

        ``z`` is the percentile, in standard deviations of the logarithm.
        """
        luck = math.exp(z * self.noise - self.noise**2 / 2)
        return self.outside_s + self.cost.seconds(1) * luck

    def answers_s(self, done: Outcome) -> NDArray[np.float64]:
        """Return how long clients waited for the scans of a simulation, in their order."""
        busy_s = self.outside_s if self.busy_outside_s is None else self.busy_outside_s
        return done.latencies_s + np.where(done.waits_s > 0, busy_s, self.outside_s)


def read_cost(path: Path) -> MeasuredCost:
    """Return the cost in a file of ``benchmarks.components`` or ``benchmarks.scan``.

    Raises:
        OSError: The file cannot be read.
        BadMeasurement: It is neither of the two, or lacks a lone client.
    """
    try:
        numbers = json.loads(path.read_bytes())
        if "rounds" in numbers:
            return cost_of_components(numbers)
        if "systems" in numbers:
            return _from_scan(numbers)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError):
        pass
    raise BadMeasurement(
        f"{path.name} is not what `python -m benchmarks.components` or `python -m benchmarks.scan` "
        "writes. Measure anew, or give --fixed and --per-scan."
    )


def cost_of_components(numbers: dict[str, Any]) -> MeasuredCost:
    """Return the cost in what ``benchmarks.components`` wrote.

    Raises:
        BadMeasurement: It has no round with a lone client.
        LookupError: It is something else.
    """
    service, rounds = numbers["service"], numbers["rounds"]
    lone = [one for one in rounds if one["clients"] == 1]
    if not lone:
        raise BadMeasurement(
            "Nobody was alone in this measurement: run benchmarks.components with "
            "--concurrency 1 and a number above the worker's lanes."
        )
    worker, whole = lone[0]["seconds"]["worker"], lone[0]["seconds"]["end_to_end"]
    alone_s, lanes, workers = worker["mean"], int(service["lanes"]), int(service["workers"])
    on_cpu = service["device"] == "cpu"
    # each takes one core of those that a worker has; another machine tells of its lanes alone
    cores = (service.get("local", True) and numbers["machine"]["cores"]) or lanes * workers
    upload_s = lone[0]["seconds"]["upload"]["mean"] * workers / cores if on_cpu else 0.0
    crowd = max(rounds, key=lambda one: int(one["clients"]))
    cost = _shared_out(alone_s, crowd["batches"])
    speed = 1.0
    active = min(lanes, int(crowd["clients"]) // workers)
    if active > 1:
        scans = sum(one["scans"] for one in crowd["batches"].values())
        work_s = sum(
            one["scans"] * cost.seconds(int(size)) / int(size)
            for size, one in crowd["batches"].items()
        )
        speed = _speed(work_s / scans, crowd["scans_per_s"] / workers, upload_s)
    return MeasuredCost(
        cost,
        share_lanes(lanes, active, speed, on_cpu=on_cpu),
        noise=math.sqrt(math.log1p((worker["std"] / alone_s) ** 2)),
        outside_s=max(0.0, whole["mean"] - alone_s),
        busy_outside_s=_busy_outside_s(rounds, lanes * workers),
        upload_s=upload_s,
        device=str(service["device"]),
        **_bounds(numbers),
    )


def _speed(work_s: float, scans_per_s: float, upload_s: float) -> float:
    """Return how many seconds of a lone batch's work lanes do in one, uploads left out."""
    return work_s / max(1 / scans_per_s - upload_s, 1e-9)


def _busy_outside_s(rounds: list[dict[str, Any]], lanes: int) -> float | None:
    """Return what clients waited outside in the smallest crowd with a scan more for every lane.

    In a larger one they hand in at once, as they were answered together.
    """
    crowds = [one for one in rounds if one["clients"] >= 2 * lanes]
    if not crowds:
        return None
    seconds = min(crowds, key=lambda one: int(one["clients"]))["seconds"]
    inside_s = seconds["queue"]["mean"] + seconds["worker"]["mean"]
    return float(max(0.0, seconds["end_to_end"]["mean"] - inside_s))


def _from_scan(numbers: dict[str, Any]) -> MeasuredCost:
    ours, settings = numbers["systems"][0], numbers["settings"]
    idle = ours["idle"]
    alone_s = idle["stages_s"]["total"] - idle["stages_s"]["queue"]
    lanes = int(settings.get("VOXELQ_LANES", 0)) or min(numbers["cores"], _MOST_CPU_LANES)
    active = min(lanes, numbers["clients"])
    outside_s = max(0.0, idle["p50_s"] - alone_s)
    upload_s = outside_s / numbers["cores"]  # nearly all of it is the upload
    speed = _speed(alone_s, ours["load"]["scans_per_s"], upload_s)
    return MeasuredCost(
        _shared_out(alone_s, {}),
        share_lanes(lanes, active, speed, on_cpu=True),
        noise=max(0.0, math.log(idle["p95_s"] / idle["p50_s"]) / _Z95),
        outside_s=outside_s,
        upload_s=upload_s,
        device="cpu",
        **_bounds(numbers),
    )


def _bounds(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return how batches were bounded, where that was not left as it is."""
    settings = numbers["settings"]
    bounds: dict[str, Any] = {}
    if "VOXELQ_MAX_BATCH_SIZE" in settings:
        bounds["max_batch"] = int(settings["VOXELQ_MAX_BATCH_SIZE"])
    if "VOXELQ_MAX_LATENCY_MS" in settings:
        bounds["max_latency_s"] = float(settings["VOXELQ_MAX_LATENCY_MS"]) / 1000
    return bounds


def share_lanes(lanes: int, active: int, speed: float, *, on_cpu: bool) -> Lanes:
    """Return lanes of which ``active`` together do ``speed`` times the work of one.

    On a GPU one batch computes while others are read and written, so each one adds its own work
    until the device is busy. On a CPU all share the cores, and every one adds a part of the gain.
    """
    speed, concurrency = min(max(speed, 0.1), active), lanes if on_cpu else 1
    if lanes == 1 or active < 2:
        return Lanes((1.0,) * lanes, concurrency)
    speeds = [1.0]
    for number in range(2, lanes + 1):
        rising = 1 + (speed - 1) * min(1.0, (number - 1) / (active - 1))
        speeds.append(rising if on_cpu else min(float(number), speed))
    return Lanes(tuple(speeds), concurrency)


def _shared_out(alone_s: float, batches: dict[str, dict[str, float]]) -> BatchCost:
    """Return the cost of a scan that takes ``alone_s``, its fixed part as batches of a crowd tell.

    In a crowd all batches are slowed down alike, so the parts' ratio holds and not their sum.
    """
    told = {int(k): one for k, one in batches.items() if one["scans"] >= _LEAST_SCANS}
    fixed_share = 0.0
    if len(told) > 1:
        weight = sum(one["scans"] for one in told.values())
        size = sum(k * one["scans"] for k, one in told.items()) / weight
        mean_s = sum(one["mean_s"] * one["scans"] for one in told.values()) / weight
        rises = sum(one["scans"] * (k - size) * (one["mean_s"] - mean_s) for k, one in told.items())
        slope_s = rises / sum(one["scans"] * (k - size) ** 2 for k, one in told.items())
        fixed_s = mean_s - slope_s * size
        if slope_s > 0 and fixed_s > 0:  # else chance had more to say than the sizes
            fixed_share = fixed_s / (fixed_s + slope_s)
    fixed_share = max(fixed_share, LEAST_FIXED_SHARE)
    return BatchCost(fixed_share * alone_s, (1 - fixed_share) * alone_s)


def counted(count: int, unit: str) -> str:
    """Return the number with its noun."""
    return f"{count} {unit}{'s' if count != 1 else ''}"
