"""Plain methods that a network must beat on the same samples."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.datasets.labels import disk_flux, exceeds
from kflare.observations.flares import FlareList

__all__ = ["logistic_regression", "persistence"]


def logistic_regression(
    features: npt.NDArray[np.float32], observed: npt.NDArray[np.bool_], *, seed: int = 0
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Fit scikit-learn's logistic regression (C = 1, no class weights) to standardised features (N, n).

    Returns
    -------
    callable
        Features (M, n) to probabilities (M,), which are frequencies already.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=2000, random_state=seed).fit(features, observed)
    return lambda values: fitted.predict_proba(values)[:, 1].astype(np.float32)


def persistence(times: pd.Series, flares: FlareList, threshold: str) -> npt.NDArray[np.float32]:
    """1 where a flare of the class started on the disk in the 24 h before the forecast, else 0; shape (N,)."""
    before = pd.Series(pd.DatetimeIndex(times) - pd.Timedelta(hours=24))
    return exceeds(disk_flux(before, flares), threshold).astype(np.float32)
