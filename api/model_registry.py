"""Which models are available: the bundles on disk, and whether workers could load them."""

import time
from functools import partial

from api.live.event_reader import EventReader
from api.thread_pools import ThreadPool
from shared.bundles.available_models import AvailableModels
from shared.bundles.catalog import ModelCatalog
from shared.bundles.model_card import ModelCard
from shared.errors import ModelBroken, ModelNotFound, ServiceUnavailable
from shared.queue.job_queue import JobQueue

#: How old the information may be for a submit, which must not read it for each scan (seconds).
MAX_AGE_S = 0.5


class ModelRegistry:
    """Knows the bundles on disk and their status from the workers.

    While Redis is away the last known status is used.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        queue: JobQueue,
        event_reader: EventReader,
        default: str,
        threads: ThreadPool,
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._queue = queue
        self._event_reader = event_reader
        self._default = default
        self._bundle_statuses: dict[str, str] = {}
        self._read_at = 0.0
        self._read_keys: list[str] = []

    async def available(self, *, max_age_s: float = 0.0) -> AvailableModels:
        """Return the available models, as of at most ``max_age_s`` ago."""
        bundles = await self._threads.run(partial(self._catalog.bundles, max_age_s=max_age_s))
        bundle_keys = [bundle.key for bundle in bundles if bundle.card is not None]
        stale = time.monotonic() - self._read_at >= max_age_s or bundle_keys != self._read_keys
        if stale and self._event_reader.connected:
            try:
                self._bundle_statuses = await self._queue.bundle_statuses(bundle_keys)
                self._read_at, self._read_keys = time.monotonic(), bundle_keys
            except ServiceUnavailable:
                pass  # a call that needs the queue will report it
        return AvailableModels(bundles, self._bundle_statuses, self._default)

    async def resolve(self, wanted: str | None = None) -> ModelCard:
        """Return the card for ``name``, ``name@version`` or the default; see AvailableModels."""
        try:
            return (await self.available(max_age_s=MAX_AGE_S)).resolve(wanted)
        except (ModelNotFound, ModelBroken):
            return (await self.available()).resolve(wanted)  # it may have been fixed since
