"""Signals to processes, at any stage of their life."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.faults.disk_faults import HANG
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target, wait_until_loading

_LOADS_KILLED = 3


@contextmanager
def killed(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGKILL to the target."""
    _signal(target.pid, signal.SIGKILL)
    yield


@contextmanager
def terminated(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGTERM to the target."""
    _signal(target.pid, signal.SIGTERM)
    yield


@contextmanager
def frozen(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The target is stopped by SIGSTOP and then continues."""
    _signal(target.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(target.pid, signal.SIGCONT)


@contextmanager
def killed_again_and_again(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGKILL to a worker that loads its model, and to the next ones as soon as they load it."""
    for _ in range(_LOADS_KILLED):
        starts = target.part.starts
        target.part.signal(signal.SIGKILL)
        wait_until_loading(service, target.part.wait_for_next(starts))
    yield


@contextmanager
def stopped_while_hung(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """SIGTERM to a worker that cannot finish its batch: writing the mask hangs."""
    with service.worker_disk.rule(HANG, ".mask.nii.gz", "write"), service.client() as client:
        jobs.submit(client)
        service.worker_disk.wait_until_met(30)
        _signal(target.pid, signal.SIGTERM)
        yield


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
