"""Images, looked at before they reach the graph: of a known format, and how many pixels.

One of no known format is refused with the code and the words that the graph would have. In a batch it would make all
requests run twice. And of each run that fails under a time limit TensorFlow 2.21 keeps about 800 bytes for good: a
client with wrong files would make the server grow without end.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy.typing as npt
from PIL import Image

from kflare.io.payload import MAGIC
from kflare.serving.messages.statuses import invalid

__all__ = ["decoded_bytes", "decodes_images"]

_IMAGE = "image"  # the models' input for encoded images, by the SavedModel contract
_DECODERS = {"DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodePng", "DecodeWebP"}
# ClassifyFileFormat in tensorflow/core/kernels/image/decode_image_op.cc; one kernel serves all of the operations.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP or other RIFF")
_MAGIC = tuple(magic for name in _FORMATS for magic in MAGIC[name])
_PILLOW = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
_REFUSAL = "Unknown image file format. One of JPEG, PNG, GIF, BMP, WebP required"


def decodes_images(graph: Any) -> bool:
    """Whether a GraphDef has an operation that decodes images."""
    functions = (node for function in graph.library.function for node in function.node_def)
    return any(node.op in _DECODERS for nodes in (graph.node, functions) for node in nodes)


def decoded_bytes(inputs: Mapping[str, npt.NDArray[Any]], *, least: int) -> int:
    """What the images take as float32 by their headers, `least` or more each; 0 if `image` is no tensor of strings.

    `RequestError` INVALID_ARGUMENT for one of no known format, or whose header does not tell its size.
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
