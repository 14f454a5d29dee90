"""``python -m worker.models.check DIR``: checks a bundle, and prints one line for each step.

The text files are validated first, then the bundle is loaded as in a worker, and last a small blank
scan is run. Exit code 0 if the bundle can be served, 1 if not.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shared.bundles.bundle import read_bundle
from shared.bundles.config import Configuration
from shared.bundles.model_card import ModelCard
from shared.errors import VoxelQError
from worker.device.compute_options import ComputeOptions
from worker.models.loader import Predictor, load_predictor

#: The edge of the blank scan, in voxels of 1 mm.
_EDGE = 48


@dataclass(frozen=True)
class Finding:
    """One line: the step, whether it succeeded, its result, and how long it took."""

    step: str
    ok: bool
    detail: str
    seconds: float | None = None


def check(folder: Path) -> Iterator[Finding]:
    """Yield the findings, and end at the first step that fails."""
    bundle = read_bundle(folder)
    if bundle.contents is None:
        # Read again for a list of all problems; a bundle's own problem is only the first.
        problems = _configuration_problems(folder)
        yield from (Finding("configuration", False, problem) for problem in problems)
        if not problems:
            yield Finding("files", False, bundle.problem)
        return
    yield Finding("card", True, _describe_card(bundle.contents.card))
    began = time.perf_counter()
    try:
        predictor = load_predictor(bundle.contents, ComputeOptions())
    except Exception as error:  # users write bundles, which may raise anything
        yield Finding("load", False, _describe(error))
        return
    yield Finding("load", True, f"on {predictor.device}", _since(began))
    yield from _forward_pass(predictor)


def main() -> int:
    """Read the command line, check the bundle, and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m worker.models.check", description=__doc__)
    parser.add_argument("folder", type=Path, help="the bundle: <name>/<version>")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    findings = []
    for finding in check(given.folder.resolve()):
        findings.append(finding)
        if not given.json:
            sys.stdout.write(_line(finding) + "\n")
            sys.stdout.flush()
    ok = all(finding.ok for finding in findings)
    if given.json:
        report = {"ok": ok, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        sys.stdout.write(f"{'It can be served' if ok else 'It cannot be served'}.\n")
    return 0 if ok else 1


def _configuration_problems(folder: Path) -> list[str]:
    try:
        configuration = Configuration.read_unvalidated(folder)
        return list(configuration.problems()) if configuration is not None else []
    except Exception as error:  # users write bundles, which may contain anything
        return [_describe(error)]


def _forward_pass(predictor: Predictor) -> Iterator[Finding]:
    blank = np.zeros((_EDGE,) * 3, dtype=np.float32)
    middle = slice(_EDGE // 4, -_EDGE // 4)
    blank[middle, middle, middle] = 1
    step = "preprocess"
    try:
        began = time.perf_counter()
        prepared = predictor.preprocess([(blank, np.eye(4))] * len(predictor.card.inputs))
        yield Finding(step, True, f"a blank scan of {_EDGE}³ voxels", _since(began))
        step, began = "inference", time.perf_counter()
        (prediction,) = predictor.predict([prepared])
        yield Finding(step, True, "the first pass is the slowest", _since(began))
        step, began = "postprocess", time.perf_counter()
        result = predictor.postprocess(prepared, prediction)
        names = ", ".join(label.name for label in result.labels) or "nothing"
        yield Finding(step, True, f"a mask in the scan's grid that shows {names}", _since(began))
    except Exception as error:  # users write bundles, which may raise anything
        yield Finding(step, False, _describe(error))


def _describe_card(card: ModelCard) -> str:
    inputs = ", ".join(f"{channel.name} ({channel.modality})" for channel in card.inputs)
    labels = ", ".join(f"{label.value} {label.name}" for label in card.labels) or "none"
    return f"{card.ref}; inputs: {inputs}; labels: {labels}; licence: {card.license}"


def _describe(error: Exception) -> str:
    """Return an error and its cause; there is no patient's scan that they could quote."""
    if isinstance(error, VoxelQError):
        return error.detail
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}{cause}"


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)


def _line(finding: Finding) -> str:
    mark = "ok   " if finding.ok else "WRONG"
    seconds = f" ({finding.seconds:.2f} s)" if finding.seconds is not None else ""
    return f"{mark} {finding.step}: {finding.detail}{seconds}"


if __name__ == "__main__":
    sys.exit(main())
