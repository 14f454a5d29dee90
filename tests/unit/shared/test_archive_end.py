"""Whether an archive is complete, checked by its end alone."""

import io
import zipfile
from pathlib import Path

import pytest

from shared.bundles.archive_end import check_end
from shared.errors import ModelError


def archive(parts: int, comment: bytes = b"") -> bytes:
    """Return an archive of so many empty parts; above 65,535 it takes the form of large ones."""
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
        archive(3, b"a comment, which lies behind the end"),
        b"something before it" + archive(3),
        archive(66_000),
    ],
    ids=["empty", "small", "with a comment", "with a beginning", "large"],
)
def test_a_whole_archive_passes(tmp_path: Path, content: bytes) -> None:
    """Every form of an archive that is complete passes, and none that lacks its end."""
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    check_end(path, "model.pt")
    path.write_bytes(content[:-45])
    with pytest.raises(ModelError, match="its end is missing"):
        check_end(path, "model.pt")


def test_a_directory_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    """What the end says of the directory's size has a bound, before anything of it is read."""
    path = tmp_path / "model.pt"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # takes no room
        file.seek(1 << 30)
        size = (900 << 20).to_bytes(4, "little")
        file.write(b"PK\x05\x06" + bytes(8) + size + bytes(4) + bytes(2))
    with pytest.raises(ModelError, match="too many parts"):
        check_end(path, "model.pt")
