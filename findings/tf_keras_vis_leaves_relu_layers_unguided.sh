#!/usr/bin/env bash
# tf-keras-vis 0.8.7 guides only the ReLUs that a layer holds as its `activation`. Of a network that is written with the
# layer keras.layers.ReLU, as Keras' own MobileNet is, GuidedBackpropagation changes nothing and says nothing: what it
# gives for a guided map is the plain gradient, to the last bit. One network is written both ways here, with the same
# weights and the same output.
# Seen with tf-keras-vis 0.8.7, TensorFlow 2.21.0, Keras 3.15.1. Output when it was written:
#   outputs of the two networks: equal
#   activation="relu": guided map and plain gradient differ in 6144 of 6144 pixels
#   layers.ReLU(): guided map and plain gradient differ in 0 of 6144 pixels
#   warnings: 0
#   keras.applications.MobileNet: 27 layers of ReLU, 0 activations that are guided
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    tensorflow==2.21.0 keras==3.15.1 tf-keras-vis==0.8.7 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES="" "$folder/env/bin/python" - 2> "$folder/python.log" <<'PY' || { cat "$folder/python.log"; exit 1; }
import warnings

import keras
import numpy as np
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.model_modifiers import GuidedBackpropagation
from tf_keras_vis.utils.scores import CategoricalScore

layers = keras.layers
images = np.random.default_rng(0).normal(size=(6, 32, 32, 1)).astype(np.float32)


def network(relu):
    x = inputs = keras.Input((32, 32, 1))
    for filters in (8, 8, 8):
        x = relu(x, filters)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def as_activation(x, filters):
    return layers.Conv2D(filters, 3, padding="same", activation="relu")(x)


def as_layer(x, filters):
    return layers.ReLU()(layers.Conv2D(filters, 3, padding="same")(x))


def maps(model, modifier):
    saliency = Saliency(model, model_modifier=modifier, clone=True)
    return np.asarray(saliency(CategoricalScore([1] * len(images)), images, normalize_map=False, keepdims=True))


keras.utils.set_random_seed(1)
one = network(as_activation)
other = network(as_layer)
other.set_weights(one.get_weights())
assert np.array_equal(one.predict(images, verbose=0), other.predict(images, verbose=0))
print("outputs of the two networks: equal")
differ = {}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for name, model in (('activation="relu"', one), ("layers.ReLU()", other)):
        differ[name] = int((maps(model, GuidedBackpropagation()) != maps(model, None)).sum())
        print(f"{name}: guided map and plain gradient differ in {differ[name]} of {images.size} pixels")
told = [item for item in told if "relu" in str(item.message).lower() or "guid" in str(item.message).lower()]
print(f"warnings: {len(told)}")
assert differ['activation="relu"'] > images.size / 2, "a ReLU that is an activation is not guided any more"
assert differ["layers.ReLU()"] == 0 and not told, "a layer of ReLU is guided, or warned of, now"
mobile = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), include_top=False)
written = sum(isinstance(item, layers.ReLU) for item in mobile.layers)
guided = sum(getattr(item, "activation", None) is keras.activations.relu for item in mobile.layers)
print(f"keras.applications.MobileNet: {written} layers of ReLU, {guided} activations that are guided")
assert (written, guided) == (27, 0), "MobileNet is written otherwise now"
PY
