"""The tools for planning capacity run on the real stack, and their output is consistent."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common.sample_scan import sample_scan
from benchmarks.components.load import PARTS, TURNS
from tests.support.local_service import BOUND_S, ROOT, environment, local_service


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool with Python, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment() | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=2 * BOUND_S,
        check=False,
    )


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A scan that is computed quickly."""
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(sample_scan((32, 32, 32)))
    return path


def test_components_add_up_and_make_a_plan(tmp_path: Path, scan: Path) -> None:
    """The parts of a running service's calls add up to the whole, and `voxelq plan` reads them."""
    written, picture = tmp_path / "found" / "parts.json", tmp_path / "found" / "picture.png"
    (tmp_path / "stack").mkdir()
    with local_service(tmp_path / "stack" / "data", "--workers", "1") as service:
        done = ran(
            *("benchmarks.components", "--rest-url", service.url, "--image", str(scan)),
            *("--requests", "4", "--concurrency", "1", "2"),
            *("--output-json", str(written), "--output-plot", str(picture)),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(written.read_text())
    assert picture.stat().st_size > 10_000
    assert numbers["scan"] == {"bytes": scan.stat().st_size, "shape": [32, 32, 32]}
    assert str(scan) not in written.read_text()
    assert [one["clients"] for one in numbers["rounds"]] == [1, 2]
    for one in numbers["rounds"]:
        seconds = {name: found["mean"] for name, found in one["seconds"].items()}
        assert one["requests"] == len(one["end_to_end_s"]) == max(4, TURNS * one["clients"])
        assert sum(seconds[name] for name in PARTS) == pytest.approx(
            (1 - one["rest"]) * seconds["end_to_end"]
        )
        assert sum(one["shares"].values()) + one["rest"] == pytest.approx(1)
        assert one["adds_up"], "the parts of a call are not those of the whole"
        assert 0 < seconds["worker"] < seconds["server_total"] < seconds["end_to_end"]
        assert f"{one['scans_per_s']:.2f} scans/s" in done.stdout
        assert sum(found["scans"] for found in one["batches"].values()) == one["requests"]

    made = ran(
        *("voxelq", "plan", "--measured", str(written), "--load", "100", "--within", "60"),
        *("--scans", "1000", "--json"),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    plan = json.loads(made.stdout)
    alone_s = numbers["rounds"][0]["seconds"]["worker"]["mean"]
    assert plan["cost"]["cost"]["fixed_s"] + plan["cost"]["cost"]["per_scan_s"] == pytest.approx(
        alone_s
    )
    assert len(plan["cost"]["lanes"]["speedups"]) == numbers["service"]["lanes"]


def test_a_plan_is_compared_with_a_run(tmp_path: Path, scan: Path) -> None:
    """A short run starts its own stack, and reports real and simulated numbers side by side."""
    done = ran(
        *("benchmarks.plan_check", "--image", str(scan), "--requests", "2"),
        *("--loads", "0.3", "--seconds", "4", "--output", str(tmp_path)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads((tmp_path / "plan_check.json").read_text())
    assert (tmp_path / "plan_check.png").stat().st_size > 10_000
    (load,) = numbers["loads"]
    assert load["scans"] >= 10
    assert load["utilisation"] > 0
    for figures in (load["real"], load["simulated"]):
        assert figures["mean_s"] > 0
        assert figures["p95_s"] > 0
        assert 1 <= figures["batch_size"] <= 4
    for name, ratio in load["ratios"].items():
        assert ratio == pytest.approx(load["simulated"][name] / load["real"][name])
        assert f"x {ratio:.3f}" in done.stdout
    assert numbers["worst"] == max(abs(ratio - 1) for ratio in load["ratios"].values())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--image", "nowhere.nii"), 1, "No such file"),
        (("--rest-url", "http://127.0.0.1:9"), 1, "no VoxelQ service answers"),
        (("--output-json", "found.txt"), 2, "end with .json"),
        (("--requests", "0"), 2, "above 0"),
    ],
)
def test_wrong_arguments_of_components_are_reported(
    arguments: tuple[str, ...], code: int, words: str
) -> None:
    """A missing file, an address without a service and a wrong number give a clear error."""
    done = ran("benchmarks.components", "--image", str(ROOT / "README.md"), *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
