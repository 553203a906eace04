"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .calibration import Calibration, fit_calibration
from .cross_fitting import OutOfSample, cross_fitted
from .defn import build_defn
from .dense_cnn import build_dense_cnn
from .event_statistics import disk_event_statistics, region_event_statistics
from .losses import WeightedCrossentropy
from .registry import MODELS, ModelSpec, model_spec
from .released import released_models
from .savedmodel import load_signatures

__all__ = [
    "MODELS",
    "Calibration",
    "ModelSpec",
    "OutOfSample",
    "WeightedCrossentropy",
    "build_defn",
    "build_dense_cnn",
    "cross_fitted",
    "disk_event_statistics",
    "fit_calibration",
    "load_signatures",
    "model_spec",
    "region_event_statistics",
    "released_models",
]
