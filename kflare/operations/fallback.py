"""What a forecast rests on when inputs or models fail, best first.

Networks on all their features, then with missing ones imputed, then on what a magnetogram alone gives, then statistics
of the flares before, then climatology. Each is named in the forecast with the reason why it is no better one; which may
be used is configuration. Below the last there is no forecast: an outage, never a zero.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import pandas as pd

from kflare.errors import KflareError
from kflare.flares.catalogue import FlareList
from kflare.models.baselines import disk_climatology
from kflare.models.event_statistics import event_statistics
from kflare.operations.forecast import (
    CLIMATOLOGY,
    EVENT_STATISTICS,
    FORECAST_CLASSES,
    FULL,
    IMPUTED,
    MAGNETOGRAM_ONLY,
    Probability,
    Rung,
)
from kflare.regions.feature_table import features_named

__all__ = ["fallback_forecast", "rung_of_features"]

# What a magnetogram and the list of flares give.
_MAGNETOGRAM = ("HMI LOS", "flare list")


def rung_of_features(table: pd.DataFrame, wanted: Sequence[str]) -> tuple[Rung, str]:
    """What a forecast rests on, and why on nothing better ("" on the best).

    `table` has a row per region that is forecast; `wanted` are its columns that the models ask for, NaN = not measured.
    """
    missing = [name for name in wanted if table[name].isna().any()]
    if not missing:
        return FULL, ""
    features = {feature.name: feature for feature in features_named(wanted)}
    measured = [name for name in wanted if name not in missing]
    others = [name for name in missing if not features[name].observation.startswith(_MAGNETOGRAM)]
    only = all(features[name].observation.startswith(_MAGNETOGRAM) for name in measured)
    reason = f"{len(missing)} of {len(wanted)} features were not measured everywhere: {_few(missing)}"
    return (MAGNETOGRAM_ONLY if others and only else IMPUTED), reason


def fallback_forecast(
    issue: datetime, flares: FlareList | None, allowed: Collection[str]
) -> tuple[Rung | None, dict[str, Probability], list[str]]:
    """The best of the rungs `allowed` that needs neither image nor network, or None; its full disk; why none better."""
    methods: tuple[tuple[Rung, Callable[[FlareList, datetime, str], float]], ...] = (
        (EVENT_STATISTICS, lambda *given: event_statistics(*given).probability),
        (CLIMATOLOGY, disk_climatology),
    )
    reasons = []
    for rung, method in methods:
        if rung not in allowed:
            reasons.append(f"{rung} is not allowed")
        elif flares is None:
            reasons.append(f"{rung} needs a list of the flares of the past: set `data.flares`")
        else:
            try:
                probability = {name: Probability.of(None, method(flares, issue, name)) for name in FORECAST_CLASSES}
            except KflareError as error:
                reasons.append(f"{rung}: {error}")
                continue
            return rung, probability, reasons
    return None, {}, reasons


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
