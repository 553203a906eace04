"""The netCDF files of GOES X-ray flux, of three generations, as plain arrays.

netCDF-4 is HDF5 and read with h5py, in a process of its own (`kflare.io.hdf5_series`); netCDF-3 with scipy.
"""

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, Float64Array, IntArray
from kflare.io.hdf5_series import MOST_SAMPLES, Series, read_hdf5_series
from kflare.io.payload import decoding, read_payload
from kflare.sun.times import times_since

# Largest netCDF file that is read: the minutes of a satellite's whole life have 0.4 GB.
_MAX_BYTES: Final = 1 << 29
_LONGEST_STEP: Final = 90.0  # seconds
_SATELLITE: Final = re.compile(r"(?:^|[^a-z0-9])g(?:oes-?)?([0-9]{1,2})(?![0-9])", re.IGNORECASE)

# Long channel, its flags, time; whether the values are SWPC's operational ones.
_LAYOUTS: Final = (
    ("xrsb_flux", ("xrsb_flag", "xrsb_flags"), "time", False),
    ("b_flux", ("b_flags",), "time", False),
    ("B_AVG", ("B_QUAL_FLAG",), "time_tag", True),
)
# What only NCEI's flare summaries hold, and their daily background has in its name.
_OTHER_PRODUCTS: Final = ("flare_id", "flare_class", "background_flux")
_NAMES: Final = (*(name for flux, flags, time, _ in _LAYOUTS for name in (flux, *flags, time)), *_OTHER_PRODUCTS)
_ATTRIBUTES: Final = (
    *("units", "_FillValue", "missing_value", "flag_meanings", "flag_masks", "flag_values"),
    *("platform", "satellite_id", "id"),
)


@dataclass(frozen=True)
class Samples:
    """Samples of the long channel as a file holds them, all of shape (N,)."""

    time: IntArray  # microseconds since 1970, UTC without leap seconds; the smallest integer where unknown
    flux: Float64Array  # W m^-2; NaN where missing or flagged as bad
    satellite: Float64Array  # GOES number, NaN where unknown
    quality: Float64Array  # flag bits, 0 = good, NaN where there are none
    operational: bool  # values of GOES-15 and before carry SWPC's factor
    counts: Mapping[str, int]  # what was taken out

    @property
    def cadence(self) -> float:
        """Median distance of neighbouring times in seconds; infinite for fewer than two."""
        apart = np.diff(np.unique(self.time))
        return float(np.median(apart)) / 1e6 if len(apart) else math.inf


def samples_of_netcdf(path: Path, *, is_hdf5: bool, satellite: int | None) -> Samples:
    """Read the long channel of a netCDF file of GOES X-ray flux, netCDF-4 (HDF5) or -3, in the order of the file.

    A `satellite` number that is given takes precedence over the file's own. A value is good where the flags, masked as
    `flag_masks` says for `good_data`, equal its `flag_values`; without these attributes, where the flags are 0.
    DataError if the file is over 512 MiB, damaged, or holds no long channel.
    """
    with decoding(str(path), "is a damaged or truncated netCDF file"):
        if is_hdf5 and path.stat().st_size > _MAX_BYTES:
            raise DataError(f"`{path}` must be at most {_MAX_BYTES >> 20} MiB to be read; split it")
        series, attributes = read_hdf5_series(path, _NAMES, _ATTRIBUTES) if is_hdf5 else _of_classic(path)
        number = _satellite(attributes, path) if satellite is None else satellite
        samples = _samples(series, path, number)
    if len(samples.time) > 2 and samples.cadence > _LONGEST_STEP:
        fault = f"`{path}` must hold a value for every minute or more, got one for every {samples.cadence:g} s"
        raise DataError(f"{fault}: it is another product; give the 1-minute averages (avg1m)")
    return samples


def _samples(series: Mapping[str, Series], path: Path, satellite: int | None) -> Samples:
    if other := [name for name in _OTHER_PRODUCTS if name in series]:
        how = "give the averages (avg1m), and this file as a flare list (`--flares`, `read_flares`)"
        raise DataError(f"`{path}` holds `{other[0]}`, so it is a flare summary, no flux of every minute: {how}")
    layout = next((one for one in _LAYOUTS if one[0] in series and one[2] in series), None)
    if layout is None:
        wanted = ", ".join(f"`{one[0]}` with `{one[2]}`" for one in _LAYOUTS)
        raise DataError(f"`{path}` must hold the long channel as one of {wanted}; give a file of GOES X-ray flux")
    name, flag_names, time_name, operational = layout
    flux, time = series[name], series[time_name]
    flags = next((series[found] for found in flag_names if found in series), None)
    lengths = [len(found.values) for found in (flux, time, flags) if found is not None]
    if len(set(lengths)) != 1 or lengths[0] == 0:
        raise DataError(f"`{path}`: `{name}`, its flags and its times must be of one length, got {lengths}")
    values = _masked(flux)
    unit = str(_text(flux.attributes.get("units")) or "W/m2")
    if unit.replace("^", "").replace(" ", "").lower() not in {"w/m2", "wm-2"}:
        raise DataError(f"`{path}`: `{name}` must be in W/m2, got {unit[:40]!r}")
    quality = np.full(len(values), np.nan) if flags is None else _masked(flags)
    flagged = 0
    if flags is not None:
        bad = ~_good(quality, flags) & np.isfinite(quality)
        flagged = int((bad & np.isfinite(values)).sum())
        values[bad] = np.nan
    times = times_since(_masked(time), _text(time.attributes.get("units")), str(path))
    number = np.full(len(values), np.nan if satellite is None else float(satellite))
    counts = {"flagged": flagged} if flagged else {}
    return Samples(times, values, number, quality, operational=operational, counts=counts)


def _masked(series: Series) -> Float64Array:
    """Values with NaN where they are the fill or missing value, or NOAA's -9999 and -99999."""
    values = np.asarray(series.values, dtype=np.float64).copy()
    fills = [-9999.0, -99999.0]
    for name in ("_FillValue", "missing_value"):
        stated = series.attributes.get(name)
        try:
            fills.append(float(_text(stated) or np.ravel(np.asarray(stated))[0]))
        except (TypeError, ValueError, IndexError):
            continue
    values[np.isin(values, fills)] = np.nan
    return values


def _good(quality: Float64Array, flags: Series) -> BoolArray:
    whole = np.where(np.isfinite(quality), np.clip(quality, 0, 2**32 - 1), 0).astype(np.int64)
    meanings = (_text(flags.attributes.get("flag_meanings")) or "").split()
    masks, values = (flags.attributes.get(name) for name in ("flag_masks", "flag_values"))
    if "good_data" in meanings and masks is not None and values is not None:
        place = meanings.index("good_data")
        masks, values = (np.ravel(np.asarray(found)) for found in (masks, values))
        if place < min(len(masks), len(values)):
            return np.asarray((whole & int(masks[place])) == int(values[place]))
    return whole == 0


def _satellite(attributes: Mapping[str, Any], path: Path) -> int | None:
    for text in (*(_text(attributes.get(name)) for name in ("platform", "satellite_id", "id")), path.name):
        if (match := _SATELLITE.search(text or "")) is not None:
            return int(match[1])
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None


def _of_classic(path: Path) -> tuple[dict[str, Series], dict[str, Any]]:
    from scipy.io import netcdf_file

    payload = read_payload(path, limit=_MAX_BYTES, what="X-ray flux in netCDF", kinds=("netCDF-3",))
    series = {}
    with netcdf_file(io.BytesIO(payload), "r", mmap=False) as file:
        for name in _NAMES:
            found = file.variables.get(name)
            if found is None:
                continue
            shape, kind = found.shape, found.data.dtype
            if len(shape) != 1 or shape[0] > MOST_SAMPLES or kind.kind not in "iuf":
                rule = f"`{path}`: `{name}` must be a series of at most {MOST_SAMPLES} numbers"
                raise DataError(f"{rule}, got {kind} {shape}")
            series[name] = Series(found.data.astype(kind.newbyteorder("=")), dict(getattr(found, "_attributes", {})))
        return series, dict(getattr(file, "_attributes", {}))
