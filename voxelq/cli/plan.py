"""The command `voxelq plan`, which says how many workers a load needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxelq.cli import tables
from voxelq.cli.exits import FAILED, USAGE, UsageError
from voxelq.cli.extras import SHARED, require
from voxelq.cli.options import JsonOption

if TYPE_CHECKING:
    from planning.cost import MeasuredCost


def plan(
    scans_per_hour: Annotated[
        float, typer.Option("--load", min=0.1, help="Scans an hour, in the mean.")
    ],
    within_s: Annotated[float, typer.Option("--within", min=0.001, help="Goal, in seconds.")],
    percentile: Annotated[
        float, typer.Option(min=1, max=99.9, help="Per cent of the scans that reach the goal.")
    ] = 95.0,
    peak_factor: Annotated[
        float,
        typer.Option(
            "--burst", min=1, help="Ten minutes of each hour bring so many times the mean."
        ),
    ] = 1.0,
    measured: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="JSON of `benchmarks.components` or `benchmarks.scan`.",
        ),
    ] = None,
    fixed_s: Annotated[
        float | None, typer.Option("--fixed", min=0, help="Seconds of any forward pass.")
    ] = None,
    per_scan_s: Annotated[
        float | None, typer.Option("--per-scan", min=0, help="Seconds that each scan in it adds.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Plan for this number of workers instead of the fewest."),
    ] = None,
    scans: Annotated[
        int | None, typer.Option(min=1000, help="Scans to simulate for each number of workers.")
    ] = None,
    outage_minutes: Annotated[
        float, typer.Option(min=0.1, help="How long a worker is away that fails.")
    ] = 10.0,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="Picture to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many workers a load needs, the waits to expect, and what a failure does.

    The cost of a scan is measured on the machine that will do the work, by
    `python -m benchmarks.components`, or given as two numbers. Needs no running service.
    """
    require("plan", SHARED)

    # these need more than a base install
    from planning.forecast import Demand
    from planning.planner import GoalOutOfReach, make_plan
    from voxelq.cli.plan_report import (
        NoDrawing,
        check_drawing,
        plan_numbers,
        plot_plan,
        print_plan,
    )

    cost, lease_s = _cost(measured, fixed_s, per_scan_s), _lease_s()
    try:
        if plot is not None:
            check_drawing()
        with tables.stderr().status("simulating") as status:
            made = make_plan(
                cost,
                Demand(scans_per_hour, within_s, percentile, peak_factor),
                workers=workers,
                scans=scans,
                outage_s=60 * outage_minutes,
                lease_s=lease_s,
                on_forecast=lambda count: status.update(f"simulating {count} {cost.unit}(s)"),
            )
        if plot is not None:
            plot_plan(made, cost, plot)
    except NoDrawing as error:
        tables.complain(str(error))
        raise typer.Exit(USAGE) from error
    except GoalOutOfReach as error:
        tables.complain(str(error))
        raise typer.Exit(FAILED) from error
    if as_json:
        tables.print_json(plan_numbers(made, cost))
    else:
        print_plan(made, cost)


def _cost(measured: Path | None, fixed_s: float | None, per_scan_s: float | None) -> "MeasuredCost":
    from planning.cost import BadMeasurement, MeasuredCost, read_cost
    from shared.batching.cost_model import BatchCost

    numbers_given = fixed_s is not None or per_scan_s is not None
    if (measured is not None) == numbers_given:
        raise typer.BadParameter("give --measured, or --fixed and --per-scan")
    if measured is not None:
        try:
            return read_cost(measured)
        except BadMeasurement as error:
            raise typer.BadParameter(str(error)) from error
    if fixed_s is None or per_scan_s is None or fixed_s + per_scan_s <= 0:
        raise typer.BadParameter("--fixed and --per-scan go together, and one is above 0")
    return MeasuredCost(BatchCost(fixed_s, per_scan_s))


def _lease_s() -> float:
    """Return the lease in the settings of the environment, as the service reads it."""
    from pydantic import ValidationError

    from shared.settings import Settings

    try:
        return Settings().lease_s
    except ValidationError as error:
        raise UsageError("A setting cannot be used: `voxelq doctor` says which.") from error
