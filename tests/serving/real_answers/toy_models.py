"""The toy models that the tables were asked of: the names of their signatures, nodes and functions are in the answers.

`toy` 1 has a signature for each type and shape (y = 2 x of `serving_default`), version 2 three of them (y = 3 x);
`nodefault` has none that is called `serving_default`.
"""

from pathlib import Path
from typing import Any

import numpy as np

_TYPES = ("float64", "float32", "int32", "int64", "uint8", "int8", "int16", "uint32", "uint64", "bool", "string",
          "float16", "bfloat16", "complex64", "uint16")  # fmt: skip
_NAMES = {"float64": "double", "float32": "float", "float16": "half"}
_SINGLE = [
    0, -0.0, 1, 1.5, 0.1, 1 / 3, 1e-7, 1.17549435e-38, 1e-45, 3.4028235e38, 123456.789, 1234567, 12345678, 1e6, 1e7,
    999999, 1e10, 1e15, 1e16, 1e17, 1e21, -2.5e-5, 0.0001, 0.00001, 16777216, 16777217, 100000, np.pi, np.nan, np.inf,
    -np.inf,
]  # fmt: skip
_DOUBLE = [
    0, -0.0, 1, 1.5, 0.1, 1 / 3, 1e-7, 5e-324, 1.7976931348623157e308, 123456.789, 1234567, 12345678.9, 1e6, 1e10, 1e15,
    1e16, 1e17, 1e21, 1e22, -2.5e-5, 0.0001, 0.00001, np.pi, 2 / 3, np.nan, np.inf, -np.inf,
]  # fmt: skip


def write_toys(folder: Path) -> None:
    """Write `toy` 1 and 2 and `nodefault` 1 below a folder."""
    import tensorflow as tf

    module = tf.Module()
    module.factor = tf.Variable(2.0)

    def signature(function: Any, **inputs: Any) -> Any:
        specs = [tf.TensorSpec(shape, dtype, name) for name, (shape, dtype) in inputs.items()]
        return tf.function(function, input_signature=specs, autograph=False)

    some, single, double = [None], np.array(_SINGLE, np.float32), np.array(_DOUBLE, np.float64)

    def scaled(x: Any) -> Any:
        return {"y": x * module.factor}

    def same(x: Any) -> Any:
        return {"y": tf.identity(x)}

    def several(a: Any, b: Any) -> Any:
        text = {"z_bytes": tf.strings.as_string(b), "a_text": tf.strings.as_string(a)}
        return {"s": a * module.factor, "t": b + 1, **text}

    def constants(x: Any) -> Any:
        return {
            name: tf.tile(tf.constant(values)[None], [tf.size(x), 1]) for name, values in (("f", single), ("d", double))
        }

    signatures = {"serving_default": signature(scaled, x=([None, 2], tf.float32))}
    for name in _TYPES:
        signatures[f"echo_{_NAMES.get(name, name)}"] = signature(same, x=(some, tf.as_dtype(name)))
    signatures |= {
        "any_float": signature(same, x=(None, tf.float32)),
        "any_string": signature(same, x=(None, tf.string)),
        "any_int": signature(same, x=(None, tf.int32)),
        "scalar": signature(scaled, x=([], tf.float32)),
        "four": signature(scaled, x=([None, 2, 2, 1], tf.float32)),
        "multi": signature(several, a=(some, tf.float32), b=([None, 2], tf.int32)),
        "two": signature(lambda a, b: {"sum": a + b}, a=([None, 2], tf.float32), b=([None, 2], tf.float32)),
        "image": signature(
            lambda image_bytes: {"out_bytes": tf.identity(image_bytes), "n": tf.strings.length(image_bytes)},
            image_bytes=(some, tf.string),
        ),
        "uneven": signature(lambda x: {"p": x, "q": tf.concat([x, x], 0)}, x=(some, tf.float32)),
        "scalar_out": signature(lambda x: {"p": x, "total": tf.reduce_sum(x)}, x=(some, tf.float32)),
        "raise": signature(lambda x: {"y": tf.reshape(x, [3])}, x=(some, tf.float32)),
        "numbers": signature(constants, x=(some, tf.float32)),
        "empty_out": signature(lambda x: {"y": tf.zeros([tf.size(x), 0])}, x=(some, tf.float32)),
        "odd name/é": signature(lambda x: {"y": x}, x=(some, tf.float32)),
    }
    made = {name: one.get_concrete_function() for name, one in signatures.items()}
    tf.saved_model.save(module, str(folder / "toy" / "1"), signatures=made)
    module.factor.assign(3.0)
    kept = {name: made[name] for name in ("serving_default", "multi", "echo_float")}
    tf.saved_model.save(module, str(folder / "toy" / "2"), signatures=kept)
    other = signature(lambda x: {"y": x}, x=(some, tf.float32)).get_concrete_function()
    tf.saved_model.save(tf.Module(), str(folder / "nodefault" / "1"), signatures={"other": other})


def write_batcher(folder: Path) -> None:
    """Write `bt`: y = 2 x, and n is the number of rows that ran together."""
    import tensorflow as tf

    def signature(function: Any, *names: str, shape: tuple[int | None, ...]) -> Any:
        specs = [tf.TensorSpec(shape, tf.float32, name) for name in names]
        return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()

    def doubled(x: Any) -> Any:
        return {"y": 2 * x, "n": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}

    def check(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 10.0, message="too big")]):
            return doubled(x)

    def two(a: Any, b: Any) -> Any:
        return {"y": a + b, "n": tf.fill([tf.shape(a)[0]], tf.shape(a)[0])}

    signatures = {
        "serving_default": signature(doubled, "x", shape=(None, 2)),
        "check": signature(check, "x", shape=(None, 2)),
        "scalar": signature(lambda x: {"y": 2 * x}, "x", shape=()),
        "two": signature(two, "a", "b", shape=(None,)),
    }
    tf.saved_model.save(tf.Module(), str(folder / "bt"), signatures=signatures)
