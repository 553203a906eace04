"""Magnetograms from sunpy Maps."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from kflare.errors import DataError
from kflare.io.payload import MAX_WIDTH, decoding
from kflare.observations.headers import Header
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import QualityPolicy, policy_named
from kflare.observations.readers.pixels import Frame, Pixels, require_square
from kflare.observations.readers.reader import Options
from kflare.sun.disk import Disk

if TYPE_CHECKING:
    from sunpy.map import GenericMap


def magnetogram_from_map(
    solar_map: "GenericMap", *, source: str = "sunpy Map", disk: Disk | None = None, time: datetime | None = None,
    size: int | None = None, policy: str | QualityPolicy = "default"
) -> Magnetogram:  # fmt: skip
    """Magnetogram of a sunpy Map of the full disk, in gauss and helioprojective, in whatever orientation.

    Its mask counts as missing; `source` names it in messages. `time` (aware) and `disk` (in the result, row 0 = north,
    before `size`) are taken instead of the Map's; `size` is width and height of the result, at most the Map's; the
    `policy` says which are rejected (`quality.py`). DataError: no full disk, not in gauss, or rejected.
    """
    options = Options(source, policy_named(policy), disk=disk, time=time, size=size)
    meta = getattr(solar_map, "meta", None)
    if meta is None or not hasattr(solar_map, "data"):
        raise DataError(f"`{source}` must be a sunpy Map, got {type(solar_map).__name__}")
    # sunpy also warns of metadata that are missing and assumes something.
    with decoding(source, "has unusable metadata", advice="read the file itself instead"):
        require_square(np.shape(solar_map.data), MAX_WIDTH, source)
        header = Header(_card(solar_map), source)
        data = np.asarray(solar_map.data)
        mask = np.zeros(data.shape, np.bool_) if solar_map.mask is None else solar_map.mask
        if (blank := header.blank()) is not None:
            # sunpy 7.0 scales the pixels of an integer image without a look at BLANK, unless it is compressed.
            if data.dtype.kind != "i":
                blank = blank * (header.number("BSCALE") or 1.0) + (header.number("BZERO") or 0.0)
            mask = mask | (data == np.array(blank).astype(data.dtype))
        data = np.where(mask, np.nan, data)
        return Frame(header, data.shape[0], options).magnetogram(Pixels(data))


def _card(solar_map: Any) -> Any:
    """Look-up in the Map's metadata, completed by what sunpy knows of the instrument."""
    meta = solar_map.meta

    def card(key: str) -> object:
        if key in meta:
            return meta[key]
        if key == "RSUN_OBS" and not any(other in meta for other in ("SOLAR_R", "OBS_R0", "RSUN", "R_SUN")):
            return float(solar_map.rsun_obs.to_value("arcsec"))
        # Of a Map without any date sunpy says that it is of this moment.
        if key == "DATE-OBS" and any(name.lower().startswith(("date-", "date_")) for name in meta):
            return str(solar_map.reference_date.utc.isot)
        raise KeyError(key)

    return card
