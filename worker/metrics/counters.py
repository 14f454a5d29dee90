"""What a worker counts between two heartbeats."""

import threading
from collections.abc import Mapping

from shared.queue.worker_metrics import sum_counts


class Counters:
    """Amounts by metric; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._amounts: dict[str, float] = {}

    def add(self, amounts: Mapping[str, float]) -> None:
        """Add amounts, by the names of `shared.queue.worker_metrics.FAMILIES`."""
        with self._lock:
            self._amounts = sum_counts([self._amounts, amounts])

    def take(self) -> dict[str, float]:
        """Return what was added since the last call."""
        with self._lock:
            taken, self._amounts = self._amounts, {}
        return taken
