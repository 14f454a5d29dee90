"""The forms of a scan that the client accepts, and the bytes that it sends."""

import asyncio
import gzip
import io
import os
import sys
import threading
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from tests.support.scans import AFFINE, gz, nifti, voxels
from voxelq.errors import PackageMissing, UnexpectedAnswer
from voxelq.images import decode_mask
from voxelq.protocol.upload_body import CHUNK_BYTES, UploadBody

CONTENT = gz(nifti())


def sent(scan: Any) -> bytes:
    """Return a body's bytes, which are the same each time, for both kinds of client."""

    async def collected(body: UploadBody) -> bytes:
        return b"".join([chunk async for chunk in body])

    body = UploadBody(scan)
    content = b"".join(body)
    assert b"".join(body) == content
    assert asyncio.run(collected(body)) == content
    assert int(body.headers()["Content-Length"]) == len(content)
    return content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scan on disk, in a file whose name is a patient's."""
    path = tmp_path / "mary-smith.nii.gz"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def pipe() -> Iterator[io.BufferedReader]:
    """A scan from a pipe, which cannot be read twice."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file:
            file.write(CONTENT)

    writer = threading.Thread(target=write)
    writer.start()
    with open(reading, "rb") as file:
        yield file
    writer.join()


def test_files_and_bytes_are_sent_as_they_are(path: Path) -> None:
    """A path, bytes and an open file all give the file's own bytes, with its media type."""
    with path.open("rb") as file:
        for scan in (path, str(path), CONTENT, bytearray(CONTENT), file, io.BytesIO(CONTENT)):
            assert sent(scan) == CONTENT
        assert not file.closed
    assert UploadBody(path).headers()["Content-Type"] == "application/gzip"
    assert UploadBody(nifti()).headers()["Content-Type"] == "application/octet-stream"


def test_an_open_file_is_sent_from_its_position() -> None:
    """An open file is sent from its present position, also in a retry."""
    file = io.BytesIO(b"mine" + CONTENT)
    file.seek(4)
    assert sent(file) == CONTENT


def test_a_pipe_is_kept_for_a_retry(pipe: io.BufferedReader) -> None:
    """A file that cannot be rewound is read once and can be sent twice."""
    assert sent(pipe) == CONTENT


def test_a_large_file_goes_in_pieces(tmp_path: Path) -> None:
    """Only a piece of a large file is in memory."""
    path = tmp_path / "large.nii"
    path.write_bytes(bytes(2 * CHUNK_BYTES + 1))
    assert [len(chunk) for chunk in UploadBody(path)] == [CHUNK_BYTES, CHUNK_BYTES, 1]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int16", "int16"),
        ("int64", "int64"),
        ("uint8", "uint8"),
        ("bool", "uint8"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float32"),
    ],
)
def test_an_array_becomes_a_nifti_of_its_values(dtype: str, expected: str) -> None:
    """Voxels, affine and units arrive as given; floats are sent as float32."""
    array = voxels((4, 5, 6), dtype)
    image = nibabel.Nifti1Image.from_bytes(sent((array, AFFINE)))
    assert image.get_data_dtype() == np.dtype(expected)
    np.testing.assert_array_equal(np.asarray(image.dataobj), array.astype(expected))
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)


def test_a_nested_list_and_any_memory_order_are_accepted() -> None:
    """A nested list and an array of any memory order are accepted, and axes keep their order."""
    array = voxels((4, 5, 6))
    for given in (array.tolist(), np.asfortranarray(array), array.astype(">i2")):
        image = nibabel.Nifti1Image.from_bytes(sent((given, np.eye(4).tolist())))
        np.testing.assert_array_equal(np.asarray(image.dataobj), array)


@pytest.mark.parametrize(
    "kind", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.MGHImage, nibabel.Nifti1Pair]
)
def test_an_image_of_any_format_becomes_a_nifti(kind: Any) -> None:
    """Images of nibabel in any format are sent with their voxels and affine."""
    data = voxels((4, 5, 6), "float32")
    content = sent(kind(data, AFFINE))
    reader = nibabel.Nifti2Image if kind is nibabel.Nifti2Image else nibabel.Nifti1Image
    image = reader.from_bytes(content)
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)


def test_channels_are_fields_of_a_form_without_file_names(path: Path) -> None:
    """Each channel is a field of its name, and no file name is sent."""
    content = sent({"t1": path, 'fl"air\r\n': CONTENT})
    body = UploadBody({"t1": path, 'fl"air\r\n': CONTENT})
    media_type = body.headers()["Content-Type"].encode()
    message = message_from_bytes(b"Content-Type: " + media_type + b"\r\n\r\n" + b"".join(body))
    parts = message.get_payload()
    assert isinstance(parts, list)
    names = [part.get_param("name", header="content-disposition") for part in parts]  # type: ignore[union-attr]
    assert names == ["t1", "fl%22air%0D%0A"]
    assert [part.get_payload(decode=True) for part in parts] == [CONTENT, CONTENT]  # type: ignore[union-attr]
    assert b"mary" not in content


@pytest.mark.parametrize(
    ("scan", "error", "words"),
    [
        (None, TypeError, "NoneType is no scan"),
        (np.zeros((4, 4, 4)), TypeError, r"\(array, affine\)"),
        (io.StringIO("text"), TypeError, "binary mode"),
        ({}, ValueError, "empty dict"),
        ((np.zeros((4, 4)), np.eye(4)), ValueError, "has 2 axes"),
        ((np.zeros((4, 4, 4)), np.eye(3)), ValueError, r"shape \(3, 3\)"),
        ((np.zeros((4, 4, 4), complex), np.eye(4)), TypeError, "complex128 is no scan"),
        ("nowhere.nii", FileNotFoundError, "nowhere"),
    ],
)
def test_a_wrong_scan_is_refused_before_any_call(
    scan: Any, error: type[Exception], words: str
) -> None:
    """A wrong argument raises TypeError or ValueError, and says what to give."""
    with pytest.raises(error, match=words):
        UploadBody(scan)


def test_without_nibabel_arrays_are_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    """Files are sent without nibabel; arrays and images raise an error with what to install."""
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert sent(path) == CONTENT
    for call in (lambda: UploadBody((voxels(), AFFINE)), lambda: decode_mask(CONTENT)):
        with pytest.raises(PackageMissing, match="pip install nibabel"):
            call()


@pytest.mark.parametrize(
    "content", [b"", b"<html>", gzip.compress(b"no nifti"), CONTENT[:-40], gzip.compress(b"")]
)
def test_a_response_that_is_no_mask_is_an_error(content: bytes) -> None:
    """Every response that is not a gzipped NIfTI raises the same error."""
    with pytest.raises(UnexpectedAnswer, match="mask"):
        decode_mask(content)
