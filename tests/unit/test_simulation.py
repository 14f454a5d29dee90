"""The simulated queue."""

from collections.abc import Iterator
from itertools import islice, pairwise

import numpy as np
import pytest

from shared.batch_cost import BatchCost
from shared.simulation import (
    Adaptive,
    FixedWindow,
    Policy,
    bursty_arrivals,
    constant_arrivals,
    poisson_arrivals,
    simulate,
)

COST = BatchCost(0.05, 0.05)


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_one_by_one_it_is_the_textbook_queue(load: float) -> None:
    """Independent scans served alone wait as Pollaczek and Khinchine have it for M/D/1."""
    cost = BatchCost(0.0, 1.0)
    outcome = simulate(FixedWindow(1, 0.0), cost, poisson_arrivals(load, seed=3), scans=200_000)
    assert outcome.mean_s == pytest.approx(1 + load / (2 * (1 - load)), rel=0.03)
    assert outcome.busy_share == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("policy", [Adaptive(8, 0.01), FixedWindow(8, 0.01)])
@pytest.mark.parametrize("workers", [1, 5])
def test_every_scan_is_answered_once(policy: Policy, workers: int) -> None:
    """All scans are answered, none sooner than a pass takes, no batch above its bound."""
    rate = 20.0 * workers
    outcome = simulate(policy, COST, poisson_arrivals(rate, seed=1), scans=5000, workers=workers)
    assert len(outcome.latencies_s) == outcome.sizes.sum() == 5000
    assert outcome.latencies_s.min() >= COST.seconds(1) - 1e-9
    assert 1 <= outcome.sizes.min() <= outcome.sizes.max() <= 8
    assert 0 < outcome.busy_share <= 1


def test_the_same_seed_gives_the_same_run() -> None:
    """A run repeats exactly; another seed gives another."""
    first, again, other = (
        simulate(
            Adaptive(8, 0.01), COST, poisson_arrivals(12, seed=1), scans=500, noise=0.2, seed=seed
        ).latencies_s
        for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_window_is_held_in_full_and_no_longer() -> None:
    """A lone scan waits for a fixed window; a full batch starts with its last scan."""
    alone = simulate(FixedWindow(8, 0.3), COST, constant_arrivals(1.0), scans=5)
    assert alone.latencies_s == pytest.approx(0.3 + COST.seconds(1))
    full = simulate(FixedWindow(4, 100.0), COST, constant_arrivals(1.0), scans=8)
    assert full.sizes.tolist() == [4, 4]
    assert full.latencies_s[3] == pytest.approx(COST.seconds(4))


def test_more_workers_serve_side_by_side() -> None:
    """Ten scans at once take one pass on ten workers, whatever the policy has learnt."""
    outcome = simulate(Adaptive(8, 0.0), COST, iter([0.0] * 10), scans=10, workers=10)
    assert outcome.makespan_s == pytest.approx(COST.seconds(1))


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_where_batches_do_not_pay_the_policy_comes_close_to_single_scans(load: float) -> None:
    """Without a fixed cost, learning so adds less than a tenth to the mean latency."""
    cost, rate = BatchCost(0.0, 0.1), 10 * load
    learning, singly = (
        simulate(policy, cost, poisson_arrivals(rate, seed=2), scans=20_000).mean_s
        for policy in (Adaptive(8, 0.01), FixedWindow(1, 0.0))
    )
    assert learning < 1.1 * singly


def test_the_policy_holds_the_throughput_of_the_largest_batches() -> None:
    """At an overload the policy serves within one per cent of what the largest batches can."""
    outcome = simulate(Adaptive(8, 0.01), COST, constant_arrivals(1000.0), scans=20_000)
    assert outcome.throughput > 0.99 * 8 / COST.seconds(8)


@pytest.mark.parametrize(
    "arrivals",
    [
        poisson_arrivals(50.0, seed=4),
        constant_arrivals(50.0),
        bursty_arrivals(50.0, burst=8, gap_s=0.03, seed=4),
    ],
    ids=["poisson", "constant", "bursty"],
)
def test_arrivals_come_in_order_and_at_their_rate(arrivals: Iterator[float]) -> None:
    """Every kind of traffic is in order of time and as fast as was asked for."""
    times = list(islice(arrivals, 20_000))
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert len(times) / times[-1] == pytest.approx(50.0, rel=0.05)
