"""The command `voxelq doctor`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from voxelq.cli import tables
from voxelq.cli.options import JsonOption, UrlOption
from voxelq.doctor.doctor import examine
from voxelq.doctor.finding import Diagnosis

PROBLEM, UNREACHABLE = 1, 3
_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    url: UrlOption = None,
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="The data folder of a `voxelq up`.")
    ] = Path("voxelq-data"),
    as_json: JsonOption = False,
) -> None:
    """Say in words what is wrong with the service, and what to do about it.

    It looks at Redis, store, disk, models, workers, clocks, the API, settings and versions, as
    seen from here. Exit code 1 if there is a problem, 3 if neither Redis nor the API answers.
    """
    found = examine(url, data_dir)
    if as_json:
        tables.print_json({"checks": [asdict(diagnosis) for diagnosis in found]})
    else:
        _print(found)
    away = {diagnosis.what for diagnosis in found if not diagnosis.reached}
    if away >= {"Redis", "API"}:
        raise typer.Exit(UNREACHABLE)
    if any(diagnosis.state == "problem" for diagnosis in found):
        raise typer.Exit(PROBLEM)


def _print(found: Sequence[Diagnosis]) -> None:
    console = tables.stdout()
    for diagnosis in found:
        state = Text(f"{diagnosis.state:8}", style=_STYLES[diagnosis.state])
        line = state + Text(f" {diagnosis.what}: {diagnosis.says}")
        console.print(line, soft_wrap=True)
        if diagnosis.todo:
            console.print(Text(f"{'':9}{diagnosis.todo}", style="dim"), soft_wrap=True)
