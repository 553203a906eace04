"""SHARP keywords from FITS headers and from JSOC, as a region table in the units that kflare uses.

MEANGBT, MEANGBZ, MEANGBH and their errors, in headers gauss per pixel of the CEA map, become G/Mm (docs/science.md has
the formula) with what the record itself says, or for the 0.03° of all SHARP CEA maps where it does not. Every table
says so in `attrs["notes"]`. All are of the *vector* field: those that `kflare.sharp.samples` reads are not.
"""

import math
import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.region_numbers import listed_region_numbers
from kflare.io.arrays import Float64Array
from kflare.io.atomic import write_whole
from kflare.io.guarded_fits import guarded_fits
from kflare.io.payload import read_payload
from kflare.io.stored_table import stored_rows
from kflare.io.table_file import numbers, read_table, sound_rows
from kflare.observations.quality import parse_quality
from kflare.sun.constants import SOLAR_RADIUS_M


@dataclass(frozen=True)
class SharpParameter:
    """One of the 16 SHARP parameters of Bobra et al. (2014, Solar Physics 289, 3549, table 3)."""

    name: str
    unit: str  # of kflare's tables: the keyword's own, but for the gradients (see the module)
    error: str  # keyword of its error, in the same unit; "" = none
    yi2021: str  # Pearson's r with the Grad-CAM value of a region (Yi et al. 2021, section 4); "" = below 0.5
    meaning: str


SHARP_PARAMETERS: Final = tuple(SharpParameter(**row) for row in stored_rows("kflare.sharp", "parameters.csv"))
"""The 16 parameters. SAVNCPP is as JSOC computes it: with 1/c for c, so 3.86 times the current in A."""

SHARP_KEYWORDS: Final = tuple(parameter.name for parameter in SHARP_PARAMETERS)
"""Their names; Yi et al. (2021, Fig. 7) compare them with Grad-CAM."""

_OTHERS: Final = {"AREA": "uHem", "AREA_ACR": "uHem", "R_VALUE": "log10 Mx"}
GRADIENTS: Final = ("MEANGBT", "MEANGBZ", "MEANGBH", "ERRBT", "ERRBZ", "ERRBH")
_ERRORS: Final = {parameter.error: parameter.unit for parameter in SHARP_PARAMETERS if parameter.error}

#: Unit of each column of numbers of a table.
UNITS: Final = {"lon": "deg", "lat": "deg"} | _OTHERS | {one.name: one.unit for one in SHARP_PARAMETERS} | _ERRORS
#: Keywords to ask JSOC for.
REQUESTED: Final = (
    *("T_REC", "HARPNUM", "NOAA_AR", "NOAA_ARS", "LON_FWT", "LAT_FWT", "QUALITY"),
    *("CDELT1", "CUNIT1", "DSUN_OBS", "RSUN_OBS", "RSUN_REF"),
    *(name for name in UNITS if name not in {"lon", "lat"}),
)

#: Keywords of the box around a HARP in Stonyhurst degrees, by column of a region table.
HARP_BOX: Final = {"lon_min": "LON_MIN", "lon_max": "LON_MAX", "lat_min": "LAT_MIN", "lat_max": "LAT_MAX"}

_T_REC: Final = (
    r"^\s*(?P<y>[0-9]{4})[.\-/]?(?P<m>[0-9]{2})[.\-/]?(?P<d>[0-9]{2})"
    r"(?:[_T ](?P<H>[0-9]{2}):?(?P<M>[0-9]{2})(?::?(?P<S>[0-9]{2}(?:\.[0-9]+)?))?)?"
    r"\s*_?(?P<zone>TAI|UTC|UT|Z|[+-]00:?00)?\s*$"
)
_MAX_HEADER_FILE: Final = 1 << 26
#: Pixels per Mm of SHARP CEA maps, all of 0.03 degrees per pixel.
PIXELS_PER_MM: Final = 1e6 / (math.radians(0.03) * SOLAR_RADIUS_M)
# What each number of the geometry can be; anything else is damage and the 0.03 degrees are taken.
_RANGES: Final = {"CDELT1": (1e-3, 1.0), "DSUN_OBS": (1.4e11, 1.6e11), "RSUN_OBS": (930, 990), "RSUN_REF": (6.9e8, 7e8)}
_NOTE: Final = "MEANGB* and their errors converted from G/pixel, as JSOC gives them, to G/Mm: times {low:.4g}{more}"


def read_sharp_header(path: str | Path) -> pd.DataFrame:
    """SHARP keywords of one FITS file, CEA or CCD, any segment, of at most 64 MiB: one row of `sharp_table`.

    Only the headers are read. A number card that cannot be read, such as the text 'nan' in early SHARPs, is NaN.
    DataError if it is no FITS file, damaged, or no SHARP (no `HARPNUM` or no readable `T_REC`).
    """
    from astropy.io.fits import VerifyError

    path = Path(path)
    payload = read_payload(path, limit=_MAX_HEADER_FILE, what="a FITS file of a SHARP", kinds=("FITS",))
    cards: dict[str, object] = {}
    with guarded_fits(payload, str(path)) as file:
        header: Any = next((hdu.header for hdu in file if "HARPNUM" in hdu.header), {})
        for name in REQUESTED:
            if name in header:
                try:
                    cards[name] = header[name]
                except (VerifyError, ValueError):  # it departs from the standard
                    cards[name] = None
    if "HARPNUM" not in cards:
        raise DataError(f"`{path}` is no SHARP: its header lacks `HARPNUM`; give a file of a hmi.sharp series")
    return sharp_table(pd.DataFrame([cards], dtype=object), source=str(path))


def harp_box(path: str | Path) -> dict[str, float]:
    """`HARP_BOX` of the FITS file of a HARP or SHARP, any segment; DataError if it is damaged or lacks a keyword."""
    box: dict[str, float] = {}
    with guarded_fits(read_payload(Path(path), what="a FITS file", kinds=("FITS",)), str(path)) as file:
        for hdu in file:
            found = {name: hdu.header.get(key) for name, key in HARP_BOX.items()}
            box |= {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    if absent := [key for name, key in HARP_BOX.items() if name not in box]:
        raise DataError(f"`{path}`: `{'`, `'.join(absent)}` of the region's box is missing from the header")
    return box


def sharp_table(keywords: pd.DataFrame, *, source: str = "JSOC") -> pd.DataFrame:
    """Region table of SHARP keywords as `drms.Client.query` returns them.

    The `keywords` have a row per record and columns by keyword, numbers or text ("MISSING", "nan", "Invalid KeyLink"
    are NaN; QUALITY also as "0x00000400"). `T_REC` and `HARPNUM` are needed, else DataError; others may be absent: NaN.

    The table is sorted by time and HARP; of records without a readable `T_REC` or `HARPNUM` it is logged and noted how
    many are left out, which first and why; DataError if there are records but none can be read. Columns `time`
    (datetime64[us, UTC], see `tai_times`), `region` ("HARP 377"), `harpnum` (int64), `noaa` (Int64, the first of
    NOAA_AR and NOAA_ARS, <NA> = none), `lon`, `lat` (of the flux-weighted centre, Stonyhurst, west positive), `quality`
    (Int64, the unsigned 32-bit mask), `noaas` (all NOAA numbers, with blanks between them), then float64 in the units
    of `UNITS`: AREA, AREA_ACR, R_VALUE, the 16 parameters, their errors. `attrs` holds `units` and `notes`.
    """
    for name in ("T_REC", "HARPNUM"):
        if name not in keywords.columns and len(keywords.columns):
            seen = ", ".join(" ".join(str(column).split())[:40] for column in keywords.columns[:20])
            raise DataError(f"`{source}`: SHARP keywords need `{name}`; there are {seen}; ask for it")
    given = keywords.reset_index(drop=True)
    if not len(given.columns):
        given = pd.DataFrame(columns=["T_REC", "HARPNUM"], dtype=object)
    time, harpnum = tai_times(given["T_REC"]), _numbers(given, "HARPNUM")
    keep, dropped = sound_rows(
        source,
        (given["T_REC"], time.notna(), "a time (TAI) such as 2011.02.15_02:00:00_TAI"),
        (given["HARPNUM"], (harpnum > 0) & (harpnum < 1e9) & (harpnum % 1 == 0), "a whole number above 0"),
    )
    given, time, harpnum = given[keep].reset_index(drop=True), time[keep].reset_index(drop=True), harpnum[keep]
    table = pd.DataFrame({"time": time})
    table["harpnum"] = harpnum.astype(np.int64)
    table.insert(1, "region", "HARP " + table["harpnum"].astype("str"))
    none = pd.Series("", given.index, dtype="str")
    listed = [listed_region_numbers(given.get(name, none), time) for name in ("NOAA_AR", "NOAA_ARS")]
    pairs = pd.concat(listed).dropna().rename("noaa").rename_axis("row").reset_index().drop_duplicates()
    regions = pairs.set_index("row")["noaa"].astype("str")
    table["noaa"] = pairs.drop_duplicates("row").set_index("row")["noaa"].reindex(given.index).astype("Int64")
    several = regions[regions.index.duplicated(keep=False)].groupby(level=0).agg(" ".join)
    noaas = several.reindex(given.index).fillna(table["noaa"].astype("str").replace("<NA>", ""))
    for name, keyword, limit in (("lon", "LON_FWT", 180), ("lat", "LAT_FWT", 90)):
        degrees = _numbers(given, keyword)
        table[name] = np.where(np.abs(degrees) <= limit, degrees, np.nan)
    # As an unsigned 32-bit number: -2147483648 and "0x80000000" are the same.
    table["quality"] = pd.Series([_mask(value) for value in given.get("QUALITY", none)], dtype="Int64")
    table["noaas"] = noaas.fillna("").astype("str")
    for name in UNITS:
        if name not in table:
            table[name] = _numbers(given, name)
    factor = _pixels_per_megametre(given)
    for name in GRADIENTS:
        table[name] *= factor
    table = table.sort_values(["time", "harpnum"], kind="stable", ignore_index=True)
    table.attrs["units"] = dict(UNITS)
    low, high = (factor.min(), factor.max()) if len(factor) else (PIXELS_PER_MM, PIXELS_PER_MM)
    more = "" if f"{low:.4g}" == f"{high:.4g}" else f" to {high:.4g}"
    table.attrs["notes"] = [_NOTE.format(low=low, more=more), *dropped]
    return table


def tai_times(times: pd.Series) -> pd.Series:
    """UTC of JSOC's T_REC, datetime64[us, UTC], in any form that tables keep it in; NaT where it is no time.

    Texts are "2011.02.15_02:00:00_TAI", the same with blank, "T", "-" or "/", without seconds, clock or zone (as pandas
    writes what `drms.to_datetime` makes of it): all TAI, as are datetimes without a zone. What names UTC is UTC.
    """
    from astropy.time import Time

    if isinstance(times.dtype, pd.DatetimeTZDtype):
        return times.dt.tz_convert("UTC").dt.as_unit("us")
    if pd.api.types.is_datetime64_dtype(times):
        moments, utc = times.astype("datetime64[us]"), pd.Series(data=False, index=times.index)
    else:
        texts = times.map(lambda one: one if isinstance(one, str) else str(one) if isinstance(one, datetime) else "")
        part = texts.astype("str").str.extract(_T_REC)
        clock = part["H"].fillna("00") + ":" + part["M"].fillna("00") + ":" + part["S"].fillna("00")
        iso = part["y"] + "-" + part["m"] + "-" + part["d"] + "T" + clock
        moments = pd.to_datetime(iso.fillna(""), format="ISO8601", errors="coerce").astype("datetime64[us]")
        utc = part["zone"].fillna("TAI").ne("TAI")
    known = moments.notna() & (moments >= "1960-01-02") & (moments < "2100-01-01")
    found = moments.where(known).dt.tz_localize("UTC")
    if (tai := known & ~utc).any():
        with warnings.catch_warnings():
            # "dubious year": leap seconds are announced for half a year only.
            warnings.simplefilter("ignore")
            converted = Time(moments[tai].to_numpy(dtype="datetime64[us]"), scale="tai").utc
            # Not by text: a moment within a leap second has no other.
            plain = converted.to_datetime(leap_second_strict="silent")
        found[tai] = pd.to_datetime(plain, utc=True).round("ms").as_unit("us")
    return found


def write_sharp_table(table: pd.DataFrame, path: Path) -> None:
    """Write a `sharp_table` as Parquet with the units in its schema; SettingError where it cannot be written."""
    import pyarrow as pa
    from pyarrow import parquet

    plain = pa.Table.from_pandas(table, preserve_index=False).schema
    units: dict[str, str] = table.attrs["units"]
    fields = [field.with_metadata({"unit": units[field.name]}) if field.name in units else field for field in plain]
    written = pa.Table.from_pandas(table, pa.schema(fields, plain.metadata), preserve_index=False)
    write_whole(path, lambda file: parquet.write_table(written, file))


def read_sharp_table(path: str | Path) -> pd.DataFrame:
    """Read what `write_sharp_table` wrote (`kflare.fetch sharp`), or JSOC's keywords as drms gives them, in CSV.

    DataError: no such file, neither of both, or a column of `sharp_table` is missing.
    """
    table = read_table(Path(path), "table of SHARP keywords")
    if "T_REC" in table:
        return sharp_table(table, source=str(path))
    absent = [name for name in ("time", "region", "harpnum", "noaa", "quality", *UNITS) if name not in table]
    if absent:
        raise DataError(f"`{path}` lacks the column `{'`, `'.join(absent)}`: fetch it with kflare.fetch sharp")
    return table


def _numbers(given: pd.DataFrame, name: str) -> Float64Array:
    return numbers(given[name]) if name in given else np.full(len(given), np.nan)


def _mask(value: Any) -> int | None:
    try:
        return parse_quality(value)
    except DataError:
        return None


def _pixels_per_megametre(given: pd.DataFrame) -> Float64Array:
    values = {}
    usable = np.ones(len(given), dtype=np.bool_)
    for name, (low, high) in _RANGES.items():
        values[name] = _numbers(given, name)
        usable &= (values[name] >= low) & (values[name] <= high)
    # The keywords of the CCD series come from the CEA map too, but its CDELT1 is of the CCD, in arcsec.
    unit = given.get("CUNIT1", pd.Series("", given.index)).astype("str").str.strip().str.lower()
    usable &= unit.isin(["deg", "degree", "degrees"]).to_numpy(dtype=np.bool_)
    filled = {name: np.where(usable, found, 1.0) for name, found in values.items()}
    c = np.degrees(np.arctan(filled["RSUN_REF"] * np.radians(filled["CDELT1"]) / filled["DSUN_OBS"])) * 3600
    return np.where(usable, filled["RSUN_OBS"] / (c * filled["RSUN_REF"]) * 1e6, PIXELS_PER_MM)
