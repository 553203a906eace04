"""Names of numpy's array types, by dtype; the shape is told where they are used."""

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
ArrayLike = npt.ArrayLike
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
ComplexArray = npt.NDArray[np.complex128]
Float16Array = npt.NDArray[np.float16]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]
IndexArray = npt.NDArray[np.intp]
IntArray = npt.NDArray[np.int64]
TimeArray = npt.NDArray[np.datetime64]
