"""What a worker asks itself when it cannot tell whether a scan or its own machine is at fault."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from shared.errors import VoxelQError
from shared.telemetry import log_unexpected_error
from worker.inference.oom import is_out_of_memory
from worker.pipeline.trouble import Trouble

#: A store that does not answer within this time hangs (seconds).
STORE_ANSWERS_WITHIN_S = 5.0


class StoreCheck:
    """Looks at the store, in a thread of its own: a hung mount must not hang the worker.

    ``look`` and ``probe`` raise a VoxelQError where something is wrong; ``probe`` also writes.
    """

    def __init__(self, look: Callable[[], None], probe: Callable[[], None]) -> None:
        self._look = look
        self._probe = probe
        self._thread = ThreadPoolExecutor(1, "store-check")
        self._lock = threading.Lock()
        self._hung: Future[None] | None = None

    def __call__(self, *, thorough: bool) -> Trouble | None:
        """Return what is wrong with the store; None while all is well."""
        with self._lock:
            # A look that hangs is waited for, rather than another begun behind it.
            looking = self._hung or self._thread.submit(self._probe if thorough else self._look)
            self._hung = looking
            try:
                looking.result(STORE_ANSWERS_WITHIN_S)
            except NotYet:
                return Trouble(
                    f"The store did not answer within {STORE_ANSWERS_WITHIN_S:g} s; "
                    "its mount or its server may hang."
                )
            except VoxelQError as error:
                self._hung = None
                return Trouble(error.detail)
            except Exception as error:  # whatever a file system may raise
                self._hung = None
                log_unexpected_error("store_check_failed", error)
                return Trouble(f"The store cannot be looked at: {type(error).__name__}.")
            self._hung = None
            return None

    def close(self) -> None:
        """Begin no more looks."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def check_device(warm_up: Callable[[], None]) -> Trouble | None:
    """Run the network on nothing; return what is wrong where even that fails."""
    try:
        warm_up()
    except Exception as error:  # what a sick device may raise has no bounds
        kind = type(error).__name__
        log_unexpected_error("device_check_failed", error)
        if is_out_of_memory(error):
            return Trouble("There is no memory on this worker's device just now.")
        return Trouble(f"The network no longer runs on this device: {kind}.", restart=True)
    return None
