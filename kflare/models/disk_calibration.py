"""P_FD, calibrated by itself: by what the regions combine to, and by the flares of the last day and week.

1 − Π(1 − p) inherits every error of the regions' calibration, and knows nothing of regions that are not seen. How many
flares such regions give changes with the cycle by more than the forecast itself: days whose regions combine to 2 % were
followed by a flare >= C on 70 % in 2012 and on 10 % in 2006. Counts of the disk's flares tell it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kflare.io.arrays import BoolArray, Float32Array, Float64Array
from kflare.models.calibration import RESAMPLES, Calibration, logits, logits_in_graph
from kflare.models.cross_fitting import OutOfSample, cross_fitted

if TYPE_CHECKING:
    import tensorflow as tf

LEAST_DISK_EVENTS = 20  # days with and without an event: about ten for each of the two numbers


@dataclass(frozen=True)
class DiskCalibration:
    """The calibration of P_FD `alone`, and of an index of P_FD and the disk's flares for when these are known.

    index = sigmoid(offset + slope · logit(P_FD) + Σ weight · ln(1 + count)), of the greatest likelihood with slope and
    weights >= 0; it is calibrated and gets its interval as any network's output (`cross_fitted`).
    """

    alone: Calibration
    informed: Calibration | None = None  # of the index
    offset: float = 0.0
    slope: float = 1.0
    weights: Mapping[str, float] | None = None  # of each count, by the feature's name

    def outputs(self, combined: "tf.Tensor", counts: Mapping[str, "tf.Tensor"]) -> dict[str, "tf.Tensor"]:
        """`calibrated` P_FD with its interval from `combined` (N,) and the counts (N,) by name; in the graph.

        Where a count is not known (NaN) it is that of `combined` alone, and NaN where `only_possible` says so.
        """
        import tensorflow as tf

        told, weights = self.alone.outputs(combined), self.weights or {}
        if self.informed is not None and weights:
            logit = self.offset + self.slope * logits_in_graph(combined)
            known = tf.ones_like(combined, tf.bool)
            for name, weight in weights.items():
                known &= counts[name] >= 0  # False of NaN
                logit += weight * tf.math.log(1.0 + tf.maximum(counts[name], 0.0))
            informed = self.informed.outputs(tf.sigmoid(tf.where(known, logit, tf.zeros_like(logit))))
            told = {name: tf.where(known, informed[name], value) for name, value in told.items()}
        return only_possible(told, combined, [counts[name] for name in weights])

    def of(self, combined: Float32Array, counts: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """`outputs` of numpy's arrays."""
        import tensorflow as tf

        given = {name: tf.constant(np.asarray(count, np.float32)) for name, count in counts.items()}
        return {name: one.numpy() for name, one in self.outputs(tf.constant(combined, tf.float32), given).items()}

    def as_json(self) -> dict[str, Any]:
        """What was fitted to what, for `kflare.json`."""
        if self.informed is None or self.weights is None:
            return self.alone.as_json()
        index = {"offset": self.offset, "slope": self.slope, "weights": dict(self.weights)}
        return self.alone.as_json() | {"with_flares": {"index": index} | self.informed.as_json()}


def only_possible(
    told: Mapping[str, "tf.Tensor"], combined: "tf.Tensor", counts: Sequence["tf.Tensor"]
) -> dict[str, "tf.Tensor"]:
    """Outputs (N,), NaN where `combined` is not in [0, 1], or a count below 0 or infinite, which none can be."""
    import tensorflow as tf

    impossible = ~((combined >= 0.0) & (combined <= 1.0))
    for count in counts:
        impossible |= (count < 0.0) | tf.math.is_inf(count)
    return {name: tf.where(impossible, float("nan"), value) for name, value in told.items()}


def disk_samples(
    times: Any, calibrated: Any, observed: Any, counts: pd.DataFrame | None = None
) -> tuple[OutOfSample, pd.DataFrame]:
    """The full disk at each time of N region samples: P_FD = 1 − Π(1 − p), and whether a flare came anywhere on it.

    `calibrated` (N,) are the regions' probabilities, `observed` (N,) the outcome of the whole disk and `counts` (N, k)
    its flares before, the same for all samples of one time. The second of the result are the counts of each time.
    """
    quiet = np.log1p(-np.asarray(calibrated, np.float64))
    table = pd.DataFrame({"time": pd.DatetimeIndex(times), "observed": np.asarray(observed), "quiet": quiet})
    by = {"quiet": "sum", "observed": "max"}
    if counts is not None:
        table, by = table.join(counts.reset_index(drop=True)), by | dict.fromkeys(counts, "first")
    disk = table.groupby("time").agg(by).reset_index()
    p = (-np.expm1(disk["quiet"].to_numpy())).astype(np.float32)
    samples = OutOfSample.of(disk["observed"].to_numpy(bool), p, disk["time"])
    return samples, disk[[] if counts is None else list(counts)]


def calibrate_disk(
    samples: OutOfSample, counts: pd.DataFrame | None = None, *, resamples: int = RESAMPLES
) -> DiskCalibration | None:
    """Calibration of P_FD by N samples of the full disk, and by `counts` (N, k) of its flares before if given.

    None where fewer than `LEAST_DISK_EVENTS` days have an event, or none has not.
    """
    if not _enough(samples):
        return None
    alone = cross_fitted(samples, resamples=resamples)
    known = None if counts is None or counts.empty else counts.notna().all(axis=1).to_numpy()
    if counts is None or known is None or not _enough(seen := samples.where(known)):
        return DiskCalibration(alone)
    x = np.column_stack([logits(seen.probability), np.log1p(counts[known].to_numpy(np.float64))])
    at = _most_likely(x, seen.observed)
    index = replace(seen, probability=_sigmoid(at[0] + x @ at[1:]).astype(np.float32))
    weights = dict(zip(counts, at[2:].tolist(), strict=True))
    return DiskCalibration(alone, cross_fitted(index, resamples=resamples), float(at[0]), float(at[1]), weights)


def _enough(samples: OutOfSample) -> bool:
    days = [len(np.unique(samples.window[samples.observed == outcome])) for outcome in (True, False)]
    return min(days) >= LEAST_DISK_EVENTS


def _sigmoid(x: Float64Array) -> Float64Array:
    from scipy.special import expit

    return np.asarray(expit(x), np.float64)


def _most_likely(x: Float64Array, observed: BoolArray) -> Float64Array:
    """Offset and weights >= 0 of columns (N, k) of greatest likelihood: more flares or a higher P_FD never lower it."""
    from scipy.optimize import minimize

    design = np.column_stack([np.ones(len(x)), x])

    def cost(at: Float64Array) -> tuple[float, Float64Array]:
        s = design @ at
        return float(np.mean(np.logaddexp(0, s) - observed * s)), design.T @ (_sigmoid(s) - observed) / len(s)

    start = np.array([0.0, 1.0, *np.zeros(x.shape[1] - 1)])
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(-20, 20), *[(0, 10)] * x.shape[1]])
    return np.asarray(found.x, np.float64)
