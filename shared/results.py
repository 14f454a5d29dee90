"""The result of a job: what a worker found in the scan, and how long each stage took."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer


def _millionths(value: float) -> float:
    return round(value, 6)


#: A measured number, written with six decimals: no measurement is finer, and the record of a job
#: in Redis stays small.
Measured = Annotated[float, PlainSerializer(_millionths, return_type=float)]


class _Frozen(BaseModel):
    # JSON has neither NaN nor infinity: a record with one could be written but not read.
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class LabelStats(_Frozen):
    """One label of a mask, measured in the scan's own grid.

    ``centroid_mm`` is in the scanner's RAS+ millimetres (the NIfTI affine's space);
    ``bounding_box`` holds the lowest and the highest voxel index on each axis, both inclusive.
    """

    value: int
    name: str
    voxels: int
    volume_ml: Measured
    centroid_mm: tuple[Measured, Measured, Measured]
    bounding_box: tuple[tuple[int, int, int], tuple[int, int, int]]


class TumorFinding(_Frozen):
    """Whether a tumour is present, how probable that is, and its volume in millilitres."""

    present: bool
    probability: Measured
    volume_ml: Measured


class ScanGeometry(_Frozen):
    """The scan's grid: voxels per axis, voxel size in millimetres, axis codes such as ``LPS``."""

    shape: tuple[int, int, int]
    voxel_mm: tuple[Measured, Measured, Measured]
    orientation: str


class ScanWarning(_Frozen):
    """Why an answer may mean nothing, though it was computed; ``detail`` is a sentence for people.

    ``code`` is for programs: ``not-flair-like`` is a scan that does not look like the FLAIR of a
    brain.
    """

    code: str
    detail: str


class SegmentationResult(_Frozen):
    """The result of one job; ``sha256`` is of the scan's bytes as uploaded."""

    tumor: TumorFinding
    labels: tuple[LabelStats, ...]
    scan: ScanGeometry
    warnings: tuple[ScanWarning, ...] = ()
    sha256: str


class Timings(_Frozen):
    """Seconds that a job spent in each stage; the parts are contiguous and add up to ``total``.

    The jobs of a batch wait for each other, so that the stages between ``queue`` and ``store`` are
    those of the whole batch.
    """

    queue: Measured
    load: Measured
    preprocess: Measured
    inference: Measured
    postprocess: Measured
    store: Measured
    total: Measured

    def server_timing(self) -> str:
        """Return the ``Server-Timing`` header (W3C), in milliseconds."""
        return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in self)


class BatchInfo(_Frozen):
    """The batch in which a job was computed, and how many jobs it had."""

    id: str
    size: int


class Report(_Frozen):
    """Everything that a worker returns for one finished job.

    ``artefacts`` maps the kinds of files to their keys in the store. Each execution has files of
    its own, so that a worker that lost its lease cannot overwrite what another one wrote.
    """

    result: SegmentationResult
    timings_s: Timings
    batch: BatchInfo
    worker: str
    artefacts: dict[str, str]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a report from JSON."""
        return cls.model_validate_json(text)
