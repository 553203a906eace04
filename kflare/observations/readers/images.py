"""Magnetograms as 8-bit grey images, the form in which SOHO and SDO image archives offer them.

Byte v stands for B = v / 255 · 2 R − R gauss, R being the field strength of byte 255 (docs/science.md). Off the disk
the images are black, apart from the noise of JPEG along the limb, so the disk can be found in the image itself.
"""

import io
from datetime import datetime
from pathlib import PurePath

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, ByteArray, Float64Array
from kflare.io.payload import MAX_WIDTH, decoding
from kflare.observations.byte_scale import choose_byte_scale
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import judge
from kflare.observations.readers.reader import Options, Reader
from kflare.sun.disk import Disk, disk_mask, require_full_disk
from kflare.sun.times import time_from_name

DISK_BYTE = 20
"""Brighter than JPEG noise beside the limb (below 20 in images of quality 75 and better), darker than zero field."""

ZERO_FIELD_BYTE = 127.5
"""As bright is what has no field, halfway between -R and R."""

EDGE_REACH = 1
"""Pixels on either side of the first bright one within which the disk's edge lies: more add field and JPEG noise."""

_MIN_WIDTH = 16
# Byte 0 on the disk is missing, or a field at or beyond −R. The latter never fills a tenth of the disk: in the most
# active of 654 images of 2013 and 2014 it fills 0.3 %.
_MAX_BLACK = 0.1


def magnetogram_from_image(payload: bytes, options: Options) -> Magnetogram:
    """Magnetogram of the bytes of a JPEG or PNG file: R by `choose_byte_scale`, the time that in the name."""
    source = options.source
    time = options.time if options.time is not None else _time(payload, source)
    image = decode_grey(payload, source=source)
    width = image.shape[0]
    disk = require_full_disk(options.disk or find_disk(image, source=source), width, source)
    inside = disk_mask(width, disk)
    black = float(np.count_nonzero(inside & (image == 0))) / max(1, int(np.count_nonzero(inside)))
    name = PurePath(source).name.lower()
    instrument = next((known for known in ("HMI", "MDI", "synthetic") if known.lower() in name), "unknown")
    asked = {"option": options.byte_range, "model": options.model_range}
    scale = choose_byte_scale(image, disk, source=source, instrument=instrument, **asked)
    limit = scale.gauss
    gauss = (np.arange(256) / 255 * 2 * limit - limit).astype(np.float32)
    missing = black if black > _MAX_BLACK else 0.0
    note = judge(source, policy=options.policy, time=time, instrument=instrument, missing=missing)
    data = np.where(inside, gauss[image], np.float32(np.nan))
    magnetogram = Magnetogram(data, time, disk, instrument, source, limit, quality_note=note, byte_scale=scale)
    return magnetogram if options.size is None else magnetogram.resized(options.size)


def _time(_: bytes, source: str) -> datetime:
    time = time_from_name(source)
    if time is None:
        fault = f"`{source}` must carry its time as YYYYMMDD_HHMMSS in the name, since images hold none"
        raise DataError(f"{fault}; rename the file, or in Python give `read_magnetogram` its `time`")
    return time


def decode_grey(payload: bytes, *, source: str) -> ByteArray:
    """Decode a JPEG or PNG wholly: grey values, uint8, shape (H, H), row 0 on top.

    `DataError` if it is damaged, cut short, in colour, not 8-bit, not square, or larger than 8192 × 8192.
    """
    from PIL import Image

    with (
        decoding(source, "is a damaged or truncated image"),
        Image.open(io.BytesIO(payload), formats=("JPEG", "PNG")) as image,
    ):
        width, height = image.size
        if image.mode != "L":
            fault = f"`{source}` must be an 8-bit grey image (mode L), got mode {image.mode}"
            raise DataError(f"{fault}; convert it to grey, or give the magnetogram instead of a coloured picture")
        if width != height or not _MIN_WIDTH <= width <= MAX_WIDTH:
            fault = f"`{source}` must be a square image of {_MIN_WIDTH} to {MAX_WIDTH} pixels, got {width} × {height}"
            raise DataError(f"{fault}; give a full-disk magnetogram without frame or legend")
        # Reading all pixels is what reveals a file cut short.
        return np.array(image, dtype=np.uint8)


def find_disk(image: ByteArray, *, source: str = "image") -> Disk:
    """Find the solar disk in a full-disk image that is black off the disk; `DataError` if its bright area is no circle.

    The largest connected bright area is taken (so that captions in the corners do not matter), it ends in each row and
    column where the bytes around its first and its last pixel say, and a circle is fitted to the edge with outliers
    removed. Without bias, to a few hundredths of a pixel, also where the archive averaged the disk with black.
    """
    bright = image > DISK_BYTE
    if not bright.any():
        seen = f"the brightest is {int(image.max(initial=0))}; give a magnetogram in which zero field is grey"
        raise DataError(f"`{source}` shows no Sun: some pixels must be brighter than {DISK_BYTE}, {seen}")
    x, y = _edge(_largest_area(bright), image)
    keep = np.ones(x.shape, dtype=np.bool_)
    for _ in range(10):
        centre_x, centre_y, radius = _circle(x[keep], y[keep])
        off = np.abs(np.hypot(x - centre_x, y - centre_y) - radius)
        # Three robust standard deviations (1.48 median = 1 sigma), never less than a pixel of jitter.
        now = off <= max(1.0, 3 * 1.48 * float(np.median(off)))
        if (now == keep).all():
            break
        keep = now
    on_circle = float(np.mean(off <= max(1.5, 0.01 * image.shape[0])))
    if not np.isfinite(radius) or on_circle < 0.8:
        seen = f"only {100 * on_circle:.0f} % of its edge lies on one; give a full-disk magnetogram, black off the disk"
        raise DataError(f"`{source}` is not a full disk: its bright area must be bounded by a circle, but {seen}")
    return Disk(centre_x, centre_y, radius)


def _largest_area(mask: BoolArray) -> BoolArray:
    """The largest of the areas that hang together by edges, by their runs along rows; SciPy takes 0.3 s to import."""
    width = mask.shape[1] + 2
    padded = np.pad(mask, 1).ravel()
    first, end = (np.flatnonzero(padded[1:] != padded[:-1]) + 1).reshape(-1, 2).T
    below = np.searchsorted(end, first + width, "right")
    touched = np.searchsorted(first, end + width) - below  # how many runs of the row below a run touches
    one = np.repeat(np.arange(len(first)), touched)
    other = np.arange(len(one)) + np.repeat(below - np.cumsum(touched) + touched, touched)
    area = np.arange(len(first))  # of each run, as far as is known the first run of its area
    while (apart := area[one] != area[other]).any():
        near = np.sort([area[one[apart]], area[other[apart]]], axis=0)
        np.minimum.at(area, near[1], near[0])
        while (area != (area := area[area])).any():
            pass
    largest = area == np.argmax(np.bincount(area, end - first))
    edges = np.zeros(padded.shape, dtype=np.int8)
    edges[first[largest]], edges[end[largest]] = 1, -1
    return np.cumsum(edges, dtype=np.int8).astype(np.bool_).reshape(-1, width)[1:-1, 1:-1]


def _edge(area: BoolArray, image: ByteArray) -> tuple[Float64Array, Float64Array]:
    """Outer edge of the area, per row and per column.

    Half a pixel beyond the first bright one would be too far out: a pixel of which the disk covers a sixth is bright.
    As far as the disk reaches into the pixels around it they are as bright as zero field, in the mean.
    """
    xs: list[Float64Array] = []
    ys: list[Float64Array] = []
    for across, along, mask, bytes_ in ((xs, ys, area, image), (ys, xs, area.T, image.T)):
        lines = np.flatnonzero(mask.any(axis=1))
        first = mask[lines].argmax(axis=1)
        last = mask.shape[1] - 1 - mask[lines, ::-1].argmax(axis=1)
        # Near the poles of the circle a row cuts it at a grazing angle; the columns see that part better.
        steep = last - first >= 0.7 * (last - first).max()
        lines = lines[steep]
        around = np.pad(bytes_[lines], ((0, 0), (EDGE_REACH, EDGE_REACH)))
        for end, inwards in ((first[steep], 1), (last[steep], -1)):
            near = end[:, np.newaxis] + np.arange(2 * EDGE_REACH + 1)
            covered = np.take_along_axis(around, near, axis=1).sum(axis=1) / ZERO_FIELD_BYTE
            across.append(end + inwards * (EDGE_REACH + 0.5 - covered))
            along.append(lines.astype(np.float64))
    return np.concatenate(xs), np.concatenate(ys)


def _circle(x: Float64Array, y: Float64Array) -> tuple[float, float, float]:
    """Least-squares circle (Kåsa): x² + y² = 2 a x + 2 b y + c is linear in a, b, c."""
    matrix = np.column_stack([2 * x, 2 * y, np.ones_like(x)])
    (a, b, c), *_ = np.linalg.lstsq(matrix, x**2 + y**2, rcond=None)
    return float(a), float(b), float(np.sqrt(max(c + a**2 + b**2, 0.0)))


JPEG = Reader("JPEG", (".jpg", ".jpeg"), magnetogram_from_image, _time)
PNG = Reader("PNG", (".png",), magnetogram_from_image, _time)
