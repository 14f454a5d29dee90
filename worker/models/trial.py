"""A bundle loaded in a separate process, so that only that process dies if loading kills it.

Unbounded use of memory and a crash in native code cannot be caught. A bundle that workers died of
is therefore first tried in another process, while the worker goes on.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

log = structlog.get_logger()

#: Tells whether loading a bundle's folder, successful or not, leaves the process alive.
Trial = Callable[[Path], bool]


def no_trial(_: Path) -> bool:
    """Assume that loading never ends a process."""
    return True


def survives_loading(folder: Path, *, timeout_s: float) -> bool:
    """Load the bundle in ``folder`` in another process; return whether that ended normally.

    An error that is raised there is a normal end: loading in this process then shows the error.
    """
    command = [sys.executable, "-m", "worker.models.trial", str(folder)]
    # Its standard input closes when this process ends for any reason, and then it ends too.
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
    # imported here, so that a worker can import `survives_loading` without it
    from shared.bundles.contents import BundleContents
    from worker.device.compute_options import ComputeOptions
    from worker.models.loader import load_predictor

    try:
        contents = BundleContents.read(Path(sys.argv[1]))
        load_predictor(contents, ComputeOptions()).warm_up()
    except Exception as error:  # the worker that tries it next reports the reason
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
