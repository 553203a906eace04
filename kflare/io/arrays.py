"""Names of numpy's array types, by dtype; the shape is told where they are used."""

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
