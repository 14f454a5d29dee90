"""``python -m worker.models.check DIR``: what is wrong with a bundle, in words, line by line.

The metadata and the configuration are judged first, then the bundle is loaded as a worker does
it, and last a small blank scan goes through. Exit code 0 if it can be served, 1 if not.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shared.bundles.bundle import look_at
from shared.bundles.config import Configuration
from shared.bundles.model_card import ModelCard
from shared.errors import VoxelQError
from worker.models.loader import Predictor, load_predictor

#: The edge of the blank scan, in voxels of 1 mm.
_EDGE = 48


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it will do, what was seen, and how long it took."""

    step: str
    ok: bool
    detail: str
    seconds: float | None = None


def check(folder: Path) -> Iterator[Finding]:
    """Yield what is found, and end at the first step that fails."""
    problems = [Finding("configuration", False, text) for text in _configuration_problems(folder)]
    if problems:
        yield from problems
        return
    bundle = look_at(folder)
    if bundle.card is None:
        yield Finding("files", False, bundle.problem)
        return
    yield Finding("card", True, _card_in_words(bundle.card))
    began = time.perf_counter()
    try:
        predictor = load_predictor(folder)
    except Exception as error:  # a bundle is the user's own and may raise anything
        yield Finding("load", False, _in_words(error))
        return
    yield Finding("load", True, f"on {predictor.device}", _since(began))
    yield from _forward_pass(predictor)


def main() -> int:
    """Read the command line, check, and say what was found."""
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
        configuration = Configuration.parse(folder)
        return list(configuration.problems()) if configuration is not None else []
    except Exception as error:  # a bundle is the user's own and may be anything
        return [_in_words(error)]


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
        found = predictor.postprocess(prepared, prediction)
        named = ", ".join(label.name for label in found.labels) or "nothing"
        yield Finding(step, True, f"a mask in the scan's grid that shows {named}", _since(began))
    except Exception as error:  # a bundle is the user's own and may raise anything
        yield Finding(step, False, _in_words(error))


def _card_in_words(card: ModelCard) -> str:
    inputs = ", ".join(f"{one.name} ({one.modality})" for one in card.inputs)
    labels = ", ".join(f"{one.value} {one.name}" for one in card.labels) or "none"
    return f"{card.ref}; inputs: {inputs}; labels: {labels}; licence: {card.license}"


def _in_words(error: Exception) -> str:
    """Return an error and what it came from; no scan was involved that they could quote."""
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
