"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .sun import SyntheticSun

__all__ = [
    "SyntheticSun",
]
