"""The pictures of the site: the full disk in several wavelengths on one frame, and where the network looked.

North is up and west right. Every picture of a forecast lies on the frame of its magnetogram, so that the boxes of the
regions fit all of them. They are kept beside the observations, so that the site can be made again without those.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from kflare.errors import DataError, KflareError
from kflare.io.arrays import Float32Array, FloatArray
from kflare.io.atomic import write_whole
from kflare.io.payload import format_of
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.solar_image import CONTINUUM, read_solar_image
from kflare.operations.event_log import EventLog
from kflare.operations.records import utc_text
from kflare.sun.disk import Disk, network_disk

if TYPE_CHECKING:
    from kflare.regions.extraction import Measured
    from kflare.regions.vector_field import FullDiskVector

IMAGE: Final = "image"
OVERLAY: Final = "overlay"

# Source of `kflare.archives.near_real_time_data`: wavelength, label, sunpy's colours.
_IMAGES: Final = {"continuum": (CONTINUUM, "HMI white light", "gray")} | {
    f"aia_{n}": (n, f"AIA {n} Å", f"sdoaia{n}") for n in (131, 193, 304, 1600)
}
_INDEX: Final = "pictures.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_SIZE = 1024
_QUALITY = 85
_HARP = (86, 180, 233)  # blue
_BRIGHTEST = 99.8  # percentile of the disk that becomes white: a flare would else leave everything else black


@dataclass(frozen=True)
class DiskPicture:
    """One picture of the full disk, JPEG or PNG."""

    name: str  # for the file: small letters, digits and hyphens, such as "hmi-magnetogram"
    label: str  # for the reader, such as "HMI magnetogram"
    data: bytes
    kind: str = IMAGE  # `IMAGE`, or `OVERLAY` to be laid over the images
    note: str = ""  # for the reader: what it shows, such as its time

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DataError(f"`name` of a picture must be of a-z, 0-9 and '-', at most 41 long, got {self.name!r}")
        if self.kind not in (IMAGE, OVERLAY):
            raise DataError(f"`kind` of picture {self.name} must be {IMAGE} or {OVERLAY}, got {self.kind!r}")
        if format_of(self.data) not in ("JPEG", "PNG"):
            raise DataError(f"picture {self.name} must be JPEG or PNG, it begins with {self.data[:4]!r}")

    @property
    def file(self) -> str:
        """Name with the ending that its data have."""
        return f"{self.name}.{'jpg' if format_of(self.data) == 'JPEG' else 'png'}"


def magnetogram_picture(magnetogram: Magnetogram, *, size: int = _SIZE) -> bytes:
    """A magnetogram in grey, JPEG; white is +200 G, black -200 G and what is off the disk."""
    shown = magnetogram if magnetogram.data.shape[0] <= size else magnetogram.resized(size)
    grey = np.clip((shown.data / 200 + 1) * 127.5, 0, 255)
    grey = np.where(np.isnan(grey), np.where(shown.on_disk, 127.5, 0), grey)
    return _jpeg(Image.fromarray(grey.astype(np.uint8)), size)


def intensity_picture(data: FloatArray, disk: Disk, *, like: Magnetogram, palette: str, size: int = _SIZE) -> bytes:
    """An image of another instrument or wavelength on the frame of the magnetogram `like`, JPEG of `size` squared.

    `data` (H, H) are intensities in any unit, row 0 = north, column 0 = east, NaN where not measured; `disk` is the Sun
    in them. `palette` is a matplotlib colour map, sunpy's such as "sdoaia131" among them. DataError if all are NaN.
    """
    import sunpy.visualization.colormaps  # noqa: F401 - registers the maps of the instruments
    from matplotlib import colormaps

    measured = data[np.isfinite(data)]
    if measured.size == 0:
        raise DataError("an image must hold measured values to be shown, got none")
    bottom, top = np.percentile(measured, [1.0, _BRIGHTEST])
    scaled = np.clip((np.nan_to_num(data, nan=float(bottom)) - bottom) / max(top - bottom, 1e-9), 0, 1)
    grey = Image.fromarray((255 * np.sqrt(scaled)).astype(np.uint8))  # Square root: coronal images span decades.
    framed = _framed(grey, disk, like, size, Image.Resampling.BILINEAR)
    coloured = (255 * colormaps[palette](np.asarray(framed) / 255)[..., :3]).astype(np.uint8)
    return _jpeg(Image.fromarray(coloured), size)


def _framed(image: Image.Image, disk: Disk, like: Magnetogram, size: int, how: Image.Resampling) -> Image.Image:
    """An image with the Sun at `disk` on the frame of a magnetogram, `size` squared."""
    frame = like.disk.resized(like.data.shape[0], size)
    step = disk.radius / frame.radius  # pixels of `image` for one of the picture
    affine = (step, 0.0, disk.x + 0.5 - (frame.x + 0.5) * step, 0.0, step, disk.y + 0.5 - (frame.y + 0.5) * step)
    return image.transform((size, size), Image.Transform.AFFINE, affine, how)


def vector_picture(vector: "FullDiskVector", *, like: Magnetogram, size: int = _SIZE) -> bytes:
    """The radial field of a vector map on the frame of the magnetogram `like`, JPEG, white +200 G; HARPs outlined.

    Nishizuka et al. (2021), Fig. 2: outside the areas of the HARPs the field is 0.
    """
    from scipy import ndimage

    radial, covered, disk = vector.radial_map(size)
    grey = np.where(np.isnan(radial), 0, np.clip((radial / 200 + 1) * 127.5, 0, 255)).astype(np.uint8)
    inner = ndimage.binary_erosion(covered, iterations=2, border_value=True)
    coloured = np.where((covered & ~inner)[..., np.newaxis], np.array(_HARP, np.uint8), grey[..., np.newaxis])
    return _jpeg(_framed(Image.fromarray(coloured), disk, like, size, Image.Resampling.BILINEAR), size)


def overlay_picture(map_: FloatArray, *, like: Magnetogram | None = None, size: int = 256) -> bytes:
    """An attribution map to be laid over the disk: PNG, transparent where it is 0, bright and denser towards 1.

    `map_` (h, h) is scaled to 0–1, row 0 = north; NaN counts as 0. It is on the magnetogram's frame, or, with the
    magnetogram `like`, on that of a network's input (`network_disk`).
    """
    from matplotlib import colormaps

    values = np.clip(np.nan_to_num(map_), 0, 1).astype(np.float32)
    shown = Image.fromarray(values)
    if like is None:
        shown = shown.resize((size, size), Image.Resampling.BICUBIC)
    else:
        shown = _framed(shown, network_disk(len(values)), like, size, Image.Resampling.BICUBIC)
    values = np.asarray(shown).clip(0, 1)
    rgba = colormaps["inferno"](0.3 + 0.7 * values)
    rgba[..., 3] = 0.7 * values
    out = io.BytesIO()
    Image.fromarray((255 * rgba).astype(np.uint8)).save(out, "PNG", optimize=True)
    return out.getvalue()


def _jpeg(image: Image.Image, size: int) -> bytes:
    if image.width != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()


def keep_pictures(
    folder: Path, measured: "Measured", files: Mapping[str, Path], maps: Mapping[str, tuple[str, Float32Array]],
    log: EventLog
) -> None:  # fmt: skip
    """Make the pictures of a cycle, from images by source name and `Answers.maps`, by class; log what fails."""
    from kflare.attribution.image_maps import NAMES

    magnetogram, vector = measured.magnetogram, measured.vector
    seen = f"observed {utc_text(magnetogram.time)}"
    made = [DiskPicture("hmi-magnetogram", "HMI magnetogram", magnetogram_picture(magnetogram), note=seen)]
    if vector is not None:
        data, note = vector_picture(vector, like=magnetogram), f"observed {utc_text(vector.time)}; blue: areas of HARPs"
        made.append(DiskPicture("hmi-vector", "HMI vector field, radial", data, note=note))
    for source, (wavelength, label, palette) in _IMAGES.items():
        if source in files:
            try:
                image = read_solar_image(files[source], wavelength=wavelength)
                data = intensity_picture(image.data, image.disk, like=magnetogram, palette=palette)
            except KflareError as error:
                log("no picture", source=source, reason=str(error))
                continue
            made.append(DiskPicture(source.replace("_", "-"), label, data, note=f"observed {utc_text(image.time)}"))
    for name, (method, map_) in maps.items():
        label = f"Where cnn-{name.lower()} looked ({NAMES[method]})"
        data = overlay_picture(map_, like=magnetogram if method == "cam" else None)
        made.append(DiskPicture(f"{method.replace('_', '-')}-{name.lower()}", label, data, OVERLAY))
    index = [{key: getattr(one, key) for key in ("name", "label", "file", "kind", "note")} for one in made]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in made:
            write_whole(folder / picture.file, picture.data)
        write_whole(folder / _INDEX, json.dumps(index))
    except (KflareError, OSError) as error:  # such as no space left: the forecast is published without pictures
        log("no pictures", reason=str(error))


def kept_pictures(folder: Path) -> list[DiskPicture]:
    """The pictures that `keep_pictures` made; none if their folder is gone or damaged: no reason not to publish."""
    try:
        return [
            DiskPicture(one["name"], one["label"], (folder / one["file"]).read_bytes(), one["kind"], one["note"])
            for one in json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, LookupError, TypeError, DataError):
        return []
