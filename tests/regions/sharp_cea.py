"""SHARP CEA maps of JSOC as `Patch`: their headers hold the keywords that our formulas must give for them."""

import math

import numpy as np

from kflare.regions.cea import Patch, on_sun
from kflare.regions.vector_files import SURE_CONFIDENCE, read_segment

_IN_PATCH = 30
_SEGMENTS = {"Bp", "Bt", "Br", "conf_disambig", "bitmap", "magnetogram"}


def read_sharp_cea(files) -> Patch:
    """The patch of one record of `hmi.sharp_cea_720s` or NRT, as JSOC's formulas take it: By = -Bt.

    `files` are those of all segments, or of `magnetogram` and `bitmap`; others are left alone. `inside` is where
    `bitmap` >= 30, `used` where `conf_disambig` >= 70 too.
    """
    paths = {path.name.split(".")[-2]: path for path in files}
    images = {name: read_segment(path) for name, path in paths.items() if name in _SEGMENTS}
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
