"""The command `voxelq doctor`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from voxelq.cli import tables
from voxelq.cli.exits import FAILED, UNREACHABLE
from voxelq.cli.extras import SHARED, require
from voxelq.cli.options import JsonOption, UrlOption

if TYPE_CHECKING:
    from voxelq.doctor.diagnosis import Diagnosis

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    url: UrlOption = None,
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="The data folder of a `voxelq up`.")
    ] = Path("voxelq-data"),
    as_json: JsonOption = False,
) -> None:
    """Report what is wrong with the service, and what to do about it.

    It checks Redis, store, disk, models, workers, clocks, the API, settings and versions, as
    seen from here. Exit code 1 if there is a problem, 3 if neither Redis nor the API answers.
    """
    require("doctor", SHARED)

    from voxelq.doctor.examination import examine  # needs more than a base install

    diagnoses = examine(url, data_dir)
    if as_json:
        tables.print_json({"checks": [asdict(diagnosis) for diagnosis in diagnoses]})
    else:
        _print(diagnoses)
    away = {diagnosis.what for diagnosis in diagnoses if not diagnosis.reached}
    if away >= {"Redis", "API"}:
        raise typer.Exit(UNREACHABLE)
    if any(diagnosis.state == "problem" for diagnosis in diagnoses):
        raise typer.Exit(FAILED)


def _print(diagnoses: Sequence["Diagnosis"]) -> None:
    console = tables.stdout()
    for diagnosis in diagnoses:
        state = Text(f"{diagnosis.state:8}", style=_STYLES[diagnosis.state])
        line = state + Text(f" {diagnosis.what}: {diagnosis.says}")
        console.print(line, soft_wrap=True)
        if diagnosis.todo:
            console.print(Text(f"{'':9}{diagnosis.todo}", style="dim"), soft_wrap=True)
