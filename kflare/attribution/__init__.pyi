"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .attribution_file import Attribution, read_attribution
from .compiled import CompiledAttribution
from .controls import randomisation_check, removal_curve
from .harps import harp_areas, place_regions
from .map_agreement import agreement
from .published import PublishedModel

__all__ = [
    "Attribution",
    "CompiledAttribution",
    "PublishedModel",
    "agreement",
    "harp_areas",
    "place_regions",
    "randomisation_check",
    "read_attribution",
    "removal_curve",
]
