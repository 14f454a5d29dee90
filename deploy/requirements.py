"""Print what an image installs: the base dependencies and those of the extras named as arguments.

It reads only pyproject.toml, so an image's packages are built again only if that file or the
constraints change, and not after every change of the code.
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
