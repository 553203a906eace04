"""Publish the released models anew through today's graphs: the same weights, words and, to the last bit, answers.

    python tools/republish_released_models.py [OPTION ...] "what has changed, for the card" [NAME ...]

For changes of the graph or of what stands beside it; `train_released_models` makes the weights. A version whose answers
differ in one bit, in any signature, to its warm-up requests, magnetograms of random fields and random rows, is refused;
but to rows of which nothing was measured, and to impossible counts of flares, there is no answer, and outputs may be
added. With --to-rounding numbers may differ by 1e-6 and the mean of a map's differences by 1e-6 of its largest value:
where a last bit opens a ReLU, guided gradients show it in a few pixels. With --images-read-otherwise the answers to
8-bit images may differ, as files are read otherwise too, and by how much is printed.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from model_card import OLDEST_TENSORFLOW, software
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from kflare.attribution.compiled import CompiledAttribution
from kflare.models.calibration import KNOTS, Calibration
from kflare.models.dense_cnn import LAST_CONVOLUTION
from kflare.models.disk_calibration import only_possible
from kflare.models.fitting import FittedNetwork
from kflare.models.image_models import publish_image_model
from kflare.models.known_answer import WARMUP
from kflare.models.publish import (
    BATCHING,
    MANIFEST,
    SignatureCase,
    publish_version,
    read_metadata,
    verify_manifest,
    versions,
)  # fmt: skip
from kflare.models.registry import DISK, model_names, model_spec
from kflare.models.savedmodel import load_signatures, only_usable, share_functions, write_signatures
from kflare.models.training import TrainingRun

HOME = Path(__file__).resolve().parents[1] / "savedmodels"
WRITTEN = ("model", "version", "image_size")  # publishing adds them


def republish(name: str, change: str, *, records: Path | None = None, **allowed: bool) -> Path:
    """Publish the next version of a released model and compare it; returns its directory.

    `records` holds NAME.json of metadata that replace what the version tells, such as a `full_disk_record`.
    """
    old = HOME / name / str(versions(HOME / name)[-1])
    verify_manifest(old)
    about = read_metadata(old)
    metadata = {key: value for key, value in about.items() if key not in WRITTEN}
    changes = "; ".join([about["changes"], change] if "changes" in about else [change])
    metadata |= {"oldest_tensorflow": OLDEST_TENSORFLOW, "changes": changes}
    if records is not None:
        metadata |= json.loads((records / f"{name}.json").read_text(encoding="utf-8"))
    card = (old / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    head, limits, rest = card.partition("## Limits\n")
    head = head.partition("## Software\n")[0].rstrip()
    card = f"{head}\n\n{software(metadata)}\n\n{limits}{rest}"
    number = about["version"] + 1
    documents = {
        "MODEL_CARD.md": f"{card.rstrip()}\n* Version {number}: {change}\n".encode(),
        "calibration.png": (old / "assets.extra" / "calibration.png").read_bytes(),
    }
    options: dict[str, Any] = {"metadata": metadata, "documents": documents}
    if name in model_names("image"):
        network = with_weights(model_spec(name).build((about["image_size"], about["image_size"], 1)), old)
        attribution = CompiledAttribution(network, layer=LAST_CONVOLUTION)
        numbers = (about["calibration"][key] for key in ("slope", "offset", "lowest"))
        calibration = Calibration(*numbers, band=band_of(old))
        fitted = FittedNetwork(network, TrainingRun(HOME, {}), calibration, 0.5, [], pd.DataFrame())
        new = publish_image_model(fitted, HOME, name, attribution=attribution, **options)
    else:
        new = publish_version(HOME, name, export=lambda path: write_graph(old, path), cases=cases(old), **options)
    compare(old, new, **allowed)
    return new


def band_of(version: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Lower and upper end of the calibration's interval, which only the graph of a version holds; None without one."""
    graph = SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    nodes = [node for function in graph.library.function for node in function.node_def if node.op == "Const"]
    constants = (tf.make_ndarray(node.attr["value"].tensor) for node in nodes)
    found = {tuple(map(float, one)) for one in constants if one.shape == KNOTS.shape and one.dtype == np.float32}
    if not found:
        return None
    lower, upper = sorted(found, key=sum)  # two, or it is not told which is which
    return lower, upper


def write_graph(version: Path, directory: Path) -> None:
    """The graph as it is, which alone holds the networks together that a region model averages.

    Versions before 4 answered a row of which nothing was measured, before 10 impossible counts: `refuse` is put around.
    """
    loaded = tf.saved_model.load(str(version))  # its variables live as long
    disk = loaded.signatures.get(DISK)
    told = {} if disk is None else disk(**{name: tf.constant([2.0]) for name in disk.structured_input_signature[1]})
    usable = "usable" in loaded.signatures["serving_default"].structured_outputs
    if usable and np.isnan([value.numpy() for value in told.values()]).all():
        shutil.copytree(version, directory, ignore=shutil.ignore_patterns("assets.extra", MANIFEST, BATCHING))
        share_functions(directory)
        return

    def around(run: Any) -> Any:
        specs = {name: tf.TensorSpec((None,), tf.float32, name=name) for name in run.structured_input_signature[1]}

        @tf.function(input_signature=[specs])
        def answer(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return refuse(given, run(**given))

        return answer

    write_signatures({name: around(run) for name, run in loaded.signatures.items()}, directory)


def expected(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The answers of a version as the next one must give them."""
    if "imputed" not in outputs and "combined" not in inputs:
        return dict(outputs)
    told = refuse(*({name: tf.constant(value) for name, value in one.items()} for one in (inputs, outputs)))
    return {name: value.numpy() for name, value in told.items()}


def refuse(inputs: Mapping[str, tf.Tensor], outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A region model's outputs without answers to rows of which nothing was measured, and to impossible counts."""
    if "combined" in inputs:
        return only_possible(outputs, inputs["combined"], [one for name, one in inputs.items() if name != "combined"])
    numbers = {name: value for name, value in outputs.items() if name not in ("imputed", "usable")}
    return {**only_usable(numbers, outputs["imputed"] < len(inputs)), "imputed": outputs["imputed"]}


def cases(version: Path) -> list[SignatureCase]:
    """The warm-up requests and their answers."""
    run = load_signatures(version)
    return [(signature, inputs, expected(inputs, run(signature, inputs))) for signature, inputs in warm_up(version)]


def with_weights(network: keras.Model, version: Path) -> keras.Model:
    """The network with the weights of a version, by their names."""
    variables = tf.saved_model.load(str(version))._all_variables  # noqa: SLF001 - of keras.export, without another name
    weights = {variable.name.removesuffix(":0"): variable.numpy() for variable in variables}
    network.set_weights([weights[weight.path] for weight in network.weights])
    return network


def warm_up(version: Path) -> list[tuple[str, dict[str, Any]]]:
    """Signature and inputs of each warm-up request."""
    logs = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(version / WARMUP))]
    requests = [log.predict_log.request for log in logs]
    return [(r.model_spec.signature_name, {k: tf.make_ndarray(v) for k, v in r.inputs.items()}) for r in requests]


def questions(version: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The warm-up requests; disks of random fields; random rows, a tenth of them not measured."""
    rng = np.random.default_rng(1)
    asked: list[tuple[str, Mapping[str, Any]]] = list(warm_up(version))
    for signature, inputs in warm_up(version):
        if "magnetogram" in inputs:
            for size in (64, 256, 300, 512, 1024):
                y, x = np.mgrid[:size, :size] - (size - 1) / 2
                field = rng.normal(0, 10 ** rng.uniform(0, 3), (2, size, size, 1)).astype(np.float32)
                field[:, np.hypot(x, y) > 0.44 * size] = np.nan
                asked.append((signature, {"magnetogram": field}))
        elif "image" in inputs:
            grey = rng.integers(0, 256, (4, 256, 256, 1), np.uint8)
            asked.append((signature, {"image": np.array([tf.io.encode_jpeg(one).numpy() for one in grey])}))
        else:
            rows = {key: 10 ** rng.uniform(-3, 6, 20_000) for key in inputs}
            if "combined" in rows:  # a tenth of the rows below 0 or above 1, and of counts below 0
                rows = {key: np.where(rng.random(20_000) < 0.1, -value, value) for key, value in rows.items()}
                rows["combined"] = rng.uniform(-0.05, 1.05, 20_000)
            asked.append(
                (
                    signature,
                    {k: np.where(rng.random(20_000) < 0.1, np.nan, v).astype(np.float32) for k, v in rows.items()},
                )
            )
    return asked


def compare(old: Path, new: Path, *, to_rounding: bool = False, images_otherwise: bool = False) -> None:
    """End with an error where an answer differs more than it may, at most by a bit; of 8-bit images say by how much."""

    def same(first: Any, second: Any) -> bool:
        if first.tobytes() == second.tobytes():
            return True
        away = np.abs(first * 1.0 - second)
        if not to_rounding or (np.isnan(first * 1.0) != np.isnan(second * 1.0)).any():
            return False
        is_map = first.ndim == 4
        return bool(np.nanmean(away) <= 1e-6 * np.nanmax(np.abs(first)) if is_map else np.nanmax(away) <= 1e-6)

    before, after = load_signatures(old), load_signatures(new)
    for signature, inputs in questions(old):
        first, second = expected(inputs, before(signature, inputs)), after(signature, inputs)
        if not first.keys() <= second.keys() or not all(same(first[key], second[key]) for key in first):
            worst = {key: float(np.nanmax(np.abs(first[key] * 1.0 - second[key]))) for key in first}
            if images_otherwise and "image" in inputs:
                print(f"{new}: {signature} answers otherwise, by {worst}", flush=True)
                continue
            sys.exit(f"{new} is not to be released: {signature} answers otherwise than {old}, by {worst}")
    size = [(version / "saved_model.pb").stat().st_size for version in (old, new)]
    print(f"{new}: answers as {old}; graph {size[1]} bytes instead of {size[0]}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to-rounding", action="store_true", help="answers may differ in their last digits")
    parser.add_argument("--images-read-otherwise", action="store_true", help="answers to 8-bit images may differ")
    parser.add_argument("--records", type=Path, metavar="DIR", help="DIR/NAME.json: metadata that replace those told")
    parser.add_argument("change", help="what has changed, for the card")
    parser.add_argument("names", nargs="*", default=[*model_names("image"), *model_names("region")], metavar="NAME")
    args = parser.parse_args()
    for model in args.names:
        if (HOME / model).is_dir():
            republish(
                model,
                args.change,
                records=args.records,
                to_rounding=args.to_rounding,
                images_otherwise=args.images_read_otherwise,
            )
