"""The SavedModels' signatures: every input and output named, all preprocessing in the graph.

What a user sends is what was measured: gauss, image bytes, or features in their units.
"""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kflare.datasets.preprocessing import bytes_to_gauss, fill_and_scale, mask_space, reduce_field, usable
from kflare.errors import ModelError
from kflare.io.arrays import AnyArray
from kflare.models.calibration import Calibration, never_certain
from kflare.models.disk_calibration import DiskCalibration
from kflare.models.feature_scaling import FeatureScaling
from kflare.models.inference import infer
from kflare.models.registry import BYTE_RANGE, DISK

Attribute = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""Network input (N, S, S, 1) to `logits` (N, 2) and what `attribute` answers: maps (N, h, w, 2), and a share (N, 2)."""

# What every SavedModel needs to restore its own variables, files included; `check_ops` lets no signature reach them.
_RESTORING = """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename StaticRegexFullMatch
    StringJoin VarIsInitializedOp
"""

ALLOWED_OPS = frozenset(Path(__file__).with_name("allowed_operations.txt").read_text(encoding="utf-8").split())
"""TensorFlow operations that a request to a kflare SavedModel may run: arithmetic on tensors and nothing that reads
files, runs Python or reaches the network."""


def export_image_model(
    model: keras.Model, directory: Path, *, calibration: Calibration, attribute: Attribute, guided: keras.Model,
    byte_range: float | None = None
) -> None:  # fmt: skip
    """Write the four signatures of an image model into a directory that must not exist.

    Of a magnetogram that is not `usable`, an output beside the others, every number is NaN.
    The side of the model's input is the size that images are reduced to. `attribute` is the compiled attribution of the
    same network, and `guided` the copy that it runs: the file holds its weights once, for all signatures.

    With the `byte_range` of the 8-bit images that it learnt from, gauss of byte 255, a fifth, `BYTE_RANGE`, answers it
    for each NaN, as a server tells clients nothing else that an image is to be read by.
    """
    size = int(model.input_shape[1])

    def answer(seen: tf.Tensor, logits: tf.Tensor, **maps: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.nn.softmax(logits)
        probability = never_certain(scores[:, 1])
        outputs = {"probability": probability, "scores": scores, **calibration.outputs(probability), **maps}
        return only_usable(outputs, seen)

    def of_field_and_bytes(network: Attribute) -> tuple[Any, Any]:
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32, name="magnetogram")])
        def of_field(magnetogram: tf.Tensor) -> dict[str, tf.Tensor]:
            reduced = reduce_field(magnetogram, size=size)
            return answer(usable(magnetogram, reduced), **_one_by_one(network, fill_and_scale(reduced)))

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image")])
        def of_bytes(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return of_field(mask_space(bytes_to_gauss(image)))  # calls it, so that the graph holds it once

        return of_field, of_bytes

    predict, predict_image = of_field_and_bytes(lambda image: {"logits": infer(guided, image, [guided.output])[0]})
    explain, explain_image = of_field_and_bytes(attribute)
    signatures = {"serving_default": predict, "predict_image": predict_image}
    signatures |= {"attribute": explain, "attribute_image": explain_image}
    if byte_range is not None:

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name=BYTE_RANGE)])
        def scale(asked: tf.Tensor) -> dict[str, tf.Tensor]:
            return {BYTE_RANGE: tf.where(tf.math.is_nan(asked), byte_range, asked)}

        signatures[BYTE_RANGE] = scale
    write_signatures(signatures, directory)


def _one_by_one(network: Attribute, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """What a network answers to images (N, S, S, 1), two at a time: memory does not grow with the batch."""
    one = tf.function(network, input_signature=[tf.TensorSpec((None, *images.shape[1:]), images.dtype)])
    outputs = one.get_concrete_function().structured_outputs
    return tf.map_fn(
        lambda image: {name: output[0] for name, output in one(image[None]).items()},
        images,
        fn_output_signature={name: tf.TensorSpec(output.shape[1:], output.dtype) for name, output in outputs.items()},
        parallel_iterations=2,
    )


def export_region_model(
    model: keras.Model, directory: Path, *, scaling: FeatureScaling, calibration: Calibration,
    disk_calibration: DiskCalibration | None = None
) -> None:  # fmt: skip
    """Write the signature of a region model: one float32 (N,) input per feature, by name, NaN = not measured.

    Of a row of which nothing was measured the network would tell its answer to the training mean: it gets NaN. The
    model takes standardised features (N, n) to probabilities (N, 2); the directory must not exist. With a
    `disk_calibration` a second signature, `DISK`, takes P_FD of the regions' calibrated probabilities, `combined` (N,),
    and the counts of flares that it is calibrated by, (N,) by the features' names, to the disk's.
    """
    specs = {name: tf.TensorSpec((None,), tf.float32, name=name) for name in scaling.names}

    # One dict argument: keyword arguments would reach the signature in lower case.
    @tf.function(input_signature=[specs])
    def serving_default(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        standard, imputed = scaling.standardise(tf.stack([features[name] for name in scaling.names], axis=1))
        probabilities = model(standard, training=False)
        probability = never_certain(probabilities[:, 1])
        outputs = {"probability": probability, "probabilities": probabilities, **calibration.outputs(probability)}
        return {**only_usable(outputs, imputed < len(specs)), "imputed": imputed}

    signatures = {"serving_default": serving_default}
    if disk_calibration is not None:
        asked = ("combined", *(disk_calibration.weights or ()))

        @tf.function(input_signature=[{name: tf.TensorSpec((None,), tf.float32, name=name) for name in asked}])
        def full_disk(given: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return disk_calibration.outputs(given["combined"], given)

        signatures[DISK] = full_disk
    write_signatures(signatures, directory)


def only_usable(outputs: Mapping[str, tf.Tensor], usable: tf.Tensor) -> dict[str, tf.Tensor]:
    """Outputs (N, ...), NaN in the rows that are not `usable`, bool (N,), which is an output beside them."""
    told = {
        name: tf.where(tf.reshape(usable, [-1, *[1] * (value.shape.rank - 1)]), value, float("nan"))
        for name, value in outputs.items()
    }
    return {**told, "usable": usable}


def check_ops(directory: Path) -> None:
    """Hold a SavedModel to `ALLOWED_OPS`; a foreign operation raises `ModelError` that names it."""
    every, reached = ops_of(directory)
    if odd := sorted((every - ALLOWED_OPS - set(_RESTORING.split())) | (reached - ALLOWED_OPS)):
        raise ModelError(f"the SavedModel in {directory} holds operations that kflare does not allow: {', '.join(odd)}")


def check_signatures(directory: Path) -> None:
    """Hold signatures to what TensorFlow Serving's batching takes; `ModelError` names an input or output that is not.

    Their first size must be the batch's, free: a number without one is refused there with each request
    (batching_session.cc: "input tensors must have at least one dimension", "Batched output tensor has 0 dimensions").
    """
    for graph in _read(directory).meta_graphs:
        for key, signature in graph.signature_def.items():
            for name, tensor in {**signature.inputs, **signature.outputs}.items():
                sizes = [dim.size for dim in tensor.tensor_shape.dim]
                known = key != "__saved_model_init_op" and not tensor.tensor_shape.unknown_rank
                if known and sizes[:1] != [-1]:
                    what = f"`{name}` of signature `{key}` in {directory} has shape {sizes}"
                    raise ModelError(f"{what}: its first size must be that of the batch, None, or no server batches it")


def ops_of(directory: Path) -> tuple[set[str], set[str]]:
    """Names of all operations in a SavedModel's graph and functions, and of those that its signatures reach."""
    every: set[str] = set()
    reached: set[str] = set()
    for graph in _read(directory).meta_graphs:
        functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
        every.update(node.op for nodes in (graph.graph_def.node, *functions.values()) for node in nodes)
        reached |= _reached(graph, functions)
        every.difference_update(functions)
        reached.difference_update(functions)
    return every, reached


def _read(directory: Path) -> Any:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return SavedModel.FromString((Path(directory) / "saved_model.pb").read_bytes())


def _reached(graph: Any, functions: Mapping[str, Any]) -> set[str]:
    """Operations on which the signatures' outputs depend, and all operations of the functions that these call."""
    nodes = {node.name: node for node in graph.graph_def.node}
    signatures = graph.signature_def.values()
    waiting = [_node(output.name) for signature in signatures for output in signature.outputs.values()]
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += [_node(tensor) for tensor in nodes[name].input]
    found = [nodes[name] for name in names]
    entered: set[str] = set()
    for node in found:  # grows on the way
        values = node.attr.values()
        called = {node.op, *(value.func.name for value in values), *(f.name for v in values for f in v.list.func)}
        for name in (called & functions.keys()) - entered:
            entered.add(name)
            found.extend(functions[name])
    return {node.op for node in found}


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def write_signatures(signatures: Mapping[str, Any], directory: Path) -> None:
    """Write a SavedModel of these `tf.function`s, each with its input signature."""
    # Keras finds the variables that the signatures use by itself; `track` would store every one a second time.
    archive = keras.export.ExportArchive()
    for name, function in signatures.items():
        function.get_concrete_function()
        archive.add_endpoint(name, function)
    # Attribution stands in the graph: nobody differentiates what is served.
    archive.write_out(str(directory), tf.saved_model.SaveOptions(experimental_custom_gradients=False), verbose=False)
    share_functions(directory)


def share_functions(directory: Path) -> None:
    """Keep one of the functions that are the same but for their names: TensorFlow saves a copy for each caller."""
    from tensorflow.python.saved_model import fingerprinting_utils

    saved = _read(directory)
    for graph in saved.meta_graphs:
        library, named = graph.graph_def.library.function, graph.object_graph_def.concrete_functions
        for node in (node for function in library for node in function.node_def):
            node.attr.pop("_gradient_op_type", None)  # the number of a gradient that is not saved
        for argument in (argument for function in library for argument in function.arg_attr.values()):
            argument.attr.pop("_user_specified_name", None)  # of a captured variable a number
        while same := _copies(library, named):
            nodes = [*graph.graph_def.node, *(node for function in library for node in function.node_def)]
            values = [value for node in nodes for value in node.attr.values()]
            for called in (func for value in values for func in [value.func, *value.list.func]):
                if called.name in same:
                    called.name = same[called.name]
            for index in reversed(range(len(library))):
                if library[index].signature.name in same:
                    del library[index]
    (directory / "saved_model.pb").write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(directory))


def _copies(library: Any, named: Collection[str]) -> dict[str, str]:
    """By its name each function that is a copy, and the one to be called instead; those `named` elsewhere stay."""
    first: dict[str, str] = {}
    same = {}
    for function in sorted(library, key=lambda function: function.signature.name not in named):
        name = function.signature.name
        # Captured variables are named by numbers, which the order tells as well. Bytes would tell the length of a name.
        arguments = [*function.signature.input_arg, *function.signature.output_arg]
        places = {argument.name: f"argument {place}" for place, argument in enumerate(arguments)}
        words = re.split(r"(\w+)", str(function).replace(name, ""))
        other = first.setdefault("".join(places.get(word, word) for word in words), name)
        if other != name and name not in named:
            same[name] = other
    return same


def load_signatures(directory: Path) -> Callable[[str, Mapping[str, Any]], dict[str, AnyArray]]:
    """Load a SavedModel into this process; returns (signature, inputs by name) -> outputs by name as numpy arrays."""
    loaded = tf.saved_model.load(str(directory))

    def run(signature: str, inputs: Mapping[str, Any]) -> dict[str, AnyArray]:
        outputs = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: np.asarray(value) for name, value in outputs.items()}

    return run
