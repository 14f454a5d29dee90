"""The service recovers from every fault: one test for each row of the table."""

import pytest

from benchmarks.faults.rows import Row, Trial, try_row
from tests.faults.conftest import SharedService
from tests.faults.table import rows


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_fault_that_passes_leaves_no_trace(
    shared_service: SharedService, trials: list[Trial], row: Row
) -> None:
    """After the fault all five invariants hold, within the row's bound and without an operator."""
    service = shared_service.of(row.kind)
    trial = Trial(row, violations=["the stage was not reached, or the fault not injected"])
    try:
        trial = try_row(service, row)
    finally:
        trials.append(trial)
        if trial.violations:
            shared_service.end()  # a broken service must not fail the next row
    assert trial.violations == []
