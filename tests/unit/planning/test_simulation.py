"""The simulated queue."""

from collections.abc import Iterator
from itertools import islice, pairwise

import numpy as np
import pytest

from planning.arrivals import (
    bursty_arrivals,
    constant_arrivals,
    peak_share,
    peaked_arrivals,
    poisson_arrivals,
)
from planning.simulation import (
    Adaptive,
    FixedWindow,
    Outage,
    Policy,
    simulate,
)
from planning.workers import LaneSpeeds
from shared.batching.cost_model import BatchCost

ONE_BY_ONE = FixedWindow(1, 0.0)
COST = BatchCost(0.05, 0.05)


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_single_scans_are_the_textbook_queue(load: float) -> None:
    """Independent single scans wait as the Pollaczek-Khinchine formula says for M/D/1."""
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
    assert len(outcome.latency_s) == outcome.sizes.sum() == 5000
    assert outcome.latency_s.min() >= COST.seconds(1) - 1e-9
    assert 1 <= outcome.sizes.min() <= outcome.sizes.max() <= 8
    assert 0 < outcome.busy_share <= 1


def test_the_same_seed_gives_the_same_run() -> None:
    """A run repeats exactly; another seed gives another."""
    first, again, other = (
        simulate(
            Adaptive(8, 0.01), COST, poisson_arrivals(12, seed=1), scans=500, noise=0.2, seed=seed
        ).latency_s
        for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_window_is_held_in_full_and_no_longer() -> None:
    """A lone scan waits for a fixed window; a full batch starts with its last scan."""
    alone = simulate(FixedWindow(8, 0.3), COST, constant_arrivals(1.0), scans=5)
    assert alone.latency_s == pytest.approx(0.3 + COST.seconds(1))
    full = simulate(FixedWindow(4, 100.0), COST, constant_arrivals(1.0), scans=8)
    assert full.sizes.tolist() == [4, 4]
    assert full.latency_s[3] == pytest.approx(COST.seconds(4))


def test_workers_compute_at_the_same_time() -> None:
    """Ten scans at once take one pass on ten workers, for any learnt costs."""
    outcome = simulate(Adaptive(8, 0.0), COST, iter([0.0] * 10), scans=10, workers=10)
    assert outcome.makespan_s == pytest.approx(COST.seconds(1))


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_where_batches_do_not_pay_the_policy_comes_close_to_single_scans(load: float) -> None:
    """Without a fixed cost, learning this adds less than a tenth to the mean latency."""
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
        bursty_arrivals(50.0, series_size=8, gap_s=0.03, seed=4),
    ],
    ids=["poisson", "constant", "bursty"],
)
def test_arrivals_come_in_order_and_at_their_rate(arrivals: Iterator[float]) -> None:
    """Arrivals of each kind are in order of time and have the requested rate."""
    times = list(islice(arrivals, 20_000))
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert len(times) / times[-1] == pytest.approx(50.0, rel=0.05)


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_lanes_that_share_a_worker_are_the_textbook_queue(load: float) -> None:
    """Scans that share one worker evenly take E[S] / (1 - load) (M/G/1 with processor sharing)."""
    shared = LaneSpeeds((1.0,) * 200)
    arrivals = poisson_arrivals(load, seed=5)
    outcome = simulate(
        ONE_BY_ONE, BatchCost(0.0, 1.0), arrivals, scans=100_000, lanes=shared, noise=0.5
    )
    assert outcome.mean_s == pytest.approx(1 / (1 - load), rel=0.05)
    assert outcome.busy_share == pytest.approx(load, rel=0.02)
    assert outcome.wait_s.max() == 0


def test_lanes_that_do_not_slow_each_other_down_are_workers() -> None:
    """A worker whose two lanes do twice the work equals two workers with one lane each."""
    (together, apart) = (
        simulate(
            ONE_BY_ONE,
            COST,
            poisson_arrivals(15.0, seed=6),
            scans=2000,
            workers=workers,
            lanes=LaneSpeeds(speedups),
        )
        for workers, speedups in ((1, (1.0, 2.0)), (2, (1.0,)))
    )
    assert together.latency_s == pytest.approx(apart.latency_s)


def test_a_batch_costs_its_share_of_a_worker() -> None:
    """The costs of batches add up to the time in which their worker was busy."""
    outcome = simulate(
        ONE_BY_ONE,
        BatchCost(0.0, 1.0),
        iter([0.0, 0.5, 9.0]),
        scans=3,
        lanes=LaneSpeeds((1.0, 1.25)),
    )
    # alone to 0.5, then two at 0.625 each: the first ends at 1.3, the second alone at 1.8
    assert outcome.latency_s == pytest.approx([1.3, 1.3, 1.0])
    assert outcome.busy_share * outcome.makespan_s == pytest.approx(1.8 + 1.0)


def test_an_upload_delays_a_busy_worker() -> None:
    """An upload that takes cores from a busy worker delays its batch; an idle one loses none."""
    outcome = simulate(
        ONE_BY_ONE, BatchCost(0.0, 1.0), iter([0.0, 0.5, 9.0]), scans=3, upload_s=0.2
    )
    assert outcome.latency_s == pytest.approx([1.2, 1.7, 1.0])


@pytest.mark.parametrize("speedups", [(), (2.0,), (1.0, 0.0)])
def test_lanes_begin_with_one_alone(speedups: tuple[float, ...]) -> None:
    """The speed of a batch alone is the unit, and no speed is zero."""
    with pytest.raises(ValueError, match="first lane"):
        LaneSpeeds(speedups)


def test_a_failed_worker_delays_its_scans_and_loses_none() -> None:
    """Scans of a worker that fails run once the failure is noticed; all scans are answered."""
    outage = Outage(at_s=10.5, duration_s=20.0, noticed_after_s=3.0)
    outcome = simulate(
        ONE_BY_ONE, BatchCost(0.0, 1.0), iter([10.0, 10.2, 12.0]), scans=3, outage=outage
    )
    assert outcome.latency_s == pytest.approx([21.5, 22.3, 21.5])
    with_another = simulate(
        ONE_BY_ONE,
        BatchCost(0.0, 1.0),
        iter([10.0, 10.2, 12.0]),
        scans=3,
        workers=2,
        outage=outage,
        seed=1,
    )
    assert with_another.latency_s.min() >= 1
    assert with_another.latency_s.max() == pytest.approx(13.5 + 1 - 10.0, abs=0.3)


@pytest.mark.parametrize("lanes", [LaneSpeeds(), LaneSpeeds((1.0, 1.3, 1.4))])
def test_an_outage_under_load_is_caught_up_with(lanes: LaneSpeeds) -> None:
    """Waits grow while one of three workers is away, and are what they were once it is back."""
    rate = 2.2 * lanes.most
    outcome = simulate(
        Adaptive(4, 0.005),
        BatchCost(0.01, 0.99),
        poisson_arrivals(rate, seed=8),
        scans=40_000,
        workers=3,
        lanes=lanes,
        outage=Outage(at_s=2000.0, duration_s=600.0, noticed_after_s=15.0),
    )
    arrived_s, latencies = outcome.arrived_s, outcome.latency_s
    assert outcome.sizes.sum() >= 40_000
    assert latencies.min() > 0
    before, during = (
        latencies[arrived_s < 1990].mean(),
        latencies[(arrived_s > 2000) & (arrived_s < 2600)].mean(),
    )
    after = latencies[arrived_s > 6000].mean()
    assert during > 3 * before
    assert after < 2 * before


@pytest.mark.parametrize("factor", [1.0, 3.0, 6.0, 12.0])
def test_peaks_have_their_share_of_scans(factor: float) -> None:
    """The peak of an hour has ``factor`` times the mean rate, and the whole hour the mean."""
    times = np.array(list(islice(peaked_arrivals(1.0, peak_factor=factor, seed=2), 36_000)))
    assert np.all(np.diff(times) >= 0)
    assert len(times) / times[-1] == pytest.approx(1.0, rel=0.05)
    share = peak_share(factor)
    busy = np.mean(times % 3600 >= 3600 * (1 - share))
    assert busy == pytest.approx(factor * share, rel=0.05)


def test_a_peak_below_the_mean_is_refused() -> None:
    """A factor below 1 is refused."""
    with pytest.raises(ValueError, match="at least as many"):
        next(peaked_arrivals(1.0, peak_factor=0.5, seed=0))
