"""Faults at random under load: ``python -m benchmarks.faults --minutes 30 --seed N``.

Clients keep a service of real processes busy while one fault after another is injected. What goes
wrong, and in which order, depends on the seed alone. Written are how long each fault took to pass,
what became of the jobs, and whether five truths hold at the end: ``faults_soak.json``, ``.md`` and
``.png``. ``--kill-oldest`` kills the oldest worker of ``voxelq up`` every 2 s for a minute under
200 scans instead; ``--table`` writes ``faults.md`` from what the fault suite left in a JSON.
Ends with 1 if a truth does not hold.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.common.machine import RESULTS, machine, write_json
from benchmarks.faults.clock import Clock, FaketimeMissing
from benchmarks.faults.kill_oldest import kill_oldest
from benchmarks.faults.report import markdown, plot, soak_markdown
from benchmarks.faults.service import faulted_service
from benchmarks.faults.soak import numbers, run, soak_kind
from benchmarks.faults.soak_faults import soak_faults


def main() -> int:
    """Run what the options ask for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same faults")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--kill-oldest", action="store_true")
    parser.add_argument("--scans", type=int, default=200, help="of --kill-oldest")
    parser.add_argument("--kill-seconds", type=float, default=60.0, help="of --kill-oldest")
    parser.add_argument("--table", type=Path, help="JSON of the fault suite, for faults.md")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for what is written")
    options = parser.parse_args()
    console = Console()
    if options.table:
        return _write_table(options.table, options.output, console)
    if options.kill_oldest:
        return _kill_oldest(options.scans, options.kill_seconds, options.output, console)
    return _soak(options.minutes, options.seed, options.clients, options.output, console)


def _soak(minutes: float, seed: int, clients: int, output: Path, console: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="voxelq-faults-") as name:
        clock = _has_clock(Path(name))
        with faulted_service(Path(name) / "service", soak_kind(clock=clock)) as service:
            soak = run(
                service,
                soak_faults(clock=clock),
                seed=seed,
                seconds=60 * minutes,
                clients=clients,
                say=lambda words: console.print(words, highlight=False, soft_wrap=True),
            )
    found = numbers(soak)
    written = write_json("faults_soak", found, output)
    words = soak_markdown(found)
    written.with_suffix(".md").write_text(f"# A soak of faults\n\n{_where()}\n\n{words}")
    plot(found, written.with_suffix(".png"))
    console.print(words, highlight=False, markup=False, soft_wrap=True)
    console.print(f"written: {written}, faults_soak.md, faults_soak.png")
    return 1 if soak.found else 0


def _kill_oldest(scans: int, seconds: float, output: Path, console: Console) -> int:
    came = kill_oldest(scans=scans, for_s=seconds)
    written = write_json("faults_kill_oldest", came.facts, output)
    console.print(came.facts)
    console.print(f"written: {written}")
    return 0 if came.done == {"finished": scans} and not came.twice else 1


def _write_table(source: Path, output: Path, console: Console) -> int:
    rows = json.loads(source.read_text())["rows"]
    path = output / "faults.md"
    path.write_text(f"# Seconds until ready again\n\n{_where()}\n\n{markdown(rows)}\n")
    console.print(f"written: {path}")
    return 0


def _where() -> str:
    facts = machine()
    return f"Measured on {facts['cores']} cores of {facts['cpu']}, {facts['at']}."


def _has_clock(folder: Path) -> bool:
    try:
        Clock(folder / "clock")
    except FaketimeMissing:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
