"""The models that a worker keeps loaded, and how a new one comes to be served.

::

    on disk ──tend──▶ claimed by one worker ──load, warm up──▶ runs: takes over its name
                                                  ├──▶ its files are at fault: reported to all,
                                                  │    tried again once they change
                                                  └──▶ this worker cannot run it: reported as its
                                                       own, tried again after a growing pause

What is loaded is served whatever becomes of its folder; `ModelCache.refresh_models` drops it once
the folder has changed or gone.
"""

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog
from redis import Redis

from shared.bundles.available_models import AvailableModels
from shared.bundles.bundle import UNREADABLE, Bundle
from shared.bundles.catalog import ModelCatalog
from shared.errors import (
    BadScan,
    MissingRequirement,
    ModelBroken,
    ModelError,
    ModelNotFound,
    ModelNotReady,
    VoxelQError,
)
from shared.settings import BUNDLED_MODELS, Settings
from shared.telemetry import log_unexpected_error
from worker.device.select import choose_device, choose_precision, release_idle_memory
from worker.inference.oom import is_out_of_memory
from worker.models.bundle_status import BundleStatuses
from worker.models.loader import Predictor, load_predictor
from worker.models.trial import Trial, no_trial, survives_loading

log = structlog.get_logger()

#: Verdicts are repeated this often, well before they are forgotten (seconds).
REPEAT_S = 600.0
#: What so many workers died of loading lately is first tried in a process of its own.
DEATHS_BEFORE_TRIAL = 3


class Loadable(Protocol):
    """What a shelf holds."""

    def warm_up(self) -> None:
        """Run on nothing, so that the first scan costs what later ones do."""


P = TypeVar("P", bound=Loadable)


@dataclass(frozen=True)
class _Loaded(Generic[P]):
    bundle: Bundle
    predictor: P


class ModelCache(Generic[P]):
    """Loads bundles and keeps the ``capacity`` last used; the methods may be called by any thread.

    ``load`` reads a bundle's folder and may raise anything, for bundles are the user's own.
    ``trial`` tells whether that can be survived, for a bundle that workers died of.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        load: Callable[[Path], P],
        bundle_statuses: BundleStatuses,
        *,
        default: str,
        capacity: int,
        trial: Trial = no_trial,
    ) -> None:
        self._catalog = catalog
        self._load = load
        self._bundle_statuses = bundle_statuses
        self._default = default
        self._capacity = capacity
        self._trial = trial
        self._loading = threading.RLock()  # one load at a time
        self._lock = threading.Lock()  # short: what is loaded is served while another loads
        self._loaded: OrderedDict[str, _Loaded[P]] = OrderedDict()  # least recently used first
        self._repeated_at = time.monotonic()

    def predictor(self, ref: str) -> P:
        """Return the model ``name@version``, loaded and warm.

        Raises:
            ModelNotFound: Its folder is gone.
            ModelBroken: It is there and its files are at fault.
            ModelNotReady: This worker cannot load it just now.
        """
        loaded = self._use(ref)
        if loaded is not None:
            return loaded
        with self._loading:
            return self._use(ref) or self._take(self._find(ref))

    def default(self) -> P:
        """Return the default model or, where that does not load, the first other that does.

        Each is tried, whatever other workers met.

        Raises:
            VoxelQError: Nothing loads; the error is that of the default model.
        """
        with self._loading:
            first: VoxelQError | None = None
            for bundle in self._to_start_with():
                loaded = self._use(bundle.ref)
                if loaded is not None:
                    return loaded
                try:
                    return self._take(bundle, asked=False)
                except VoxelQError as error:
                    log.error("model cannot be served", reason=error.detail)  # noqa: TRY400
                    first = first or error
            raise first or ModelNotFound("There is no model on this worker's disk.")

    def refresh_models(self) -> None:
        """Try one bundle that no worker has tried yet, or this one could not load, if any.

        Those that come with VoxelQ are left alone until they are asked for.
        """
        with self._loading:
            bundles = self._catalog.bundles()
            self._drop_changed(bundles)
            if time.monotonic() - self._repeated_at > REPEAT_S:
                self._repeated_at = time.monotonic()
                self._bundle_statuses.repeat(bundles)
            for bundle in self._untried(bundles):
                if self._bundle_statuses.reserve(bundle):
                    self._try(bundle)
                    return

    def _to_start_with(self) -> list[Bundle]:
        """Return what to try at the start: the default model's versions, then all else."""
        bundles = [bundle for bundle in self._catalog.bundles() if bundle.card is not None]
        known = self._bundle_statuses.read(bundles)
        runs = {key: status for key, status in known.items() if not status}
        offer = AvailableModels(bundles, runs, self._default)
        proven = [card.ref for card in offer.cards]
        default = offer.default_ref
        name = self._default.partition("@")[0]

        def place(bundle: Bundle) -> tuple[bool, bool, int]:
            at = proven.index(bundle.ref) if bundle.ref in proven else len(proven)
            return (bundle.ref != default, bundle.name != name, at)

        return sorted(bundles, key=place)

    def _untried(self, bundles: list[Bundle]) -> list[Bundle]:
        """Return what no worker runs, and this one has not tried or may try again.

        What others could not run is tried as well: the monai extra, say, may be installed here.
        """
        known = self._bundle_statuses.read(bundles)
        return [
            bundle
            for bundle in bundles
            if bundle.card is not None
            and self._catalog.could_see(bundle.folder)
            and not bundle.folder.is_relative_to(BUNDLED_MODELS)
            and self._is_due(bundle, runs_elsewhere=known.get(bundle.key) == "")
        ]

    def _is_due(self, bundle: Bundle, *, runs_elsewhere: bool) -> bool:
        own = self._bundle_statuses.own(bundle)
        if own is None:
            return not runs_elsewhere and not self._bundle_statuses.pause_s(bundle)
        return own.kind == "unable" and not own.pause_s

    def _try(self, bundle: Bundle) -> None:
        try:
            self._take(bundle, asked=False)
        except VoxelQError as error:
            log.error("model cannot be served", reason=error.detail)  # noqa: TRY400
        else:
            # No job has asked for it yet, so it is the first to make room for others.
            with self._lock:
                self._loaded.move_to_end(bundle.key, last=False)
            log.info("model ready")

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

    def _take(self, bundle: Bundle, *, asked: bool = True) -> P:
        """Load a bundle that is not loaded yet, and tell how it went.

        Where a job has ``asked`` for it, it is not tried again too soon, nor where other workers
        found its files at fault.
        """
        if bundle.arriving:
            raise ModelNotReady(f"{bundle.ref} is still on its way: {bundle.problem}")
        own = self._bundle_statuses.own(bundle)
        fault = bundle.problem or (own.reason if own and own.kind == "fault" else "")
        if asked and not own:
            fault = fault or self._bundle_statuses.fault(bundle)
        if fault:
            raise self._refusal(bundle, fault)
        if asked and ((own and own.pause_s) or self._bundle_statuses.pause_s(bundle)):
            reason = own.reason if own else "A worker died while it loaded it."
            raise _not_ready(bundle, reason)
        if self._bundle_statuses.deaths(bundle) >= DEATHS_BEFORE_TRIAL and not self._trial(
            bundle.folder
        ):
            reason = "Loading it ends the process that does so."
            self._bundle_statuses.tell_unable(bundle, reason)
            raise _not_ready(bundle, reason)
        return self._load_and_tell(bundle)

    def _load_and_tell(self, bundle: Bundle) -> P:
        self._make_room()
        with self._bundle_statuses.loading(bundle):
            try:
                predictor = self._load(bundle.folder)
                predictor.warm_up()
            except Exception as error:  # what a user's own model may raise has no bounds
                reason = _words(error, bundle)
                if _is_of_the_files(error):
                    self._bundle_statuses.tell_fault(bundle, reason)
                    raise self._refusal(bundle, reason) from error
                # Memory comes and goes: no reason for others to say that the model is broken.
                self._bundle_statuses.tell_unable(
                    bundle, reason, shared=not is_out_of_memory(error)
                )
                raise _not_ready(bundle, reason) from error
        self._bundle_statuses.tell_runs(bundle)
        with self._lock:
            self._loaded[bundle.key] = _Loaded(bundle, predictor)
        return predictor

    def _refusal(self, bundle: Bundle, reason: str) -> VoxelQError:
        """Return the error for files at fault; where another worker runs them, jobs wait for it."""
        if self._bundle_statuses.read([bundle]).get(bundle.key) == "":
            return _not_ready(bundle, reason)
        return ModelBroken(f"{bundle.ref} is broken: {reason}")

    def _make_room(self) -> None:
        """Let the least recently used go, so that there are never more than ``capacity``."""
        with self._lock:
            surplus = list(self._loaded)[: max(0, len(self._loaded) - self._capacity + 1)]
        self._let_go(surplus)

    def _drop_changed(self, bundles: list[Bundle]) -> None:
        """Let go what is seen to have changed or gone; what cannot be looked at just now stays."""
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
        self._let_go(gone)

    def _let_go(self, bundle_keys: list[str]) -> None:
        with self._lock:
            for key in bundle_keys:
                self._loaded.pop(key, None)
        if bundle_keys:
            gc.collect()
            release_idle_memory()


def open_model_cache(settings: Settings, redis: Redis, worker_id: str) -> ModelCache[Predictor]:
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

    return ModelCache(
        ModelCatalog(settings.models_dirs),
        load,
        BundleStatuses(redis, worker_id),
        default=settings.default_model,
        capacity=settings.models_loaded,
        trial=partial(survives_loading, timeout_s=settings.load_timeout_s / 3),
    )


def _not_ready(bundle: Bundle, reason: str) -> ModelNotReady:
    words = f"This worker cannot load {bundle.ref} just now: {reason}"
    return ModelNotReady(words)


def _is_of_the_files(error: Exception) -> bool:
    """Tell whether a bundle's files are at fault, so that every worker would find the same.

    Only what VoxelQ's own checks refuse is. Memory that ran out, a disk that failed under them and
    whatever nobody foresaw may be this worker's own.
    """
    if not isinstance(error, (ModelError, BadScan)) or isinstance(error, MissingRequirement):
        return False
    return not any(
        isinstance(cause, (OSError, MissingRequirement)) or is_out_of_memory(cause)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[Exception]:
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        yield cause
        cause = cause.__cause__


def _words(error: Exception, bundle: Bundle) -> str:
    if isinstance(error, VoxelQError):
        return error.detail
    if is_out_of_memory(error):
        return "There is no memory for it just now."
    # A foreign error may say anything, at any length; its kind is safe to show.
    log_unexpected_error("model_loading_failed", error)
    return f"{type(error).__name__} was raised while it was loaded; the worker's log says where."
