"""Attribution of errors to a scan, the store or the device."""

import pytest

from shared.errors import BadScan, ModelNotReady, ScanMissing, StoreFull, StoreUnavailable
from tests.support.jobs import submission
from worker.pipeline.fault_attribution import FaultAttribution, ScanError
from worker.pipeline.outcomes import Failed, LeasedJob, Outcome, Retry, Returned
from worker.pipeline.self_check import StoreCheck
from worker.pipeline.trouble import Trouble

MODEL = "test-model@1.0.0"
OUT_OF_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory")


def scan_error(error: Exception, voxels: int | None = None) -> ScanError:
    """Return the error of a scan of this size."""
    return ScanError(LeasedJob(submission(), "run", f"{MODEL}:routine", 0), error, voxels)


def attribute(
    error: Exception, *, store: Trouble | None = None, device: Trouble | None = None
) -> Outcome:
    """Return the outcome of an error while the store or the device has this trouble."""

    def check_store() -> None:
        if store:
            raise StoreUnavailable(store.reason)

    check = StoreCheck(check_store, check_store)
    attribution = FaultAttribution(check)
    (outcome,) = attribution.outcomes([scan_error(error)], MODEL, 0, lambda: device)
    check.close()
    return outcome


@pytest.mark.parametrize("error", [OSError(), ValueError(), ScanMissing(""), StoreUnavailable("")])
def test_an_error_while_the_store_is_away_charges_no_scan(error: Exception) -> None:
    """While the store is in trouble a job goes back uncharged after any error of its scan."""
    outcome = attribute(error, store=Trouble("The store is away."))
    assert isinstance(outcome, Returned)
    assert outcome.trouble.reason == "The store is away."


def test_an_error_on_a_dead_device_charges_no_scan() -> None:
    """An error of the network is the device's if the network fails without the scan too."""
    outcome = attribute(RuntimeError("CUDA error"), device=Trouble("It is dead.", restart=True))
    assert isinstance(outcome, Returned)
    assert outcome.trouble.restart


def test_a_bad_scan_is_charged_in_any_trouble() -> None:
    """A volume that cannot be used fails without a check of store and device."""
    outcome = attribute(BadScan("It is empty."), store=Trouble("The store is away."))
    assert isinstance(outcome, Failed)


def test_without_trouble_an_error_is_the_scans() -> None:
    """An error of the network on one scan fails that scan; an error of a disk is retried."""
    assert isinstance(attribute(ValueError()), Failed)
    assert isinstance(attribute(OSError()), Retry)
    assert isinstance(attribute(ScanMissing("")), Failed)


def test_a_full_store_and_an_unready_model_charge_no_scan() -> None:
    """Both are returned; a model that is not ready is trouble for that model only."""
    full, unready = attribute(StoreFull("full")), attribute(ModelNotReady("not yet"))
    assert isinstance(full, Returned)
    assert full.trouble.model is None
    assert isinstance(unready, Returned)
    assert unready.trouble.model == MODEL


def test_memory_that_has_become_short_charges_no_scan() -> None:
    """A scan no larger than one of an earlier batch is not too large for this machine."""
    attribution = FaultAttribution(None)
    attribution.outcomes([], MODEL, 1000, None)
    like, larger = scan_error(OUT_OF_MEMORY, 1000), scan_error(OUT_OF_MEMORY, 1001)
    (outcome,) = attribution.outcomes([like], MODEL, 0, None)
    assert isinstance(outcome, Returned)
    (outcome,) = attribution.outcomes([larger], MODEL, 0, None)
    assert isinstance(outcome, Retry)


def test_a_scan_alone_out_of_memory_among_its_equals_is_charged() -> None:
    """If another scan of the same size succeeded in the same batch, memory is not short."""
    attribution = FaultAttribution(None)
    attribution.outcomes([], MODEL, 1000, None)
    (outcome,) = attribution.outcomes([scan_error(OUT_OF_MEMORY, 1000)], MODEL, 1000, None)
    assert isinstance(outcome, Retry)
