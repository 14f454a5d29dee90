"""File calls that fail or hang in one part of a service, as a file of rules says."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from benchmarks.common.waiting import wait_until

_SOURCE = Path(__file__).with_name("disk_faults.c")
#: The error of a rule whose calls block for as long as the rule exists.
HANG = "hang"

Calls = Literal["any", "write", "open"]


def compile_library(folder: Path) -> Path:
    """Compile the library that is preloaded into a process; return its path.

    Raises:
        RuntimeError: There is no C compiler, or it fails.
    """
    library = folder / "disk_faults.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("faults of the disk need a C compiler: apt install gcc")
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return library


class DiskFaults:
    """The rules of one part; ``library`` is what :func:`compile_library` made."""

    def __init__(self, library: Path, rules: Path) -> None:
        self._library = library
        self._rules = rules
        self._met = rules.with_name(rules.name + ".met")

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process whose file calls follow the rules."""
        return {"LD_PRELOAD": str(self._library), "DISK_FAULTS": str(self._rules)}

    @contextmanager
    def rule(self, error: int | str, path_part: str, calls: Calls = "any") -> Iterator[None]:
        """Let calls on paths that contain ``path_part`` fail, or hang, until the block ends."""
        self._met.unlink(missing_ok=True)
        written = self._rules.with_suffix(".new")
        written.write_text(f"{error} {calls} {path_part}\n")
        written.replace(self._rules)
        try:
            yield
        finally:
            self._rules.unlink(missing_ok=True)

    @property
    def met(self) -> bool:
        """Whether the latest rule was applied to a call."""
        return self._met.exists()

    def wait_until_met(self, bound_s: float) -> None:
        """Return once the rule was applied to a call; raises TimeoutError after ``bound_s``."""
        failure = "the rule was applied to no file call"
        wait_until(lambda: self.met, failure, bound_s=bound_s, tick_s=0.01)
