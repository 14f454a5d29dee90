"""How many workers are worth having: ``python -m benchmarks.scale`` (or ``make bench-scale``).

Starts the service with each number of workers and each batch size, and lets locust send a clinic's
traffic (``locustfile.py``) with every number of users and spawn rate. A folder named after the
device gets locust's report of each run, ``summary.csv``, a plot, and ``scale.md``: the table, and a
conclusion that says where the service saturates and what limits it. ``--host`` measures a service
that is already running, with its workers; ``--resume`` skips the runs that ``summary.csv`` has.
"""

import re
import sys

from rich.console import Console

from benchmarks.scale.matrix import run_matrix
from benchmarks.scale.options import combinations, read_options
from benchmarks.scale.report import markdown, plot, print_report
from benchmarks.scale.rows import read_summary
from benchmarks.scale.run import Traffic
from benchmarks.scale.services import measured_service


def main() -> None:
    """Measure, print, write."""
    options, console = read_options(__doc__), Console()
    try:
        measured = measured_service(options)
        folder = options.output / re.sub(r"[^\w.-]+", "-", measured.device).strip("-")
        folder.mkdir(parents=True, exist_ok=True)
        rows = read_summary(folder / "summary.csv") if options.resume else []
        wanted = combinations(options, measured.workers, measured.sizes)
        done = {row.combination for row in rows}
        left = [combination for combination in wanted if combination not in done]
        if len(left) < len(wanted):
            console.print(f"{len(wanted) - len(left)} of {len(wanted)} runs were done before")
        traffic = Traffic(options.run_time, options.shapes, options.wait_limit)
        run_matrix(left, rows, measured, traffic, folder, console)
    except (RuntimeError, TimeoutError, ValueError) as error:
        sys.exit(str(error))
    print_report(console, rows)
    plot(rows, folder / "scale.png")
    (folder / "scale.md").write_text(markdown(rows))
    console.print(f"written: {folder}, summary.csv, scale.md, scale.png and a report of each run")


if __name__ == "__main__":
    main()
