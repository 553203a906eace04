"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .magnetogram import MDI_TO_HMI, Magnetogram
from .quality import QualityPolicy
from .readers.maps import magnetogram_from_map
from .reading import magnetogram_time, read_magnetogram
from .selection import select_for
from .sets import ObservationSet, find_sets, sets_in
from .solar_image import SolarImage, read_solar_image
from .world import header_of, map_of

__all__ = [
    "MDI_TO_HMI",
    "Magnetogram",
    "ObservationSet",
    "QualityPolicy",
    "SolarImage",
    "find_sets",
    "header_of",
    "magnetogram_from_map",
    "magnetogram_time",
    "map_of",
    "read_magnetogram",
    "read_solar_image",
    "select_for",
    "sets_in",
]
