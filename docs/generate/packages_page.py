"""The table of packages, from the docstring of each package's ``__init__.py``."""

import ast
from collections.abc import Iterator
from pathlib import Path

from docs.generate.markdown import literals, name, table

ROOT = Path(__file__).resolve().parents[2]
#: The packages at the top of the repository, in the order of the table.
ROOMS = ("api", "worker", "shared", "voxelq", "planning", "training", "benchmarks")


def packages_table() -> str:
    """Return a row for each package: its folder and the first sentence of its docstring."""
    rows = [
        (name(f"{folder.relative_to(ROOT).as_posix()}/"), _summary(folder / "__init__.py"))
        for room in ROOMS
        for folder in _packages(ROOT / room)
    ]
    return table(("package", "what belongs in it"), rows)


def _packages(folder: Path) -> Iterator[Path]:
    if (folder / "__init__.py").exists():
        yield folder
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _packages(inner)


def _summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return literals(" ".join(docstring.partition("\n\n")[0].split()))
