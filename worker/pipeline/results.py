"""The result of one scan: whether a lesion is present, how large it is, and in which grid."""

import numpy as np
from pydantic import ValidationError

from shared.errors import InferenceFailed
from shared.results import ScanGeometry, SegmentationResult, TumorFinding
from shared.volumes.geometry import voxel_volume_ml
from shared.volumes.nifti_header import VolumeHeader
from worker.volume.postprocess import Segmentation


def segmentation_result(
    header: VolumeHeader, segmentation: Segmentation, sha256: str
) -> SegmentationResult:
    """Return the result for one scan; ``sha256`` is that of its bytes as they were submitted.

    Raises:
        InferenceFailed: The result holds values that are not numbers.

    """
    try:
        return _result(header, segmentation, sha256)
    except ValidationError as error:
        raise InferenceFailed(
            "The network's result for this scan holds values that are not numbers."
        ) from error


def _result(header: VolumeHeader, segmentation: Segmentation, sha256: str) -> SegmentationResult:
    voxel_ml = voxel_volume_ml(header.affine)
    return SegmentationResult(
        tumor=TumorFinding(
            present=segmentation.present,
            probability=segmentation.probability,
            # The volume of the mask, not the sum of the labels, because labels may overlap.
            volume_ml=np.count_nonzero(segmentation.mask) * voxel_ml,
        ),
        labels=tuple(segmentation.labels),
        scan=ScanGeometry(
            shape=header.shape, voxel_mm=header.voxel_mm, orientation=header.orientation
        ),
        warnings=segmentation.warnings,
        sha256=sha256,
    )
