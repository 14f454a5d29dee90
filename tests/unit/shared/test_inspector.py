"""Every reason to refuse a scan, and the facts of an accepted one."""

import logging
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from shared.errors import BadScan, ScanTooLarge, UnsupportedMedia, VoxelQError
from shared.volumes.inspector import ScanInspector
from tests.support.scans import (
    AFFINE,
    MAX_VOXELS,
    Endianness,
    gz,
    header_of,
    inspect,
    nifti,
    voxels,
)


def refusal(content: bytes, **limits: int) -> VoxelQError:
    """Return the error that ``content`` is refused with."""
    with pytest.raises(VoxelQError) as caught:
        inspect(content, **limits)
    return caught.value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_good_scan_is_accepted(version: int, endianness: Endianness, gzipped: bool) -> None:
    """NIfTI-1 and NIfTI-2, of either endianness, gzipped or not, are read alike."""
    content = nifti(version=version, endianness=endianness)
    inspection = inspect(gz(content) if gzipped else content)
    header = inspection.header
    assert header.shape == (8, 9, 10)
    assert header.dims == (8, 9, 10)
    assert header.dtype == np.dtype(f"{endianness}i2")
    assert np.allclose(header.affine, AFFINE)
    assert header.voxel_mm == pytest.approx((1.5033, 1.5033, 2.0), abs=1e-4)
    assert header.orientation == "LAS"
    assert inspection.gzipped is gzipped
    assert inspection.bytes == len(gz(content) if gzipped else content)


def test_trailing_axes_of_one_are_fine() -> None:
    """A 3D volume written with trailing axes of length one is 3D."""
    header = header_of(nifti(voxels((8, 9, 10, 1, 1))))
    assert header.shape == (8, 9, 10)
    assert header.dims == (8, 9, 10, 1, 1)


def test_a_pair_is_refused() -> None:
    """A .hdr of a pair is a 415 that asks for a single .nii."""
    error = refusal(nifti(magic=b"ni1"))
    assert isinstance(error, UnsupportedMedia)
    assert "single .nii" in error.detail


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is no scan at all",
        b"%PDF-1.7" + bytes(1000),
        bytes(1000),
        b"x",
        gz(b"a text, gzipped"),
        gz(b"a"),
        nifti(magic=b""),
    ],
)
def test_neither_nifti_nor_gzip_of_it(content: bytes) -> None:
    """A file that is not NIfTI, gzipped or not, is a 415."""
    assert isinstance(refusal(content), UnsupportedMedia)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (gz(b""), "empty"),
        (nifti()[:100], "within its header"),
        (gz(nifti()[:100]), "within its header"),
        (nifti()[:-1], "fewer voxels"),
        (gz(nifti()[:-1]), "fewer voxels"),
        (nifti()[:352], "fewer voxels"),
        (gz(nifti())[:-1], "gzip is truncated"),
        (gz(nifti())[:-8], "gzip is truncated"),
        (gz(nifti())[:40], "truncated"),
        (b"\x1f\x8b", "truncated"),
    ],
)
def test_empty_and_truncated(content: bytes, words: str) -> None:
    """A scan that ends too early is a 422 that says where."""
    error = refusal(content)
    assert isinstance(error, BadScan)
    assert words in error.detail


@pytest.mark.parametrize(
    "shape", [(8, 9), (64,), (8, 9, 10, 2), (8, 9, 10, 1, 3), (8, 9, 1), (1, 9, 10), (8, 0, 10)]
)
def test_not_3d(shape: tuple[int, ...]) -> None:
    """More or fewer axes than three, or one of them without extent, is a 422."""
    data = np.zeros(shape, dtype="int16")
    error = refusal(nifti(data, body=bytes(data.nbytes)))
    assert isinstance(error, BadScan)
    assert "not 3D" in error.detail


def test_negative_axes() -> None:
    """An axis of negative length is a 422."""
    assert isinstance(refusal(nifti(dim=[3, 8, -9, 10, 1, 1, 1, 1])), BadScan)


@pytest.mark.parametrize(
    ("version", "edge"), [(1, 513), (1, 32_767), (2, 60_000), (2, 2_000_000_000)]
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_too_many_voxels(version: int, edge: int, gzipped: bool) -> None:
    """Too many voxels are a 413 from the header alone, however large its promise."""
    content = nifti(version=version, dim=[3, edge, edge, edge, 1, 1, 1, 1])
    inspector = ScanInspector(max_scan_bytes=1 << 30, max_voxels=MAX_VOXELS)
    with pytest.raises(ScanTooLarge, match=str(edge**3)):
        next(inspector.inspect(gz(content) if gzipped else content))


def test_too_many_bytes() -> None:
    """More bytes than MAX_SCAN_BYTES are a 413, as they come."""
    assert isinstance(refusal(nifti(), max_scan_bytes=1000), ScanTooLarge)


@pytest.mark.parametrize("datatype", [1, 32, 128, 1536, 1792, 2304, 0, 77])
def test_unsupported_numbers(datatype: int) -> None:
    """Complex numbers, colours, bits and unknown types are a 422."""
    error = refusal(nifti(datatype=datatype))
    assert isinstance(error, BadScan)
    assert "The voxels hold" in error.detail


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"scl_slope": 1.0, "scl_inter": np.nan}, "intercept"),
        ({"pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "voxel size is zero"),
        ({"pixdim": [1, np.nan, 1, 1, 0, 0, 0, 0]}, "voxel size is not finite"),
        ({"srow_x": [0, 0, 0, 0]}, "singular"),
        ({"srow_x": [1, 0, 0, 0], "srow_y": [2, 0, 0, 0]}, "singular"),
        ({"srow_x": [np.inf, 0, 0, 0]}, "affine is not finite"),
        ({"srow_z": [0, 0, 1, np.nan]}, "affine is not finite"),
        ({"sform_code": 0, "quatern_b": 5}, "quaternion"),
        ({"pixdim": [1, 1e-3, 1, 1, 0, 0, 0, 0]}, "an edge is from 0.01 mm to 100 mm"),
        ({"pixdim": [1, 1, 101, 1, 0, 0, 0, 0]}, "an edge is from"),
        ({"srow_x": [1e18, 0, 0, 0]}, "an edge is from"),
        ({"srow_x": [1, 0, 0, 0], "srow_y": [0, 0.001, 0, 0]}, "an edge is from"),
        ({"srow_z": [0, 0, 2, 1e9]}, "from the scanner's origin"),
        ({"dim": [3, 8, 600, 10, 1, 1, 1, 1], "srow_y": [0, 10, 0, 0]}, "6 m long"),
        ({"vox_offset": 0}, "vox_offset"),
        ({"vox_offset": np.nan}, "vox_offset"),
        ({"vox_offset": 352.5}, "vox_offset"),
        ({"vox_offset": 1e9}, "extensions"),
    ],
)
def test_unusable_headers(fields: dict[str, Any], words: str) -> None:
    """A header that places or scales the voxels badly is a 422 that says which part."""
    error = refusal(nifti(**fields))
    assert isinstance(error, BadScan)
    assert words in error.detail


@pytest.mark.parametrize("version", [1, 2])
def test_edges_that_would_overflow(version: int) -> None:
    """Voxels of 1e110 mm, whose volume overflows, are refused."""
    large = 1e110 if version == 2 else 1e37
    error = refusal(nifti(version=version, srow_x=[large, 0, 0, 0]))
    assert isinstance(error, BadScan)


@pytest.mark.parametrize(
    ("edges_mm", "shape"),
    [
        ((0.05, 0.05, 0.05), (8, 9, 10)),
        ((0.7, 0.7, 5.0), (16, 16, 16)),
        ((10, 10, 10), (8, 9, 500)),
    ],
)
def test_ordinary_voxels_are_accepted(
    edges_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    """Slices of tissue, thick slices and coarse volumes of bodies are within the limits."""
    affine = np.diag([*edges_mm, 1.0])
    affine[:3, 3] = -5_000
    content = nifti(voxels(shape), affine=affine, pixdim=[1, *edges_mm, 0, 0, 0, 0])
    assert inspect(content).header.voxel_mm == pytest.approx(edges_mm)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_values_that_are_not_finite(bad: float, dtype: str, endianness: Endianness) -> None:
    """A single voxel that is not finite is a 422."""
    data = voxels(dtype=dtype)
    data[3, 4, 5] = bad
    error = refusal(nifti(data, endianness=endianness))
    assert isinstance(error, BadScan)
    assert "not finite" in error.detail


def test_values_beyond_float32() -> None:
    """Values that overflow once scaled are a 422."""
    assert "not finite" in refusal(nifti(scl_slope=3e38)).detail


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_constant_volume(dtype: str) -> None:
    """A volume of one value throughout is a 422."""
    assert "same value" in refusal(nifti(np.full((8, 9, 10), 7, dtype=dtype))).detail


def test_more_than_the_header_promises() -> None:
    """A body that goes on beyond its voxels is a 422, gzipped or not."""
    for content in (nifti() + b"\0", gz(nifti() + b"\0"), gz(nifti() + bytes(1 << 22))):
        assert "more than its header promises" in refusal(content).detail


def test_a_bad_checksum() -> None:
    """A gzip whose checksum or length is wrong is a 422."""
    for at in (-8, -1):
        content = bytearray(gz(nifti()))
        content[at] ^= 0xFF
        assert "damaged" in refusal(bytes(content)).detail


def test_a_damaged_gzip() -> None:
    """A gzip that cannot be decompressed is a 422."""
    content = bytearray(gz(nifti(), level=9))
    content[20:30] = b"\xff" * 10
    assert isinstance(refusal(bytes(content)), BadScan)


def test_several_members() -> None:
    """A gzip of several members, cut anywhere, is one scan; zeros may pad its end."""
    content = nifti()
    joined = b"".join(gz(content[i : i + 100]) for i in range(0, len(content), 100))
    for block in (1, 7, 1 << 16):
        assert inspect(joined + bytes(512), block=block).header.shape == (8, 9, 10)


def test_garbage_after_the_gzip() -> None:
    """Something that is not gzip behind the last member is a 422."""
    for garbage in (b"x", b"\x1f", b"\0\0x", b"\x1f\x8c"):
        assert "follows" in refusal(gz(nifti()) + garbage).detail


def test_too_many_small_members() -> None:
    """A gzip of myriads of empty members is a 422, for each costs a decompressor."""
    assert "members" in refusal(gz(b"") * 5000 + gz(nifti())).detail


def gzip_bomb(head: bytes, zeros: int) -> bytes:
    """Return a gzip of ``head`` and then ``zeros`` zero bytes, without ever holding them."""
    packer = zlib.compressobj(9, wbits=31)
    megabyte = bytes(1 << 20)
    packed = [packer.compress(head)]
    packed += [packer.compress(megabyte) for _ in range(zeros >> 20)]
    return b"".join([*packed, packer.flush()])


def test_a_gzip_bomb_costs_little() -> None:
    """A gigabyte of zeros behind a small header is refused within a few MiB of memory."""
    bomb = gzip_bomb(nifti(), 1 << 30)
    tracemalloc.start()
    error = refusal(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "more than its header promises" in error.detail
    assert peak < 16 << 20


def test_a_promised_bomb_costs_little() -> None:
    """A gigabyte of zeros that the header does promise streams by within a few MiB."""
    head = nifti(dim=[3, 512, 512, 512, 1, 1, 1, 1], datatype=64, body=b"")
    bomb = gzip_bomb(head, 512**3 * 8)
    tracemalloc.start()
    error = refusal(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "same value" in error.detail
    assert peak < 16 << 20


def test_sha256_is_of_the_bytes_as_uploaded() -> None:
    """Gzipping a scan changes its digest; cutting it into blocks does not."""
    content = nifti()
    assert inspect(content, block=1).sha256 == inspect(content).sha256
    assert inspect(gz(content)).sha256 != inspect(content).sha256


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_no_usable_slope_means_unscaled(slope: float) -> None:
    """A slope of zero says that values are not scaled (the standard); so do NaN and infinity."""
    header = header_of(nifti(scl_slope=slope, scl_inter=np.nan))
    assert (header.slope, header.inter) == (1, 0)


def test_nothing_of_a_header_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Validating odd headers logs nothing: a header may name a patient."""
    with caplog.at_level(logging.DEBUG):
        header_of(nifti(pixdim=[0, 1, 1, 1, 0, 0, 0, 0], bitpix=3, descrip=b"Jane Doe"))
        refusal(nifti(srow_x=[0, 0, 0, 0], descrip=b"Jane Doe"))
    assert caplog.records == []
    assert "Jane" not in repr(header_of(nifti(descrip=b"Jane Doe")))
