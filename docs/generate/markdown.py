"""Markdown for all generators: tables, code, names, anchors."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars in cells are escaped."""
    lines = [_row(head), "|" + "---|" * len(head)]
    lines += [_row(cells) for cells in rows]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """Return text as inline code."""
    return f"`{text}`"


def name(text: str, anchor_id: str = "") -> str:
    """Return a long name as code; a narrow page may break it after _ and /."""
    mark = f' id="{anchor_id}"' if anchor_id else ""
    breakable = re.sub("([_/])", r"\1<wbr>", text)
    return f'<code class="name"{mark}>{breakable}</code>'


def literals(text: str) -> str:
    """Turn the double backticks of docstrings into Markdown's single ones."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def anchor(text: str) -> str:
    """Return the anchor of a heading or a row: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
