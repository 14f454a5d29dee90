"""Core time of the processes of a service, of its clients, and of everything else."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

Parts = Mapping[str, list[psutil.Process]]


@dataclass(frozen=True)
class CoreTime:
    """Core-seconds up to a moment, or between two.

    ``parts`` holds those of named processes with their children; ``idle`` those that were not used
    and ``wall`` all of them, both over the cores that this process may use.
    """

    parts: dict[str, float]
    idle: float
    wall: float

    @classmethod
    def now(cls, parts: Parts) -> Self:
        """Read the kernel's clocks."""
        cores = sorted(os.sched_getaffinity(0))
        clocks = psutil.cpu_times(percpu=True)
        return cls(
            {
                name: sum(_seconds(process) for process in family)
                for name, family in _families(parts).items()
            },
            sum(clocks[core].idle + clocks[core].iowait for core in cores),
            len(cores) * time.perf_counter(),
        )

    def since(self, start: "CoreTime") -> "CoreTime":
        """Return what was spent since ``start``."""
        return CoreTime(
            {name: seconds - start.parts[name] for name, seconds in self.parts.items()},
            self.idle - start.idle,
            self.wall - start.wall,
        )

    def shares(self) -> dict[str, float]:
        """Return the parts, ``idle`` and ``others`` as shares of all core time.

        ``others`` are the other programs on this machine, and the kernel's own work.
        """
        shares = {name: seconds / self.wall for name, seconds in self.parts.items()}
        shares["idle"] = self.idle / self.wall
        return {**shares, "others": max(0.0, 1 - sum(shares.values()))}


def use_cores(count: int) -> int:
    """Restrict this process and its children to ``count`` cores; 0: all that it may use.

    Raises:
        ValueError: There are fewer cores, or this is not Linux.
    """
    if sys.platform != "linux":
        raise ValueError("Cores can be chosen, and their time read, on Linux only.")
    available = sorted(os.sched_getaffinity(0))
    if count > len(available):
        raise ValueError(f"There are {len(available)} cores, fewer than {count}.")
    os.sched_setaffinity(0, available[: count or None])
    return count or len(available)


def peak_memory_mb(parts: Parts) -> dict[str, float]:
    """Return the peak memory of each part in MB, summed over its processes."""
    return {
        name: sum(_peak_mb(process) for process in family)
        for name, family in _families(parts).items()
    }


def _families(parts: Parts) -> dict[str, list[psutil.Process]]:
    """Return the processes of every part with their children, except those of other parts."""
    roots = {process.pid for processes in parts.values() for process in processes}

    def family(process: psutil.Process) -> Iterator[psutil.Process]:
        yield process
        with suppress(psutil.NoSuchProcess):
            for child in process.children():
                if child.pid not in roots:
                    yield from family(child)

    return {
        name: [member for process in processes for member in family(process)]
        for name, processes in parts.items()
    }


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system
    return 0.0


def _peak_mb(process: psutil.Process) -> float:
    with (
        suppress(OSError),
        Path(f"/proc/{process.pid}/status").open(encoding="utf-8") as status,
    ):
        for line in status:
            if line.startswith("VmHWM"):
                return float(line.split()[1]) / 1024
    return 0.0
