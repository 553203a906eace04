"""The same Sun as another archive would show it: what differs between sources and says nothing of flares.

A network that is to be asked about images of any telescope and archive must not take their blur, the size and place of
the disk, noise, byte scale or compression for activity. It learns from each image in several guises and is told the
same of all. Not in the papers; the ranges are those of the sources at hand (HMI's and MDI's FITS, Helioviewer's JPEG
2000, JPEG archives), and a little wider.
"""

from io import BytesIO

import numpy as np
from PIL import Image

from kflare.io.arrays import Float32Array
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reduction import resampled

_WIDTH = 512  # pixels at which sources are imitated: larger images are reduced to them first
_RADII = 0.35, 0.48  # of the disk, in image widths
_SHIFT = 0.008  # of the disk's centre, in image widths
_ROLL = 1.5  # degrees
_NOISE = 15.0  # gauss per pixel
_BYTE_RANGES = 100.0, 250.0, 250.0, 1000.0
_QUALITIES = 60, 98  # of JPEG


def as_another_source(image: Magnetogram, random: np.random.Generator) -> Float32Array:
    """Field in gauss, float32 (H, H), NaN off disk, of a magnetogram in another archive's geometry and coding.

    Resampled to another size, place and small roll of the disk (bilinear, which blurs as archives do), with noise (half
    of the times), in 8 bits of ±100, ±250 or ±1000 G (four times of five), and as JPEG (two of five).
    """
    image = image.resized(min(_WIDTH, image.data.shape[0]))
    field = _moved(image, random) if random.random() < 0.75 else image.data
    if random.random() < 0.5:
        field = field + random.normal(0, random.uniform(0, _NOISE), field.shape).astype(np.float32)
    if random.random() < 0.8:
        field = _in_bytes(field, random.choice(_BYTE_RANGES), random)
    return np.asarray(field, np.float32)


def _moved(image: Magnetogram, random: np.random.Generator) -> Float32Array:
    width = image.data.shape[0]
    scale = random.uniform(*_RADII) * width / image.disk.radius
    angle = random.uniform(-_ROLL, _ROLL)
    x, y = (width - 1) / 2 + random.uniform(-_SHIFT, _SHIFT, 2) * width
    return resampled(image.data, (image.disk.x, image.disk.y), angle=angle, scale=scale, onto=(x, y))


def _in_bytes(field: Float32Array, byte_range: float, random: np.random.Generator) -> Float32Array:
    measured = np.isfinite(field)
    scaled = np.clip(np.rint((np.where(measured, field, 0) / byte_range + 1) * 127.5), 0, 255).astype(np.uint8)
    if random.random() < 0.5:
        stream = BytesIO()
        shown = np.where(measured, scaled, np.uint8(0))
        Image.fromarray(shown).save(stream, "JPEG", quality=int(random.integers(*_QUALITIES)))
        scaled = np.asarray(Image.open(stream))
    return np.where(measured, (scaled / np.float32(127.5) - 1) * np.float32(byte_range), np.float32(np.nan))
