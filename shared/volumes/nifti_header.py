"""The NIfTI header of a scan, and every reason why its volume could not be used.

Only numbers are kept: the text fields of a header may name a patient.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import nibabel
import nibabel.orientations
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from shared.errors import BadScan, ScanTooLarge, UnsupportedMedia

#: Header extensions are between the header and the voxels; a file with more is refused.
MAX_EXTENSION_BYTES = 16 << 20

#: The numpy type of each NIfTI data type that holds one real number.
DTYPES = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float32",
    64: "float64",
    256: "int8",
    512: "uint16",
    768: "uint32",
    1024: "int64",
    1280: "uint64",
}
_REFUSED_DTYPES = {
    1: "bits",
    32: "complex numbers",
    128: "RGB colours",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colours",
}

#: Limits of a voxel's edge and a volume's extent, in millimetres: from microscopy of tissue to a
#: whole body. A header beyond these uses other units or is damaged, and would lead to volumes
#: that are not finite or to a grid that fits into no memory.
MIN_EDGE_MM, MAX_EDGE_MM = 0.01, 100.0
MAX_EXTENT_MM = 5_000.0
#: The largest distance of a volume from the scanner's origin.
MAX_OFFSET_MM = 100_000.0

# Unit axes whose determinant is below this count as lying in one plane.
_SINGULAR = 1e-6

_HEADERS: dict[int, tuple[type[Any], slice, bytes, bytes]] = {
    348: (nibabel.Nifti1Header, slice(344, 348), b"n+1\0", b"ni1\0"),
    540: (nibabel.Nifti2Header, slice(4, 8), b"n+2\0", b"ni2\0"),
}


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """The numbers of a scan's header.

    ``shape`` is (x, y, z) in voxels, ``dims`` the axes as written (trailing ones included),
    ``dtype`` the stored type with its byte order, ``affine`` the 4 x 4 map from voxel indices to
    RAS+ millimetres, ``voxel_mm`` the voxel's edges, ``orientation`` axis codes such as ``LPS``,
    and ``vox_offset`` the byte at which the voxels begin. A stored value ``v`` means
    ``slope * v + inter``. ``raw`` is the header as uploaded; a mask copies its geometry.
    """

    shape: tuple[int, int, int]
    dims: tuple[int, ...]
    dtype: np.dtype[Any]
    slope: float
    inter: float
    affine: NDArray[np.float64]
    voxel_mm: tuple[float, float, float]
    orientation: str
    vox_offset: int
    raw: bytes = field(repr=False)

    @property
    def voxels(self) -> int:
        """How many voxels the volume has."""
        return math.prod(self.shape)

    @property
    def data_bytes(self) -> int:
        """How many bytes the voxels take, decompressed."""
        return self.voxels * self.dtype.itemsize

    def nifti(self) -> Any:
        """Return a new nibabel header object, made from ``raw``."""
        endianness, size = _byte_order(self.raw)
        return _HEADERS[size][0](self.raw, endianness=endianness, check=False)

    @classmethod
    def parse(cls, prefix: bytes, *, max_voxels: int) -> "VolumeHeader | None":
        """Read the header from the first bytes of a NIfTI-1 or NIfTI-2 file, of either endianness.

        Returns None while ``prefix`` is too short.

        Raises:
            UnsupportedMedia: These are not the first bytes of a single-file NIfTI.
            ScanTooLarge: The volume has more than ``max_voxels`` voxels.
            BadScan: The volume cannot be used.

        """
        if len(prefix) < 4:
            return None
        endianness, size = _byte_order(prefix)
        if len(prefix) < size:
            return None
        make, magic_at, single, pair = _HEADERS[size]
        raw = bytes(prefix[:size])
        if raw[magic_at] == pair:
            raise UnsupportedMedia(
                "This is the .hdr of a .hdr/.img pair; a single .nii or .nii.gz is needed."
            )
        if raw[magic_at] != single:
            raise UnsupportedMedia(
                "This is not NIfTI, though it begins like an Analyze header; "
                "a single .nii or .nii.gz is needed."
            )
        # With its checks on, nibabel would log what it finds in a header.
        header = make(raw, endianness=endianness, check=False)
        with np.errstate(all="ignore"):
            return cls._from_fields(header, raw, max_voxels)

    @classmethod
    def _from_fields(cls, header: Any, raw: bytes, max_voxels: int) -> "VolumeHeader":
        dims = _dims(header, max_voxels)
        dtype = _dtype(header)
        slope, inter = _scaling(header)
        affine = _affine(header)
        x_mm, y_mm, z_mm = np.linalg.norm(affine[:3, :3], axis=0).tolist()
        _check_lengths((x_mm, y_mm, z_mm), dims, affine[:3, 3])
        return cls(
            shape=(dims[0], dims[1], dims[2]),
            dims=dims,
            dtype=dtype,
            slope=slope,
            inter=inter,
            affine=affine,
            voxel_mm=(x_mm, y_mm, z_mm),
            orientation=_orientation(affine),
            vox_offset=_vox_offset(header, len(raw)),
            raw=raw,
        )


def _byte_order(prefix: bytes) -> tuple[str, int]:
    for endianness in "<>":
        size = int(np.frombuffer(prefix[:4], dtype=f"{endianness}i4")[0])
        if size in _HEADERS:
            return endianness, size
    raise UnsupportedMedia(
        "This is neither a NIfTI volume nor a gzip of one; a single .nii or .nii.gz is needed."
    )


def _dims(header: Any, max_voxels: int) -> tuple[int, ...]:
    count, *lengths = (int(length) for length in header["dim"])
    if not 3 <= count <= 7:
        raise BadScan(f"The volume is not 3D: its header counts {count} axes.")
    dims = tuple(lengths[:count])
    if any(length != 1 for length in dims[3:]):
        raise BadScan(f"The volume is not 3D: its axes are {' x '.join(map(str, dims))}.")
    if any(length < 2 for length in dims[:3]):
        raise BadScan(
            f"The volume is not 3D: its axes are {' x '.join(map(str, dims))}, "
            "and each of the first three needs two voxels or more."
        )
    voxels = math.prod(dims)
    if voxels > max_voxels:
        raise ScanTooLarge(f"The volume has {voxels} voxels; this service takes {max_voxels}.")
    return dims


def _dtype(header: Any) -> np.dtype[Any]:
    code = int(header["datatype"])
    if code not in DTYPES:
        kind = _REFUSED_DTYPES.get(code, "an unknown kind of number")
        raise BadScan(f"The voxels hold {kind}; integers or floats of 8 to 64 bits are needed.")
    return np.dtype(DTYPES[code]).newbyteorder(header.endianness)


def _scaling(header: Any) -> tuple[float, float]:
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0  # the standard's zero, and others' NaN: values are not scaled
    if not math.isfinite(inter):
        raise BadScan("The header's intercept (scl_inter) is not finite.")
    return slope, inter


def _affine(header: Any) -> NDArray[np.float64]:
    edges = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite(edges).all():
        raise BadScan("The header's voxel size is not finite.")
    if (edges == 0).any():
        raise BadScan("The header's voxel size is zero.")
    _check_edges(np.abs(edges).tolist())
    geometry = header.copy()
    if geometry["pixdim"][0] not in (-1, 1):
        geometry["pixdim"][0] = 1  # the standard's default for the handedness
    try:
        affine = np.asarray(geometry.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise BadScan("The header's affine cannot be read from its quaternion.") from error
    if not np.isfinite(affine).all():
        raise BadScan("The header's affine is not finite.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(lengths).all():
        raise BadScan("The header's affine is not finite.")
    if (lengths == 0).any():
        raise BadScan("The header's affine is singular: a voxel has an edge of zero length.")
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < _SINGULAR:
        raise BadScan("The header's affine is singular: the voxel's edges lie in one plane.")
    return affine


def _check_edges(edges_mm: Sequence[float]) -> None:
    if not all(MIN_EDGE_MM <= edge <= MAX_EDGE_MM for edge in edges_mm):
        named = " x ".join(f"{edge:.3g}" for edge in edges_mm)
        raise BadScan(
            f"The header's voxels are {named} mm, and an edge is from {MIN_EDGE_MM} mm to "
            f"{MAX_EDGE_MM:.0f} mm; is it in millimetres?"
        )


def _check_lengths(
    edges_mm: tuple[float, float, float], dims: Sequence[int], offset: NDArray[np.float64]
) -> None:
    _check_edges(edges_mm)
    extent_mm = max(edge * length for edge, length in zip(edges_mm, dims, strict=False))
    if extent_mm > MAX_EXTENT_MM:
        raise BadScan(
            f"The volume is {extent_mm / 1000:.3g} m long, and this service takes "
            f"{MAX_EXTENT_MM / 1000:.0f} m; is its voxel size in millimetres?"
        )
    if np.abs(offset).max() > MAX_OFFSET_MM:
        raise BadScan(
            f"The header's affine puts the volume more than {MAX_OFFSET_MM / 1000:.0f} m from "
            "the scanner's origin."
        )


def _orientation(affine: NDArray[np.float64]) -> str:
    axes: Any = nibabel.orientations
    return "".join(str(code) for code in axes.aff2axcodes(affine))


def _vox_offset(header: Any, header_bytes: int) -> int:
    offset = float(header["vox_offset"])
    least = header_bytes + 4  # the four bytes that say whether extensions follow
    if not (math.isfinite(offset) and offset.is_integer() and offset >= least):
        raise BadScan(f"The header's vox_offset is not a whole number from {least} up.")
    if offset > least + MAX_EXTENSION_BYTES:
        raise BadScan(f"The header's extensions take more than {MAX_EXTENSION_BYTES} bytes.")
    return int(offset)
