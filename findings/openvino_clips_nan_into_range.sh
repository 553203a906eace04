#!/usr/bin/env bash
# OpenVINO 2026.4.1 on a CPU gives numbers for NaN: ReLU 0, a clip its lower end, a maximum the other operand, where
# TensorFlow keeps NaN; comparisons, is_nan and where agree. What was not measured so becomes a plausible value behind the
# first ReLU. Also float64 is computed as float32 throughout, in silence: the constant 1e-9 added to 1 is lost.
# Seen with OpenVINO 2026.4.1, TensorFlow 2.21.0, Python 3.11. Output when it was written:
#   relu:    TensorFlow [1.0, nan], OpenVINO [1.0, 0.0]
#   clip:    TensorFlow [1.0, nan], OpenVINO [1.0, -3.0]
#   maximum: TensorFlow [1.0, nan], OpenVINO [1.0, -1.0]
#   is_nan:  TensorFlow [0.0, 1.0], OpenVINO [0.0, 1.0]
#   1 + 1e-9 - 1 in float64: TensorFlow 1.0e-09, OpenVINO 0.0e+00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 tensorflow==2.21.0 \
    2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
HOME=$folder TF_CPP_MIN_LOG_LEVEL=2 "$folder/env/bin/python" -W ignore - 2> "$folder/log" <<'PY' || { cat "$folder/log"; exit 1; }
import math

import numpy as np
import openvino
import tensorflow as tf


def both(name, function, values):
    compiled = tf.function(function, input_signature=[tf.TensorSpec((None,), values.dtype, name="x")])
    tf.saved_model.save(tf.Module(), name, signatures={"serving_default": compiled})
    model = openvino.Core().compile_model(openvino.convert_model(name), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(tf.constant(values)).numpy().tolist(), next(iter(model({"x": values}).values())).tolist()


x = np.array([1.0, math.nan], np.float32)
for name, function, expected in (
    ("relu", tf.nn.relu, 0.0),
    ("clip", lambda x: tf.clip_by_value(x, -3.0, 3.0), -3.0),
    ("maximum", lambda x: tf.maximum(x, -1.0), -1.0),
    ("is_nan", lambda x: tf.cast(tf.math.is_nan(x), tf.float32), 1.0),
):
    here, there = both(name, function, x)
    print(f"{name + ':':8} TensorFlow {here}, OpenVINO {there}")
    assert there == [float(here[0]), expected] and (math.isnan(here[1]) or name == "is_nan"), f"{name} has changed"
here, there = both("sum", lambda x: x + 1e-9 - 1.0, np.array([1.0]))
print(f"1 + 1e-9 - 1 in float64: TensorFlow {here[0]:.1e}, OpenVINO {there[0]:.1e}")
assert 0.9e-9 < here[0] < 1.1e-9 and there[0] == 0.0, "float64 has changed"
PY
