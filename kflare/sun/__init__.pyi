"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .disk import Disk
from .geometry import DiskGeometry, Observer

__all__ = ["Disk", "DiskGeometry", "Observer"]
