"""Loads bundles, and shares with all workers how each load went."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from shared.bundles.bundle import Bundle
from shared.errors import ModelBroken, ModelNotReady, VoxelQError
from worker.inference.oom import is_out_of_memory
from worker.models.bundle_status import BundleStatuses
from worker.models.load_errors import describe, is_caused_by_files, not_ready
from worker.models.trial import Trial, no_trial

#: A bundle is first tried in another process once so many workers died of loading it lately.
DEATHS_BEFORE_TRIAL = 3


class Loadable(Protocol):
    """A loaded bundle."""

    def warm_up(self) -> None:
        """Run once, so that the first scan takes no longer than later ones."""


P = TypeVar("P", bound=Loadable)


class BundleLoader(Generic[P]):
    """Loads bundles, one after another, and reports to all workers how it went.

    Args:
        load: Loads a bundle; it may raise anything, because users write bundles.
        statuses: How bundles fared in this and other workers.
        trial: Tells whether a process survives loading a bundle that workers died of.
    """

    def __init__(
        self, load: Callable[[Bundle], P], statuses: BundleStatuses, trial: Trial = no_trial
    ) -> None:
        self._load = load
        self._statuses = statuses
        self._trial = trial

    def should_try_unasked(self, bundle: Bundle, *, runs_elsewhere: bool) -> bool:
        """Tell whether to load the bundle now, although no job has asked for it."""
        own = self._statuses.own(bundle)
        if own is None:
            return not runs_elsewhere and not self._statuses.pause_s(bundle)
        return own.kind == "unable" and not own.pause_s

    def check(self, bundle: Bundle, *, requested: bool) -> None:
        """Raise unless the bundle may be loaded now.

        A bundle that a job has ``requested`` is not loaded while a pause after a failure lasts, nor
        if another worker has found its files at fault.

        Raises:
            ModelBroken: Its files are at fault.
            ModelNotReady: It may be loaded later, or by another worker.
        """
        if bundle.arriving:
            raise ModelNotReady(f"{bundle.ref} is still on its way: {bundle.problem}")
        own = self._statuses.own(bundle)
        fault = bundle.problem or (own.reason if own and own.kind == "fault" else "")
        if requested and not own:
            fault = fault or self._statuses.fault(bundle)
        if fault:
            raise self._refusal(bundle, fault)
        if requested and ((own and own.pause_s) or self._statuses.pause_s(bundle)):
            raise not_ready(bundle, own.reason if own else "A worker died while it loaded it.")
        if self._statuses.deaths(bundle) >= DEATHS_BEFORE_TRIAL and not self._trial(bundle.folder):
            reason = "Loading it ends the process that does so."
            self._statuses.record_unable(bundle, reason)
            raise not_ready(bundle, reason)

    def load(self, bundle: Bundle) -> P:
        """Load the bundle and warm it up.

        Raises:
            ModelBroken: Its files are at fault.
            ModelNotReady: This worker cannot load it now.
        """
        with self._statuses.loading(bundle):
            try:
                predictor = self._load(bundle)
                predictor.warm_up()
            except Exception as error:  # a user's own model may raise anything
                reason = describe(error)
                if is_caused_by_files(error):
                    self._statuses.record_fault(bundle, reason)
                    raise self._refusal(bundle, reason) from error
                # Free memory changes from moment to moment, so it is no reason to report.
                shared = not is_out_of_memory(error)
                self._statuses.record_unable(bundle, reason, shared=shared)
                raise not_ready(bundle, reason) from error
        self._statuses.record_loaded(bundle)
        return predictor

    def _refusal(self, bundle: Bundle, reason: str) -> VoxelQError:
        """Return the error for files at fault; if another worker runs them, jobs wait for it."""
        if self._statuses.read([bundle]).get(bundle.key) == "":
            return not_ready(bundle, reason)
        return ModelBroken(f"{bundle.ref} is broken: {reason}")
