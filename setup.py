"""Puts the released models of the checkout into what is built, as `kflare/savedmodels`, and the README into metadata.

The rest is in setup.cfg. A package index shows the README where its neighbours are not: with `KFLARE_ADDRESS`, the
public address of the source such as https://github.com/OWNER/kflare, links and pictures lead there; without, their
words stand alone.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ADDRESS = os.environ.get("KFLARE_ADDRESS", "").rstrip("/")
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)]*)\)")


def on_an_index(text: str, address: str, version: str) -> str:
    """The README with links that work anywhere."""

    def turned(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if not address:
            return "" if picture else words
        return f"{picture}[{words}]({address}/{'raw' if picture else 'blob'}/v{version}/{target})"

    return _LINK.sub(turned, text)


class BuildWithModels(build_py):
    """What setuptools builds, and the models."""

    def run(self) -> None:
        """Copy both to where the wheel is made."""
        super().run()
        if not self.editable_mode:  # which finds them in the checkout
            models = Path(self.build_lib, "kflare", "savedmodels")
            shutil.rmtree(models, ignore_errors=True)  # versions of an earlier build
            shutil.copytree("savedmodels", models, ignore=shutil.ignore_patterns(".*"))


if __name__ == "__main__":
    found = re.search(r'^__version__ = "(.*)"', Path("kflare/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {"Source": "", "Documentation": "/tree/main/docs", "Changelog": "/blob/main/CHANGELOG.md"}
    pages |= {"Issues": "/issues", "Security": "/blob/main/SECURITY.md"}
    setup(
        cmdclass={"build_py": BuildWithModels},
        long_description=on_an_index(Path("README.md").read_text(encoding="utf-8"), ADDRESS, found[1]),
        project_urls={name: ADDRESS + path for name, path in pages.items()} if ADDRESS else {},
    )
