"""The netCDF files of GOES X-ray flux, of three generations, as plain arrays.

netCDF-4 is HDF5 and read with h5py, netCDF-3 with scipy. Shapes, chunks and types are looked at before anything of
their size is read: what a header promises is not what a damaged file holds.
"""

import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.errors import DataError, KflareError
from kflare.observations.catalogue_file import read_payload

__all__ = ["MAX_NETCDF_BYTES", "NETCDF_MAGIC", "Samples", "samples_of_netcdf"]

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_CLASSIC: Final = (b"CDF\x01", b"CDF\x02")
#: First bytes of netCDF-4 and netCDF-3 files.
NETCDF_MAGIC: Final = (_HDF5, *_CLASSIC)
#: Largest netCDF file that is read: the minutes of a satellite's whole life have 0.4 GB.
MAX_NETCDF_BYTES: Final = 1 << 29

_MOST_SAMPLES: Final = 10_000_000
_MOST_CHUNK_BYTES: Final = 1 << 26
_MOST_ATTRIBUTE_BYTES: Final = 1 << 16
_SINCE: Final = re.compile(
    r"\s*(seconds|milliseconds)\s+since\s+([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?"
    r"\s*(?:UTC|Z)?\s*"
)
_SATELLITE: Final = re.compile(r"(?:^|[^a-z0-9])g(?:oes-?)?([0-9]{1,2})(?![0-9])", re.IGNORECASE)

# Long channel, its flags, time; whether the values are SWPC's operational ones.
_LAYOUTS: Final = (
    ("xrsb_flux", ("xrsb_flag", "xrsb_flags"), "time", False),
    ("b_flux", ("b_flags",), "time", False),
    ("B_AVG", ("B_QUAL_FLAG",), "time_tag", True),
)


@dataclass(frozen=True)
class Samples:
    """Samples of the long channel as a file holds them, all of shape (N,).

    Parameters
    ----------
    time : numpy.ndarray, int64
        Microseconds since 1970, UTC without leap seconds; the smallest integer where unknown.
    flux : numpy.ndarray, float64
        W m^-2; NaN where missing or flagged as bad.
    satellite : numpy.ndarray, float64
        GOES number, NaN where unknown.
    quality : numpy.ndarray, float64
        Flag bits, 0 = good, NaN where there are none.
    operational : bool
        Whether values of GOES-15 and before carry SWPC's factor.
    counts : dict of str to int
        What was taken out.
    """

    time: npt.NDArray[np.int64]
    flux: npt.NDArray[np.float64]
    satellite: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float64]
    operational: bool
    counts: Mapping[str, int]

    @property
    def cadence(self) -> float:
        """Median distance of neighbouring samples in seconds; infinite for fewer than two."""
        apart = np.diff(self.time)
        return float(np.median(apart)) / 1e6 if len(apart) else math.inf


@dataclass(frozen=True)
class _Variable:
    values: npt.NDArray[Any]
    attribute: Callable[[str], Any]  # None where absent


@dataclass(frozen=True)
class _File:
    variable: Callable[[str], _Variable | None]
    attribute: Callable[[str], Any]


def samples_of_netcdf(path: Path, *, satellite: int | None) -> Samples:
    """Read the long channel of a netCDF file of GOES X-ray flux.

    Parameters
    ----------
    path : pathlib.Path
        netCDF-3 or -4, at most 512 MiB.
    satellite : int or None
        GOES number, which goes before the file's own.

    Returns
    -------
    Samples
        In the order of the file. A value is good where the flags, masked as `flag_masks` says for `good_data`, equal
        its `flag_values`; without these attributes, where the flags are 0.

    Raises
    ------
    DataError
        If the file is too large, damaged, or holds no long channel.
    """
    payload = read_payload(path, limit=MAX_NETCDF_BYTES, what="X-ray flux in netCDF")
    try:
        if payload.startswith(_HDF5):
            import h5py

            with h5py.File(io.BytesIO(payload), "r") as file:
                return _samples(_of_hdf5(file, path), path, satellite)
        from scipy.io import netcdf_file

        with netcdf_file(io.BytesIO(payload), "r", mmap=False) as file:
            return _samples(_of_classic(file, path), path, satellite)
    except KflareError:
        raise
    # h5py raises OSError, KeyError, RuntimeError, TypeError, ValueError and more, as the damage has it.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise DataError(f"`{path}` is a damaged or truncated netCDF file: {reason}; download it again") from error


def _samples(file: _File, path: Path, satellite: int | None) -> Samples:
    name, operational, flux, time, flags = _long_channel(file, path)
    lengths = [len(found.values) for found in (flux, time, flags) if found is not None]
    if len(set(lengths)) != 1 or lengths[0] == 0:
        raise DataError(f"`{path}`: `{name}`, its flags and its times must be of one length, got {lengths}")
    values = _masked(flux)
    unit = str(_text(flux.attribute("units")) or "W/m2")
    if unit.replace("^", "").replace(" ", "").lower() not in {"w/m2", "wm-2"}:
        raise DataError(f"`{path}`: `{name}` must be in W/m2, got {unit[:40]!r}")
    quality = np.full(len(values), np.nan) if flags is None else _masked(flags)
    counts = {}
    if flags is not None:
        bad = ~_good(quality, flags) & np.isfinite(quality)
        counts["flagged"] = int((bad & np.isfinite(values)).sum())
        values[bad] = np.nan
    number = satellite if satellite is not None else _satellite(file, path)
    return Samples(
        time=_times(time, path),
        flux=values,
        satellite=np.full(len(values), np.nan if number is None else float(number)),
        quality=quality,
        operational=operational,
        counts={key: count for key, count in counts.items() if count},
    )


def _long_channel(file: _File, path: Path) -> tuple[str, bool, _Variable, _Variable, _Variable | None]:
    for name, flag_names, time_name, operational in _LAYOUTS:
        flux, time = file.variable(name), file.variable(time_name)
        if flux is not None and time is not None:
            flags = next((found for found in map(file.variable, flag_names) if found is not None), None)
            return name, operational, flux, time, flags
    wanted = ", ".join(f"`{layout[0]}` with `{layout[2]}`" for layout in _LAYOUTS)
    raise DataError(f"`{path}` must hold the long channel as one of {wanted}; give a file of GOES X-ray flux")


def _masked(variable: _Variable) -> npt.NDArray[np.float64]:
    """Values with NaN where they are the fill or missing value, or NOAA's -9999 and -99999."""
    values = np.asarray(variable.values, dtype=np.float64).copy()
    for fill in (-9999.0, -99999.0):
        values[values == fill] = np.nan
    for name in ("_FillValue", "missing_value"):
        fill = variable.attribute(name)
        if fill is None:
            continue
        try:
            values[values == float(np.ravel(fill)[0])] = np.nan
        except (TypeError, ValueError, IndexError):
            text = _text(fill)
            if text is not None and re.fullmatch(r"-?[0-9.]+", text):
                values[values == float(text)] = np.nan
    return values


def _good(quality: npt.NDArray[np.float64], flags: _Variable) -> npt.NDArray[np.bool_]:
    whole = np.where(np.isfinite(quality), np.clip(quality, 0, 2**32 - 1), 0).astype(np.int64)
    meanings = (_text(flags.attribute("flag_meanings")) or "").split()
    masks, values = (flags.attribute(name) for name in ("flag_masks", "flag_values"))
    if "good_data" in meanings and masks is not None and values is not None:
        place = meanings.index("good_data")
        masks, values = (np.ravel(np.asarray(found)) for found in (masks, values))
        if place < min(len(masks), len(values)):
            return np.asarray((whole & int(masks[place])) == int(values[place]))
    return whole == 0


def _times(time: _Variable, path: Path) -> npt.NDArray[np.int64]:
    unit = _text(time.attribute("units")) or ""
    match = _SINCE.fullmatch(unit)
    if match is None:
        raise DataError(f"`{path}`: `time` must be in seconds or milliseconds since a moment, got {unit[:60]!r}")
    try:
        epoch = pd.Timestamp(f"{match[2]}T{match[3]}").value // 1000
    except ValueError as error:
        raise DataError(f"`{path}`: `time` must count from a moment, got {unit[:60]!r}") from error
    step = 1e6 if match[1] == "seconds" else 1e3
    elapsed = _masked(time) * step
    # ±100 years, well inside an int64; anything else is damage or missing.
    known = np.abs(elapsed) < 3.2e15
    micro = np.rint(np.where(known, elapsed, 0)).astype(np.int64) + epoch
    return np.where(known, micro, np.iinfo(np.int64).min)


def _satellite(file: _File, path: Path) -> int | None:
    for text in (*(_text(file.attribute(name)) for name in ("platform", "satellite_id", "id")), path.name):
        match = _SATELLITE.search(text or "")
        if match is not None:
            return int(match[1])
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None


def _checked(name: str, shape: tuple[int, ...], kind: np.dtype[Any], path: Path) -> None:
    if len(shape) != 1 or shape[0] > _MOST_SAMPLES or kind.kind not in "iuf":
        raise DataError(
            f"`{path}`: `{name}` must be a series of at most {_MOST_SAMPLES} numbers, got {kind} of shape {shape}; "
            "the file is damaged or wants splitting"
        )


def _of_hdf5(file: Any, path: Path) -> _File:
    import h5py

    def attribute(owner: Any) -> Callable[[str], Any]:
        def get(name: str) -> Any:
            if name not in owner.attrs:
                return None
            found = owner.attrs.get_id(name)
            if (
                found.dtype.kind not in "iufSUO"
                or math.prod(found.shape) * found.dtype.itemsize > _MOST_ATTRIBUTE_BYTES
            ):
                return None
            return owner.attrs[name]

        return get

    def variable(name: str) -> _Variable | None:
        # A soft or external link, or external storage, may name any file of this machine.
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            return None
        found = file[name]
        if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
            return None
        _checked(name, found.shape or (), found.dtype, path)
        if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > _MOST_CHUNK_BYTES:
            raise DataError(f"`{path}`: `{name}` is stored in chunks of {found.chunks}; the file is damaged")
        return _Variable(found[()], attribute(found))

    return _File(variable, attribute(file))


def _of_classic(file: Any, path: Path) -> _File:
    def attribute(owner: Any) -> Callable[[str], Any]:
        return lambda name: getattr(owner, "_attributes", {}).get(name)

    def variable(name: str) -> _Variable | None:
        found = file.variables.get(name)
        if found is None:
            return None
        _checked(name, found.shape, found.data.dtype, path)
        return _Variable(found.data.astype(found.data.dtype.newbyteorder("=")), attribute(found))

    return _File(variable, attribute(file))
