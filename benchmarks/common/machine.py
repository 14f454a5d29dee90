"""The machine that numbers were measured on, and the file that they are written to."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def machine() -> dict[str, Any]:
    """Return the facts of this machine that a reader of a number needs."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: the architecture is the best there is
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def voxelq_settings() -> dict[str, str]:
    """Return the settings of VoxelQ that this environment has."""
    return {name: text for name, text in os.environ.items() if name.startswith("VOXELQ_")}


def write_json(name: str, numbers: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``numbers`` together with the machine; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **numbers}, indent=2) + "\n")
    return path
