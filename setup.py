"""Puts the bundled models into the wheel; everything else about the package is in pyproject.toml.

They are at the top of the repository, where they are easy to find, and in a wheel inside the
package `shared`, whose settings know both places.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PICTURES = shutil.ignore_patterns("*.png")  # of the models' training; their README names them


class BuildWithModels(build_py):
    """Builds the packages, and copies the models among them."""

    def run(self) -> None:
        """Build; an editable install reads the models from the checkout."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "shared" / "bundled_models"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("models", target, ignore=PICTURES)


setup(cmdclass={"build_py": BuildWithModels})
