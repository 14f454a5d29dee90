"""The README's facts, held against the code. ``--update`` writes the settings table."""

import re
import sys
from pathlib import Path

from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BEGIN = "<!-- settings: written by tests/unit/test_readme.py --update -->\n"
END = "<!-- /settings -->"


def settings_table() -> str:
    """Return the settings as a Markdown table."""
    rows = ["| name | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        shown = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


def test_the_settings_table_is_that_of_the_code() -> None:
    """Names, defaults and descriptions in the README are those that the service reads."""
    written = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert written == settings_table()


def test_every_file_the_readme_names_is_there() -> None:
    """No link of the README leads nowhere."""
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def update() -> None:
    """Write the table into the README."""
    head, _, rest = README.read_text().partition(BEGIN)
    README.write_text(head + BEGIN + settings_table() + END + rest.partition(END)[2])


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    update()
