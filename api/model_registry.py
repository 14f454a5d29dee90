"""Which models are on offer, as this process knows it: the disk's word and the workers'."""

import time
from functools import partial

from api.live.event_reader import EventReader
from api.thread_pools import ThreadPool
from shared.bundles.available_models import AvailableModels
from shared.bundles.catalog import ModelCatalog
from shared.bundles.model_card import ModelCard
from shared.errors import ModelBroken, ModelNotFound, ServiceUnavailable
from shared.queue.job_queue import JobQueue

#: A submit takes what was seen so long ago, rather than look for each scan (seconds).
MAX_AGE_S = 0.5


class ModelRegistry:
    """Knows the bundles of the disk and the workers' verdicts on them.

    With Redis away the last verdicts stand.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        queue: JobQueue,
        reader: EventReader,
        default: str,
        threads: ThreadPool,
    ) -> None:
        self._catalog = catalog
        self._threads = threads
        self._queue = queue
        self._reader = reader
        self._default = default
        self._bundle_statuses: dict[str, str] = {}
        self._asked_at = 0.0
        self._asked: list[str] = []

    async def available(self, *, max_age_s: float = 0.0) -> AvailableModels:
        """Return what is on offer; changes within a bundle, and verdicts, may be so much newer."""
        bundles = await self._threads.run(partial(self._catalog.bundles, max_age_s=max_age_s))
        bundle_keys = [bundle.key for bundle in bundles if bundle.card is not None]
        stale = time.monotonic() - self._asked_at >= max_age_s or bundle_keys != self._asked
        if stale and self._reader.connected:
            try:
                self._bundle_statuses = await self._queue.bundle_statuses(bundle_keys)
                self._asked_at, self._asked = time.monotonic(), bundle_keys
            except ServiceUnavailable:
                pass  # whoever needs the queue will say so
        return AvailableModels(bundles, self._bundle_statuses, self._default)

    async def resolve(self, wanted: str | None = None) -> ModelCard:
        """Return the card for ``name``, ``name@version`` or the default; raises as Offer does."""
        try:
            return (await self.available(max_age_s=MAX_AGE_S)).resolve(wanted)
        except (ModelNotFound, ModelBroken):
            return (await self.available()).resolve(wanted)  # it may have been mended just now
