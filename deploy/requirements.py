"""Print what an image installs: the base dependencies and those of the extras named as arguments.

Read from pyproject.toml alone, so that an image's packages are built again only when that
file or the constraints change, and not with every line of code.
"""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Write one requirement a line to standard output."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in sys.argv[1:]:
        wanted += project["optional-dependencies"][extra]
    sys.stdout.write("\n".join(wanted) + "\n")


if __name__ == "__main__":
    main()
