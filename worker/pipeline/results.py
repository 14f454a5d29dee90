"""What is told of a scan's mask: present or not, how large, and in which grid."""

import numpy as np
from pydantic import ValidationError

from shared.errors import InferenceFailed
from shared.results import ScanGeometry, SegmentationResult, TumorFinding
from shared.volumes.geometry import voxel_volume_ml
from shared.volumes.nifti_header import VolumeHeader
from worker.volume.postprocess import Segmentation


def findings(header: VolumeHeader, segmentation: Segmentation, sha256: str) -> SegmentationResult:
    """Return the result for one scan; ``sha256`` is that of its bytes as they were handed in.

    Raises:
        InferenceFailed: What was measured holds values that are no numbers.

    """
    try:
        return _findings(header, segmentation, sha256)
    except ValidationError as error:
        raise InferenceFailed(
            "What the network found in this scan holds values that are no numbers."
        ) from error


def _findings(header: VolumeHeader, segmentation: Segmentation, sha256: str) -> SegmentationResult:
    voxel_ml = voxel_volume_ml(header.affine)
    return SegmentationResult(
        tumor=TumorFinding(
            present=segmentation.present,
            probability=segmentation.probability,
            # Labels may overlap, so the mask is measured and not their sum.
            volume_ml=np.count_nonzero(segmentation.mask) * voxel_ml,
        ),
        labels=tuple(segmentation.labels),
        scan=ScanGeometry(
            shape=header.shape, voxel_mm=header.voxel_mm, orientation=header.orientation
        ),
        sha256=sha256,
    )
