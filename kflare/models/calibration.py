"""From a network's output to an observed frequency, fitted on outputs for samples that the network did not see.

The class-weighted loss moves the prior to 50/50, so DeFN's output is no frequency (Nishizuka et al. 2021, section 2.4;
undone analytically in docs/science.md). Platt scaling, sigmoid(a·logit(p) + b), contains that correction
(a = 1, b = −ln w) and repairs over-confidence besides. `cross_fitting.py` fits it to several years.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import ArrayLike, BoolArray, Float32Array, Float64Array

if TYPE_CHECKING:
    import tensorflow as tf

LEVEL = 0.90
"""Share of the resampled calibrations that lie within the interval, half of the rest on each side."""

RESAMPLES = 200

_EDGE = 1e-6
_BOUNDS = np.array([(0.0, 10.0), (-20.0, 20.0)])
_MOST_LOGIT = math.log((1 - _EDGE) / _EDGE)
KNOTS = np.linspace(-_MOST_LOGIT, _MOST_LOGIT, 65)
"""Logits at which the interval is kept. A calibration is a line in logits, so the quantile of many is a broken line."""


@dataclass(frozen=True)
class Calibration:
    """calibrated = clip(sigmoid(slope · logit(probability) + offset), lowest, 1 − lowest)."""

    slope: float
    offset: float
    lowest: float
    """No forecast is ever 0 % or 100 %: n independent windows cannot support less than 1/(n + 2) (Laplace's rule)."""
    band: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Lower and upper end of the calibrated logit at logits evenly spaced over [logit(1e-6), logit(1 - 1e-6)]."""
    years: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False)
    """Of each year or block: `samples`, `windows`, `clusters`, `events`, and `slope`, `offset` of its shrunk fit."""
    spread: tuple[float, float] | None = None
    """Standard deviation of slope and offset (at the mean logit) between the years; None of one year."""
    own: str | None = None  # the year whose fit, shrunk to that of all, this is; None: that of all

    def __call__(self, probability: "tf.Tensor") -> "tf.Tensor":
        """Calibrated probability, float32 of the same shape; in the graph."""
        import tensorflow as tf

        return self._held(tf.sigmoid(self.slope * logits_in_graph(probability) + self.offset))

    def outputs(self, probability: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        """`calibrated` and, where its interval is known, `calibrated_lower` and `calibrated_upper`; in the graph."""
        import tensorflow as tf

        calibrated = self(probability)
        if self.band is None:
            return {"calibrated": calibrated}
        place = (logits_in_graph(probability) + _MOST_LOGIT) * ((len(KNOTS) - 1) / (2 * _MOST_LOGIT))
        below = tf.clip_by_value(tf.cast(place, tf.int32), 0, len(KNOTS) - 2)
        share = place - tf.cast(below, tf.float32)
        ends = []
        for edge in self.band:
            knots = tf.constant(edge, tf.float32)
            logit = (1 - share) * tf.gather(knots, below) + share * tf.gather(knots, below + 1)
            ends.append(self._held(tf.sigmoid(logit)))
        lower, upper = tf.minimum(ends[0], calibrated), tf.maximum(ends[1], calibrated)
        return {"calibrated": calibrated, "calibrated_lower": lower, "calibrated_upper": upper}

    def _held(self, probability: "tf.Tensor") -> "tf.Tensor":
        import tensorflow as tf

        return tf.clip_by_value(probability, self.lowest, 1 - self.lowest)

    def as_json(self) -> dict[str, Any]:
        """What was fitted to what, for `kflare.json`."""
        what = "validation data" if len(self.years) < 2 else "out-of-sample forecasts of several years"
        shrunk = "" if self.own is None else f", fit of the {self.own} shrunk to that of all"
        plain: dict[str, Any] = {"method": f"Platt scaling on {what}{shrunk}"}
        plain |= {"slope": self.slope, "offset": self.offset, "lowest": self.lowest}
        if self.band is not None:
            plain["interval"] = {
                "level": LEVEL, "resamples": RESAMPLES,
                "of": "the calibration alone, not of the network: regions or weeks resampled, and the years' spread",
            }  # fmt: skip
        if self.spread is not None:
            plain["spread_between_years"] = dict(zip(("slope", "offset"), self.spread, strict=True))
        return plain | ({"years": dict(self.years)} if self.years else {})


def never_certain(probability: "tf.Tensor") -> "tf.Tensor":
    """A network's output held to [1e-6, 1 - 1e-6], beyond which float32 rounds it to 0 or 1; in the graph."""
    import tensorflow as tf

    return tf.clip_by_value(probability, _EDGE, 1 - _EDGE)


def fit_calibration(observed: BoolArray, probability: Float32Array) -> Calibration:
    """Platt scaling by maximum likelihood on validation data, without an interval.

    Of whether the flare came, and the network's output, (N,) each; `DataError` where the span holds one class only.
    """
    if observed.all() or not observed.any():
        seen = "no event" if not observed.any() else "no quiet sample"
        raise DataError(f"the validation span holds {seen}, so nothing can be calibrated: move the split dates")
    rate = float(observed.mean())
    start = np.array([0.5, math.log(rate / (1 - rate))])
    slope, offset = best_line(observed, logits(probability), np.ones(len(observed)), start=start).tolist()
    return Calibration(slope, offset, 1.0 / (len(observed) + 2))


def logits_in_graph(probability: "tf.Tensor") -> "tf.Tensor":
    """Logits of outputs held to [1e-6, 1 - 1e-6], float32 of the same shape; in the graph."""
    import tensorflow as tf

    p = never_certain(probability)
    # Not log1p, which ONNX does not have: of p held to these ends both are the same within float32's rounding.
    return tf.math.log(p) - tf.math.log(1.0 - p)


def logits(probability: ArrayLike) -> Float64Array:
    """Logits of outputs held to [1e-6, 1 - 1e-6], float64 of the same shape."""
    p = np.clip(np.asarray(probability, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


def best_line(
    observed: BoolArray, x: Float64Array, weight: Float64Array, *, start: Float64Array,
    prior: tuple[Float64Array, Float64Array] | None = None
) -> Float64Array:  # fmt: skip
    """Slope and level of greatest likelihood, or with a `prior` (means, variances) of greatest posterior density.

    A negative slope would turn the forecast round: a network without skill on validation gets climatology (slope 0).
    """
    from scipy.special import expit

    mean, precision = (start, np.zeros(2)) if prior is None else (prior[0], 1 / prior[1])
    at = np.clip(start, *_BOUNDS.T)
    for _ in range(60):  # Newton's method, in steps that are held small: the cost is convex
        p = expit(at[0] * x + at[1])
        rest, curve = weight * (p - observed), weight * p * (1 - p)
        first = np.array([rest @ x, rest.sum()]) + precision * (at - mean)
        curved = curve * x
        square, mixed, plain = curved @ x + precision[0] + 1e-9, curved.sum(), curve.sum() + precision[1] + 1e-9
        step = (first[1] * mixed - first[0] * plain) / max(square * plain - mixed**2, 1e-12)
        step = np.clip(at[0] + np.clip(step, -0.5, 0.5), *_BOUNDS[0]) - at[0]
        # The best level for this slope, also where the slope is held at its bound.
        move = np.array([step, np.clip(-(first[1] + mixed * step) / plain, -2, 2)])
        at = np.clip(at + move, *_BOUNDS.T)
        if np.abs(move).max() < 1e-8:
            break
    return at
