"""Whether an archive is complete, checked by its end alone."""

import io
import zipfile
from pathlib import Path

import pytest

from shared.bundles.archive_end import check_end
from shared.errors import ModelError


def archive(parts: int, comment: bytes = b"") -> bytes:
    """Return an archive of this many empty parts; above 65,535 it is in the ZIP64 format."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.comment = comment
        for number in range(parts):
            opened.writestr(f"n/{number}", b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive(0),
        archive(3),
        archive(3, b"a comment, which follows the end"),
        b"something before it" + archive(3),
        archive(66_000),
    ],
    ids=["empty", "small", "with a comment", "with a beginning", "large"],
)
def test_a_whole_archive_passes(tmp_path: Path, content: bytes) -> None:
    """Every complete archive passes, and none that lacks its end."""
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    check_end(path, "model.pt")
    path.write_bytes(content[:-45])
    with pytest.raises(ModelError, match="its end is missing"):
        check_end(path, "model.pt")


def test_a_directory_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    """The directory's size as the end states it is bounded before the directory is read."""
    path = tmp_path / "model.pt"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a sparse file, which takes no space
        file.seek(1 << 30)
        size = (900 << 20).to_bytes(4, "little")
        file.write(b"PK\x05\x06" + bytes(8) + size + bytes(4) + bytes(2))
    with pytest.raises(ModelError, match="too many parts"):
        check_end(path, "model.pt")
