"""Properties of every scan, however it is stored, split, compressed or damaged."""

import contextlib
import gzip
import io
import itertools
import zlib
from typing import Literal

import nibabel
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import VoxelQError
from shared.volumes.inspector import Inspection, ScanInspector
from shared.volumes.mask_writer import mask_bytes
from shared.volumes.reader import read_volume
from tests.support.scans import nifti, voxels

DTYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
MAX_VOXELS = 10_000

shapes = st.tuples(*[st.integers(2, 9)] * 3)
contents = st.builds(
    lambda shape, dtype, endianness, version: nifti(
        voxels(shape, dtype), endianness=endianness, version=version
    ),
    shapes,
    st.sampled_from(DTYPES),
    st.sampled_from(["<", ">"]),
    st.sampled_from([1, 2]),
)
cuts = st.lists(st.integers(0, 5000), max_size=12)


def pack(content: bytes, level: int, member_bytes: int) -> bytes:
    """Gzip ``content`` into members of ``member_bytes`` each."""
    members = range(0, len(content), member_bytes)
    return b"".join(gzip.compress(content[at : at + member_bytes], level) for at in members)


def outcome(blocks: list[bytes]) -> tuple[object, ...]:
    """Return an inspector's result for ``blocks``; VoxelQError is the only error it may raise."""
    inspector = ScanInspector(max_scan_bytes=1 << 20, max_voxels=MAX_VOXELS)
    try:
        for block in blocks:
            for _ in inspector.inspect(block):
                pass
        seen: Inspection = inspector.finish()
    except VoxelQError as error:
        return type(error), error.detail
    header = seen.header
    return seen.sha256, seen.bytes, seen.gzipped, header.shape, header.dtype, header.raw


def split(content: bytes, at: list[int]) -> list[bytes]:
    """Cut ``content`` at the given places."""
    places = sorted({0, len(content), *(place for place in at if place < len(content))})
    return [content[a:b] for a, b in itertools.pairwise(places)]


@given(contents, cuts, st.booleans(), st.integers(0, 9), st.integers(64, 5000))
def test_any_split_has_the_same_outcome(
    content: bytes, at: list[int], gzipped: bool, level: int, member_bytes: int
) -> None:
    """A good scan is accepted with the same result, however its bytes are split into blocks."""
    sent = pack(content, level, member_bytes) if gzipped else content
    whole = outcome([sent])
    assert len(whole) == 6
    assert outcome(split(sent, at)) == whole


@given(contents, cuts, st.integers(0, 20_000), st.booleans())
def test_any_truncation_is_refused(
    content: bytes, at: list[int], length: int, gzipped: bool
) -> None:
    """A truncated scan is refused, with the same message for every split."""
    sent = gzip.compress(content, 1) if gzipped else content
    cut = sent[: length % len(sent)]
    assert issubclass(outcome([cut])[0], VoxelQError)  # type: ignore[arg-type]
    assert outcome(split(cut, at)) == outcome([cut])


@given(
    contents,
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=300)
def test_any_damage_raises_nothing_else(
    content: bytes, damage: list[tuple[int, int]], gzipped: bool
) -> None:
    """Changed bytes of a header or of a gzip raise VoxelQError only."""
    sent = bytearray(content)
    if not gzipped:
        for at, value in damage:
            sent[at % len(sent)] = value
    packed = bytearray(zlib.compress(sent, 1, wbits=31) if gzipped else sent)
    if gzipped:
        for at, value in damage:
            packed[at % len(packed)] = value
    outcome([bytes(packed)])
    with contextlib.suppress(VoxelQError):
        read_volume(io.BytesIO(packed), max_voxels=MAX_VOXELS)


@given(
    st.binary(max_size=1000), st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"\x5c\1\0\0"])
)
def test_random_bytes_raise_nothing_else(tail: bytes, head: bytes) -> None:
    """Random bytes, with or without a valid beginning, are refused with VoxelQError."""
    assert issubclass(outcome([head + tail])[0], VoxelQError)  # type: ignore[arg-type]


@given(contents, st.booleans())
def test_what_is_read_is_what_was_stored(content: bytes, gzipped: bool) -> None:
    """Reading gives the stored values that nibabel gives, native and in Fortran order."""
    sent = gzip.compress(content, 1) if gzipped else content
    volume = read_volume(io.BytesIO(sent), max_voxels=MAX_VOXELS)
    make = (
        nibabel.Nifti1Image
        if content[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c")
        else nibabel.Nifti2Image
    )
    expected = np.asarray(make.from_bytes(content).dataobj)
    assert np.array_equal(volume.data, expected)
    assert volume.data.dtype.isnative
    assert volume.data.flags.f_contiguous


finite = st.floats(-300, 300, width=32).filter(lambda value: abs(value) > 1e-3)


@given(
    shapes,
    st.lists(finite, min_size=12, max_size=12),
    st.tuples(*[st.floats(0.25, 8, width=32)] * 3),
    st.sampled_from([(0, 0), (1, 0), (0, 1), (2, 4), (1, 1)]),
    st.sampled_from(["<", ">"]),
    st.sampled_from([1, 2]),
)
def test_a_mask_keeps_the_affine_exactly(
    shape: tuple[int, int, int],
    rows: list[float],
    edges: tuple[float, float, float],
    codes: tuple[int, int],
    endianness: Literal["<", ">"],
    version: int,
) -> None:
    """A mask's affine equals its scan's to the last bit, oblique or not, by sform or qform."""
    content = nifti(
        voxels(shape),
        version=version,
        endianness=endianness,
        srow_x=rows[0:4],
        srow_y=rows[4:8],
        srow_z=rows[8:12],
        pixdim=[-1, *edges, 0, 0, 0, 0],
        quatern_b=0.3,
        quatern_c=-0.2,
        quatern_d=0.1,
        qform_code=codes[0],
        sform_code=codes[1],
    )
    try:
        scan = read_volume(io.BytesIO(content), max_voxels=MAX_VOXELS)
    except VoxelQError as error:
        # a random affine may be that
        assert "singular" in error.detail or "edge" in error.detail  # noqa: PT017
        return
    labels = (scan.data > 3).astype(np.uint8)
    mask = read_volume(io.BytesIO(mask_bytes(labels, scan.header)), max_voxels=MAX_VOXELS)
    assert np.array_equal(mask.header.affine, scan.header.affine)
    assert np.array_equal(mask.data, labels)
    assert mask.header.dims == scan.header.dims
