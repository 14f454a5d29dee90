"""The models that a worker keeps loaded, and how a new one comes to be served.

::

    on disk ──tend──▶ claimed by one worker ──load, warm up──▶ runs: takes over its name
                                                  └──▶ broken: reported, tried again once it changes
"""

import gc
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog
from redis import Redis

from shared.bundles import Bundle
from shared.catalog import ModelCatalog
from shared.errors import ModelBroken, ModelNotFound, ModelNotReady, VoxelQError
from shared.offer import Offer
from shared.settings import BUNDLED_MODELS, Settings
from worker.device import choose_device, choose_precision, release_idle_memory
from worker.predictor import Predictor, load_predictor
from worker.verdicts import MAX_DEATHS, Verdicts

log = structlog.get_logger()

#: Verdicts are repeated this often, well before they are forgotten (seconds).
REPEAT_S = 600.0


class Loadable(Protocol):
    """What a shelf holds."""

    def warm_up(self) -> None:
        """Run on nothing, so that the first scan costs what later ones do."""


P = TypeVar("P", bound=Loadable)


class Shelf(Generic[P]):
    """Loads bundles and keeps the ``capacity`` last used; the methods may be called by any thread.

    ``load`` reads a bundle's folder and may raise anything, for bundles are the user's own.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        load: Callable[[Path], P],
        verdicts: Verdicts,
        *,
        default: str,
        capacity: int,
    ) -> None:
        self._catalog = catalog
        self._load = load
        self._verdicts = verdicts
        self._default = default
        self._capacity = capacity
        self._loading = threading.RLock()  # one load at a time
        self._lock = threading.Lock()  # short: what is loaded is served while another loads
        self._loaded: OrderedDict[str, P] = OrderedDict()  # by key, least recently used first
        self._repeated_at = time.monotonic()

    def predictor(self, ref: str) -> P:
        """Return the model ``name@version``, loaded and warm.

        Raises:
            ModelNotFound: Its folder is gone.
            ModelBroken: It is there and cannot be run.
            ModelNotReady: It is still being copied, or there is no memory for it just now.
        """
        bundle = self._catalog.find(ref)
        if bundle is None:
            raise ModelNotFound(
                f"{ref} is no longer on this worker's disk. Put it back, or hand the scan in "
                "for another version."
            )
        loaded = self._use(bundle)
        if loaded is not None:
            return loaded
        with self._loading:
            return self._use(bundle) or self._take(bundle)

    def default(self) -> P:
        """Return the default model, or the newest that runs where that one does not.

        Raises:
            VoxelQError: Nothing runs; the error is that of the default model.
        """
        with self._loading:
            while True:
                offer = self._offer()
                try:
                    ref = offer.resolve().ref
                except VoxelQError as error:
                    if not offer.cards:
                        raise
                    ref = offer.cards[0].ref
                    log.error("default model cannot be served", reason=error.detail, instead=ref)  # noqa: TRY400
                try:
                    return self.predictor(ref)
                except (ModelBroken, ModelNotFound) as error:  # and so no longer on offer
                    log.error("model cannot be served", model=ref, reason=error.detail)  # noqa: TRY400

    def tend(self) -> None:
        """Try one bundle that nobody has tried yet, if there is one.

        Those that come with VoxelQ are left alone until they are asked for.
        """
        with self._loading:
            bundles = self._catalog.bundles()
            self._drop_changed(bundles)
            if time.monotonic() - self._repeated_at > REPEAT_S:
                self._repeated_at = time.monotonic()
                self._verdicts.repeat(bundles)
            for bundle in self._untried(bundles):
                if self._verdicts.claim(bundle):
                    self._try(bundle)
                    return

    def _untried(self, bundles: list[Bundle]) -> list[Bundle]:
        """Return what no worker has run yet, and what others could not run but this one may.

        The monai extra, say, may have been installed since.
        """
        known = self._verdicts.read(bundles)
        return [
            bundle
            for bundle in bundles
            if bundle.card is not None
            and known.get(bundle.key) != ""
            and not self._verdicts.is_own(bundle)
            and not bundle.folder.is_relative_to(BUNDLED_MODELS)
        ]

    def _try(self, bundle: Bundle) -> None:
        try:
            self._take(bundle, others_word=False)
        except VoxelQError as error:
            log.error("model cannot be served", model=bundle.ref, reason=error.detail)  # noqa: TRY400
        else:
            # Nobody has asked for it yet, so it is the first to make room for others.
            with self._lock:
                self._loaded.move_to_end(bundle.key, last=False)
            log.info("model ready", model=bundle.ref)

    def _use(self, bundle: Bundle) -> P | None:
        with self._lock:
            if bundle.key in self._loaded:
                self._loaded.move_to_end(bundle.key)
            return self._loaded.get(bundle.key)

    def _take(self, bundle: Bundle, *, others_word: bool = True) -> P:
        """Load what is not loaded yet, make room for it, and tell how it went.

        Without the ``others_word`` that it is broken, only this worker's own counts.
        """
        if bundle.arriving:
            raise ModelNotReady(f"{bundle.ref} is still on its way: {bundle.problem}")
        reason = bundle.problem
        if others_word or self._verdicts.is_own(bundle):
            reason = reason or self._verdicts.read([bundle]).get(bundle.key, "")
        if not reason and self._verdicts.deaths(bundle) >= MAX_DEATHS:
            reason = f"Loading it ended {MAX_DEATHS} workers."
            self._verdicts.tell(bundle, reason)
        if reason:
            raise ModelBroken(f"{bundle.ref} is broken: {reason}")
        self._make_room()
        with self._verdicts.loading(bundle):
            try:
                predictor = self._load(bundle.folder)
                predictor.warm_up()
            except Exception as error:  # what a user's own model may raise has no bounds
                if _may_pass(error):
                    raise ModelNotReady(f"There is no memory for {bundle.ref} just now.") from error
                reason = _words(error, bundle)
                self._verdicts.tell(bundle, reason)
                raise ModelBroken(f"{bundle.ref} is broken: {reason}") from error
        self._verdicts.tell(bundle)
        with self._lock:
            self._loaded[bundle.key] = predictor
        return predictor

    def _make_room(self) -> None:
        """Let the least recently used go, so that there are never more than ``capacity``."""
        with self._lock:
            surplus = list(self._loaded)[: max(0, len(self._loaded) - self._capacity + 1)]
        self._let_go(surplus)

    def _drop_changed(self, bundles: list[Bundle]) -> None:
        present = {bundle.key for bundle in bundles}
        with self._lock:
            gone = [key for key in self._loaded if key not in present]
        self._let_go(gone)

    def _let_go(self, bundle_keys: list[str]) -> None:
        with self._lock:
            for key in bundle_keys:
                self._loaded.pop(key, None)
        if bundle_keys:
            gc.collect()
            release_idle_memory()

    def _offer(self) -> Offer:
        bundles = self._catalog.bundles()
        return Offer(bundles, self._verdicts.read(bundles), self._default)


def open_shelf(settings: Settings, redis: Redis, worker_id: str) -> Shelf[Predictor]:
    """Return the shelf of one worker, with nothing on it yet.

    Raises:
        ModelError: This machine lacks the device or the precision that the settings name.
    """
    choose_precision(settings.precision, choose_device(settings.device))  # no bundle's fault

    def load(folder: Path) -> Predictor:
        return load_predictor(
            folder,
            device=settings.device,
            precision=settings.precision,
            threads=settings.threads,
            memory_growth=settings.gpu_memory_growth,
            memory_fraction=settings.gpu_memory_fraction,
            compile_network=settings.compile_network,
        )

    return Shelf(
        ModelCatalog(settings.models_dirs),
        load,
        Verdicts(redis, worker_id),
        default=settings.default_model,
        capacity=settings.models_loaded,
    )


def _may_pass(error: Exception) -> bool:
    """Tell whether another try may go well though the bundle's files stay as they are."""
    # torch's own error for a full GPU is a RuntimeError of this name
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _words(error: Exception, bundle: Bundle) -> str:
    if isinstance(error, VoxelQError):
        return error.detail
    # A foreign error may say anything, at any length; its kind is safe to show.
    log.error(
        "loading failed",
        model=bundle.ref,
        error=type(error).__name__,
        frames=traceback.format_tb(error.__traceback__)[-3:],
    )
    return f"{type(error).__name__} was raised while it was loaded; the worker's log says where."
