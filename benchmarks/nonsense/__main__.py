"""Measure the check of the default model's input: ``python -m benchmarks.nonsense``.

Prints a table of how many scans of each group are warned of, why, and what the check costs. The
synthetic heads need anatomy, which is fetched with pip. Groups without scans are left out.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.nonsense.heads import anatomies, synthetic_head, variants
from benchmarks.nonsense.kinds import HELD_OUT, KINDS
from benchmarks.nonsense.volumes import Scan, read
from shared.sample import SAMPLE_SCAN
from training.data.synthesis import GRID
from worker.models.brain_tumor.input_check import reason_of
from worker.models.brain_tumor.input_measurements import measure
from worker.volume.preprocess import to_network_grid

ROOT = Path(__file__).parents[2]
#: Scans drawn of each kind; it counts as warned of where all of them are.
DRAWS = 2


def main() -> None:
    """Read the command line, measure all groups and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=120)
    parser.add_argument("--first-head", type=int, default=0, help="the first one's seed")
    parser.add_argument("--anatomy", type=Path, default=ROOT / ".training" / "anatomy")
    parser.add_argument("--evaluation", type=Path, default=ROOT.parent / "shared/data/evaluation")
    given = parser.parse_args()
    torch.set_num_threads(1)
    real = sorted(given.evaluation.glob("*/flair.nii.gz"))
    seeds = range(given.first_head, given.first_head + given.heads)
    groups = {
        "evaluation scans": ((path.parent.name, read(path)) for path in real),
        "their variants": _variants(real),
        "sample scan and its variants": _variants([SAMPLE_SCAN]),
        "synthetic heads": _heads(seeds, given.anatomy),
        "nonsense, known kinds": _nonsense(set(KINDS) - HELD_OUT),
        "nonsense, held-out kinds": _nonsense(HELD_OUT),
    }
    print("| group | warned of | ms a scan, median | 95 % |\n|---|---|---|---|", flush=True)
    reasons = []
    for group, scans in groups.items():
        results, cost_ms = _check(scans)
        if not results:
            continue
        warned = sum(all(results[name]) for name in results)
        middle, high = np.percentile(cost_ms, [50, 95])
        print(f"| {group} | {warned} of {len(results)} | {middle:.1f} | {high:.1f} |", flush=True)
        for name in sorted(results):
            found = sorted({why or "no warning" for why in results[name]})
            if group.startswith("nonsense") or found != ["no warning"]:
                reasons.append(f"{group} | {name} | {'; '.join(found)}")
    print("\n" + "\n".join(reasons))


def _check(scans: Iterable[tuple[str, Scan]]) -> tuple[dict[str, list[str | None]], list[float]]:
    """Return each name's reasons, None where there is no warning, and milliseconds a scan."""
    results: dict[str, list[str | None]] = {}
    cost_ms = []
    for name, scan in scans:
        prepared = to_network_grid(scan.data, scan.affine, GRID).volume[0]
        began = time.perf_counter()
        reason = reason_of(measure(scan.data, scan.affine, prepared, GRID.spacing_mm))
        cost_ms.append(1000 * (time.perf_counter() - began))
        results.setdefault(name, []).append(reason)
    return results, cost_ms


def _variants(paths: Iterable[Path]) -> Iterator[tuple[str, Scan]]:
    for path in paths:
        for name, scan in variants(np.random.default_rng(0), read(path)).items():
            yield f"{path.parent.name} {name}", scan


def _heads(seeds: range, anatomy: Path) -> Iterator[tuple[str, Scan]]:
    anatomy_maps = anatomies(anatomy)
    for seed in seeds:
        yield f"head {seed}", synthetic_head(seed, anatomy_maps)


def _nonsense(names: Iterable[str]) -> Iterator[tuple[str, Scan]]:
    for name in sorted(names):
        for draw in range(DRAWS):
            yield name, KINDS[name](np.random.default_rng(draw))


if __name__ == "__main__":
    main()
