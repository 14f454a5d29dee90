"""How a benchmark reads its command line, and prints, draws and writes its numbers."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common.machine import RESULTS, machine


def option_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows the first line of a module's docstring as its description."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=doc.splitlines()[0] if doc else None
    )


def add_output_option(parser: argparse.ArgumentParser, default: Path = RESULTS) -> None:
    """Add ``--output``, the folder that a benchmark writes to."""
    parser.add_argument("--output", type=Path, default=default, help="folder for the results")


def print_machine(console: Console, cores: int | None = None) -> None:
    """Print what the numbers below were measured on; ``cores`` if not all of them were used."""
    facts = machine()
    used = facts["cores"] if cores is None else cores
    console.print(f"[bold]{facts['cpu']}, {used} cores, Python {facts['python']}")


def pyplot() -> Any:
    """Return matplotlib's pyplot, set up for a machine without a screen.

    It is imported here and not at the top of a module, because its import takes a second.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def bound_in_words(value: float, bound: float, *, at_least: bool) -> str:
    """Return ``at least 0.9: reached`` or the like."""
    reached = value >= bound if at_least else value <= bound
    return f"{'at least' if at_least else 'at most'} {bound}: {'reached' if reached else 'missed'}"
