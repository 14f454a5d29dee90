"""The worker's checks of itself, for errors that a scan or its machine may have caused."""

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
    """Checks the store in its own thread, so that a hung mount does not hang the worker.

    ``check`` and ``probe`` raise a VoxelQError if something is wrong; ``probe`` also writes.
    """

    def __init__(self, check: Callable[[], None], probe: Callable[[], None]) -> None:
        self._check = check
        self._probe = probe
        self._thread = ThreadPoolExecutor(1, "store-check")
        self._lock = threading.Lock()
        self._hung: Future[None] | None = None

    def __call__(self, *, thorough: bool) -> Trouble | None:
        """Return what is wrong with the store, or None."""
        with self._lock:
            # A check that hangs is awaited again, instead of another one queued behind it.
            pending = self._hung or self._thread.submit(self._probe if thorough else self._check)
            self._hung = pending
            try:
                pending.result(STORE_ANSWERS_WITHIN_S)
            except NotYet:
                return Trouble(
                    f"The store did not answer within {STORE_ANSWERS_WITHIN_S:g} s; "
                    "its mount or its server may hang."
                )
            except VoxelQError as error:
                self._hung = None
                return Trouble(error.detail)
            except Exception as error:  # a file system may raise anything
                self._hung = None
                log_unexpected_error("store_check_failed", error)
                return Trouble(f"The store cannot be checked: {type(error).__name__}.")
            self._hung = None
            return None

    def close(self) -> None:
        """Begin no more checks."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def check_device(warm_up: Callable[[], None]) -> Trouble | None:
    """Run the network on an empty input; return what is wrong if even that fails."""
    try:
        warm_up()
    except Exception as error:  # a broken device may raise anything
        kind = type(error).__name__
        log_unexpected_error("device_check_failed", error)
        if is_out_of_memory(error):
            return Trouble("There is no memory on this worker's device just now.")
        return Trouble(f"The network no longer runs on this device: {kind}.", restart=True)
    return None
