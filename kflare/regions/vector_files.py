"""Vector-field files of JSOC: the native full disk and its HARP cut-outs.

The native segments are `field`, `inclination`, `azimuth` and `disambig`, and where it was fetched `conf_disambig`. In a
record of `hmi.bharp_720s` (and its NRT) only `disambig` and `conf_disambig` are cut out; the others are links to the
full disk, which in near real time is inverted within the HARPs only. Cut-outs of all segments are read too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, BoolArray, Float64Array
from kflare.io.guarded_fits import guarded_fits, image_header
from kflare.io.payload import MAX_WIDTH, read_payload
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.orientation import Orientation, orientation_of
from kflare.observations.producers import gauss_per_unit
from kflare.observations.usability import LARGEST_FIELD
from kflare.regions.cea import POINTS_STEP
from kflare.regions.vector_field import DISAMBIGUATION_METHODS, FullDiskVector, camera_components, nearest_pixels
from kflare.sun.geometry import DiskGeometry, in_box

#: Vector and magnetogram further apart than this do not go together: the Sun turns by 0.3 degrees.
MAX_APART = timedelta(minutes=30)

_BAND = 16
#: `conf_disambig` from which an azimuth is sure.
SURE_CONFIDENCE = 70
_LARGEST_BYTE = 255
# Gauss and degrees, with room for rounding; what is beyond is a fill value.
_POSSIBLE = {"field": (0.0, LARGEST_FIELD), "inclination": (-0.1, 180.1), "azimuth": (-360.1, 360.1)}
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True, eq=False)
class _Image:
    """An image of a FITS file in FITS order, float32 or integer, missing values NaN, and its header."""

    data: AnyArray
    header: Header


def read_vector(
    field: Paths, inclination: Paths, azimuth: Paths, disambig: Paths | None, *, magnetogram: Magnetogram,
    conf_disambig: Paths | None = None, method: str = "jsoc", apart: timedelta = MAX_APART,
    near: Iterable[tuple[Float64Array, Float64Array]] | None = None, drawn: bool = False
) -> FullDiskVector:  # fmt: skip
    """Read a vector field of the full disk, or of all HARPs of one time.

    The segments are paths of one full-disk record, or of the records of all HARPs in the same order; without
    `conf_disambig`, the confidence of the disambiguation, the azimuth is held sure where the field is strong. The
    `magnetogram` of the same time tells from where the Sun is seen; times may be `apart` by so much. If the
    disambiguation is of HARPs, the field is 0 outside them.

    The `method` is the solution for weak fields: "potential", "random" or "radial-acute"; "jsoc" takes radial-acute for
    a full-disk disambiguation and the lowest bit for one of a HARP, as `sharp.c` does. DataError if a file is missing,
    damaged, of another shape, place or time than the others.

    With `near`, points as of `patch_points`, only the rows of pixels near to them are read, and those of a radial map
    to be `drawn`; others are as if no field was made for them.
    """
    if method != "jsoc" and method not in DISAMBIGUATION_METHODS:
        raise SettingError(f"`method` must be one of jsoc, {', '.join(DISAMBIGUATION_METHODS)}, got {method!r}")
    named = {"field": field, "inclination": inclination, "azimuth": azimuth}
    named |= {} if disambig is None else {"disambig": disambig}
    named |= {} if conf_disambig is None else {"conf_disambig": conf_disambig}
    several = {name: [paths] if isinstance(paths, str | Path) else paths for name, paths in named.items()}
    lists = {name: [Path(path) for path in paths] for name, paths in several.items()}
    counts = {name: len(paths) for name, paths in lists.items()}
    if len(set(counts.values())) != 1 or not counts["field"]:
        seen = ", ".join(f"{count} of `{name}`" for name, count in counts.items())
        raise DataError(f"a vector field must have as many files of each segment, got {seen}; fetch those that miss")
    out = _Canvas(lists["field"][0], magnetogram, apart=apart)
    if near is not None:
        out.choose_rows(near, drawn=drawn)
    images: dict[str, _Image] = {}
    for file in range(counts["field"]):
        for name, paths in lists.items():
            images[name] = read_segment(paths[file], known=images.get(name), rows=out.rows)
        out.add(images, method=method)
    return out.result()


class _Canvas:
    """The full disk, in the order of the files, that records are pasted into."""

    def __init__(self, path: Path, magnetogram: Magnetogram, *, apart: timedelta) -> None:
        card = image_header(path).__getitem__
        header = Header(card, str(path))
        self.header, self.magnetogram = header, magnetogram
        scale = header.positive("RSUN_OBS") / header.positive("CDELT1")
        width = round(min(magnetogram.data.shape[0] * scale / magnetogram.disk.radius, 2 * MAX_WIDTH))
        if width > MAX_WIDTH:
            fault = f"`{header.source}`: the full disk must be at most {MAX_WIDTH} pixels wide"
            raise DataError(f"{fault}, `RSUN_OBS` and `CDELT1` make its radius {scale:g} pixels; fetch it again")
        self.width, self.apart = width, apart
        self.parts = np.zeros((3, width, width), np.float32)
        self.covered, self.sure = np.zeros((2, width, width), np.bool_)
        self.rated = False
        self.turn = self._orientation(card)
        place = magnetogram.seen_from, magnetogram.time, self.turn.disk, (width, width)
        self.geometry = DiskGeometry.seen_from(*place, roll=self.turn.roll)
        self.rows = np.ones(width, np.bool_)  # those to be read, in FITS order

    def _orientation(self, given: Callable[[str], Any]) -> Orientation:
        """Orientation of the full disk: cut-outs keep the centre of the disk in IMCRPIX1, IMCRPIX2."""
        header = self.header
        x, y = header.number("IMCRPIX1"), header.number("IMCRPIX2")
        cards = {"CRPIX1": x, "CRPIX2": y, "CRVAL1": 0.0, "CRVAL2": 0.0} if x is not None and y is not None else {}
        whole = Header(lambda key: cards[key] if key in cards else given(key), header.source)
        return orientation_of(whole, self.width)

    def choose_rows(self, near: Iterable[tuple[Float64Array, Float64Array]], *, drawn: bool) -> None:
        """Read only what is asked for; see `read_vector`."""
        rows = np.zeros(self.width, np.bool_)
        if drawn:
            rows[nearest_pixels(self.width)] = True
        # What lies between points, however the Sun is seen, and the neighbours that are interpolated between.
        reach = math.ceil(2 * math.radians(POINTS_STEP) * self.turn.disk.radius) + 3
        for lon, lat in near:
            _, y, _ = self.geometry.pixel(lon, lat)
            rows[max(math.floor(y.min()) - reach, 0) : max(math.ceil(y.max()) + reach, 0)] = True
        self.rows = self.turn.stored_rows(rows)

    def add(self, images: dict[str, _Image], *, method: str) -> None:
        """Paste one record."""
        for name, image in images.items():
            time = image.header.time()
            if abs(time - self.magnetogram.time) > self.apart:
                raise DataError(
                    f"`{image.header.source}`: `{name}` must be at most {self.apart} from the magnetogram of "
                    f"{self.magnetogram.time:%FT%TZ}, it is of {time:%FT%TZ}; give files of one time"
                )
        places = {name: self._place(image) for name, image in images.items()}
        # The smallest, that of the HARP.
        rows, columns = min(places.values(), key=lambda place: place[0].stop - place[0].start)
        cut = {}
        for name, image in images.items():
            top, left = places[name][0].start, places[name][1].start
            window = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
            cut[name] = image.data[window]
            if window[0].start < 0 or window[1].start < 0 or cut[name].shape != _shape(rows, columns):
                raise DataError(
                    f"`{image.header.source}`: `{name}` must cover the rows {rows.start} to {rows.stop} and columns "
                    f"{columns.start} to {columns.stop} of the full disk, as the other segments do; fetch it again"
                )
        whole = _shape(rows, columns) == (self.width, self.width)
        for name, image in images.items():
            if not whole and places[name] == (rows, columns):
                self._require_middle(rows, columns, image.header)
        bits = None
        if "disambig" in cut:
            numbers = cut["disambig"] if cut["disambig"].dtype.kind in "iu" else np.nan_to_num(cut["disambig"])
            if not ((numbers >= 0) & (numbers <= _LARGEST_BYTE)).all():
                rule = f"`{images['disambig'].header.source}`: `disambig` must hold bits from 0 to {_LARGEST_BYTE}"
                raise DataError(f"{rule}, got {numbers.min():g} to {numbers.max():g}; fetch it again")
            bits = numbers.astype(np.uint8)
        chosen = ("radial-acute" if whole else "potential") if method == "jsoc" else method
        gauss = np.float32(gauss_per_unit(images["field"].header))
        # In bands that stay in the processor's cache.
        for first in range(rows.start, rows.stop, _BAND):
            place = slice(first, min(first + _BAND, rows.stop))
            if not (read := self.rows[place, np.newaxis]).any():
                continue
            band = slice(first - rows.start, place.stop - rows.start)
            parts = (cut[name][band] * (gauss if name == "field" else 1) for name in _POSSIBLE)
            field, inclination, azimuth = (
                np.where((part >= low) & (part <= high), part, np.float32(np.nan))
                for part, (low, high) in zip(parts, _POSSIBLE.values(), strict=True)
            )
            flips = None if bits is None else bits[band]
            right, up, los = camera_components(field, inclination, azimuth, flips, method=chosen)
            right = -right if self.turn.mirrored else right
            for _ in range(self.turn.quarter_turns):
                right, up = -up, right
            for canvas, part in zip(self.parts, (right, up, los), strict=True):
                canvas[place, columns] = np.where(read, part, np.float32(0))
            self.covered[place, columns] |= read
        if "conf_disambig" in cut:
            self.rated = True
            self.sure[rows, columns] |= cut["conf_disambig"] >= SURE_CONFIDENCE

    def _place(self, image: _Image) -> tuple[slice, slice]:
        """Rows and columns of the full disk, in FITS order, that an image covers."""
        height, width = image.data.shape
        if (height, width) == (self.width, self.width):
            return slice(0, height), slice(0, width)
        header = image.header
        x, y = header.needed("CRPIX1"), header.needed("CRPIX2")
        if is_sharp(header):
            x, y = header.needed("IMCRPIX1") - x + 1, header.needed("IMCRPIX2") - y + 1
        column, row = round(x) - 1, round(y) - 1
        if row < 0 or column < 0 or row + height > self.width or column + width > self.width:
            raise DataError(
                f"`{header.source}`: a cut-out must lie within the {self.width} pixels of the full disk, got columns "
                f"{column} to {column + width} and rows {row} to {row + height}; check `CRPIX1` and `CRPIX2`"
            )
        return slice(row, row + height), slice(column, column + width)

    def _require_middle(self, rows: slice, columns: slice, header: Header) -> None:
        """DataError unless a place in FITS order holds the middle of the header's own angles, as far as it has them."""
        lon, lat = ([header.number(f"{angle}_{end}") for end in ("MIN", "MAX")] for angle in ("LON", "LAT"))
        if None in (*lon, *lat):
            return
        middle = self.geometry.pixel(*(np.mean([edge for edge in edges if edge is not None]) for edges in (lon, lat)))
        x0, x1, y0, y1 = columns.start, columns.stop, self.width - rows.stop, self.width - rows.start
        if self.turn.mirrored:
            x0, x1 = self.width - x1, self.width - x0
        for _ in range(self.turn.quarter_turns):
            x0, x1, y0, y1 = y0, y1, self.width - x1, self.width - x0
        # The frame on the disk is not that of the angles: an eighth of its size is left to that.
        wide, high = (x1 - x0) // 8 + 2, (y1 - y0) // 8 + 2
        if middle[2] and not in_box(*middle[:2], (x0 - wide, y0 - high, x1 + wide, y1 + high)):
            raise DataError(
                f"`{header.source}`: a cut-out must hold the middle of its `LON_MIN`, `LON_MAX`, `LAT_MIN` and "
                f"`LAT_MAX`, got columns {columns.start} to {columns.stop} and rows {rows.start} to {rows.stop}; check "
                "`CRPIX1` and `CRPIX2`"
            )

    def result(self) -> FullDiskVector:
        """The vector field, turned north up."""
        turn = self.turn
        right, up, los = (turn.upright(part) for part in self.parts)
        covered, sure = turn.upright(self.covered), turn.upright(self.sure) if self.rated else None
        return FullDiskVector(right, up, los, covered, sure, self.geometry, self.header.time(), self.header.source)


def is_sharp(header: Header) -> bool:
    """Whether CRPIX of a cut-out is where disk centre is in it: a HARP's is where its corner is on the disk."""
    return "sharp" in Path(header.source).name or "sharp.c" in header.text("CODEVER7")


def read_segment(path: Path, *, known: _Image | None = None, rows: BoolArray | None = None) -> _Image:
    """First two-dimensional image of a FITS file; of the full disk, with as many `rows`, only those and else 0.

    The records of all HARPs of one time link to one full-disk image, so that copies of it come again and again: where
    the image `known` is of the same time and of the full disk, as this one is, the pixels are not decoded anew.
    """
    payload = read_payload(path, what="an image in FITS", kinds=("FITS",))
    with guarded_fits(payload, str(path)) as file:
        image = file.image()
        header = Header(image.header.__getitem__, str(path))
        full = rows is not None and image.shape == (len(rows), len(rows))
        if known is not None and full and known.data.shape == image.shape and header.time() == known.header.time():
            return _Image(known.data, header)
        data = _physical(file.pixels(image, rows if full else None), header)
        if len(data) < image.shape[0]:
            read, data = data, np.zeros(image.shape, data.dtype)
            data[rows] = read
        return _Image(data, header)


def _physical(raw: AnyArray, header: Header) -> AnyArray:
    """Values float32, NaN where BLANK; integers where nothing is to be done. Astropy would scale all in float64."""
    scale, zero, blank = header.number("BSCALE") or 1.0, header.number("BZERO") or 0.0, header.number("BLANK")
    if raw.dtype.kind in "iu" and (scale, zero, blank) == (1.0, 0.0, None):
        return raw
    out = np.empty(raw.shape, np.float32)
    for band in (slice(first, first + _BAND) for first in range(0, len(raw), _BAND)):
        out[band] = raw[band] * scale + zero
        if blank is not None and raw.dtype.kind in "iu":
            out[band][raw[band] == blank] = np.nan
    return out


def _shape(rows: slice, columns: slice) -> tuple[int, int]:
    return rows.stop - rows.start, columns.stop - columns.start
