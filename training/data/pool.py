"""A pool of samples on disk, filled by its own processes while training reads from it.

Slot ``i`` has the sample drawn from the seed ``(seed, i)``, so that a pool can be filled in any
order, stopped and continued.
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.anatomy import fetch, load_all
from training.data.synthesis import GRID, Sample, synthesise

_VOXELS = int(np.prod(GRID.shape))


class SamplePool:
    """``capacity`` samples in memory-mapped files; images as float16, masks as bits."""

    def __init__(self, folder: Path, capacity: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.capacity = capacity
        self._images = _map(folder / "images.f16", np.float16, (capacity, *GRID.shape))
        self._masks = _map(folder / "masks.bits", np.uint8, (capacity, 2, _VOXELS // 8))
        self._filled = _map(folder / "filled.u8", np.uint8, (capacity,))

    def filled(self) -> NDArray[np.intp]:
        """Return the slots that hold a sample."""
        return np.flatnonzero(self._filled)

    def read(self, slot: int) -> Sample:
        """Return the sample in ``slot``."""
        bits = np.unpackbits(self._masks[slot], axis=1).astype(bool)
        mask, brain = bits.reshape(2, *GRID.shape)
        return Sample(self._images[slot].astype(np.float32), mask, brain)

    def write(self, slot: int, sample: Sample) -> None:
        """Put ``sample`` in ``slot``; the slot counts as filled once all of it is written."""
        self._images[slot] = sample.image
        self._masks[slot] = np.packbits([sample.mask.ravel(), sample.brain.ravel()], axis=1)
        self._filled[slot] = 1


@contextmanager
def filling(
    folder: Path, anatomy: Path, capacity: int, seed: int, processes: int
) -> Iterator[SamplePool]:
    """Fill the pool in ``folder`` in the background."""
    fetch(anatomy)
    pool = SamplePool(folder, capacity)
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(
            target=_fill,
            args=(folder, anatomy, capacity, seed, range(number, capacity, processes)),
            daemon=True,
        )
        for number in range(processes)
    ]
    for child in children:
        child.start()
    try:
        yield pool
    finally:
        for child in children:
            child.terminate()
            child.join()


def _fill(folder: Path, anatomy: Path, capacity: int, seed: int, slots: range) -> None:
    torch.set_num_threads(1)
    os.nice(10)  # a sample is used several times, so the training itself is more urgent
    pool = SamplePool(folder, capacity)
    anatomies = load_all(anatomy)
    full = set(pool.filled())
    training = multiprocessing.parent_process()
    for slot in slots:
        if training is not None and not training.is_alive():
            return  # it was killed, and could not stop this process
        if slot not in full:
            pool.write(slot, synthesise(np.random.default_rng([seed, slot]), anatomies))


def _map(path: Path, dtype: type, shape: tuple[int, ...]) -> NDArray[np.generic]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
