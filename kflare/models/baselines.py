"""Baselines: what a network is compared with on the same samples.

Climatology and persistence need nothing but past flares; the three of scikit-learn learn from the same inputs as the
network, with the same class weights if these are asked for, so that their 0.5 means the same too; a regression on one
number shows what the rest is worth.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import HALF_DAY, LEAD_HOURS, reaches, region_flux, require_covered, window_flux, windows_told
from kflare.io.arrays import ArrayLike, BoolArray, Float32Array, Float64Array, TimeArray
from kflare.verification.probabilistic import trailing_climatology

_DAYS, _WINDOW = 120, pd.Timedelta(hours=LEAD_HOURS)  # of the recent climatology

Features = Float32Array
Weights = tuple[float, float]
Classifier = Callable[[Features], Float32Array]
"""Features (M, n) to probabilities (M,)."""

ONE_NUMBER: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "R_VALUE alone": ("R_VALUE",),
    "USFLUX alone": ("USFLUX",),
    "past flares alone": ("Chis", "Mhis", "Xhis", "Chis1d", "Mhis1d", "Xhis1d"),
    "flux alone": ("log_flux",),
    "line length alone": ("log_pil",),
    "line field alone": ("log_line_field",),
})  # fmt: skip
"""The methods of `one_number_regressions`, of regions and of images, with the columns that each number is made of."""


def climatology(observed: BoolArray) -> float:
    """Event rate of the training samples, (R + 1)/(S + 2): never 0 and never 1 (Laplace's rule)."""
    return float((np.sum(observed) + 1) / (len(observed) + 2))


def recent_climatology(
    times: pd.Series, observed: BoolArray, *, otherwise: float, begins: pd.Series | None = None
) -> Float32Array:
    """Event rate of all samples of the last 120 days whose window had closed, shape (N,).

    A region counts as often as it was observed. `otherwise` is the rate where the samples do not reach back that far.
    The windows of `observed` begin at the times themselves, or else at `begins`.
    """
    known = _plain(times if begins is None else begins)
    rate = trailing_climatology(_plain(times), known, observed, days=_DAYS, window_hours=LEAD_HOURS)
    return np.where(np.isfinite(rate), rate, otherwise).astype(np.float32)


def disk_recent_climatology(times: pd.Series, flares: FlareList, threshold: str, *, otherwise: float) -> Float32Array:
    """Share of the last 120 days with a flare on the full disk, shape (N,): CLIM120 of Leka et al. 2019 [M].

    The outcomes are those of the flare list, so that days without a sample count too. `otherwise` is the share where
    the list does not reach back that far.
    """
    days = pd.DatetimeIndex(times).floor("D")
    begins = pd.Series(pd.date_range(days.min() - pd.Timedelta(days=_DAYS + 1), days.max()))
    begins = begins[windows_told(begins, begins + _WINDOW, flares.told, untold=HALF_DAY)]
    observed = _flared(pd.DatetimeIndex(begins), flares, threshold)
    return recent_climatology(times, observed, otherwise=otherwise, begins=begins)


def disk_climatology(flares: FlareList, time: datetime, threshold: str) -> float:
    """Share of the last 120 days (24-hour windows before `time`) with a flare on the disk: (R + 1)/(S + 2)."""
    begins = pd.date_range(end=pd.Timestamp(time) - _WINDOW, periods=_DAYS, freq="D")
    return climatology(_flared(begins, flares, threshold))


def _flared(begins: pd.DatetimeIndex, flares: FlareList, threshold: str) -> BoolArray:
    """Whether a flare came in each day of the past, of which a list may leave half a day untold."""
    require_covered(pd.Series(begins), flares, untold=HALF_DAY)
    return reaches(window_flux(pd.DataFrame({"begin": begins, "end": begins + _WINDOW}), flares.table), threshold)


def persistence(times: pd.Series, flares: FlareList, threshold: str) -> Float32Array:
    """1 where a flare of the class started on the disk in the 24 h before the forecast, else 0; shape (N,)."""
    return _flared(pd.DatetimeIndex(times) - _WINDOW, flares, threshold).astype(np.float32)


def region_persistence(table: pd.DataFrame, region_flares: pd.DataFrame, threshold: str) -> Float32Array:
    """1 where a flare of the class started in the region in the 24 h before the forecast, else 0; shape (N,).

    `table` has the columns `time` (UTC) and `region`; `region_flares` `region`, `start` (UTC) and `flux` (W m^-2), also
    of the time before a region's first row.
    """
    before = pd.DataFrame({"time": (table["time"] - _WINDOW).array, "region": table["region"].to_numpy()})
    return reaches(region_flux(before, region_flares), threshold).astype(np.float32)


def persistence_climatology(
    training: Float32Array, observed: BoolArray, persistent: Float32Array
) -> tuple[Float32Array, str]:
    """Persistence as a chance, float32 (N,), and a sentence with the number of cases behind it.

    (R + 1)/(S + 2) of the training samples (M,) that, as each of the N, had or had not a flare of the class in the 24 h
    before: `training` and `persistent` are those of `persistence` or `region_persistence`.
    """
    kinds = [observed[(training > 0) == kind] for kind in (False, True)]
    rates = np.array([climatology(kind) for kind in kinds], np.float32)
    without, after = (f"{kind.sum()} of {len(kind)} samples" for kind in kinds)
    told = f"events after a day with a flare of the class: {after}; without: {without}"
    return rates[(persistent > 0).astype(int)], told


def class_climatology(
    training: pd.Series, values: ArrayLike, classes: pd.Series, *, weight: float = 10.0
) -> Float32Array:
    """Mean of the `values` (M,) of training samples of the same class, float32 (N,); unknown classes get that of all.

    The mean of a class is drawn to that of all by the `weight` of so many samples [R]. With McIntosh's classes of
    regions and outcomes it is McIntosh climatology; of days and numbers of flares the rate r of its Poisson form, whose
    probability is 1 − exp(−r) (Gallagher et al. 2002, Bloomfield et al. 2012 [M]).
    """
    seen = pd.Series(np.asarray(values, np.float64)).groupby(training.to_numpy()).agg(["sum", "count"])
    overall = seen["sum"].sum() / seen["count"].sum()
    rates = (seen["sum"] + weight * overall) / (seen["count"] + weight)
    return classes.map(rates.drop("", errors="ignore")).fillna(overall).to_numpy(np.float32)


def one_number_regressions(
    training: pd.DataFrame, observed: BoolArray, table: pd.DataFrame, *, class_weights: Weights = (1.0, 1.0)
) -> dict[str, Float32Array]:
    """Logistic regressions on one number alone, fitted to M training rows: probabilities (N,) of `table` by method.

    Of regions `R_VALUE` with whether it is above 0, log10 `USFLUX` in Mx (from 1e20 on), and past flares: log(1 + i +
    j/10), where i is the index (a C flare counts 1, M 10, X 100) of the region's last 24 h and j that of all before,
    which does better than either on 2001 to 2012; of images the `proxies_of` each. A method whose columns
    (`ONE_NUMBER`) the training rows lack, or never have a value in, is left out. NaN counts as the training mean.
    """
    from sklearn.preprocessing import StandardScaler

    found = {}
    for method, columns in ONE_NUMBER.items():
        if not set(columns) <= set(training) or training[list(columns)].isna().all().any():
            continue
        values = (rows[list(columns)].to_numpy(np.float64, na_value=np.nan) for rows in (training, table))
        known, asked = (_number(method, each) for each in values)
        scale = StandardScaler().fit(known).transform  # leaves NaN out
        fitted, inputs = (np.nan_to_num(scale(values)).astype(np.float32) for values in (known, asked))
        found[method] = logistic_regression(fitted, observed, class_weights=class_weights)(inputs)
    return found


def _number(method: str, values: Float64Array) -> Float64Array:
    """What the regression of a method is on, of its columns (N, n)."""
    if method == "R_VALUE alone":
        return np.hstack([values, np.where(np.isnan(values), np.nan, values > 0)])
    if method == "USFLUX alone":
        return np.log10(np.maximum(values, 1e20))
    if method == "past flares alone":
        return np.log1p(values @ np.array([0.1, 1, 10, 1, 10, 100]))[:, None]
    return values


def logistic_regression(features: Features, observed: BoolArray, *, class_weights: Weights = (1.0, 1.0)) -> Classifier:
    """scikit-learn's logistic regression (C = 1) of features (N, n); without class weights it gives frequencies."""
    from sklearn.linear_model import LogisticRegression

    return _fit(LogisticRegression(max_iter=2000, random_state=0), features, observed, class_weights)


def gradient_boosting(features: Features, observed: BoolArray, *, class_weights: Weights = (1.0, 1.0)) -> Classifier:
    """Fit scikit-learn's gradient boosting: 100 trees, rate 0.05, leaves of at least 200 samples or a fiftieth of all.

    The settings are held small and were not tuned: neighbouring samples of a region are nearly one sample.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, min_samples_leaf=min(200, max(1, len(observed) // 50)),
        l2_regularization=1.0, early_stopping=False, random_state=0,
    )  # fmt: skip
    return _fit(trees, features, observed, class_weights)


def random_forest(features: Features, observed: BoolArray, *, class_weights: Weights = (1.0, 1.0)) -> Classifier:
    """Fit scikit-learn's random forest: 300 trees, leaves of at least 20 samples or a two-hundredth of all."""
    from sklearn.ensemble import RandomForestClassifier

    least = min(20, max(1, len(observed) // 200))
    trees = RandomForestClassifier(n_estimators=300, min_samples_leaf=least, n_jobs=2, random_state=0)
    return _fit(trees, features, observed, class_weights)


def _fit(classifier: Any, features: Features, observed: BoolArray, class_weights: Weights) -> Classifier:
    if observed.all() or not observed.any():
        raise DataError("the training samples hold one class only, so nothing can be learnt: move the split dates")
    classifier.set_params(class_weight=dict(zip((False, True), class_weights, strict=True)))
    fitted = classifier.fit(features, observed)
    fitted.n_jobs = 1  # a forest predicts by threads, but warns in a worker of dask that it can start no processes
    return lambda values: fitted.predict_proba(values)[:, 1].astype(np.float32)


def _plain(times: pd.Series) -> TimeArray:
    return pd.DatetimeIndex(times).tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]")
