"""A short run of hostile inputs against a real API process; the long one is a benchmark."""

import asyncio

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.run import run_attacks
from benchmarks.hostile.target import running_api


def test_hostile_inputs_are_answered() -> None:
    """Mutated scans, forms, JSON, heads and records are answered, and nothing of them is kept."""
    with running_api() as target:
        tally = asyncio.run(run_attacks(target, 400, seed=12, kinds=list(ATTACKS)))
    assert tally.faults == []
    assert tally.inputs >= 390
    assert all(tally.statuses.values())
