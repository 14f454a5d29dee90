"""A bundle loaded in a process of its own, so that only that one ends if loading ends a process.

Memory taken without bounds and a crash in native code cannot be caught. A bundle that workers died
of is therefore tried apart first, and workers go on.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger()

#: Tells whether a bundle's folder can be loaded, well or not, without the end of the process.
Trial = Callable[[Path], bool]


def no_trial(_: Path) -> bool:
    """Take it that loading never ends a process."""
    return True


def survives_loading(folder: Path, *, timeout_s: float) -> bool:
    """Load the bundle in ``folder`` in another process; tell whether that ended by itself.

    An error that is raised over there is survived: loading here then tells which.
    """
    command = [sys.executable, "-m", "worker.models.trial", str(folder)]
    # Its input closes when this process ends, however it ends, and the trial ends with it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own module
        try:
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = None
    log.info("trial_load_ended", code=code)
    return code is not None and code >= 0


def main() -> int:
    """Load the bundle named on the command line; returns 0 if it loads, else 1."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # imported here, so that importing the other end costs nothing more
    from worker.models.loader import load_predictor

    try:
        load_predictor(Path(sys.argv[1])).warm_up()
    except Exception as error:  # the worker that tries it next says what
        log.warning("trial_load_failed", error=type(error).__name__)
        return 1
    return 0


def _end_with_parent() -> None:
    # Not by sys.stdin: its lock, held at the end of the main thread, would crash the interpreter.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
