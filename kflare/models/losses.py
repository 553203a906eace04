"""The weighted cross entropy of Deep Flare Net, and its class weights."""

import math
from typing import Any

import keras
import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import ArrayLike

_SMALLEST_PROBABILITY = 1e-10


@keras.saving.register_keras_serializable(package="kflare")
class WeightedCrossentropy(keras.losses.Loss):
    r"""Cross entropy in which each class counts by its weight.

    .. math:: L_n = -\sum_k w_k \, y^*_{nk} \log \max(p_{nk}, 10^{-10})

    The `class_weights` of [no flare, flare] are positive, else `SettingError`; (1, 1) is plain cross entropy, see
    `class_weights`. `call` returns one value per sample; Keras takes the mean over the batch. The paper (Nishizuka et
    al. 2021, equation 1) prints the sum over the batch, and the authors' code takes the mean over samples *and*
    classes, half of ours: a constant factor, which Adam cancels up to its epsilon. Below 1e-10 the gradient vanishes,
    as in that code (komeisugiura/defn18, `src/deepflarenet.py`). DataError: labels or predictions not (N, 2).
    """

    def __init__(self, class_weights: tuple[float, float], *, name: str = "weighted_crossentropy") -> None:
        super().__init__(name=name)
        weights = tuple(float(weight) for weight in class_weights)
        if len(weights) != 2 or not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise SettingError(f"`class_weights` must be two positive numbers [no flare, flare], got {class_weights}")
        self.class_weights = weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample, (N,), of one-hot labels and softmax probabilities (N, 2), [no flare, flare]."""
        for name, tensor in (("y_true", y_true), ("y_pred", y_pred)):
            # Labels of shape (N,) would broadcast against the two classes and train on nonsense without an error.
            if len(tensor.shape) != 2 or tensor.shape[-1] != 2:
                fault = f"`{name}` must have the shape (N, 2), [no flare, flare], got {tuple(tensor.shape)}"
                raise DataError(f"{fault}: encode labels with keras.utils.to_categorical(labels, 2)")
        probability = keras.ops.clip(y_pred, _SMALLEST_PROBABILITY, 1.0)
        weights = keras.ops.convert_to_tensor(self.class_weights, dtype=y_pred.dtype)
        return -keras.ops.sum(weights * y_true * keras.ops.log(probability), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this loss, for Keras."""
        return {"class_weights": list(self.class_weights), "name": self.name}


def class_weights(labels: ArrayLike) -> tuple[float, float]:
    """Inverse class ratio of the *training* labels, the weights of [no flare, flare]: (1, number without / with event).

    With them the decision at 0.5 is a decision at the climatological rate (Nishizuka et al. 2021, section 2.3).
    Published: (1, 50) for ≥M1.0 in the paper, (1, 60) in the code, (1, 4) for ≥C1.0. `DataError`: only one class.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or not np.isin(given, (0, 1)).all():
        raise DataError(f"`labels` must be zeros and ones of shape (N,), got shape {given.shape}, dtype {given.dtype}")
    positive = int(np.count_nonzero(given))
    negative = len(given) - positive
    if not positive or not negative:
        got = f"got {positive} samples with and {negative} without an event"
        raise DataError(
            f"`labels` must hold both classes to weigh them, {got}: widen the training span or lower the threshold"
        )
    return 1.0, negative / positive
