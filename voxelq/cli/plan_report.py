"""A plan as text on a terminal, as JSON and as a picture."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from planning.cost import MeasuredCost, pluralize
from planning.failure import Failure
from planning.forecast import Demand, Forecast, Spread
from planning.planner import Plan
from voxelq.cli import tables

#: Keys of the JSON that programs read, by the fields' names where these differ.
_JSON_KEYS = {
    "duration_s": "lasts_s",
    "peak_factor": "burst",
    "remaining_forecast": "left",
    "response_s": "answer_s",
}


class NoDrawing(Exception):
    """Matplotlib is not installed; ``str`` is a sentence for a person."""


def print_plan(plan: Plan, measured: MeasuredCost) -> None:
    """Print how many workers are needed, the forecast for each number, and a failure's effect."""
    out, unit = tables.stdout(), measured.unit
    out.print(_question(plan, measured), soft_wrap=True)
    out.print(_table(plan, measured))
    out.print(_answer(plan, unit), soft_wrap=True)
    out.print(_failure(plan, unit), soft_wrap=True)


def plan_numbers(plan: Plan, measured: MeasuredCost) -> dict[str, Any]:
    """Return the cost and the plan as they are written in JSON."""

    def renamed(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        return {_JSON_KEYS.get(name, name): value for name, value in fields}

    return {"cost": asdict(measured), **asdict(plan, dict_factory=renamed)}


def _question(plan: Plan, measured: MeasuredCost) -> str:
    demand, lanes = plan.demand, len(measured.lanes.speedups)
    device = f" on {measured.device}" if measured.device else ""
    return (
        f"{_load(demand)}; {demand.percentile:g} % answered within "
        f"{demand.within_s:g} s.\n"
        f"One worker{device}: {measured.cost.seconds(1):.3g} s for a scan alone, "
        f"{measured.scans_per_s:.3g} scans a second at most, with "
        f"{lanes} batch{'es' if lanes > 1 else ''} at once."
    )


def _load(demand: Demand) -> str:
    factor = demand.peak_factor
    busy = f", {factor:g} times as many in the busy stretch" if factor > 1 else ""
    return f"{demand.scans_per_hour:,.10g} scans an hour{busy}"


def _table(plan: Plan, measured: MeasuredCost) -> Table:
    table = Table(
        f"{measured.unit}s",
        "load %",
        "wait s",
        "p95",
        "p99",
        "answer s",
        "p95",
        "p99",
        f"p{plan.demand.percentile:g} within {plan.demand.within_s:g} s",
        box=None,
        pad_edge=False,
        header_style="bold",
        title=f"simulated, {plan.scans:,} scans each",
        title_justify="left",
    )
    for forecast in plan.forecasts:
        table.add_row(
            str(forecast.workers),
            f"{100 * forecast.utilisation:.0f}",
            *_cells(forecast.wait_s),
            *_cells(forecast.response_s),
            f"{'yes' if forecast.reached else 'no'} ({_brief(forecast.goal_s)})",
            style="bold" if forecast.workers == plan.needed.workers else None,
        )
    return table


def _cells(spread: Spread) -> tuple[str, str, str]:
    return _brief(spread.mean), _brief(spread.p95), _brief(spread.p99)


def _brief(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _answer(plan: Plan, unit: str) -> str:
    needed = plan.needed
    verb = "is" if needed.workers == 1 else "are"
    enough = f"{verb} enough" if needed.reached else f"{verb} too few"
    load = f"{100 * needed.utilisation:.0f} %"
    return f"{pluralize(needed.workers, unit)} {enough}: loaded to {load}."


def _failure(plan: Plan, unit: str) -> str:
    failure, remaining_workers = plan.failure, plan.needed.workers - 1
    if failure.remaining_forecast is None:
        lasting = f"the queue grows by {failure.backlog_per_hour:,.0f} scans an hour"
    else:
        lasting = _lasting(failure.remaining_forecast, plan)
    remaining = pluralize(remaining_workers, unit) if remaining_workers else "none"
    return (
        f"If one fails, {lasting} with {remaining} left. "
        f"If it is away for {failure.duration_s / 60:g} min, {_passing(failure)}."
    )


def _passing(failure: Failure) -> str:
    if failure.response_s is None:
        return "hardly a scan comes meanwhile"
    back = (
        "it takes longer to catch up than was simulated"
        if failure.caught_up_s is None
        else f"{failure.caught_up_s / 60:.1f} min after its return all is as before"
    )
    return (
        f"scans that come meanwhile take {_brief(failure.response_s.mean)} s in the mean, "
        f"{_brief(failure.response_s.p95)} s at p95, {100 * failure.late_share:.0f} % of them are "
        f"late, and {back}"
    )


def _lasting(forecast: Forecast, plan: Plan) -> str:
    outcome = "the goal is still reached" if forecast.reached else "the goal is missed"
    return f"{outcome} (p{plan.demand.percentile:g} {_brief(forecast.goal_s)} s)"


def check_drawing() -> None:
    """Raise NoDrawing if no picture can be drawn, before the simulation starts."""
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise NoDrawing(
            "A picture needs matplotlib: pip install matplotlib. Without --plot there is none."
        ) from error


def plot_plan(plan: Plan, measured: MeasuredCost, path: Path) -> None:
    """Draw time to the answer and load against the number of workers; raises NoDrawing."""
    check_drawing()
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    demand = plan.demand
    figure.suptitle(_load(demand))
    counts = [forecast.workers for forecast in plan.forecasts]
    for name, style in (("mean", "--"), ("p95", "-"), ("p99", "-")):
        seconds = [getattr(forecast.response_s, name) for forecast in plan.forecasts]
        axes[0].plot(counts, seconds, style, marker="o", label=name)
    axes[0].axhline(demand.within_s, color="black", linewidth=0.8, label="goal")
    axes[0].set(title="time to the answer", ylabel="s", yscale="log")
    axes[1].bar(counts, [100 * forecast.utilisation for forecast in plan.forecasts], width=0.6)
    axes[1].set(title="load", ylabel="% of what they can do", ylim=(0, 100))
    for axis in axes:
        _mark(axis, plan.needed.workers)
        axis.set_xlabel(f"{measured.unit}s")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _mark(axis: Any, count: int) -> None:
    axis.axvline(count, color="#c8643c", linewidth=6, alpha=0.25, zorder=0, label="needed")
