"""The check of requests against the signature that they name, and of images before they reach the graph.

Checks, their order, codes and wording follow tensorflow/serving servables/tensorflow/predict_util.cc (RunPredict),
classifier.cc (PreProcessClassification) and regressor.cc (PreProcessRegression), and tensorflow/tensorflow
cc/saved_model/util.cc (GetInputValues); where they differ, a comment says why.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

import grpc
from PIL import Image

from kflare.io.arrays import AnyArray
from kflare.io.payload import MAGIC
from kflare.serving.messages.statuses import RequestError, invalid
from kflare.serving.messages.tensor_values import TooLargeError, numpy_type, read_tensor, type_word

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_IMAGE = "image"  # the models' input for encoded images, by the SavedModel contract
_DECODERS = {"DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodePng", "DecodeWebP"}
# ClassifyFileFormat in tensorflow/core/kernels/image/decode_image_op.cc; one kernel serves all of the operations.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP or other RIFF")
_MAGIC = tuple(magic for name in _FORMATS for magic in MAGIC[name])
_PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
_REFERENCES = 101  # DT_FLOAT_REF in types.proto; the types from there on are of a graph's variables
_REFUSAL = "Unknown image file format. One of JPEG, PNG, GIF, BMP, WebP required"


def read_inputs(signature: Any, request: Any, admit: Callable[[int, int], None]) -> dict[str, AnyArray]:
    """The inputs of a PredictRequest; `RequestError` INVALID_ARGUMENT where they do not fit the signature.

    `admit` is asked with their rows and bytes, as their shapes tell, before any is decoded.
    """
    sent, expected = set(request.inputs), set(signature.inputs)
    if len(sent) > len(expected) or (len(sent) < len(expected) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({_names(sent)}) != "
            f"len({_names(expected)}). Sent extra: {_names(sent - expected)}. "
            f"Missing but required: {_names(expected - sent)}."
        )
    for alias in sorted(expected - sent - set(signature.defaults)):
        raise invalid(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and "
            f"no default value provided. Inputs expected to be in the request {_names(sent)}, or default input "
            f"alias set: {','.join(sorted(signature.defaults))}"
        )
    if sent - expected:
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(sent & expected))}, "
            f"request input: {','.join(sorted(sent))}"
        )
    protos = {name: (request.inputs if name in sent else signature.defaults)[name] for name in sorted(expected)}
    for position, (alias, proto) in enumerate(protos.items()):
        _check_declared(alias, position, proto, signature.inputs[alias])
    shapes = {name: [max(0, dim.size) for dim in proto.tensor_shape.dim] for name, proto in protos.items()}
    sizes = (
        math.prod(shape) * (64 if (kind := numpy_type(protos[name].dtype)) is None or kind.hasobject else kind.itemsize)
        for name, shape in shapes.items()
    )
    admit(max((shape[0] for shape in shapes.values() if shape), default=1), sum(sizes))
    arrays = {}
    for alias, proto in protos.items():
        try:
            arrays[alias] = read_tensor(proto)
        except TooLargeError as error:
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{alias}: {error}") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise invalid(f"tensor parsing error: {alias}: {error}") from error
    return arrays


def row_bytes(infos: Mapping[str, Any]) -> list[int]:
    """What a row of each of these inputs or outputs takes, as far as their declared shapes tell."""
    shapes = ([dim.size for dim in info.tensor_shape.dim[1:]] for info in infos.values())
    return [4 * math.prod(shape) for shape in shapes if min(shape, default=1) > 0]


def has_rows(signature: Any) -> bool:
    """Whether all inputs and outputs have rows, any number of them: only then can requests share a run."""
    infos = [*signature.inputs.values(), *signature.outputs.values()]
    return bool(signature.inputs) and all(
        not info.tensor_shape.unknown_rank and info.tensor_shape.dim and info.tensor_shape.dim[0].size == -1
        for info in infos
    )


def _check_declared(alias: str, position: int, proto: Any, info: Any) -> None:
    """Check a tensor's type and shape before anything is decoded or run.

    A session leaves the shape to the operations, which then fail with INVALID_ARGUMENT or, worse, broadcast.
    """
    if not 0 < proto.dtype < _REFERENCES:
        raise invalid(f"tensor parsing error: {alias}: {type_word(proto.dtype)} is no data type of a message")
    if proto.dtype != info.dtype:
        expected, given = type_word(info.dtype), type_word(proto.dtype)
        raise invalid(f"Expects arg[{position}] to be {expected} but {given} is provided (input {alias})")
    if info.tensor_shape.unknown_rank:
        return
    expected_shape = [dim.size for dim in info.tensor_shape.dim]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    sizes = zip(expected_shape, shape, strict=False)
    if len(shape) != len(expected_shape) or any(size not in {-1, given} for size, given in sizes):
        expected = ",".join("?" if size < 0 else str(size) for size in expected_shape)
        raise invalid(f"Expects input {alias} to have shape [{expected}] but [{','.join(map(str, shape))}] is provided")


def wanted_outputs(signature: Any, output_filter: Iterable[str]) -> list[str]:
    """The outputs to answer with, all or those of an `output_filter`; one that is not there raises `RequestError`."""
    wanted: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_names(signature.outputs)}."
            )
        if alias in wanted:
            raise invalid(f"duplicate output tensor alias: {alias}")
        wanted.append(alias)
    for info in signature.outputs.values():
        if not info.dtype:  # the operation by which a model is made ready
            message = f"Node '{info.name}' (type: 'NoOp', num of outputs: 0) does not have output 0"
            raise RequestError(grpc.StatusCode.OUT_OF_RANGE, message)
    return wanted or sorted(signature.outputs)


def check_takes_examples(signature: Any, method: str) -> None:
    """`RequestError` INVALID_ARGUMENT where a signature is none to `CLASSIFY` or `REGRESS` a `tensorflow.Example`.

    Its own method name does not count: --enable_signature_method_name_check is off by default.
    """
    found = len(signature.outputs)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if method == CLASSIFY:
        if found not in {1, 2}:
            raise invalid(f"Expected one or two output Tensors, found {found}")
        if "inputs" not in signature.inputs:
            raise invalid(f"No classification inputs found in SignatureDef: {signature}")
        if not {"classes", "scores"} & set(signature.outputs):
            message = 'Expected classification signature outputs to contain at least one of "classes" or "scores".'
            raise invalid(f"{message} Signature was: {signature}")
    else:
        if found != 1:
            raise invalid("Expected one output Tensor.")
        for what, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
            if what not in tensors:
                raise invalid(f"No regression {what} found in SignatureDef: {signature}")


def decodes_images(graph: Any) -> bool:
    """Whether a GraphDef has an operation that decodes images."""
    functions = (node for function in graph.library.function for node in function.node_def)
    return any(node.op in _DECODERS for nodes in (graph.node, functions) for node in nodes)


def decoded_bytes(inputs: Mapping[str, AnyArray], *, least: int) -> int:
    """What the images take as float32 by their headers, `least` or more each; 0 if `image` is no tensor of strings.

    `RequestError` INVALID_ARGUMENT for one of no known format, in the words of the graph, or whose header does not tell
    its size. In a batch it would make all requests run twice; and of each run that fails under a time limit TensorFlow
    2.21 keeps about 800 bytes for good: a client with wrong files would make the server grow without end.
    """
    images = inputs.get(_IMAGE)
    if images is None or images.dtype != object:
        return 0
    return sum(max(least, 4 * _pixels(image, row)) for row, image in enumerate(images.ravel()))


def _pixels(image: bytes, row: int) -> int:
    if not image.startswith(_MAGIC):
        found = f"begins with {image[:8]!r}" if image else "is empty"
        raise invalid(f"{_REFUSAL}: input {_IMAGE} row {row} {found}")
    try:
        with Image.open(BytesIO(image), formats=_PILLOW) as opened:
            return opened.width * opened.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 2 * (Image.MAX_IMAGE_PIXELS or 0)
    except (OSError, SyntaxError, ValueError, OverflowError, IndexError) as error:
        raise invalid(f"Invalid image: input {_IMAGE} row {row} has no header that tells its size") from error


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
