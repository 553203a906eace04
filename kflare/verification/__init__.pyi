"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .comparison import compare
from .contingency import ContingencyTable, best_threshold, tss
from .intervals import bootstrap
from .plots import plot_reliability, plot_roc
from .probabilistic import (
    brier_decomposition,
    brier_score,
    brier_skill_score,
    log_score,
    reliability,
    roc_area,
    roc_curve,
    trailing_climatology,
)
from .report import verify_forecasts
from .tables import forecast_table, read_forecasts

__all__ = [
    "ContingencyTable",
    "best_threshold",
    "bootstrap",
    "brier_decomposition",
    "brier_score",
    "brier_skill_score",
    "compare",
    "forecast_table",
    "log_score",
    "plot_reliability",
    "plot_roc",
    "read_forecasts",
    "reliability",
    "roc_area",
    "roc_curve",
    "trailing_climatology",
    "tss",
    "verify_forecasts",
]
