"""The pictures of a cycle: kept beside its observations, so that the site can be made again without them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from kflare.errors import KflareError
from kflare.io.atomic import write_whole
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.solar_image import CONTINUUM, read_solar_image
from kflare.operations.event_log import EventLog
from kflare.operations.forecast import utc_text
from kflare.operations.publish.pictures import (
    OVERLAY,
    Picture,
    intensity_picture,
    magnetogram_picture,
    overlay_picture,
)

__all__ = ["keep_pictures", "kept_pictures"]

# Source of `kflare.archives.near_real_time_sources`: wavelength, label, sunpy's colours.
_IMAGES: Final = {
    "continuum": (CONTINUUM, "HMI white light", "gray"),
    "aia_131": (131, "AIA 131 Å", "sdoaia131"),
    "aia_193": (193, "AIA 193 Å", "sdoaia193"),
    "aia_304": (304, "AIA 304 Å", "sdoaia304"),
    "aia_1600": (1600, "AIA 1600 Å", "sdoaia1600"),
}
_INDEX: Final = "pictures.json"


def keep_pictures(
    folder: Path,
    magnetogram: Magnetogram,
    files: Mapping[str, Path],
    grad_cam: Mapping[str, npt.NDArray[np.float32]],
    log: EventLog,
) -> None:
    """Make the pictures of a cycle; one that fails is left out and logged.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    magnetogram : Magnetogram
        On its frame all pictures lie.
    files : mapping of str to Path
        Images by source name.
    grad_cam : mapping of class to float array (h, w)
        Overlays, 0-1.
    log : EventLog
        Takes what failed.
    """
    seen = f"observed {utc_text(magnetogram.time)}"
    made = [Picture("hmi-magnetogram", "HMI magnetogram", magnetogram_picture(magnetogram), note=seen)]
    for source, (wavelength, label, palette) in _IMAGES.items():
        if source in files:
            try:
                image = read_solar_image(files[source], wavelength=wavelength)
                data = intensity_picture(image.data, image.disk, like=magnetogram, palette=palette)
            except KflareError as error:
                log("no picture", source=source, reason=str(error))
                continue
            made.append(Picture(source.replace("_", "-"), label, data, note=f"observed {utc_text(image.time)}"))
    for name, map_ in grad_cam.items():
        label = f"Where cnn-{name.lower()} looked (Grad-CAM)"
        made.append(Picture(f"grad-cam-{name.lower()}", label, overlay_picture(map_), OVERLAY))
    index = [
        {"name": one.name, "label": one.label, "file": one.file, "kind": one.kind, "note": one.note} for one in made
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in made:
            write_whole(folder / picture.file, picture.data)
        write_whole(folder / _INDEX, json.dumps(index))
    except (KflareError, OSError) as error:  # a full disk: the forecast is worth more than its pictures
        log("no pictures", reason=str(error))


def kept_pictures(folder: Path) -> list[Picture]:
    """The pictures that `keep_pictures` made; none if their folder is gone."""
    index = folder / _INDEX
    if not index.is_file():
        return []
    return [
        Picture(one["name"], one["label"], (folder / one["file"]).read_bytes(), one["kind"], one["note"])
        for one in json.loads(index.read_text(encoding="utf-8"))
    ]
