"""Where the models are that are released with kflare."""

from pathlib import Path

from kflare.errors import ModelError

_PACKAGE = Path(__file__).resolve().parents[1]


def released_models() -> Path:
    """The folder of the released models: in the package, or beside it in a checkout."""
    for place in (_PACKAGE / "savedmodels", _PACKAGE.parent / "savedmodels"):
        if place.is_dir():
            return place
    raise ModelError(f"{_PACKAGE} has no released models: install kflare from its wheel, sdist or a whole checkout")
