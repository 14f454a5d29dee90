"""The states of a scan after each stage, and the stages that one scan goes through alone.

A stage takes a scan, returns its new state, and raises an error if the scan cannot continue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.bundles.model_card import ModelCard
from shared.errors import BadScan, ScanMissing
from shared.results import Report, SegmentationResult
from shared.storage.store import ScanStore
from shared.volumes.nifti_header import VolumeHeader
from shared.volumes.reader import Volume, read_volume
from worker.models.loader import Predictor
from worker.pipeline.artefacts import Artefacts
from worker.pipeline.outcomes import LeasedJob
from worker.pipeline.results import segmentation_result
from worker.volume.align_channels import Channel


class Scan(Protocol):
    """A scan in any stage."""

    @property
    def job(self) -> LeasedJob:
        """The job that it belongs to."""


@dataclass(frozen=True)
class Begun:
    """A scan of which nothing has been read."""

    job: LeasedJob


@dataclass(frozen=True)
class Loaded:
    """A scan in memory: its header is that of the first channel, whose grid the mask has."""

    job: LeasedJob
    header: VolumeHeader
    channels: list[Channel]


@dataclass(frozen=True)
class Preprocessed:
    """A scan as its predictor prepared it."""

    loaded: Loaded
    prepared: Any

    @property
    def job(self) -> LeasedJob:
        """The job that it belongs to."""
        return self.loaded.job


@dataclass(frozen=True)
class Predicted:
    """A scan with the output of the network, in its predictor's own form."""

    preprocessed: Preprocessed
    prediction: Any

    @property
    def job(self) -> LeasedJob:
        """The job that it belongs to."""
        return self.preprocessed.job


@dataclass(frozen=True)
class Postprocessed:
    """A scan with its mask and its result."""

    loaded: Loaded
    mask: NDArray[np.uint8]
    result: SegmentationResult

    @property
    def job(self) -> LeasedJob:
        """The job that it belongs to."""
        return self.loaded.job


@dataclass(frozen=True)
class Stored:
    """A scan whose mask and picture are in the store, under the keys in ``artefacts``."""

    job: LeasedJob
    result: SegmentationResult
    artefacts: Mapping[str, str]


@dataclass(frozen=True)
class Reported:
    """A scan whose report is in the store too."""

    job: LeasedJob
    report: Report


class ScanStages:
    """The stages of the scans of one batch; several threads may call them at once."""

    def __init__(
        self, predictor: Predictor, store: ScanStore, artefacts: Artefacts, max_voxels: int
    ) -> None:
        self._predictor = predictor
        self._store = store
        self._artefacts = artefacts
        self._max_voxels = max_voxels
        #: By job, the size of each scan that was read.
        self.voxels: dict[str, int] = {}

    def load(self, scan: Begun) -> Loaded:
        """Read all channels from the store."""
        job = scan.job
        volumes = [self._read(key) for key in _channel_keys(job, self._predictor.card)]
        header = volumes[0].header
        self.voxels[job.id] = header.voxels
        return Loaded(
            job, header, [(_intensities(volume), volume.header.affine) for volume in volumes]
        )

    def preprocess(self, scan: Loaded) -> Preprocessed:
        """Prepare the scan for the network."""
        return Preprocessed(scan, self._predictor.preprocess(scan.channels))

    def postprocess(self, scan: Predicted) -> Postprocessed:
        """Turn the network's output into a mask and a result."""
        loaded = scan.preprocessed.loaded
        done = self._predictor.postprocess(scan.preprocessed.prepared, scan.prediction)
        sha256 = scan.job.submission.sha256
        return Postprocessed(loaded, done.mask, segmentation_result(loaded.header, done, sha256))

    def store(self, scan: Postprocessed) -> Stored:
        """Write the mask and the picture."""
        loaded = scan.loaded
        data, affine = loaded.channels[0]
        keys = self._artefacts.write(scan.job, loaded.header, data, affine, scan.mask)
        return Stored(scan.job, scan.result, keys)

    def _read(self, key: str) -> Volume:
        try:
            with self._store.open_scan(key) as file:
                return read_volume(file, max_voxels=self._max_voxels)
        except FileNotFoundError as error:
            raise ScanMissing("The scan is no longer in the store.") from error


def _channel_keys(job: LeasedJob, card: ModelCard) -> list[str]:
    """Return the store's keys of the scan's channels, in the order of the model's inputs."""
    scans = job.submission.scans
    missing = [channel.name for channel in card.inputs if channel.name not in scans]
    if missing:
        raise BadScan(f"The job has no channel for the model's input {', '.join(missing)}.")
    return [scans[channel.name] for channel in card.inputs]


def _intensities(volume: Volume) -> NDArray[np.generic]:
    plain = volume.header.slope == 1 and volume.header.inter == 0
    return volume.data if plain else volume.scaled()
