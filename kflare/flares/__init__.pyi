"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .catalogue import FlareList, class_to_flux, flux_to_class
from .hek import flares_from_hek
from .labels import disk_flux, reaches, region_flux, window_flux
from .merging import merge_flares
from .repairing import read_flares
from .srs import read_srs

__all__ = [
    "FlareList",
    "class_to_flux",
    "disk_flux",
    "flares_from_hek",
    "flux_to_class",
    "merge_flares",
    "reaches",
    "read_flares",
    "read_srs",
    "region_flux",
    "window_flux",
]
