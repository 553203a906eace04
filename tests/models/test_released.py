"""The released models are whole, small, allowed to run, and come with their cards."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from kflare.models.known_answer import KNOWN_QUESTION, known_answer, wrong_output
from kflare.models.publish import read_metadata, verify_manifest
from kflare.models.registry import BYTE_RANGE
from kflare.models.releases import verify_version
from kflare.models.savedmodel import check_ops, load_signatures
from kflare.observations.reading import read_magnetogram
from kflare.operations.questions import ask_regions
from kflare.regions.feature_table import feature_set
from kflare.serving import Client, Server
from kflare.serving.forecasts.served_forecasts import forecast_regions
from kflare.serving.server.config_files import ModelSettings

pytestmark = pytest.mark.trains

HOME = Path(__file__).resolve().parents[2] / "savedmodels"


def newest(name):
    return HOME / name / str(max(int(version.name) for version in (HOME / name).iterdir()))


@pytest.mark.parametrize("name", ["defn-c", "defn-m"])
def test_a_released_region_model_is_whole(name):
    version = newest(name)
    verify_manifest(version)
    check_ops(version)
    assert sum(file.stat().st_size for file in version.rglob("*")) < 4_000_000
    card = (version / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}: ")
    features = read_metadata(version)["features"]
    assert all(f"| `{feature['name']}` | {feature['unit']} |" in card for feature in features)
    nothing = {feature["name"]: np.array([np.nan], np.float32) for feature in features}
    answer = load_signatures(version)("serving_default", nothing)
    assert (answer["imputed"], answer["usable"]) == (len(features), False)
    # Version 3 told what it holds of the training mean.
    assert all(np.isnan(answer[key]).all() for key in ("probability", "probabilities", "calibrated"))
    one = nothing | {"USFLUX": np.array([1e22], np.float32)}
    answer = load_signatures(version)("serving_default", one)
    assert (answer["imputed"], answer["usable"]) == (len(features) - 1, True)
    assert 0 < answer["calibrated"] < answer["probability"] < 1
    # At such corners version 1 answered 1.0 and 5e-15; no forecast is a certainty.
    for extreme in (1e30, 0.0, -1e30):
        corner = {name: np.array([extreme], np.float32) for name in nothing}
        assert 1e-6 <= load_signatures(version)("serving_default", corner)["probability"] < 1


@pytest.mark.parametrize("name", ["defn-c", "defn-m"])
def test_a_released_region_model_makes_no_probability_of_what_cannot_be(name):
    ask = load_signatures(newest(name))
    counts = list(read_metadata(newest(name))["disk_calibration"]["with_flares"]["index"]["weights"])
    plain = {"combined": 0.3, **dict.fromkeys(counts, 1.0)}
    # Version 9 answered all of these with a number.
    wrong = [{"combined": value} for value in (-0.1, 1.1, np.nan, np.inf)]
    wrong += [{count: value} for count in counts for value in (-1.0, np.inf, -np.inf)]
    right = [{}, {"combined": 0.0}, {"combined": 1.0}, *({count: np.nan} for count in counts)]
    rows = [plain | row for row in (*right, *wrong)]
    told = ask("full_disk", {key: np.array([row[key] for row in rows], np.float32) for key in plain})
    for value in told.values():
        np.testing.assert_array_equal(np.isfinite(value), np.arange(len(rows)) < len(right))
    # Of an unknown count it is that of the regions alone.
    assert len({float(one) for one in told["calibrated"][3 : len(right)]}) == 1


def test_documents_say_what_the_released_models_take():
    taken = [[one["name"] for one in read_metadata(newest(name))["features"]] for name in ("defn-c", "defn-m")]
    assert taken[0] == taken[1]
    width = {read_metadata(newest(name))["image_size"] for name in ("cnn-c", "cnn-m")}
    assert len(width) == 1
    root = HOME.parent
    size, count = f"{min(width)} × {min(width)} pixels", f"{len(taken[0])} features"
    for page in ("README.md", "docs/operations.md"):
        text = " ".join((root / page).read_text(encoding="utf-8").split())
        assert size in text, page
        assert count in text, page
    absent = [f"`{one.name}`" for one in feature_set("sharp") if one.name not in taken[0]]
    said = f"The released `defn-*` take {len(taken[0])} of these: all but {', '.join(absent[:-1])} and {absent[-1]}"
    assert said in " ".join((root / "docs" / "features.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("name", ["cnn-c", "cnn-m"])
def test_a_released_image_model_is_whole(name):
    version = newest(name)
    verify_manifest(version)
    check_ops(version)
    assert sum(file.stat().st_size for file in version.rglob("*")) < 5_000_000  # warm-up and known answer of 512 pixels
    card = (version / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}: ")
    # A quiet disk, as any archive has it: 0.45 of the width in radius, noise of both polarities, NaN around it.
    rows, columns = np.indices((512, 512)) - 255.5
    noise = np.random.default_rng(0).normal(0, 5, (512, 512))
    field = np.where(np.hypot(rows, columns) < 0.45 * 512, noise, np.nan).astype(np.float32)[None, :, :, None]
    signatures = load_signatures(version)
    answer = signatures("serving_default", {"magnetogram": field})
    assert 0 < answer["probability"][0] < 0.5
    explained = signatures("attribute", {"magnetogram": field})
    np.testing.assert_allclose(explained["probability"], answer["probability"], rtol=1e-5)
    assert explained["guided_backprop"].shape == (1, 512, 512, 2)
    assert explained["cam"].shape == (1, 256, 256, 2)
    # Version 2 gave 0.137 (cnn-m, calibrated 0.032) for a magnetogram of which nothing was seen.
    for nothing in (np.nan, np.inf, 1e38, -32768.0):
        unseen = signatures("serving_default", {"magnetogram": np.full_like(field, nothing)})
        assert not unseen["usable"].any()
        assert np.isnan([unseen["probability"], unseen["calibrated"]]).all()


# As version 6 was published; versions 7 to 9 have its weights in other graphs: what is changed around them must
# leave its answers as they were.
ANSWERS = {
    ("cnn-c", "hmi.M_20130104_000034.jpg"): (0.9281025, 0.9952186),
    ("cnn-c", "hmi.M_20141026_000034.jpg"): (0.9998779, 0.9980989),
    ("cnn-m", "hmi.M_20130104_000034.jpg"): (0.5565434, 0.2979861),
    ("cnn-m", "hmi.M_20141026_000034.jpg"): (0.9618056, 0.6401265),
}


@pytest.mark.parametrize("name", ["cnn-c", "cnn-m"])
def test_a_released_image_model_answers_as_it_was_published(real_data, name):
    ask = load_signatures(newest(name))
    for (model, file), expected in ANSWERS.items():
        if model == name:
            field = read_magnetogram(real_data / "hmi_daily" / file, byte_range=250.0).data[None, :, :, None]
            answer = ask("serving_default", {"magnetogram": field})
            found = (float(answer["probability"][0]), float(answer["calibrated"][0]))
            assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("version", sorted(HOME.glob("*/*")), ids=lambda version: version.parent.name)
def test_a_released_model_gives_its_known_answer_and_names_its_oldest_tensorflow(version):
    verify_version(version)
    request = PredictRequest.FromString((version / KNOWN_QUESTION).read_bytes())
    spec = request.model_spec
    assert (spec.name, spec.version.value) == (version.parent.name, int(version.name))
    inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
    known = known_answer(version)
    assert {"probability", "calibrated"} <= set(known)
    assert wrong_output(load_signatures(version)(spec.signature_name, inputs), known) is None
    # Another model's answer to it is not taken for it.
    for other in set(HOME.glob("*/*")) - {version}:
        assert wrong_output(known_answer(other), known) is not None
    about = read_metadata(version)
    card = (version / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    tools = runpy.run_path(str(HOME.parent / "tools" / "model_card.py"))
    assert about["oldest_tensorflow"] == tools["OLDEST_TENSORFLOW"]
    assert f"\n{tools['software'](about)}\n" in card
    assert f"TensorFlow {about['oldest_tensorflow']} and later" in (HOME.parent / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", ["cnn-c", "cnn-m"])
def test_a_server_tells_by_which_scale_of_images_a_model_learnt(name):
    version = newest(name)
    asked = np.array([np.nan, 100.0], np.float32)
    answer = load_signatures(version)(BYTE_RANGE, {BYTE_RANGE: asked})[BYTE_RANGE]
    assert answer.tolist() == [read_metadata(version)["data"]["byte_range"], 100.0] == [250.0, 100.0]


@pytest.mark.parametrize("version", sorted(HOME.glob("*/*")), ids=lambda version: version.parent.name)
def test_a_released_graph_turns_floats_alone(version):
    """What else is turned has oneDNN complain on standard error where there is no AVX-512, below log level 3."""
    (graph,) = SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs
    nodes = [node for function in graph.graph_def.library.function for node in function.node_def]
    turned = {node.attr["T"].type for node in nodes if node.op == "Transpose"}
    assert turned <= {tf.float32.as_datatype_enum, tf.float64.as_datatype_enum}


@pytest.mark.parametrize("version", sorted(HOME.glob("*/*")), ids=lambda version: version.parent.name)
def test_a_released_graph_holds_each_function_once(version):
    (graph,) = SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs
    bodies = [function.node_def for function in graph.graph_def.library.function if len(function.node_def) > 50]
    operations = [[(node.op, node.name) for node in nodes] for nodes in bodies]
    assert len(operations) == len({str(each) for each in operations}) > 0


def test_a_region_of_which_nothing_was_measured_has_no_forecast_anywhere():
    """In predict its probability is unknown, as is the disk's; in a cycle, which asks for none, the model failed."""
    names = [feature["name"] for feature in read_metadata(newest("defn-m"))["features"]]
    times = pd.DatetimeIndex(["2014-03-03T02:00", "2014-03-03T02:00", "2014-03-03T03:00"], tz="UTC").as_unit("us")
    table = pd.DataFrame({"time": times, "region": ["r1", "r2", "r1"]}).assign(**dict.fromkeys(names, 1.0))
    table.loc[1, names] = np.nan
    with Server([ModelSettings("defn-m", HOME / "defn-m")], port=0) as server, Client(server.address) as client:
        told = forecast_regions(client, table, ["defn-m"])
        answers = ask_regions(client, table, {"defn-m": names})
        whole = ask_regions(client, table.drop(1), {"defn-m": names})
    assert told.rows["M+ probability"].isna().tolist() == [False, True, False]
    assert told.rows["M+ imputed"].tolist() == [0, len(names), 0]
    assert told.disk["M+ probability"].isna().tolist() == [True, False]
    assert (answers.models, list(answers.failures)) == ([], ["defn-m"])
    assert [one.network for one in whole.probability["M"]] == told.rows["M+ probability"].dropna().tolist()
