"""File calls that fail or hang in one part of a service, while a file of rules says so."""

import errno
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

_SOURCE = Path(__file__).with_name("disk_faults.c")
#: In a rule: the call blocks for as long as the rule stands.
HANG = "hang"

Calls = Literal["any", "write", "open"]


def compile_library(folder: Path) -> Path:
    """Compile the library that a process loads before its own; return its path.

    Raises:
        RuntimeError: There is no C compiler, or it does not take the source.
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
        """Variables of a process whose file calls are to obey the rules."""
        return {"LD_PRELOAD": str(self._library), "DISK_FAULTS": str(self._rules)}

    @contextmanager
    def rule(self, error: int | str, path_part: str, calls: Calls = "any") -> Iterator[None]:
        """Have calls on paths that contain ``path_part`` fail, or hang, until the block ends."""
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
        """Whether a call met the latest rule."""
        return self._met.exists()

    def wait_until_met(self, bound_s: float) -> None:
        """Return once a call has met the rule.

        Raises:
            TimeoutError: None did in time.
        """
        deadline = time.monotonic() + bound_s
        while not self.met:
            if time.monotonic() > deadline:
                raise TimeoutError("no file call met the rule")
            time.sleep(0.01)


def error_name(number: int | str) -> str:
    """Return the name of an error as a table shows it."""
    return number if isinstance(number, str) else errno.errorcode[number]
