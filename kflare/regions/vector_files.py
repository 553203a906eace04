"""Vector-field files of JSOC: the native full disk, its HARP cut-outs, and SHARP CEA maps.

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
import numpy.typing as npt

from kflare.errors import DataError, SettingError
from kflare.io.guarded_fits import guarded_fits
from kflare.io.payload import MAX_WIDTH, read_payload
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.orientation import Orientation, orientation_of
from kflare.regions.cea import Patch
from kflare.regions.vector_field import DISAMBIGUATION_METHODS, FullDiskVector, camera_components
from kflare.sun.geometry import DiskGeometry

__all__ = ["read_sharp_cea", "read_vector"]

#: Vector and magnetogram further apart than this do not go together: the Sun turns by 0.3 degrees.
MAX_APART = timedelta(minutes=30)

_BAND = 128
_CONFIDENCE = 70
_LARGEST_BYTE = 255
_IN_PATCH = 30
_SEGMENTS = ("Bp", "Bt", "Br", "conf_disambig", "bitmap", "magnetogram")
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True, eq=False)
class _Image:
    """An image of a FITS file in FITS order, float32 or integer, missing values NaN, and its header."""

    data: npt.NDArray[Any]
    header: Header
    card: Callable[[str], Any]


def read_vector(
    field: Paths,
    inclination: Paths,
    azimuth: Paths,
    disambig: Paths | None,
    *,
    magnetogram: Magnetogram,
    conf_disambig: Paths | None = None,
    method: str = "jsoc",
    apart: timedelta = MAX_APART,
) -> FullDiskVector:
    """Read a vector field of the full disk, or of all HARPs of one time.

    Parameters
    ----------
    field, inclination, azimuth, disambig : path or sequence of paths
        Segments of one full-disk record, or of the records of all HARPs in the same order.
    magnetogram : Magnetogram
        Line-of-sight field of the same time; tells from where the Sun is seen.
    conf_disambig : path or sequence of paths, optional
        Confidence of the disambiguation; without it the azimuth is held sure where the field is strong.
    method : str
        Solution for weak fields: "potential", "random" or "radial-acute"; "jsoc" takes radial-acute for a full-disk
        disambiguation and the lowest bit for one of a HARP, as `sharp.c` does.
    apart : datetime.timedelta
        How far the times may be apart.

    Returns
    -------
    FullDiskVector
        0 outside the HARPs, if the disambiguation is of HARPs.

    Raises
    ------
    DataError
        If a file is missing, damaged, of another shape, place or time than the others.
    """
    if method != "jsoc" and method not in DISAMBIGUATION_METHODS:
        raise SettingError(
            f"`method` of disambiguation must be one of jsoc, {', '.join(DISAMBIGUATION_METHODS)}, got {method!r}"
        )
    named = {"field": field, "inclination": inclination, "azimuth": azimuth}
    named |= {} if disambig is None else {"disambig": disambig}
    named |= {} if conf_disambig is None else {"conf_disambig": conf_disambig}
    lists = {name: _listed(paths) for name, paths in named.items()}
    counts = {name: len(paths) for name, paths in lists.items()}
    if len(set(counts.values())) != 1 or not counts["field"]:
        seen = ", ".join(f"{count} of `{name}`" for name, count in counts.items())
        raise DataError(f"a vector field must have as many files of each segment, got {seen}; fetch those that miss")
    out: _Canvas | None = None
    images: dict[str, _Image] = {}
    for number in range(counts["field"]):
        width = None if out is None else out.width
        images = {
            name: _read_image(paths[number], known=images.get(name), width=width) for name, paths in lists.items()
        }
        if out is None:
            out = _Canvas(images["field"], magnetogram, apart=apart)
        out.add(images, method=method)
    assert out is not None
    return out.result()


class _Canvas:
    """The full disk, in the order of the files, that records are pasted into."""

    def __init__(self, image: _Image, magnetogram: Magnetogram, *, apart: timedelta) -> None:
        header = image.header
        self.header, self.magnetogram = header, magnetogram
        scale = header.positive("RSUN_OBS") / header.positive("CDELT1")
        width = round(min(magnetogram.data.shape[0] * scale / magnetogram.disk.radius, 2 * MAX_WIDTH))
        if width > MAX_WIDTH:
            raise DataError(
                f"`{header.source}`: the full disk must be at most {MAX_WIDTH} pixels wide, `RSUN_OBS` and `CDELT1` "
                f"make its radius {scale:g} pixels; fetch it again"
            )
        self.width, self.apart = width, apart
        self.parts = np.zeros((3, width, width), np.float32)
        self.covered, self.sure = np.zeros((2, width, width), np.bool_)
        self.rated = False
        self.turn = self._orientation(image.card)

    def _orientation(self, given: Callable[[str], Any]) -> Orientation:
        """Orientation of the full disk: cut-outs keep the centre of the disk in IMCRPIX1, IMCRPIX2."""
        header = self.header
        x, y = header.number("IMCRPIX1"), header.number("IMCRPIX2")
        cards = {"CRPIX1": x, "CRPIX2": y, "CRVAL1": 0.0, "CRVAL2": 0.0} if x is not None and y is not None else {}
        whole = Header(lambda key: cards[key] if key in cards else given(key), header.source)
        return orientation_of(whole, self.width)

    def add(self, images: dict[str, _Image], *, method: str) -> None:
        """Paste one record."""
        for name, image in images.items():
            time = image.header.time()
            if abs(time - self.magnetogram.time) > self.apart:
                raise DataError(
                    f"`{image.header.source}`: `{name}` must be at most {self.apart} from the magnetogram of "
                    f"{self.magnetogram.time:%Y-%m-%dT%H:%M:%SZ}, it is of {time:%Y-%m-%dT%H:%M:%SZ}; give files of "
                    "one time"
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
        bits = None
        if "disambig" in cut:
            numbers = np.nan_to_num(cut["disambig"])
            if not ((numbers >= 0) & (numbers <= _LARGEST_BYTE)).all():
                raise DataError(
                    f"`{images['disambig'].header.source}`: `disambig` must hold bits from 0 to {_LARGEST_BYTE}, got "
                    f"{numbers.min():g} to {numbers.max():g}; fetch it again"
                )
            bits = numbers.astype(np.uint8)
        chosen = ("radial-acute" if whole else "potential") if method == "jsoc" else method
        # In bands that stay in the processor's cache.
        for first in range(0, rows.stop - rows.start, _BAND):
            band = slice(first, first + _BAND)
            field, inclination, azimuth = (cut[name][band] for name in ("field", "inclination", "azimuth"))
            flips = None if bits is None else bits[band]
            parts = camera_components(field, inclination, azimuth, flips, method=chosen)
            place = slice(rows.start + first, min(rows.start + first + _BAND, rows.stop))
            for canvas, part in zip(self.parts, parts, strict=True):
                canvas[place, columns] = part
        self.covered[rows, columns] = True
        if "conf_disambig" in cut:
            self.rated = True
            self.sure[rows, columns] |= cut["conf_disambig"] >= _CONFIDENCE

    def _place(self, image: _Image) -> tuple[slice, slice]:
        """Rows and columns of the full disk, in FITS order, that an image covers."""
        height, width = image.data.shape
        if (height, width) == (self.width, self.width):
            return slice(0, height), slice(0, width)
        header = image.header
        x, y = header.needed("CRPIX1"), header.needed("CRPIX2")
        if "sharp" in Path(header.source).name or "sharp.c" in header.text("CODEVER7"):
            # A SHARP says where the centre of the disk is in the cut-out, a HARP where its corner is on the disk.
            x, y = header.needed("IMCRPIX1") - x + 1, header.needed("IMCRPIX2") - y + 1
        column, row = round(x) - 1, round(y) - 1
        if row < 0 or column < 0 or row + height > self.width or column + width > self.width:
            raise DataError(
                f"`{header.source}`: a cut-out must lie within the {self.width} pixels of the full disk, got columns "
                f"{column} to {column + width} and rows {row} to {row + height}; check `CRPIX1` and `CRPIX2`"
            )
        return slice(row, row + height), slice(column, column + width)

    def result(self) -> FullDiskVector:
        """The vector field, turned north up."""
        turn = self.turn
        right, up, los = (turn.upright(part) for part in self.parts)
        if turn.mirrored:
            right = -right
        for _ in range(turn.quarter_turns):
            right, up = -up, right
        geometry = DiskGeometry.seen_from(
            self.magnetogram.seen_from, self.magnetogram.time, turn.disk, (self.width, self.width), roll=turn.roll
        )
        covered, sure = turn.upright(self.covered), turn.upright(self.sure) if self.rated else None
        return FullDiskVector(right, up, los, covered, sure, geometry, self.header.time(), self.header.source)


def read_sharp_cea(files: str | Path | Iterable[str | Path]) -> Patch:
    """Read a SHARP CEA map (`hmi.sharp_cea_720s` or NRT).

    Parameters
    ----------
    files : path or iterable of paths
        Folder with the files of one record, or the files themselves: `...Bp.fits`, `Bt`, `Br`, `conf_disambig` and
        `bitmap`, or `magnetogram` and `bitmap`; others are left alone.

    Returns
    -------
    Patch
        As JSOC's formulas take it: By = -Bt; `inside` where `bitmap` >= 30, `used` where `conf_disambig` >= 70 too.

    Raises
    ------
    DataError
        If segments are missing, there twice, damaged, or of different shapes.
    """
    paths = _segments(files)
    images = {name: _read_image(path) for name, path in paths.items()}
    shapes = {image.data.shape for image in images.values()}
    if len(shapes) > 1:
        seen = ", ".join(f"`{name}` {image.data.shape}" for name, image in images.items())
        raise DataError(f"segments of a SHARP must have one shape, got {seen}; fetch them again")
    header = images["bitmap"].header if "Br" not in images else images["Br"].header
    maps = {name: image.data[::-1].astype(np.float32) for name, image in images.items()}
    step, radius = math.radians(header.positive("CDELT1")), header.positive("RSUN_REF")
    arcsec = math.degrees(math.atan(radius * step / header.positive("DSUN_OBS"))) * 3600
    inside = maps["bitmap"] >= _IN_PATCH
    lon, lat = header.needed("CRVAL1") - header.needed("CRLN_OBS"), header.needed("CRVAL2")
    height, width = inside.shape
    vector = "Br" in maps
    return Patch(
        maps.get("magnetogram"),
        _mu(lon, lat, header.needed("CRLT_OBS"), shape=(height, width), step=step),
        inside,
        # Of the formulas in `sw_functions.c`: 1 in 10⁵ less than RSUN_REF · CDELT1.
        arcsec * radius / header.positive("RSUN_OBS"),
        arcsec,
        bx=maps.get("Bp"),
        by=-maps["Bt"] if vector else None,
        bz=maps.get("Br"),
        used=inside & (maps["conf_disambig"] >= _CONFIDENCE) if vector else None,
        lon=(lon + 180) % 360 - 180,
        lat=lat,
        outlined=True,
    )


def _mu(lon: float, lat: float, b0: float, *, shape: tuple[int, int], step: float) -> npt.NDArray[np.float32]:
    """Cosine of the angle between line of sight and vertical, seen from afar, on the grid of a SHARP CEA map."""
    rows, columns = shape
    x = (np.arange(columns) - (columns - 1) / 2) * step
    y = (((rows - 1) / 2 - np.arange(rows)) * step)[:, np.newaxis]
    flat = np.sqrt(np.maximum(1 - y**2, 0))
    west, ahead = flat * np.sin(x), flat * np.cos(x)
    up0, turn, tilt = math.radians(lat), math.radians(lon), math.radians(b0)
    polar, out = y * math.cos(up0) + ahead * math.sin(up0), ahead * math.cos(up0) - y * math.sin(up0)
    mu = (out * math.cos(turn) - west * math.sin(turn)) * math.cos(tilt) + polar * math.sin(tilt)
    return np.where(mu > 0, mu, np.nan).astype(np.float32)


def _segments(files: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    if isinstance(files, str | Path) and Path(files).is_dir():
        given = sorted(Path(files).glob("*.fits"))
        place = f"`{files}`"
    else:
        given = _listed(files)
        place = "the files given"
    found: dict[str, Path] = {}
    for path in given:
        name = path.name.removesuffix(".fits").rpartition(".")[2]
        if name not in _SEGMENTS:
            continue
        if name in found:
            raise DataError(f"{place} must hold one SHARP record, got `{found[name].name}` and `{path.name}`")
        found[name] = path
    vector = {"Bp", "Bt", "Br", "conf_disambig"}
    missing = sorted(({"bitmap"} | (vector if vector & set(found) else {"magnetogram"})) - set(found))
    if missing:
        raise DataError(f"{place} must hold the SHARP segments `{'`, `'.join(missing)}` too; fetch them")
    return found


def _read_image(path: Path, *, known: _Image | None = None, width: int | None = None) -> _Image:
    """First two-dimensional image of a FITS file.

    The records of all HARPs of one time link to one full-disk image, so that copies of it come again and again: where
    the image `known` is of the same time and `width` pixels wide as this one, the pixels are not decoded anew.
    """
    payload = read_payload(path, what="an image in FITS", kinds=("FITS",))
    with guarded_fits(payload, str(path), scaled=True) as file:
        image = file.image()
        card = image.header.__getitem__
        header = Header(card, str(path))
        same = known is not None and image.shape == known.data.shape == (width, width)
        if known is not None and same and header.time() == known.header.time():
            return _Image(known.data, header, card)
        data = file.pixels(image)
        return _Image(data if data.dtype.kind in "iu" else data.astype(np.float32), header, card)


def _listed(paths: Any) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]


def _shape(rows: slice, columns: slice) -> tuple[int, int]:
    return rows.stop - rows.start, columns.stop - columns.start
