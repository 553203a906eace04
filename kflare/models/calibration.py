"""From a network's output to an observed frequency, fitted on validation data.

The class-weighted loss moves the prior to 50/50, so DeFN's output is no frequency (Nishizuka et al. 2021, section 2.4;
undone analytically in SCIENCE.md C.4). Platt scaling, sigmoid(a·logit(p) + b), contains that correction
(a = 1, b = −ln w) and repairs over-confidence besides.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kflare.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Calibration", "fit_calibration", "never_certain"]

_EDGE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """calibrated = clip(sigmoid(slope · logit(probability) + offset), lowest, 1 − lowest)."""

    slope: float
    offset: float
    lowest: float
    """No forecast is ever 0 % or 100 %: n validation samples cannot support less than 1/(n + 2) (Laplace's rule)."""

    def __call__(self, probability: "tf.Tensor") -> "tf.Tensor":
        """Calibrated probability, float32 of the same shape; in the graph."""
        import tensorflow as tf

        p = never_certain(probability)
        logit = tf.math.log(p) - tf.math.log1p(-p)
        return tf.clip_by_value(tf.sigmoid(self.slope * logit + self.offset), self.lowest, 1 - self.lowest)


def never_certain(probability: "tf.Tensor") -> "tf.Tensor":
    """A network's output held to [1e-6, 1 - 1e-6], beyond which float32 rounds it to 0 or 1; in the graph."""
    import tensorflow as tf

    return tf.clip_by_value(probability, _EDGE, 1 - _EDGE)


def fit_calibration(observed: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> Calibration:
    """Platt scaling by maximum likelihood on validation data.

    Parameters
    ----------
    observed, probability : arrays of shape (N,)
        Whether the flare came, and the network's output.

    Raises
    ------
    DataError
        The validation span holds one class only.
    """
    from scipy.optimize import minimize
    from scipy.special import log_expit, logit

    if observed.all() or not observed.any():
        seen = "no event" if not observed.any() else "no quiet sample"
        raise DataError(f"the validation span holds {seen}, so nothing can be calibrated: move the split dates")
    x = logit(np.clip(probability.astype(np.float64), _EDGE, 1 - _EDGE))

    def cost(parameters: npt.NDArray[np.float64]) -> float:
        z = parameters[0] * x + parameters[1]
        return float(-np.mean(np.where(observed, log_expit(z), log_expit(-z))))

    # A negative slope would turn the forecast round: a network without skill on validation gets climatology (slope 0).
    best = minimize(
        cost, x0=[0.5, float(logit(observed.mean()))], method="L-BFGS-B", bounds=[(0.0, 10.0), (-20.0, 20.0)]
    )
    return Calibration(float(best.x[0]), float(best.x[1]), 1.0 / (len(observed) + 2))
