"""One compute mode for all workers with the same bundle and kind of device.

Measured times vary, so two workers could choose different modes, and different modes may give
masks that differ in a few voxels. The choice of the first worker is therefore kept, and other
workers and restarts use it without measuring.
"""

from collections.abc import Callable
from typing import Protocol

import structlog

from worker.device.compute_mode import ComputeMode

log = structlog.get_logger()


class ComputeModeStore(Protocol):
    """Keeps the compute mode of one bundle on one kind of device."""

    def get(self) -> ComputeMode | None:
        """Return the mode that is kept, if any."""

    def keep(self, mode: ComputeMode) -> ComputeMode:
        """Keep ``mode`` unless another worker was first; return the mode that is kept."""


def agreed_mode(
    store: ComputeModeStore | None,
    measure: Callable[[], ComputeMode],
    is_usable: Callable[[ComputeMode], bool],
) -> ComputeMode:
    """Return the mode that is kept in ``store`` or, if there is none, measure one and keep it.

    Args:
        store: None: always measure.
        measure: Finds the fastest mode on this device.
        is_usable: Whether this device can run a mode. If it cannot run the mode that is kept, a
            mode is measured and used by this worker only.
    """
    if store is None:
        return measure()
    measured = None
    kept = store.get()
    if kept is None:
        measured = measure()
        kept = store.keep(measured)
    if kept == measured or is_usable(kept):
        return kept
    own = measured or measure()
    log.warning("kept_compute_mode_not_usable", kept=str(kept), used=str(own))
    return own
