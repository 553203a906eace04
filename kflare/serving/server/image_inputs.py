"""Images of no known format, refused before they reach the graph, with the code and the words that it would have.

In a batch one such image would make all requests run twice. And of each run that fails under a time limit TensorFlow
2.21 keeps about 800 bytes for good: a client with wrong files would make the server grow without end.
"""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from kflare.io.payload import MAGIC
from kflare.serving.messages.statuses import invalid

__all__ = ["decodes_images", "refuse_unknown_images"]

_IMAGE = "image"  # the models' input for encoded images, by the SavedModel contract
_DECODERS = {"DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodePng", "DecodeWebP"}
# ClassifyFileFormat in tensorflow/core/kernels/image/decode_image_op.cc; one kernel serves all of the operations.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP or other RIFF")
_MAGIC = (*(magic for name in _FORMATS for magic in MAGIC[name]), b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")
_REFUSAL = "Unknown image file format. One of JPEG, PNG, GIF, BMP, WebP required"


def decodes_images(graph: Any) -> bool:
    """Whether a GraphDef has an operation that decodes images."""
    functions = (node for function in graph.library.function for node in function.node_def)
    return any(node.op in _DECODERS for nodes in (graph.node, functions) for node in nodes)


def refuse_unknown_images(inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """`RequestError` INVALID_ARGUMENT for an image of no known format, if `image` is a tensor of strings."""
    images = inputs.get(_IMAGE)
    if images is None or images.dtype != object:
        return
    for row, image in enumerate(images.ravel()):
        if not image.startswith(_MAGIC):
            found = f"begins with {image[:8]!r}" if image else "is empty"
            raise invalid(f"{_REFUSAL}: input {_IMAGE} row {row} {found}")
