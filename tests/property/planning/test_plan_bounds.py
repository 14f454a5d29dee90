"""Plans are consistent, for any load and goal."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planning.cost import MeasuredCost
from planning.forecast import Demand, least_workers
from planning.planner import GoalOutOfReach, Plan, make_plan
from planning.workers import LaneSpeeds
from shared.batching.cost_model import BatchCost

SCANS = 1000

costs = st.builds(
    MeasuredCost,
    st.builds(BatchCost, st.floats(0.0, 0.5), st.floats(0.05, 2.0)),
    lanes=st.sampled_from([LaneSpeeds(), LaneSpeeds((1.0, 1.2)), LaneSpeeds((1.0, 1.9, 2.5, 2.5))]),
    noise=st.floats(0.0, 0.3),
    outside_s=st.floats(0.0, 0.2),
    busy_outside_s=st.none() | st.floats(0.2, 0.5),
    max_batch=st.sampled_from([1, 4]),
)
#: The load, as the number of workers that it keeps busy all the time.
busy = st.floats(0.05, 6.0)
#: The goal, as a multiple of the time of a scan that no other scan delays.
patience = st.floats(1.3, 20.0)


def demand(measured: MeasuredCost, workers: float, patience: float) -> Demand:
    """Return a load that keeps this many workers busy, with a goal."""
    per_hour = 3600 * workers * measured.scans_per_s
    return Demand(per_hour, patience * measured.alone_s(1.645))


def plan(measured: MeasuredCost, asked: Demand) -> Plan:
    """Return a quick plan; discard examples whose goal no number of workers reaches."""
    try:
        return make_plan(measured, asked, scans=SCANS, outage_s=6.0)
    except GoalOutOfReach:
        assume(False)
        raise


@settings(max_examples=15, deadline=None)
@given(costs, busy, patience, st.floats(1.15, 4.0))
def test_more_load_never_needs_fewer(
    measured: MeasuredCost, workers: float, patience_factor: float, more: float
) -> None:
    """A heavier load needs as many workers, or more."""
    light = plan(measured, demand(measured, workers, patience_factor))
    heavy = plan(measured, demand(measured, more * workers, patience_factor))
    assert heavy.needed.workers >= light.needed.workers


@settings(max_examples=15, deadline=None)
@given(costs, busy, patience, st.floats(1.0, 10.0))
def test_a_looser_goal_never_needs_more(
    measured: MeasuredCost, workers: float, patience_factor: float, looser: float
) -> None:
    """Clients that accept a longer wait need as many workers, or fewer."""
    strict = plan(measured, demand(measured, workers, patience_factor))
    loose = plan(measured, demand(measured, workers, looser * patience_factor))
    assert loose.needed.workers <= strict.needed.workers


@settings(max_examples=15, deadline=None)
@given(costs, busy, patience)
def test_what_is_needed_is_enough_and_one_less_is_not(
    measured: MeasuredCost, workers: float, patience_factor: float
) -> None:
    """The workers needed are loaded below what they can do and reach the goal; fewer miss it."""
    asked = demand(measured, workers, patience_factor)
    made = plan(measured, asked)
    assert made.needed.reached
    assert made.needed.goal_s <= asked.within_s * (1 + 1e-9)
    for one in made.forecasts:
        assert 0 < one.utilisation < 1
        assert one.utilisation == pytest.approx(
            asked.rate / (one.workers * measured.scans_per_s), rel=1e-9
        )
        assert one.wait_s.mean <= one.response_s.mean
        assert one.response_s.p95 <= one.response_s.p99
        if one.workers == made.needed.workers - 1:
            assert not one.reached
    if made.failure.remaining_forecast is None:
        assert made.needed.workers == least_workers(measured, asked)
        assert made.failure.backlog_per_hour >= 0
    else:
        assert made.failure.remaining_forecast.workers == made.needed.workers - 1


@settings(max_examples=15, deadline=None)
@given(costs, busy, st.floats(0.1, 0.99))
def test_a_goal_below_the_work_itself_is_out_of_reach(
    measured: MeasuredCost, workers: float, hurry: float
) -> None:
    """No number of workers answers faster than the time of a single scan."""
    asked = demand(measured, workers, hurry)
    with pytest.raises(GoalOutOfReach, match="no number of"):
        make_plan(measured, asked, scans=SCANS)


@settings(deadline=None)
@given(costs, st.floats(0.1, 50.0))
def test_the_least_number_just_keeps_up(measured: MeasuredCost, workers: float) -> None:
    """One worker less than the least falls behind, the least does not."""
    asked = demand(measured, workers, 2.0)
    least = least_workers(measured, asked)
    # a rate that is exactly what the workers can do may be rounded either way
    assert asked.rate < math.nextafter(least * measured.scans_per_s, math.inf)
    assert asked.rate >= math.nextafter((least - 1) * measured.scans_per_s, 0)
