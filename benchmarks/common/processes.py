"""Python processes that a benchmark starts, each of which ends with its block."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Runs a command that is killed when the process with the given id ends.
WITH_PARENT = [sys.executable, "-IS", str(ROOT / "voxelq" / "local" / "parent_death.py")]
_STOP_S = 40.0
#: Settings that lead to a service of the user's own, which a measured one must not touch.
_OTHER_SERVICE = {"REDIS_URL", "VOXELQ_STORE_URL", "VOXELQ_WORKERS"}


@contextmanager
def python_process(
    arguments: list[str],
    log: Path,
    settings: Mapping[str, str],
    pipes: int | None = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[str]]:
    """Run Python with ``arguments`` until the block ends, or until this process is killed.

    Args:
        arguments: What follows ``python`` on the command line.
        log: The file for standard error. It is copied to this process's standard error if the
            block fails.
        settings: Environment variables beside those of this process.
        pipes: Where standard input and output lead, as :class:`subprocess.Popen` takes it.
    """
    env = {name: value for name, value in os.environ.items() if name not in _OTHER_SERVICE}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*WITH_PARENT, str(os.getpid()), sys.executable, *arguments],
            stdin=pipes,
            stdout=pipes,
            stderr=errors,
            cwd=ROOT,
            env={**env, "PYTHONPATH": str(ROOT), **settings},
            text=True,
        )
    try:
        yield process
    except Exception:
        sys.stderr.write(log.read_text(errors="replace"))
        raise
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that is deleted when the block ends."""
    with tempfile.TemporaryDirectory(prefix="voxelq-bench-") as name:
        yield Path(name)
