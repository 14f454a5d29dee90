"""Whose fault an error is."""

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
    """Return the outcome of an error with this trouble of the store or the device."""

    def check_store() -> None:
        if store:
            raise StoreUnavailable(store.reason)

    check = StoreCheck(check_store, check_store)
    attribution = FaultAttribution(check)
    (outcome,) = attribution.outcomes([scan_error(error)], MODEL, 0, lambda: device)
    check.close()
    return outcome


@pytest.mark.parametrize("error", [OSError(), ValueError(), ScanMissing(""), StoreUnavailable("")])
def test_what_fails_while_the_store_is_away_is_no_scans_fault(error: Exception) -> None:
    """With the store in trouble the job goes back uncharged, whatever its scan raised."""
    outcome = attribute(error, store=Trouble("The store is away."))
    assert isinstance(outcome, Returned)
    assert outcome.trouble.reason == "The store is away."


def test_what_fails_on_a_dead_device_is_no_scans_fault() -> None:
    """An error of the network is the device's where the network fails without a scan too."""
    outcome = attribute(RuntimeError("CUDA error"), device=Trouble("It is dead.", restart=True))
    assert isinstance(outcome, Returned)
    assert outcome.trouble.restart


def test_a_bad_scan_is_its_own_fault_whatever_else_is_wrong() -> None:
    """A volume that cannot be used fails, without any check."""
    outcome = attribute(BadScan("It is empty."), store=Trouble("The store is away."))
    assert isinstance(outcome, Failed)


def test_in_a_sound_environment_an_error_is_the_scans() -> None:
    """What the network raises on one scan fails that scan; what a disk raises is tried again."""
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
    """Where another scan of the same size succeeded in the same batch, memory is not short."""
    attribution = FaultAttribution(None)
    attribution.outcomes([], MODEL, 1000, None)
    (outcome,) = attribution.outcomes([scan_error(OUT_OF_MEMORY, 1000)], MODEL, 1000, None)
    assert isinstance(outcome, Retry)
