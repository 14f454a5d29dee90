"""Faults at random under load: ``python -m benchmarks.faults --minutes 30 --seed N``.

Clients keep a service of real processes busy while one fault after another is injected. The faults
and their order depend on the seed only. Written are the seconds from each fault until the service
was ready again, how the jobs ended, and whether five invariants hold at the end:
``faults_soak.json``, ``.md`` and ``.png``. ``--kill-oldest`` instead kills the oldest worker of
``voxelq up`` every 2 s for a minute under 200 scans; ``--table`` writes ``faults.md`` from the JSON
of the fault suite. Exits with 1 if an invariant does not hold.
"""

import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.common.machine import machine, write_json
from benchmarks.common.output import add_output_option, option_parser
from benchmarks.faults.assembly import faulted_service
from benchmarks.faults.clock import Clock, FaketimeMissing
from benchmarks.faults.kill_oldest import kill_oldest
from benchmarks.faults.report import markdown, plot, soak_markdown
from benchmarks.faults.soak import numbers, run, soak_kind
from benchmarks.faults.soak_faults import soak_faults


def main() -> int:
    """Run what the options ask for; return the exit code."""
    parser = option_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same faults")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--kill-oldest", action="store_true")
    parser.add_argument("--scans", type=int, default=200, help="of --kill-oldest")
    parser.add_argument("--kill-seconds", type=float, default=60.0, help="of --kill-oldest")
    parser.add_argument("--table", type=Path, help="JSON of the fault suite, for faults.md")
    add_output_option(parser)
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
                report=lambda words: console.print(words, highlight=False, soft_wrap=True),
            )
    written_numbers = numbers(soak)
    written = write_json("faults_soak", written_numbers, output)
    words = soak_markdown(written_numbers)
    written.with_suffix(".md").write_text(f"# A soak of faults\n\n{_where()}\n\n{words}")
    plot(written_numbers, written.with_suffix(".png"))
    console.print(words, highlight=False, markup=False, soft_wrap=True)
    console.print(f"written: {written}, faults_soak.md, faults_soak.png")
    return 1 if soak.violations else 0


def _kill_oldest(scans: int, seconds: float, output: Path, console: Console) -> int:
    result = kill_oldest(scans=scans, for_s=seconds)
    written = write_json("faults_kill_oldest", result.facts, output)
    console.print(result.facts)
    console.print(f"written: {written}")
    return 0 if result.done == {"finished": scans} and not result.twice else 1


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
