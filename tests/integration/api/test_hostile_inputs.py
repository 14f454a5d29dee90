"""A short run of hostile inputs against a real API process; the long one is a benchmark."""

import asyncio

from benchmarks.hostile.__main__ import ATTACKS, api, attack


def test_hostile_inputs_are_answered() -> None:
    """Mutated scans, forms, JSON, heads and records are answered, and nothing is kept."""
    with api() as target:
        tally = asyncio.run(attack(target, 400, seed=12, kinds=list(ATTACKS)))
    assert tally.faults == []
    assert tally.inputs >= 390
    assert all(tally.statuses.values())
