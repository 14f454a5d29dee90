"""Disks that are full, fail or hang, and folders of scans and models."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.common.model_folders import VERSION
from benchmarks.faults import disks
from benchmarks.faults.disk_faults import Calls, DiskFaults
from benchmarks.faults.injectors import Injector
from benchmarks.faults.jobs import Jobs
from benchmarks.faults.models import write_broken_model
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target


@contextmanager
def store_full(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The disk of scans and masks is full."""
    with disks.filled(service.store.parent):
        yield


def worker_files(error: int | str, path_part: str, calls: Calls = "any") -> Injector:
    """Return the fault of a worker's file calls that fail, or hang, on some paths."""
    return _file_fault(lambda service: [service.worker_disk], error, path_part, calls)


def api_files(error: int | str, path_part: str, calls: Calls = "any") -> Injector:
    """Return the fault of the API's file calls that fail, or hang, on some paths."""
    return _file_fault(lambda service: [service.api_disk], error, path_part, calls)


def all_files(error: int | str, path_part: str, calls: Calls = "any") -> Injector:
    """Return the fault of file calls of API and workers that fail, or hang, on some paths."""
    return _file_fault(
        lambda service: [service.api_disk, service.worker_disk], error, path_part, calls
    )


@contextmanager
def store_away(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The folder of the store is missing, and later there again."""
    with _renamed(service, "store"):
        yield


@contextmanager
def store_replaced(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """An empty folder is in place of the store, as after a failed mount."""
    away = service.store.with_name("away")
    service.store.rename(away)
    service.store.mkdir()
    try:
        yield
    finally:
        # the empty folder may have got files meanwhile
        service.store.rename(service.store.with_name("wrong"))
        away.rename(service.store)
        shutil.rmtree(service.store.with_name("wrong"), ignore_errors=True)


@contextmanager
def models_away(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """The folder of the models is missing, and later there again."""
    with _renamed(service, "models"):
        yield


@contextmanager
def broken_bundle(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A bundle that cannot be loaded is added and later removed."""
    folder = write_broken_model(service.models)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def malformed_bundle(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
    """A bundle whose card is 100,000 nested lists is added and later removed."""
    folder = service.models / "malformed"
    (folder / VERSION / "configs").mkdir(parents=True)
    (folder / VERSION / "configs" / "metadata.json").write_text("[" * 100_000)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_fault(
    disks_of: Callable[[FaultedService], list[DiskFaults]],
    error: int | str,
    path_part: str,
    calls: Calls,
) -> Injector:
    @contextmanager
    def failing(service: FaultedService, jobs: Jobs, target: Target) -> Iterator[None]:
        with ExitStack() as stack:
            for disk in disks_of(service):
                stack.enter_context(disk.rule(error, path_part, calls))
            yield

    return failing


@contextmanager
def _renamed(service: FaultedService, name: str) -> Iterator[None]:
    folder = service.store if name == "store" else service.models
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    try:
        yield
    finally:
        if folder.exists():  # a process has created it again
            shutil.rmtree(folder, ignore_errors=True)
        away.rename(folder)
