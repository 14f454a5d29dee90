"""Scans on this machine's disk, and how much of them was sent."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from voxelq.scans import Scan


@dataclass(frozen=True)
class ScanFiles:
    """One scan: ``path`` is its file or folder; ``channels`` has a file for each input, if any."""

    path: Path
    channels: Mapping[str, Path] | None = None

    @property
    def size_bytes(self) -> int:
        """The size of the scan's files; raises OSError."""
        return sum(path.stat().st_size for path in self._files().values())

    @contextmanager
    def opened(self, on_read: Callable[[int], None]) -> Iterator[Scan]:
        """Open the files as a scan to submit; ``on_read`` gets the bytes read of all of them.

        Raises:
            OSError: A file cannot be read.
        """
        positions: dict[str, int] = {}

        def note(name: str, position: int) -> None:
            positions[name] = position
            on_read(sum(positions.values()))

        with ExitStack() as stack:
            files = {
                name: stack.enter_context(_ReportingFile(path, partial(note, name)))
                for name, path in self._files().items()
            }
            yield files if self.channels else files[""]

    def _files(self) -> Mapping[str, Path]:
        return self.channels or {"": self.path}


class _ReportingFile(io.FileIO):
    """A file that reports its position after each read."""

    def __init__(self, path: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(path)
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes, and report the position after them."""
        content = super().read(-1 if size is None else size)
        self._on_read(self.tell())
        return content
