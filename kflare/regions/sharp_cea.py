"""SHARP CEA maps of JSOC: a region seen from above, with its vector field or its line-of-sight field."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kflare.errors import DataError
from kflare.regions.cea import Patch, on_sun
from kflare.regions.vector_files import SURE_CONFIDENCE, listed_paths, read_segment

__all__ = ["read_sharp_cea"]

_IN_PATCH = 30
_SEGMENTS = ("Bp", "Bt", "Br", "conf_disambig", "bitmap", "magnetogram")


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
    images = {name: read_segment(path) for name, path in paths.items()}
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
    # Seen from afar, on the grid of the map.
    grid = [np.degrees((np.arange(size) - (size - 1) / 2) * step) for size in inside.shape]
    lons, lats = np.radians(on_sun(lon, lat, west=grid[1], north=-grid[0]))
    b0 = math.radians(header.needed("CRLT_OBS"))
    mu = math.sin(b0) * np.sin(lats) + math.cos(b0) * np.cos(lats) * np.cos(lons)
    vector = "Br" in maps
    return Patch(
        maps.get("magnetogram"),
        np.where(mu > 0, mu, np.nan).astype(np.float32),
        inside,
        # Of the formulas in `sw_functions.c`: 1 in 10⁵ less than RSUN_REF · CDELT1.
        arcsec * radius / header.positive("RSUN_OBS"),
        arcsec,
        bx=maps.get("Bp"),
        by=-maps["Bt"] if vector else None,
        bz=maps.get("Br"),
        used=inside & (maps["conf_disambig"] >= SURE_CONFIDENCE) if vector else None,
        lon=(lon + 180) % 360 - 180,
        lat=lat,
        outlined=True,
    )


def _segments(files: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    if isinstance(files, str | Path) and Path(files).is_dir():
        given = sorted(Path(files).glob("*.fits"))
        place = f"`{files}`"
    else:
        given = listed_paths(files)
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
