"""Puts the released models of the checkout into what is built, as `kflare/savedmodels`; the rest is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithModels(build_py):
    """What setuptools builds, and the models."""

    def run(self) -> None:
        """Copy both to where the wheel is made."""
        super().run()
        if not self.editable_mode:  # which finds them in the checkout
            models = Path(self.build_lib, "kflare", "savedmodels")
            shutil.rmtree(models, ignore_errors=True)  # versions of an earlier build
            shutil.copytree("savedmodels", models, ignore=shutil.ignore_patterns(".*"))


setup(cmdclass={"build_py": BuildWithModels})
