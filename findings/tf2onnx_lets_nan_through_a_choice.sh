#!/usr/bin/env bash
# tf2onnx 1.17.0 writes tf.where(condition, x, y) of numbers as condition * x + (not condition) * y, a product with 0 or 1.
# A mask that takes NaN or infinity out by their size, as physical limits do, therefore gives NaN in ONNX: 0 * NaN is
# NaN. Only where the condition itself is tf.math.is_nan or is_inf, or a constant holds NaN, it writes ONNX's Where. And
# tf.math.log1p becomes an operation "Log1p", which ONNX does not have: the conversion says that it succeeded, and
# ONNX Runtime refuses the file.
# Seen with tf2onnx 1.17.0, TensorFlow 2.21.0, onnx 1.23.2, ONNX Runtime 1.32.0, Python 3.11. Output when it was written:
#   within limits: TensorFlow [1.0, 0.0, 0.0], ONNX Runtime [1.0, nan, 0.0], by Abs LessOrEqual Not Cast Mul Cast Mul Add
#   is NaN:        TensorFlow [1.0, 0.0, -5000.0], ONNX Runtime [1.0, 0.0, -5000.0], by IsNaN Where
#   log1p:         converted, then InvalidGraph
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check tf2onnx==1.17.0 tensorflow==2.21.0 onnx==1.23.2 \
    onnxruntime==1.32.0 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
HOME=$folder TF_CPP_MIN_LOG_LEVEL=2 "$folder/env/bin/python" -W ignore - 2> "$folder/log" <<'PY' || { cat "$folder/log"; exit 1; }
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

field = np.array([1.0, np.nan, -5000.0], np.float32)


def both(function):
    compiled = tf.function(function, input_signature=[tf.TensorSpec((None,), tf.float32)])
    model, _ = tf2onnx.convert.from_function(compiled, input_signature=compiled.input_signature, opset=18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    converted = session.run(None, {session.get_inputs()[0].name: field})[0]
    return compiled(field).numpy().tolist(), converted.tolist(), " ".join(node.op_type for node in model.graph.node)


here, there, operations = both(lambda x: tf.where(tf.abs(x) <= 3000.0, x, 0.0))
print(f"within limits: TensorFlow {here}, ONNX Runtime {there}, by {operations}")
assert here == [1.0, 0.0, 0.0] and np.isnan(there[1]) and "Where" not in operations, "the choice by limits has changed"
here, there, operations = both(lambda x: tf.where(tf.math.is_nan(x), 0.0, x))
print(f"is NaN:        TensorFlow {here}, ONNX Runtime {there}, by {operations}")
assert here == there and operations == "IsNaN Where", "the choice by is_nan has changed"
try:
    both(tf.math.log1p)
except Exception as error:
    print("log1p:         converted, then", type(error).__name__)
    assert type(error).__name__ == "InvalidGraph" and "Log1p" in str(error), "what happens to log1p has changed"
else:
    raise SystemExit("log1p is converted now")
PY
