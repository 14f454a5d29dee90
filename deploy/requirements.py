"""Print what an image installs: the packages of the extras named as arguments.

The base dependencies are those of a client, which no image has.

It reads only pyproject.toml, so an image's packages are built again only if that file or the
constraints change, and not after every change of the code.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

#: An extra may name others, as "voxelq[shared]".
_OWN = "voxelq["


def main() -> None:
    """Write one requirement a line to standard output."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    packages = {package for name in sys.argv[1:] for package in _packages(extras, name)}
    sys.stdout.write("\n".join(sorted(packages)) + "\n")


def _packages(extras: Mapping[str, Sequence[str]], name: str) -> Iterator[str]:
    """Yield the packages of an extra and of those that it names."""
    for requirement in extras[name]:
        if requirement.startswith(_OWN):
            for other in requirement.removeprefix(_OWN).removesuffix("]").split(","):
                yield from _packages(extras, other)
        else:
            yield requirement


if __name__ == "__main__":
    main()
