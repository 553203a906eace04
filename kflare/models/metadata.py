"""The content of `kflare.json` that every published model has."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pandas as pd

from kflare.datasets.splits import Split
from kflare.flares.labels import LEAD_HOURS
from kflare.models.fitting import FittedNetwork

__all__ = ["model_metadata"]


def model_metadata(
    fitted: FittedNetwork, *, event: str, times: pd.Series, split: Split, data: Mapping[str, Any], fingerprint: str
) -> dict[str, Any]:
    """The part of `kflare.json` that every model has: what it forecasts, from which data, and what it is worth."""
    spans = {
        span: {
            "first": times[mask].min().isoformat(),
            "last": times[mask].max().isoformat(),
            "samples": int(mask.sum()),
        }
        for span, mask in split.parts().items()
    }
    packages = ("kflare", "tensorflow", "keras", "numpy", "tf-keras-vis")
    return {
        "event": f"largest flare >= {event}1.0 starting within {LEAD_HOURS:.0f} h",
        "class": f"{event}+",
        "window_hours": LEAD_HOURS,
        "decision_threshold": fitted.threshold,
        "calibration": {
            "method": "Platt scaling on validation data",
            **asdict(fitted.calibration),
        },
        "spans": spans,
        "data": dict(data),
        "data_fingerprint": fingerprint,
        "scores": [evaluation.as_json() for evaluation in fitted.evaluations],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": {package: version(package) for package in packages},
    }
