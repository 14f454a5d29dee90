"""The wall clock of one process, which a test can step by libfaketime."""

from pathlib import Path

_PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1",
           "/usr/local/lib/faketime/libfaketime.so.1")  # fmt: skip


class FaketimeMissing(Exception):
    """libfaketime is not on this machine."""


class Clock:
    """The wall clock of a process that is started with ``environment``; not its timers."""

    def __init__(self, file: Path) -> None:
        """Keep the step in ``file``.

        Raises:
            FaketimeMissing: The library is not installed.
        """
        libraries = [path for place in _PLACES for path in sorted(Path("/").glob(place[1:]))]
        if not libraries:
            raise FaketimeMissing("stepping clocks needs libfaketime: apt install libfaketime")
        self._library = libraries[0]
        self._file = file
        self.step(0)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the process whose clock this is."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Set the clock to so many seconds after the true time, or before it."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self._file)
