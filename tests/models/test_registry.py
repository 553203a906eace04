"""The table of models: what clients, settings and commands read from it, without TensorFlow."""

import subprocess
import sys

import pytest

from kflare.errors import SettingError
from kflare.models.registry import MODELS, ModelSpec, first_per_event, model_names, model_spec, one_per_event
from kflare.models.training import Recipe


def test_each_model_is_named_once_and_builds_a_network_of_two_outputs():
    assert len(set(model_names())) == len(MODELS)
    for spec in MODELS:
        network = spec.build((128, 128, 1) if spec.kind == "image" else 5)
        assert network.output_shape == (None, 2)


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_recipes_are_complete(spec: ModelSpec):
    for recipe in (spec.recipe, spec.pretraining):
        if recipe is not None:
            Recipe(**recipe, class_weights=(1.0, 2.0))


def test_one_model_is_asked_for_each_class():
    names = model_names()
    assert first_per_event(names, "image") == ("cnn-c", "cnn-m")
    assert first_per_event(["defn-m", "cnn-c"], "region") == ("defn-m",)
    assert one_per_event(["cnn-m"], "image") == ["cnn-m"]
    with pytest.raises(SettingError, match=f"`models` may hold {' and '.join(model_names('image'))}, got defn-c"):
        one_per_event(["cnn-m", "defn-c"], "image")
    with pytest.raises(SettingError, match="`models` may hold one model for each class, got cnn-m, cnn-m"):
        one_per_event(["cnn-m", "cnn-m"], "image")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SettingError, match="unknown model `dense`: the known ones are cnn-c"):
        model_spec("dense")


def test_the_table_imports_nothing_heavy():
    code = (
        "import sys, kflare.models.registry\nassert not {'tensorflow', 'keras', 'numpy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
