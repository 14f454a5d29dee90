"""The models that a worker keeps loaded, and how a new bundle comes to be served.

::

    on disk ──refresh_models──▶ reserved by one worker ──load, warm up──▶ runs: used for its name
                                    ├──▶ its files are at fault: reported to all workers, and
                                    │    tried again once they change
                                    └──▶ this worker cannot run it: reported for this worker, and
                                         tried again after a growing pause

A loaded model is served while its folder changes, until `ModelCache.refresh_models` sees that
the folder has changed or gone.
"""

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

import structlog
from redis import Redis

from shared.bundles.available_models import AvailableModels
from shared.bundles.bundle import UNREADABLE, Bundle
from shared.bundles.catalog import ModelCatalog
from shared.errors import ModelError, ModelNotFound, ModelNotReady, VoxelQError
from shared.settings import BUNDLED_MODELS, Settings
from worker.device.compute_options import ComputeOptions
from worker.device.select import choose_device, choose_precision, release_idle_memory
from worker.models.bundle_loader import BundleLoader, P
from worker.models.bundle_status import BundleStatuses
from worker.models.compute_modes import RedisComputeMode
from worker.models.loader import Predictor, load_predictor
from worker.models.trial import Trial, no_trial, survives_loading

log = structlog.get_logger()

#: Statuses are written again this often, well before they expire (seconds).
REPEAT_S = 600.0


@dataclass(frozen=True)
class _Loaded(Generic[P]):
    bundle: Bundle
    predictor: P


class ModelCache(Generic[P]):
    """Loads bundles and keeps the ``capacity`` last used; the methods are thread-safe.

    Args:
        catalog: The bundles on disk.
        load: Loads a bundle; it may raise anything, because users write bundles.
        bundle_statuses: How bundles fared in this and other workers.
        default: The default model's name, with or without a version.
        capacity: Most models in memory.
        trial: Tells whether a process survives loading a bundle that workers died of.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        load: Callable[[Bundle], P],
        bundle_statuses: BundleStatuses,
        *,
        default: str,
        capacity: int,
        trial: Trial = no_trial,
    ) -> None:
        self._catalog = catalog
        self._bundle_statuses = bundle_statuses
        self._loader = BundleLoader(load, bundle_statuses, trial)
        self._default = default
        self._capacity = capacity
        self._loading = threading.RLock()  # one load at a time
        self._lock = threading.Lock()  # held briefly: loaded models are served during a load
        self._loaded: OrderedDict[str, _Loaded[P]] = OrderedDict()  # least recently used first
        self._repeated_at = time.monotonic()

    def predictor(self, ref: str) -> P:
        """Return the model ``name@version``, loaded and warm.

        Raises:
            ModelNotFound: Its folder is gone.
            ModelBroken: Its files are at fault.
            ModelNotReady: This worker cannot load it now.
        """
        loaded = self._use(ref)
        if loaded is not None:
            return loaded
        with self._loading:
            return self._use(ref) or self._load(self._find(ref))

    def default(self) -> P:
        """Return the default model or, if that does not load, the first other that does.

        Each is tried, also if it failed in other workers.

        Raises:
            VoxelQError: Nothing loads; the error is that of the default model.
        """
        with self._loading:
            bundles = [bundle for bundle in self._catalog.bundles() if bundle.card is not None]
            known = self._bundle_statuses.read(bundles)
            first: VoxelQError | None = None
            for bundle in _start_order(bundles, known, self._default):
                loaded = self._use(bundle.ref)
                if loaded is not None:
                    return loaded
                try:
                    return self._load(bundle, requested=False)
                except VoxelQError as error:
                    log.error("model_load_failed", model=bundle.ref, reason=error.detail)  # noqa: TRY400
                    first = first or error
            raise first or ModelNotFound("There is no model on this worker's disk.")

    def refresh_models(self) -> None:
        """Drop models that changed, and try one bundle that is due, if any.

        Due is what no worker has tried, or what this one could not load. The models that come with
        VoxelQ are loaded only when a job asks for them.
        """
        with self._loading:
            bundles = self._catalog.bundles()
            self._drop_changed(bundles)
            if time.monotonic() - self._repeated_at > REPEAT_S:
                self._repeated_at = time.monotonic()
                self._bundle_statuses.repeat(bundles)
            for bundle in self._due(bundles):
                if self._bundle_statuses.reserve(bundle):
                    self._try(bundle)
                    return

    def _due(self, bundles: Sequence[Bundle]) -> list[Bundle]:
        """Return the bundles to try although no job has asked for them.

        Bundles that other workers could not run are tried as well: this worker may have, for
        example, the monai extra installed.
        """
        known = self._bundle_statuses.read(bundles)
        return [
            bundle
            for bundle in bundles
            if bundle.card is not None
            and self._catalog.could_see(bundle.folder)
            and not bundle.folder.is_relative_to(BUNDLED_MODELS)
            and self._loader.should_try_unasked(bundle, runs_elsewhere=known.get(bundle.key) == "")
        ]

    def _try(self, bundle: Bundle) -> None:
        try:
            self._load(bundle, requested=False)
        except VoxelQError as error:
            log.error("model_load_failed", model=bundle.ref, reason=error.detail)  # noqa: TRY400
        else:
            # No job has asked for it yet, so it is the first to be dropped for others.
            with self._lock:
                self._loaded.move_to_end(bundle.key, last=False)
            log.info("model_loaded", model=bundle.ref)

    def _use(self, ref: str) -> P | None:
        with self._lock:
            for key, loaded in reversed(self._loaded.items()):
                if loaded.bundle.ref == ref:
                    self._loaded.move_to_end(key)
                    return loaded.predictor
            return None

    def _find(self, ref: str) -> Bundle:
        bundle = self._catalog.find(ref)
        if bundle is not None and self._catalog.could_see(bundle.folder):
            return bundle
        if bundle is not None or not self._catalog.is_readable:
            raise ModelNotReady("The folder of models cannot be read just now.")
        raise ModelNotFound(
            f"{ref} is no longer on this worker's disk. Put it back, or submit the scan for "
            "another version."
        )

    def _load(self, bundle: Bundle, *, requested: bool = True) -> P:
        self._loader.check(bundle, requested=requested)
        self._make_room()
        predictor = self._loader.load(bundle)
        with self._lock:
            self._loaded[bundle.key] = _Loaded(bundle, predictor)
        return predictor

    def _make_room(self) -> None:
        """Drop the least recently used, so that there are never more than ``capacity``."""
        with self._lock:
            surplus = list(self._loaded)[: max(0, len(self._loaded) - self._capacity + 1)]
        self._drop(surplus)

    def _drop_changed(self, bundles: Sequence[Bundle]) -> None:
        """Drop the models whose folder has changed or gone; unreadable ones stay."""
        present = {bundle.key for bundle in bundles}
        unreadable = {bundle.folder for bundle in bundles if bundle.fingerprint == UNREADABLE}
        with self._lock:
            gone = [
                key
                for key, loaded in self._loaded.items()
                if key not in present
                and loaded.bundle.folder not in unreadable
                and self._catalog.could_see(loaded.bundle.folder)
            ]
        self._drop(gone)

    def _drop(self, bundle_keys: Sequence[str]) -> None:
        with self._lock:
            for key in bundle_keys:
                self._loaded.pop(key, None)
        if bundle_keys:
            gc.collect()
            release_idle_memory()


def open_model_cache(settings: Settings, redis: Redis, worker_id: str) -> ModelCache[Predictor]:
    """Return the model cache of one worker, with no model loaded yet.

    Raises:
        ModelError: This machine lacks the device or the precision that the settings name.
    """
    options = ComputeOptions.of(settings)
    # Checked first, because it is no bundle's fault.
    choose_precision(options.precision, choose_device(options.device))

    def load(bundle: Bundle) -> Predictor:
        if bundle.contents is None:
            raise ModelError(bundle.problem)
        return load_predictor(bundle.contents, options, RedisComputeMode(redis, bundle, options))

    return ModelCache(
        ModelCatalog(settings.models_dirs),
        load,
        BundleStatuses(redis, worker_id),
        default=settings.default_model,
        capacity=settings.models_loaded,
        trial=partial(survives_loading, timeout_s=settings.load_timeout_s / 3),
    )


def _start_order(bundles: Sequence[Bundle], statuses: dict[str, str], default: str) -> list[Bundle]:
    """Return what to try at the start: the default model's versions, then all others."""
    runs = {key: status for key, status in statuses.items() if not status}
    available = AvailableModels(bundles, runs, default)
    refs = [card.ref for card in available.cards]
    default_ref, default_name = available.default_ref, default.partition("@")[0]

    def rank(bundle: Bundle) -> tuple[bool, bool, int]:
        position = refs.index(bundle.ref) if bundle.ref in refs else len(refs)
        return (bundle.ref != default_ref, bundle.name != default_name, position)

    return sorted(bundles, key=rank)
