from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from kflare.serving.messages.statuses import RequestError
from kflare.serving.server.signature_checks import decoded_bytes


def encoded(kind):
    buffer = BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, format=kind)
    return buffer.getvalue()


def images(*given):
    return {"image": np.array(given, dtype=object)}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_what_tensorflow_decodes_is_let_through(kind):
    import tensorflow as tf

    image = encoded(kind)
    assert tf.io.decode_image(image, expand_animations=False).shape[:2] == (8, 8)
    assert decoded_bytes(images(image, image), least=1) == 2 * 4 * 8 * 8
    assert decoded_bytes(images(image, image), least=1000) == 2000


@pytest.mark.parametrize(
    "image",
    [b"", b"no image", b"SIMPLE  =                    T", b"\x89PNG", b"<html>", encoded("TIFF"), encoded("JPEG2000")],
)
def test_what_tensorflow_knows_no_format_of_is_refused(image):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Unknown image file format|Input is empty"):
        tf.io.decode_image(image)
    with pytest.raises(RequestError, match=r"Unknown image file format.*row 1 ") as refused:
        decoded_bytes(images(encoded("PNG"), image), least=1)
    assert refused.value.code.name == "INVALID_ARGUMENT"


def test_other_inputs_are_none_of_its_business():
    assert not decoded_bytes({"text": np.array([b"no image"], dtype=object), "image": np.zeros(3, np.float32)}, least=1)
