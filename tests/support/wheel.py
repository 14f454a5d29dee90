"""The package as its users get it: a wheel, installed in a clean virtual environment."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.local_service import ROOT, environment

#: Far above the time of an installation, so that no test fails on a slow machine (seconds).
INSTALL_S = 600.0


def build_wheel(folder: Path) -> Path:
    """Build the wheel in ``folder`` from a copy of the tracked files, and return it."""
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel and its dependencies only."""

    folder: Path

    @property
    def packages(self) -> set[str]:
        """The names of the installed packages and modules."""
        (site,) = self.folder.glob("lib/python3*/site-packages")
        return {path.name for path in site.iterdir()}

    def run(self, *command: object, here: Path, **variables: str) -> tuple[int, str]:
        """Run one of its programs in the folder ``here``; return the exit code and the output."""
        program, *arguments = map(str, command)
        variables_there = environment(**variables)
        del variables_there["PYTHONPATH"]
        done = subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=here,
            env=variables_there,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_S,
            check=False,
        )
        return done.returncode, done.stdout


def install(folder: Path, wheel: Path, extra: str = "") -> Installation:
    """Make a virtual environment in ``folder`` and install the wheel, with an extra if named."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALL_S)
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    _pip(str(folder / "bin" / "python"), "install", "-c", ROOT / "constraints.txt", requirement)
    return Installation(folder)


def _pip(python: str, *arguments: object) -> None:
    done = subprocess.run(
        [python, "-m", "pip", *map(str, arguments)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
