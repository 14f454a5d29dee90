"""Which GPU a worker leases, on a real server and with pretended GPUs."""

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from redis import Redis

from shared.errors import ModelBroken
from shared.queue import keys
from shared.queue.scripts import ABANDON
from shared.settings import Settings
from worker import __main__ as entry
from worker.device.gpu_lease import Gpu, lease_device, lease_gpu
from worker.queueing.connection import connect
from worker.queueing.leases import Leases, WorkerFacts

GPUS = [Gpu(index, f"GPU-{index:02}") for index in range(4)]


class SimpleGpu:
    """The properties of a GPU that the code reads from torch."""

    def __init__(self, index: int) -> None:
        self.uuid = f"GPU-{index}"


class GpuWorkers:
    """Many pretended workers of one service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.redis = connect(settings)

    def arrive(self, worker: str, gpus: Sequence[Gpu] = GPUS, hold_s: float = 60) -> int:
        """Have a worker start; returns the index of its GPU."""
        return lease_gpu(self.redis, worker, gpus, hold_s).index

    def beat(self, worker: str) -> None:
        """Send a worker's heartbeat."""
        self.leases(worker).extend([], WorkerFacts(worker, "cuda", None))

    def leases(self, worker: str) -> Leases:
        """Return a worker's leases."""
        return Leases(self.redis, worker, self._settings)


@pytest.fixture
def gpu_workers(settings: Settings) -> GpuWorkers:
    """A service without a worker."""
    return GpuWorkers(settings)


def run_out(redis: Redis, worker: str, seconds: float = 1) -> None:
    """Make a worker's lease end this many seconds ago."""
    redis.zadd(keys.GPU_LEASES, {worker: time.time() - seconds}, xx=True)


def test_workers_spread_evenly(gpu_workers: GpuWorkers) -> None:
    """For any number of workers, no GPU has two workers more than another."""
    counts: Counter[int] = Counter()
    for number in range(22):
        counts[gpu_workers.arrive(f"worker-{number}")] += 1
        held = [counts[gpu.index] for gpu in GPUS]
        assert max(held) - min(held) <= 1


def test_workers_that_start_at_once_spread_evenly(settings: Settings) -> None:
    """Sixteen workers that ask in the same moment get four GPUs four times each."""
    start, taken = threading.Barrier(16), list[int]()

    def arrive(number: int) -> None:
        gpu_workers = GpuWorkers(settings)
        gpu_workers.redis.ping()
        start.wait()
        taken.append(gpu_workers.arrive(f"worker-{number}"))

    threads = [threading.Thread(target=arrive, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == {gpu.index: 4 for gpu in GPUS}


def test_the_last_free_gpu_goes_to_one_worker(settings: Settings) -> None:
    """Of two workers that start at once only one gets the GPU that is still free."""
    for _ in range(10):
        gpu_workers = GpuWorkers(settings)
        gpu_workers.redis.flushall()
        for number in range(3):
            gpu_workers.arrive(f"worker-{number}")
        start, taken = threading.Barrier(2), list[int]()

        def arrive(worker: str, start: threading.Barrier, taken: list[int]) -> None:
            mine = GpuWorkers(settings)
            mine.redis.ping()
            start.wait()
            taken.append(mine.arrive(worker))

        pair = [threading.Thread(target=arrive, args=(name, start, taken)) for name in "ab"]
        for thread in pair:
            thread.start()
        for thread in pair:
            thread.join()
        assert taken.count(3) == 1


@pytest.mark.parametrize("end", ["killed", "left", "silent"])
def test_the_gpu_of_a_worker_that_is_gone_is_free(gpu_workers: GpuWorkers, end: str) -> None:
    """A GPU is leased again once its worker died, left, or fell silent past its lease."""
    held = {gpu_workers.arrive(f"worker-{number}"): f"worker-{number}" for number in range(4)}
    gone = held[2]
    if end == "killed":
        ABANDON.run(gpu_workers.redis, gone)  # as its watchdog does
    elif end == "left":
        gpu_workers.leases(gone).sign_off()
    else:
        run_out(gpu_workers.redis, gone)
    assert gpu_workers.arrive("worker-new") == 2


def test_heartbeats_hold_the_gpu(gpu_workers: GpuWorkers, settings: Settings) -> None:
    """A worker keeps its GPU by its heartbeats, and loses it without them."""
    first = gpu_workers.arrive("worker-0", hold_s=0.001)
    time.sleep(0.01)
    gpu_workers.beat("worker-0")
    assert [gpu_workers.arrive(f"worker-{number}") for number in (1, 2, 3)] == [1, 2, 3]
    assert first == 0
    (left_s,) = [gpu_workers.redis.zscore(keys.GPU_LEASES, "worker-0") - time.time()]  # type: ignore[operator]
    assert left_s <= settings.lease_s


def test_a_worker_that_wakes_counts_again(gpu_workers: GpuWorkers) -> None:
    """The GPU of a worker that was frozen past its lease and continues counts as used again."""
    gpu_workers.arrive("frozen")
    run_out(gpu_workers.redis, "frozen")
    assert gpu_workers.arrive("second") == 0
    gpu_workers.beat("frozen")
    assert [gpu_workers.arrive(f"worker-{number}") for number in range(5)] == [1, 2, 3, 1, 2]


def test_workers_that_are_long_gone_are_removed(gpu_workers: GpuWorkers) -> None:
    """Workers without a heartbeat for hours leave nothing behind."""
    gpu_workers.arrive("old")
    run_out(gpu_workers.redis, "old", seconds=7200)
    gpu_workers.arrive("new")
    assert gpu_workers.redis.hkeys(keys.GPUS) == [b"new"]
    assert gpu_workers.redis.zrange(keys.GPU_LEASES, 0, -1) == [b"new"]


def test_a_pinned_worker_counts_for_the_others(gpu_workers: GpuWorkers) -> None:
    """A worker pinned to a GPU leases it, and the others use other GPUs while they can."""
    assert [gpu_workers.arrive(name, GPUS[1:2]) for name in ("pinned-1", "pinned-2")] == [1, 1]
    assert [gpu_workers.arrive(f"worker-{number}") for number in range(4)] == [0, 2, 3, 0]


def test_workers_may_see_the_same_gpus_by_other_numbers(gpu_workers: GpuWorkers) -> None:
    """A GPU is known by its UUID: containers that number it otherwise share the same leases."""
    assert gpu_workers.arrive("one", [Gpu(0, "GPU-a"), Gpu(1, "GPU-b")]) == 0
    assert gpu_workers.arrive("two", [Gpu(0, "GPU-a")]) == 0
    assert gpu_workers.arrive("three", [Gpu(0, "GPU-b"), Gpu(1, "GPU-a")]) == 0


def test_a_worker_that_asks_again_moves(gpu_workers: GpuWorkers) -> None:
    """A worker whose first answer was lost counts once."""
    assert [gpu_workers.arrive("one"), gpu_workers.arrive("one"), gpu_workers.arrive("two")] == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("wanted", "devices"),
    [
        ("auto", ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda:1", ["cuda:1", "cuda:1", "cuda:1", "cuda:1"]),
    ],
)
def test_a_number_pins_and_its_absence_leases(
    gpu_workers: GpuWorkers,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    devices: list[str],
) -> None:
    """``cuda:1`` is that GPU however many are on it; ``cuda`` and ``auto`` are the least used."""
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", SimpleGpu)
    chosen = settings.model_copy(update={"device": wanted})
    assert [lease_device(gpu_workers.redis, f"worker-{n}", chosen) for n in range(4)] == devices
    assert "expandable_segments" in os.environ["PYTORCH_ALLOC_CONF"]


def test_a_worker_without_a_gpu_leases_none(gpu_workers: GpuWorkers, settings: Settings) -> None:
    """On a CPU nothing is leased."""
    cpu = settings.model_copy(update={"device": "cpu"})
    assert lease_device(gpu_workers.redis, "one", cpu) == "cpu"
    assert not gpu_workers.redis.exists(keys.GPUS, keys.GPU_LEASES)


def test_a_worker_that_cannot_serve_holds_no_gpu(
    gpu_workers: GpuWorkers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends because its device cannot be used gives its GPU back before it exits."""
    held: list[int] = []

    def lease(redis: Redis, worker_id: str, settings: Settings) -> str:
        lease_gpu(redis, worker_id, GPUS, 60)
        return "cpu"

    def fail(*_: object) -> None:
        held.append(int(gpu_workers.redis.hlen(keys.GPUS)))
        raise ModelBroken("a broken model")

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # because `main` sets its own
    monkeypatch.setattr(entry, "configure_logging", lambda _: None)
    monkeypatch.setattr(entry, "Settings", lambda: settings)
    monkeypatch.setattr(entry, "lease_device", lease)
    monkeypatch.setattr(entry, "open_model_cache", fail)
    assert entry.main() == 1
    assert held == [1]
    assert not gpu_workers.redis.exists(keys.GPUS, keys.GPU_LEASES)
