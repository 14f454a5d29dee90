"""The generated blocks of the pages: a page names one by ``<!-- generated: NAME -->``."""

import re
from collections.abc import Callable
from pathlib import Path

from docs.generate import results_page
from docs.generate.cli_page import cli_reference
from docs.generate.http_page import http_calls, http_objects
from docs.generate.metrics_page import metrics_table
from docs.generate.packages_page import packages_table
from docs.generate.problems_page import problems_table
from docs.generate.python_page import python_reference
from docs.generate.settings_page import settings_table

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


def changelog() -> str:
    """Return the changelog without its title, which the page has already."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]


def model_card() -> str:
    """Return the default model's card without its title, with links that work from the page."""
    folder = "../../models/brain-tumor/"
    text = (ROOT / "models" / "brain-tumor" / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((?!https?:|#)", f"]({folder}", text.partition("\n")[2])


BLOCKS: dict[str, Callable[[], str]] = {
    "blocked-results": results_page.blocked_results,
    "changelog": changelog,
    "cli": cli_reference,
    "component-results": results_page.component_results,
    "fault-results": results_page.fault_results,
    "fault-soak-results": results_page.fault_soak_results,
    "hostile-results": results_page.hostile_results,
    "http-calls": http_calls,
    "http-objects": http_objects,
    "kill-results": results_page.kill_results,
    "metrics": metrics_table,
    "mixed-results": results_page.mixed_results,
    "model-card": model_card,
    "packages": packages_table,
    "plan-results": results_page.plan_results,
    "problems": problems_table,
    "python": python_reference,
    "queue-results": results_page.queue_results,
    "scale-results": results_page.scale_results,
    "scan-results": results_page.scan_results,
    "settings": settings_table,
    "soak-results": results_page.soak_results,
}


def expand(page: str) -> str:
    """Return the text of a page with its blocks filled in; a KeyError names an unknown block."""
    return MARK.sub(lambda mark: BLOCKS[mark[1]](), page)
