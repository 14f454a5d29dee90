"""The batching policy."""

import random
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.batching.cost_model import BatchCost, CostLearner
from shared.batching.policy import (
    ArrivalRate,
    BatchBounds,
    BatchPlanner,
    FollowUps,
    batch_size,
    size_thresholds,
    worth_waiting,
)
from worker.inference.halving import halves

MODEL = "test-model@1.0.0"

seconds = st.floats(1e-4, 100)
costs = st.builds(BatchCost, st.just(0.0) | seconds, seconds)
rates = st.floats(0, 1000)
max_sizes = st.integers(1, 64)
queues = st.integers(1, 10_000)
bounds = st.builds(
    BatchBounds, max_size=max_sizes, max_latency_s=st.floats(0, 1), adaptive=st.booleans()
)
batches = st.lists(st.tuples(st.integers(1, 64), st.floats(0, 1000)), max_size=30)


def planner(
    limits: BatchBounds, seen: list[tuple[int, float]], gap_s: float, workers: int = 1
) -> BatchPlanner:
    """Return a planner that saw these batches, and a scan every ``gap_s`` seconds."""
    made = BatchPlanner(limits)
    for number, (size, taken_s) in enumerate(seen):
        made.observe_batch(MODEL, size, taken_s)
        made.observe_queue(
            arrived=number, workers=workers, idle=1, now_s=number * gap_s, ages_s=[0.0]
        )
    return made


@given(bounds, batches, seconds, queues, st.integers(0, 9), st.floats(0, 2))
def test_bounds_are_never_passed(
    limits: BatchBounds,
    seen: list[tuple[int, float]],
    gap_s: float,
    queued: int,
    left: int,
    waited_s: float,
) -> None:
    """After any observations, no batch is larger and none waits longer than allowed."""
    plan = planner(limits, seen, gap_s)
    size = batch_size(plan.thresholds(MODEL), queued)
    assert 1 <= size <= limits.max_size
    if plan.wants_more(MODEL, size=size, left=left, waited_s=waited_s):
        assert size < limits.max_size
        assert waited_s < limits.max_latency_s


@given(batches, seconds, st.integers(1, 63), st.integers(1, 9))
def test_no_scan_waits_while_others_are_queued(
    seen: list[tuple[int, float]], gap_s: float, size: int, left: int
) -> None:
    """With scans still queued, the size drawn is the size chosen, and computing begins at once."""
    plan = planner(BatchBounds(64, 1.0, adaptive=True), seen, gap_s)
    assert not plan.wants_more(MODEL, size=size, left=left, waited_s=0.0)


@given(seconds, st.floats(0, 10), st.floats(0, 1))
def test_a_lone_client_never_waits(taken_s: float, pause_s: float, max_latency_s: float) -> None:
    """If each scan is submitted only after the result of the last, a batch of one never waits."""
    plan = BatchPlanner(BatchBounds(64, max_latency_s, adaptive=True))
    now_s = 0.0
    for number in range(30):
        plan.observe_queue(arrived=number, workers=1, idle=1, now_s=now_s, ages_s=[0.0])
        assert not plan.wants_more(MODEL, size=1, left=0, waited_s=0.0)
        plan.observe_batch(MODEL, 1, taken_s)
        now_s += taken_s + pause_s


@given(st.integers(1, 80), st.floats(0.001, 1), batches)
def test_a_fixed_window_ignores_learnt_costs(
    size: int, window_s: float, seen: list[tuple[int, float]]
) -> None:
    """Without adaptive batching a batch gathers until it is full or its window is over."""
    plan = planner(BatchBounds(81, window_s, adaptive=False), seen, 1.0)
    assert plan.wants_more(MODEL, size=size, left=0, waited_s=0)
    assert not plan.wants_more(MODEL, size=size, left=0, waited_s=window_s)
    assert plan.thresholds(MODEL) == []  # whatever is there


@given(costs, rates, max_sizes, queues)
def test_a_longer_queue_never_makes_a_smaller_batch(
    cost: BatchCost, rate: float, max_size: int, queued: int
) -> None:
    """The size grows with the queue, and never beyond it."""
    thresholds = size_thresholds(cost, rate, max_size)
    assert batch_size(thresholds, queued) <= min(queued, batch_size(thresholds, queued + 1))


@given(costs, rates, rates, max_sizes, queues)
def test_faster_arrivals_never_make_a_smaller_batch(
    cost: BatchCost, slow: float, more: float, max_size: int, queued: int
) -> None:
    """The size grows with the arrival rate, so that throughput holds."""
    assert batch_size(size_thresholds(cost, slow, max_size), queued) <= batch_size(
        size_thresholds(cost, slow + more, max_size), queued
    )


@pytest.mark.parametrize(("known", "size"), [(True, 1), (False, 4)])
def test_batches_alone_do_not_hide_the_cost_of_concurrent_ones(known: bool, size: int) -> None:
    """Single scans mostly run alone and pairs concurrently; that alone makes no pair faster."""
    plan, chance = BatchPlanner(BatchBounds(8, 0.0, adaptive=True)), random.Random(3)
    for _ in range(400):
        scans = chance.choice([1, 2])
        plan.observe_batch(
            MODEL, 1, 0.33, concurrency=1.0
        )  # all cores for one scan: they are used badly
        plan.observe_batch(MODEL, scans, 0.25 * scans, concurrency=2.0 if known else 1.0)
    plan.observe_queue(arrived=0, workers=1, now_s=0.0)
    plan.observe_queue(arrived=38, workers=1, now_s=10.0)
    assert batch_size(plan.thresholds(MODEL), 4) == size


@given(costs, rates, max_sizes, queues, st.integers(1, 100))
def test_idle_workers_are_left_their_share(
    cost: BatchCost, rate: float, max_size: int, queued: int, idle: int
) -> None:
    """No worker draws scans that idle workers could begin at once."""
    size = batch_size(size_thresholds(cost, rate, max_size), queued, idle=idle)
    assert size == 1 or (size - 1) * idle < queued


@given(seconds, rates, max_sizes, queues)
def test_where_a_bigger_batch_does_not_pay_there_is_none(
    per_scan_s: float, rate: float, max_size: int, queued: int
) -> None:
    """Without a fixed cost every scan runs alone, under any load, and no batch waits."""
    cost = BatchCost(0.0, per_scan_s)
    assert batch_size(size_thresholds(cost, rate, max_size), queued) == 1
    assert not worth_waiting(cost, rate, 1)


@given(seconds, rates, max_sizes, queues)
def test_where_scans_are_free_all_go_together(
    fixed_s: float, rate: float, max_size: int, queued: int
) -> None:
    """If a batch has a fixed cost only, it takes every queued scan."""
    thresholds = size_thresholds(BatchCost(fixed_s, 0.0), rate, max_size)
    assert batch_size(thresholds, queued) == min(queued, max_size)


@given(seconds, seconds, max_sizes)
def test_an_overload_reaches_the_largest_batch(
    fixed_s: float, per_scan_s: float, max_size: int
) -> None:
    """In an overload a long queue gets the largest batches, if batches save time."""
    assume(fixed_s / per_scan_s > 0.001)
    cost = BatchCost(fixed_s, per_scan_s)
    rate = 2 * max_size / cost.seconds(max_size)
    assert batch_size(size_thresholds(cost, rate, max_size), 10**9) == max_size


@given(costs, st.integers(1, 64), st.integers(1, 16), st.floats(0.0, 0.9), st.integers(1, 9))
def test_the_size_is_the_one_of_least_waiting(
    cost: BatchCost, queued: int, max_size: int, load: float, workers: int
) -> None:
    """No other size gives a shorter wait in the fluid model of the queue."""
    rate = load / cost.seconds(1)
    assume(rate < 0.95 * max_size / cost.seconds(max_size))

    def waiting(size: int) -> float:
        return (queued / workers + size) / (size / cost.seconds(size) - rate)

    chosen = batch_size(size_thresholds(cost, rate, max_size, workers), queued)
    least = min(waiting(size) for size in range(1, min(queued, max_size) + 1))
    assert waiting(chosen) == pytest.approx(least, rel=1e-6)


@given(st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 1000))
def test_the_line_is_learnt(fixed_s: float, per_scan_s: float, seed: int) -> None:
    """From batches of all sizes with 5 % of noise, the cost is known within 10 % of a pass."""
    chance, truth, learner = random.Random(seed), BatchCost(fixed_s, per_scan_s), CostLearner()
    for _ in range(300):
        size = chance.randint(1, 8)
        learner.observe(size, truth.seconds(size) * chance.uniform(0.95, 1.05))
    assert learner.cost is not None
    for size in (1, 8):
        assert learner.cost.seconds(size) == pytest.approx(truth.seconds(size), rel=0.1)


@pytest.mark.parametrize(
    ("cost", "noise", "least", "most"),
    [(BatchCost(0.0, 0.25), 0.2, 0, 60), (BatchCost(0.05, 0.2), 0.05, 200, 200)],
)
def test_noise_is_no_reason_for_a_larger_batch(
    cost: BatchCost, noise: float, least: int, most: int
) -> None:
    """Of 200 workers with a noisy device, few form a useless batch and all a useful one."""
    formed = 0
    for seed in range(200):
        chance, learner = random.Random(seed), CostLearner()
        for _ in range(200):
            size = 1 + (chance.random() < 0.2)
            learner.observe(size, cost.seconds(size) * chance.lognormvariate(0, noise))
        assert learner.cost is not None
        formed += batch_size(size_thresholds(learner.cost, 3.2, 4), 6) > 1
    assert least <= formed <= most


def test_what_concurrent_batches_take_from_each_other_is_no_reason_for_a_batch() -> None:
    """If a larger batch has more than its share of the cores, pooled costs stay correct.

    Costs taken one by one would make a large part of a pass look fixed.
    """
    truth, fixed = BatchCost(0.0, 0.22), {1: list[float](), 8: list[float]()}
    for seed in range(50):
        chance, size, taken_s = random.Random(seed), 1, 0.0
        learners = {pool: CostLearner(pool) for pool in fixed}
        for _ in range(800):
            beside = chance.randint(1, 4)
            takes_s = 0.03 * (beside - size)  # what the one beside does not pay for itself
            seconds = truth.seconds(size) + takes_s - taken_s
            for learner in learners.values():
                learner.observe(size, seconds * chance.lognormvariate(0, 0.05))
            size, taken_s = beside, takes_s
        for pool, learner in learners.items():
            assert learner.cost is not None
            fixed[pool].append(learner.cost.fixed_s / learner.cost.seconds(1))
    assert statistics.median(fixed[1]) > 0.25
    assert statistics.median(fixed[8]) < 0.1


@given(batches.filter(bool))
def test_a_cost_is_never_negative(seen: list[tuple[int, float]]) -> None:
    """For any observed times, neither part of a cost falls below zero."""
    learner = CostLearner()
    for size, taken_s in seen:
        learner.observe(size, taken_s)
    assert learner.cost is not None
    assert learner.cost.fixed_s >= 0
    assert learner.cost.per_scan_s >= 0


@given(costs, st.integers(1, 8), st.floats(0, 1e6))
def test_one_outlier_is_ignored(cost: BatchCost, size: int, taken_s: float) -> None:
    """One batch of a million times the usual time, or of no time, moves no estimate by a tenth."""
    learner = CostLearner()
    for number in range(200):
        learner.observe(1 + number % 8, cost.seconds(1 + number % 8))
    before = learner.cost
    learner.observe(size, taken_s)
    assert before is not None
    assert learner.cost is not None
    for any_size in (1, 4, 8):
        expected = before.seconds(any_size)
        assert learner.cost.seconds(any_size) == pytest.approx(
            expected, abs=0.1 * max(expected, before.seconds(size))
        )


@given(costs, st.floats(0.2, 5))
def test_a_lasting_change_is_followed(cost: BatchCost, factor: float) -> None:
    """After 400 batches of another speed, the estimate is that of the new speed."""
    learner = CostLearner()
    for number in range(500):
        size = 1 + number % 8
        learner.observe(size, cost.seconds(size) * (1 if number < 100 else factor))
    assert learner.cost is not None
    assert learner.cost.seconds(8) == pytest.approx(factor * cost.seconds(8), rel=0.05)


@given(st.floats(0.01, 1000), st.integers(1, 1000))
def test_the_rate_of_arrivals_is_learnt(rate: float, at_once: int) -> None:
    """Scans that arrive evenly, one by one or in groups, give their true rate."""
    learnt = ArrivalRate()
    learnt.window_s = 50 * at_once / rate
    for number in range(1000):
        learnt.update(number * at_once, number * at_once / rate)
    assert learnt.per_s == pytest.approx(rate, rel=0.05)


@given(st.floats(0.001, 0.1), st.integers(2, 20))
def test_a_series_of_submits_is_known_for_one(gap_s: float, length: int) -> None:
    """Scans that arrive in series are expected at the rate of a series, not of the day."""
    follow_ups = FollowUps(2 * gap_s)
    for series in range(100):
        for number in range(length):
            follow_ups.observe_arrival(1000 * series + number * gap_s)
    # as long as a series waits at most: its own gaps, and the horizon after the last scan
    expected = (length - 1) / ((length - 1) * gap_s + 2 * gap_s)
    assert follow_ups.per_s == pytest.approx(expected, rel=0.2)


@given(st.floats(0.001, 1), st.floats(1.01, 100))
def test_no_batch_waits_for_a_scan_that_comes_too_late(horizon_s: float, factor: float) -> None:
    """If scans arrive evenly and further apart than the horizon, no following scan is expected."""
    follow_ups = FollowUps(horizon_s)
    for number in range(100):
        follow_ups.observe_arrival(number * horizon_s * factor)
    assert follow_ups.per_s == 0


def test_a_series_shares_a_pass_where_passes_are_expensive() -> None:
    """Once series of submits are known, the first scan of one waits for the second."""
    plan = BatchPlanner(BatchBounds(8, 0.005, adaptive=True))
    for size in (1, 2, 4):
        plan.observe_batch(MODEL, size, BatchCost(0.04, 0.004).seconds(size))
    for series in range(20):
        for number in range(8):
            plan.observe_arrival(series + 0.002 * number)
    plan.observe_queue(arrived=161, workers=1, idle=1, now_s=21.0, ages_s=[0.0])
    assert plan.wants_more(MODEL, size=1, left=0, waited_s=0.0)
    plan.observe_queue(arrived=161, workers=2, idle=2, now_s=21.001)
    assert not plan.wants_more(MODEL, size=1, left=0, waited_s=0.0)  # another worker is idle
    plan.observe_queue(arrived=161, workers=1, idle=1, now_s=21.006)
    assert not plan.wants_more(MODEL, size=1, left=0, waited_s=0.0)  # no scan followed


@given(st.lists(st.integers(), min_size=2))
def test_halves_lose_nothing_and_shrink(batch: list[int]) -> None:
    """The two halves together are the batch, and each half is smaller than the batch."""
    first, second = halves(batch)
    assert [*first, *second] == batch
    assert 0 < len(second) <= len(first) < len(batch)


def test_a_model_whose_batches_are_unknown_has_the_thresholds_of_unknown_ones() -> None:
    """Each model's batch size depends on the costs of its own batches only."""
    plan = BatchPlanner(BatchBounds(8, 0.0, adaptive=True))
    for size in (1, 2, 4, 8) * 4:
        plan.observe_batch("steep", size, 10.0 * size)
        plan.observe_batch("flat", size, 10.0)
    thresholds = plan.all_thresholds()
    assert thresholds.keys() == {"", "steep", "flat"}
    assert batch_size(thresholds["flat"], 8) == 8
    assert batch_size(thresholds["steep"], 8) == 1
    assert thresholds[""] == plan.thresholds("never seen")
