"""How active batches share cores and network."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from worker.device.sharing import GPU_LANES, MOST_CPU_LANES, SharedDevice


def test_lanes_suit_the_device() -> None:
    """A CPU has a lane for each core, up to a bound; a GPU enough to be busy; or as set."""
    assert SharedDevice("cpu", threads=2, lanes=0).lanes == 2
    assert SharedDevice("cpu", threads=64, lanes=0).lanes == MOST_CPU_LANES
    assert SharedDevice("cuda:0", threads=2, lanes=0).lanes == GPU_LANES
    assert SharedDevice("cpu", threads=2, lanes=5).lanes == 5


def test_the_cores_are_divided_among_batches() -> None:
    """A batch alone has all the cores; with two active each has half of them."""
    device = SharedDevice("cpu", threads=4, lanes=2)
    begun, joined, measured = (threading.Barrier(2) for _ in range(3))

    def first() -> tuple[int, int]:
        with device.share():
            alone = torch.get_num_threads()
            begun.wait(10)
            joined.wait(10)
            device.use_share()
            shared = torch.get_num_threads()
            measured.wait(10)
            return alone, shared

    def second() -> int:
        begun.wait(10)
        with device.share():
            joined.wait(10)
            measured.wait(10)
            return torch.get_num_threads()

    with ThreadPoolExecutor(2) as lanes:
        threads = lanes.submit(first), lanes.submit(second)
        assert threads[0].result(30) == (4, 2)
        assert threads[1].result(30) == 2


def test_a_batch_takes_no_more_than_its_share_to_read_and_write() -> None:
    """Scans of a batch are read in parallel where it has cores for that, or a GPU computes."""
    cpu = SharedDevice("cpu", threads=2, lanes=2)
    assert SharedDevice("cuda:0", threads=1, lanes=2).parallel_io
    with cpu.share():
        assert cpu.parallel_io
        with cpu.share():
            assert not cpu.parallel_io
        assert cpu.parallel_io


def test_lanes_compute_at_the_same_time_on_a_cpu_only() -> None:
    """On a CPU every lane has its cores; on a GPU one batch computes while others are read."""
    assert SharedDevice("cpu", threads=4, lanes=3).concurrency == 3
    assert SharedDevice("cuda:0", threads=4, lanes=3).concurrency == 1


def test_a_gpu_computes_one_batch_at_a_time() -> None:
    """While one lane computes, another waits for its turn; on a CPU none waits."""
    device = SharedDevice("cuda:0", threads=2, lanes=2)
    entered = threading.Event()

    def compute() -> None:
        with device.turn():
            entered.set()

    other = threading.Thread(target=compute)
    with device.turn():
        other.start()
        assert not entered.wait(0.05)
    other.join(10)
    assert entered.is_set()
    cpu = SharedDevice("cpu", threads=2, lanes=2)
    with cpu.turn(), cpu.turn():
        pass
