"""The maps of one image as a FITS file: one HDU per map, each on the image's own world coordinates (docs/formats.md).

`sunpy.map.Map(path)` opens all. A file is written beside its place and renamed, so it is whole or not there.
"""

import csv
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np

from kflare.errors import DataError, ModelError, SettingError
from kflare.io.arrays import AnyArray, Float32Array
from kflare.io.atomic import write_whole
from kflare.io.guarded_fits import fits_parts, guarded_fits
from kflare.io.payload import read_payload
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.similarity.measures import aligned
from kflare.observations.world import header_of
from kflare.sun.disk import Disk, network_disk
from kflare.sun.geometry import Observer

LABELS = ("no_flare", "flare")
"""The labels, in the order of the maps' last axis."""

METHODS = ("cam", "grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency")
"""The exact CAM, Grad-CAM (Selvaraju et al. 2017), Grad-CAM++ (Chattopadhay et al. 2018), guided backpropagation
(Springenberg et al. 2015) and the plain gradient (Simonyan et al. 2014)."""

ANSWERED_METHODS = ("cam", "grad_cam", "guided_backprop")
"""Those that a published model answers; the first one not of versions from before it."""

_LAYERS = {"cam": "all that reach the score", "grad_cam": "last convolution", "grad_cam_plus_plus": "last convolution"}
_SAME = 0.05  # pixels by which the disk of an image may lie off that of the maps
# Fine maps are kept to within 1e-5 of the map's largest value, the tolerance to which served maps equal those made in
# process, and are integers on disk: those compress to about half, and a map read back equals the one written.
_LEVELS = 5e4
# Of the magnetogram's header; its instrument, content and unit would make sunpy take the maps for fields in gauss.
_WORLD = (
    *("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2"),
    *("PC1_1", "PC1_2", "PC2_1", "PC2_2", "RSUN_REF", "RSUN_OBS", "DSUN_OBS", "CRLN_OBS", "CRLT_OBS", "QUALITY"),
)


def require_methods(names: Sequence[str], known: Sequence[str] = METHODS) -> tuple[str, ...]:
    """The names of methods as they are, if all are known; else `SettingError` lists those that are."""
    for name in names:
        if name not in known:
            raise SettingError(f"no attribution method {name!r} here: the known ones are {', '.join(known)}")
    return tuple(names)


@dataclass(frozen=True)
class Origin:
    """Which model made a file, and how it read the image; files of two origins do not go into one folder."""

    model: str
    version: int
    digest: str = ""  # first 16 digits of the SHA-256 of its manifest, "" for a served model


@dataclass(frozen=True, eq=False)
class Attribution:
    """Where the network looked in one image.

    `maps` by method, of `METHODS`, float32 (h, h, 2): raw, signed; row 0 = north, column 0 = east, last axis =
    `LABELS`. "cam" is left out where the model does not answer it, and what no model answers unless it was asked for.
    The size S of "guided_backprop" is that of the network's input, on the FITS grid of `header`, from the south.
    """

    image: str  # name of the magnetogram's file
    time: datetime  # when it was observed, UTC
    byte_range: float | None  # field in gauss of byte 255, where the image had 8 bits
    origin: Origin
    probability: float  # forecast for the full disk
    calibrated: float
    maps: dict[str, Float32Array]
    share: tuple[float, float]  # of the score less that of a Sun without field, Grad-CAM's channels'; NaN = not known
    header: dict[str, Any]

    @classmethod
    def of_reply(cls, outputs: Mapping[str, AnyArray], row: int, magnetogram: Magnetogram, *, origin: Origin) -> Self:
        """One image of the outputs of `attribute`, maps (N, h, h, 2); `ModelError` where one is not finite."""
        maps = {name: np.asarray(outputs[name][row], np.float32) for name in METHODS if name in outputs}
        if not all(np.isfinite(values).all() for values in maps.values()):
            who = f"{origin.model} version {origin.version} for `{magnetogram.source}`"
            raise ModelError(f"the maps of {who} hold NaN or infinity: use another version of the model")
        size = maps["guided_backprop"].shape[0]
        # Models that answer no exact CAM see the image as it is sent, those that do the Sun on one disk.
        own = network_disk(size) if "cam" in maps else magnetogram.disk.resized(magnetogram.data.shape[0], size)
        frame = replace(magnetogram, data=np.full((size, size), np.nan, np.float32), disk=own)
        for name in (name for name in maps if not name.startswith("grad_cam")):
            steps = np.array([_step(maps[name][..., label]) for label in range(len(LABELS))], np.float32)
            maps[name] = np.rint(maps[name] / steps) * steps
        share = outputs["grad_cam_share"][row].tolist() if "grad_cam_share" in outputs else (math.nan, math.nan)
        image, header = Path(magnetogram.source).name, _world(header_of(frame))
        probability, calibrated = (float(outputs[name][row]) for name in ("probability", "calibrated"))
        about = image, magnetogram.time, magnetogram.byte_range, origin
        return cls(*about, probability, calibrated, maps, (share[0], share[1]), header)

    @property
    def size(self) -> int:
        """Width and height of the network's input."""
        return self.maps["guided_backprop"].shape[0]

    def cell(self, method: str) -> int:
        """Pixels of the network's input per cell of a map: a power of 2, as halving leaves out an odd last pixel."""
        return 1 << int(math.log2(self.size / self.maps[method].shape[0]))

    def require(self, method: str) -> None:
        """Refuse a map that the model did not answer, such as "cam" of those published before it; `DataError`."""
        if method not in self.maps:
            fault = f"{self.origin.model} version {self.origin.version} gave no `{method}` of `{self.image}`"
            raise DataError(f"{fault}, only {', '.join(self.maps)}: attribute it with a later version of the model")

    @cached_property
    def frame(self) -> Magnetogram:
        """An image without values on the pixels of the network's input: its time, disk and observer."""
        size, cards = self.size, self.header
        data = np.full((size, size), np.nan, np.float32)
        disk = Disk(cards["CRPIX1"] - 1, size - cards["CRPIX2"], cards["RSUN_OBS"] / cards["CDELT1"])
        observer = Observer(cards["CRLN_OBS"], cards["CRLT_OBS"], cards["DSUN_OBS"])
        roll = math.degrees(math.atan2(cards["PC2_1"], cards["PC1_1"]))
        return Magnetogram(data, self.time, disk, instrument="unknown", source=self.image, observer=observer, roll=roll)

    def on_maps(self, image: Magnetogram) -> Magnetogram:
        """The magnetogram on the pixels of the network's input, where the maps lie: gauss, NaN off the disk."""
        own, disk = image.disk.resized(image.data.shape[0], self.size), self.frame.disk
        if max(abs(own.x - disk.x), abs(own.y - disk.y), abs(own.radius - disk.radius)) <= _SAME:
            return image.resized(self.size)
        return aligned(image, disk=disk, width=self.size)

    def with_others(self, held: "Attribution") -> "Attribution":
        """The same with the maps that only another one of the same model and image has."""
        maps = held.maps | self.maps
        return replace(self, maps={name: maps[name] for name in METHODS if name in maps})

    def map(self, method: str, label: str) -> tuple[Float32Array, dict[str, Any]]:
        """A raw map with row 0 = south, as FITS counts, and its header: what `sunpy.map.Map` takes."""
        maps, cell = self.maps[method][..., LABELS.index(label)], self.cell(method)
        # A pixel's centre is at its index, so its edge is at index - 1/2; FITS counts from 1, and rows from the south.
        x, y = float(self.header["CRPIX1"]) - 1, self.size - float(self.header["CRPIX2"])
        header = self.header | {name: float(self.header[name]) * cell for name in ("CDELT1", "CDELT2")}
        header |= {"CRPIX1": (x + 0.5) / cell + 0.5, "CRPIX2": len(maps) - (y + 0.5) / cell + 0.5}
        header |= {"METHOD": method, "LABEL": label, "LAYER": _LAYERS.get(method, "magnetogram"), **self.cards()}
        share = self.share[LABELS.index(label)]
        if method == "grad_cam" and math.isfinite(share):
            header["SHARE"] = share
        return np.ascontiguousarray(maps[::-1]), header

    def cards(self) -> dict[str, Any]:
        """FITS keywords of what made the maps, and of which image."""
        origin, time = self.origin, self.time.strftime("%Y-%m-%dT%H:%M:%S.%f")
        cards = {"MODEL": origin.model, "MODELVER": origin.version, "MODELSUM": origin.digest, "IMAGE": self.image}
        cards |= {"PROB": self.probability, "CALIB": self.calibrated, "DATE-OBS": time, "TIMESYS": "UTC"}
        return cards if self.byte_range is None else {**cards, "BYTERANG": self.byte_range}


_COMMENTS = dict(csv.reader(files("kflare.attribution").joinpath("cards.csv").read_text("utf-8").splitlines()))


def write_attribution(attribution: Attribution, path: Path) -> None:
    """Write an attribution file, whole or not at all; a folder that cannot be written to raises `SettingError`."""
    from astropy.io import fits

    about = {"ORIGIN": "kflare", "MAPS": " ".join(attribution.maps), **attribution.cards()}
    parts = [fits.PrimaryHDU(header=_with_comments(about))]
    for method in attribution.maps:
        for label in reversed(LABELS):
            data, header = attribution.map(method, label)
            cards, name = _with_comments(header), f"{method}_{label}".upper()
            if method.startswith("grad_cam"):
                parts.append(fits.ImageHDU(data, cards, name=name))
                continue
            step = _step(data)
            levels = np.rint(data / np.float32(step)).astype(np.int32)
            # A tile of 32 rows is written in half the time of the usual single row.
            tile = min(32, len(data)), len(data)
            hdu = fits.CompImageHDU(levels, cards, name=name, compression_type="RICE_1", tile_shape=tile)
            hdu.header["BSCALE"], hdu.header["BZERO"] = step, 0.0
            parts.append(hdu)
    write_whole(path, fits.HDUList(parts).writeto)


def read_attribution(path: str | Path) -> Attribution:
    """Read an attribution file; `DataError` if it is damaged or another kind of file."""
    path = Path(path)
    problem, advice = "is no whole attribution file", "delete it and run again"
    try:
        payload = read_payload(path, what="a FITS file", kinds=("FITS",))
    except DataError as error:
        raise DataError(f"`{path}` {problem}: {error}; {advice}") from error
    with guarded_fits(payload, str(path), scaled=True, problem=problem, advice=advice) as file:
        # Astropy warns of damage that it can work round; a file that kflare wrote has none.
        warnings.simplefilter("error")
        parts = {hdu.name: hdu for hdu in file}
        first = next(iter(parts.values())).header
        maps = {
            name: np.stack([file.pixels(parts[f"{name}_{of}".upper()])[::-1] for of in LABELS], -1, dtype=np.float32)
            for name in METHODS
            if name in ("grad_cam", "guided_backprop") or f"{name}_flare".upper() in parts
        }
        header = parts["GUIDED_BACKPROP_FLARE"].header
        shares = [float(parts[f"GRAD_CAM_{label}".upper()].header.get("SHARE", math.nan)) for label in LABELS]
        time = datetime.fromisoformat(first["DATE-OBS"]).replace(tzinfo=UTC)
        about = first["IMAGE"], time, first.get("BYTERANG"), _origin(first), float(first["PROB"]), float(first["CALIB"])
        return Attribution(*about, maps, (shares[0], shares[1]), _world(header))


def read_origin(path: Path) -> tuple[Origin, float | None, tuple[str, ...]]:
    """Model, byte range and methods of an attribution file, from its first header; `DataError` where it has none."""
    try:
        with path.open("rb") as stream:
            stop = next(fits_parts(stream, path.stat().st_size)).data
            stream.seek(0)
            begin = stream.read(stop)
    except (OSError, ValueError, StopIteration) as error:
        raise DataError(f"`{path}` is no attribution file: {error}") from error
    with guarded_fits(begin, str(path), problem="is no attribution file", advice="delete it and run again") as file:
        header = file.hdus[0].header
        return _origin(header), header.get("BYTERANG"), tuple(header.get("MAPS", "").split())


def _origin(header: Any) -> Origin:
    return Origin(str(header["MODEL"]), int(header["MODELVER"]), str(header["MODELSUM"]))


def _world(header: Mapping[str, Any]) -> dict[str, Any]:
    return {key: header[key] for key in _WORLD if key in header}


def _with_comments(cards: Mapping[str, Any]) -> Any:
    from astropy.io import fits

    return fits.Header([(key, value, _COMMENTS.get(key, "")) for key, value in cards.items()])


def _step(data: Float32Array) -> float:
    largest = float(np.abs(data).max(initial=0.0))
    # A power of two, by which scaling there and back is exact.
    return 2.0 ** math.floor(math.log2(largest / _LEVELS)) if largest > 0 else 1.0
