"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .cea import Patch, cea_patch
from .detection import DetectionOptions, detect_regions
from .extraction import Extraction, measure
from .feature_table import feature_set, features_named
from .inversion_lines import neutral_lines, polarity_lines
from .los_features import line_of_sight_features, r_value
from .tracking import Tracker, TrackingOptions
from .vector_files import read_vector
from .vector_parameters import sharp_parameters, vector_features

__all__ = [
    "DetectionOptions",
    "Extraction",
    "Patch",
    "Tracker",
    "TrackingOptions",
    "cea_patch",
    "detect_regions",
    "feature_set",
    "features_named",
    "line_of_sight_features",
    "measure",
    "neutral_lines",
    "polarity_lines",
    "r_value",
    "read_vector",
    "sharp_parameters",
    "vector_features",
]
