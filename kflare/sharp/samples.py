"""SHARP (and SMARP) samples with their flare labels, restored to a gap-free grid.

The samples of Sun et al. (2022, ApJ 931, 163; github ZeyuSun/flare-prediction-smarp) lack almost every time after a
flare of class M or above that no other such flare followed within 24 h. As distributed, "a flare of class M in the past
day" therefore predicts the label by construction. Here every region gets back all times of its 96-minute grid: the
parameters by interpolation, the labels from a flare list.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import TIME_DTYPE, FlareList, class_fluxes, irradiance_classes
from kflare.flares.labels import LEAD_HOURS, reaches, region_flux, windows_told
from kflare.io.payload import decoding
from kflare.io.table_file import numbers, read_csv, read_table
from kflare.sun.goes_scale import GOES_16_PRIMARY, FluxScale

#: Parameters of the samples: microhemispheres, Mx, G per SHARP pixel, log10 Mx. All are of the line-of-sight field (a
#: test shows it for HARP 377); USFLUX and MEANGBZ of the SHARP keywords are of the vector field.
COMMON_PARAMETERS = ("AREA", "USFLUX", "MEANGBZ", "R_VALUE")

_CADENCE = pd.Timedelta(minutes=96)
_LARGEST = 999_999_999  # number of a region; far above all
_LONGEST = 366 * 15  # steps of a year, more than any region lives
_NEEDED = ("prefix", "arpnum", "t_end", "flares", *COMMON_PARAMETERS)


@dataclass(frozen=True, eq=False)
class SharpSamples:
    """Samples of active regions on a gap-free grid, and what was done to get there.

    The `table` has one row per region and time, sorted by `harpnum` and `time`:

    ================ ===================== ====================================================================
    time             datetime64[us, UTC]   `t_end` of the sample: end of what is known, begin of the window
    region           str                   "HARP 377", or "TARP 4780" of MDI
    harpnum          int64                 HARP (or TARP) number
    noaa             Int64                 first NOAA number of the region, <NA> = none or unknown
    AREA, USFLUX,    float64               SHARP keywords
    MEANGBZ, R_VALUE
    restored         bool                  whether the row was missing in the files
    flux24           float64, W m^-2       largest peak flux of the region's flares that start in [t, t + 24 h);
                                           0.0 = none, NaN = unknown (restored, without NOAA number or flare list)
    ================ ===================== ====================================================================
    """

    table: pd.DataFrame
    restored: int  # number of rows that were missing
    agreement: float  # of distributed rows that the flare list can judge, share on whose ≥ M label both agree; or NaN
    notes: tuple[str, ...]  # what a user should know about these samples, one line each
    harp_noaa: pd.DataFrame | None  # pairs `harpnum`, `noaa` (int64) of the regions, where known


def read_sharp_samples(folder: str | Path, *, flares: FlareList, harp_noaa: str | Path | None) -> SharpSamples:
    """Read the samples of a folder and restore the rows that the authors removed.

    The `folder` holds `sharp_0.csv`, `sharp_1.csv` … (or `smarp_…`): all files whose name ends in an underscore and a
    number. Each region gets every time of the 96-minute grid from its first to its last row. Parameters of restored
    rows are interpolated linearly in time. The label of a distributed row is the largest flare of its own `flares`
    column, whose classes are SWPC's of the time and are brought to the scale of `flares`; that of a restored row comes
    from `flares`, the GOES flare list, which covers the time of the samples, through the NOAA numbers of the region.

    `harp_noaa` is a Parquet or CSV file of the pairs `harpnum`, `noaa_ar` (or `noaa`), many to many; the first of a
    HARP is its primary. None, the only choice for SMARP, whose TARP numbers it does not hold (SettingError): restored
    rows get NaN in `flux24`. DataError if there is no file, a column is missing, a value is unreadable, or a region is
    given twice or off the grid.
    """
    folder = Path(folder)
    rows = read_folder(folder, flares.scale)
    prefix = str(rows["prefix"].iloc[0])
    pairs = None
    if harp_noaa is not None:
        if prefix != "HARP":
            raise SettingError(f"`harp_noaa` numbers HARPs, but the samples of `{folder}` are {prefix}s; leave it out")
        pairs = _read_pairs(Path(harp_noaa), rows["harpnum"])
    table, longest = _on_grid(rows, folder)
    table["region"] = prefix + " " + table["harpnum"].astype("str")
    restored = int(table["restored"].sum())
    notes = [f"{restored} of {len(table)} rows restored, parameters interpolated over up to {longest * 1.6:.0f} h"]
    share = float("nan")
    if pairs is None:
        table["noaa"] = pd.array([pd.NA] * len(table), dtype="Int64")
        notes.append("no NOAA numbers: the restored rows have no label")
    else:
        table["noaa"] = table["harpnum"].map(pairs.drop_duplicates("harpnum").set_index("harpnum")["noaa"])
        table["noaa"] = table["noaa"].astype("Int64")
        listed = region_flux(table, _flares_of_harps(pairs, flares))
        window_end = table["time"] + pd.Timedelta(hours=LEAD_HOURS)
        unknown = table["noaa"].isna() | ~windows_told(table["time"], window_end, flares.told)
        distributed = ~table["restored"]
        judged = distributed & ~unknown
        if judged.any():
            same = reaches(table["flux24"], "M") == reaches(listed, "M")
            share = float(same[judged].mean())
        table["flux24"] = table["flux24"].where(distributed, np.where(unknown, np.nan, listed))
        if lost := int((unknown & ~distributed).sum()):
            notes.append(f"{lost} restored rows without NOAA number, or not covered by the flare list, have no label")
        notes.append(f"flare list and distributed ≥ M labels agree in {100 * share:.2f} % of {int(judged.sum())} rows")
    order = ["time", "region", "harpnum", "noaa", *COMMON_PARAMETERS, "restored", "flux24"]
    return SharpSamples(table[order], restored, share, tuple(notes), pairs)


def region_flares(samples: SharpSamples, flares: FlareList) -> pd.DataFrame:
    """Every flare of every region of the samples, also those before its first row: the source of flare histories.

    Columns `region` (str), `start` and `peak` (datetime64[us, UTC]) and `flux` (float64, W m^-2), sorted by the number
    of the region and by `start`. A flare of a NOAA region that two HARPs share appears once for each. DataError if the
    NOAA numbers of the samples are unknown.
    """
    if samples.harp_noaa is None:
        raise DataError("the NOAA numbers of these samples are unknown: read them with `harp_noaa` to get their flares")
    return _flares_of_harps(samples.harp_noaa, flares)


def read_folder(folder: Path, scale: FluxScale) -> pd.DataFrame:
    """All samples of a folder, distributed rows only, sorted by region and time; `flares` and `flux24` on the scale."""
    if not folder.is_dir():
        raise DataError(f"`{folder}` is no folder; give the one that holds sharp_0.csv, sharp_1.csv …")
    paths = sorted(path for path in folder.glob("*_*.csv") if path.stem.rpartition("_")[2].isdigit())
    if not paths:
        raise DataError(f"`{folder}` holds no file named like sharp_0.csv; give the folder of the samples")
    rows = pd.concat([_read_file(path) for path in paths], ignore_index=True)
    if rows.empty:
        raise DataError(f"`{folder}` holds no sample: all of {', '.join(path.name for path in paths)} are empty")
    prefixes = sorted(rows["prefix"].unique())
    if len(prefixes) > 1 or prefixes[0] not in {"HARP", "TARP"}:
        raise DataError(f"`{folder}`: `prefix` must be HARP in all rows or TARP in all, got {', '.join(prefixes)}")
    listed = _on_scale(rows["flares"], rows["time"], scale)
    rows["flux24"] = listed.groupby(level=0)["flux"].max().reindex(rows.index).fillna(0.0)
    rows["flares"] = listed.groupby(level=0)["goes_class"].agg("|".join).reindex(rows.index).fillna("")
    return rows.sort_values(["harpnum", "time"], ignore_index=True)


def _read_file(path: Path) -> pd.DataFrame:
    with decoding(str(path), "is no readable CSV table"):
        raw = read_csv(path, dtype={"prefix": str, "flares": str, "t_end": str}, encoding="utf-8")
    if missing := [name for name in _NEEDED if name not in raw.columns]:
        seen = ", ".join(map(str, raw.columns))
        raise DataError(f"`{path}` lacks the column `{missing[0]}` of SHARP samples; its columns are {seen}")
    rows = pd.DataFrame({"prefix": raw["prefix"].fillna("").astype("str")})
    times = pd.to_datetime(raw["t_end"].fillna(""), format="ISO8601", utc=True, errors="coerce")
    rows["time"] = times.astype(TIME_DTYPE)
    _require(times.notna(), raw["t_end"], path, "a time such as 2013-11-01 00:00:00")
    rows["harpnum"] = _whole(raw["arpnum"], path)
    for name in COMMON_PARAMETERS:
        rows[name] = numbers(raw[name])
        _require(rows[name].notna(), raw[name], path, "a finite number")
    rows["flares"] = raw["flares"].fillna("").astype("str")
    return rows


def _whole(seen: pd.Series, path: Path) -> pd.Series:
    number = pd.Series(numbers(seen), seen.index)
    _require(number.between(1, _LARGEST) & (number % 1 == 0), seen, path, "a positive whole number")
    return number.astype("int64")


def _require(good: pd.Series, seen: pd.Series, path: Path, rule: str) -> None:
    if not good.all():
        row = int(np.flatnonzero(~good.to_numpy())[0])
        raise DataError(f"`{path}`: `{seen.name}` must be {rule}, got {seen.iloc[row]!r} in row {row}")


def _on_scale(lists: pd.Series, times: pd.Series, scale: FluxScale) -> pd.DataFrame:
    """`goes_class` and `flux` (W m^-2) of each entry of texts like "C3.1|C1.6"; nameless entries have the flux NaN."""
    classes = lists[lists != ""].str.split("|").explode()
    if scale == "irradiance":
        # No flare of C or above started in the two days about the change.
        early = (times < GOES_16_PRIMARY)[classes.index].to_numpy()
        classes = classes.mask(early, irradiance_classes(classes))
    return pd.DataFrame({"goes_class": classes, "flux": class_fluxes(classes)})


def _read_pairs(path: Path, harpnum: pd.Series) -> pd.DataFrame:
    raw = read_table(path, "table of HARP and NOAA numbers")
    noaa = next((name for name in ("noaa", "noaa_ar") if name in raw.columns), None)
    if noaa is None or "harpnum" not in raw.columns:
        fault = f"`{path}` lacks the column `{'noaa_ar' if noaa is None else 'harpnum'}`"
        raise DataError(f"{fault}; it needs harpnum and noaa_ar, its columns are {', '.join(map(str, raw.columns))}")
    pairs = pd.DataFrame({"harpnum": _whole(raw["harpnum"], path), "noaa": _whole(raw[noaa], path)})
    return pairs[pairs["harpnum"].isin(harpnum.unique())].drop_duplicates(ignore_index=True)


def _flares_of_harps(pairs: pd.DataFrame, flares: FlareList) -> pd.DataFrame:
    """Columns region, start, peak, flux: each flare with each HARP that holds its NOAA region."""
    known = flares.table.loc[flares.table["noaa"].notna(), ["noaa", "start", "peak", "flux"]]
    joined = pairs.merge(known.astype({"noaa": "int64"}), on="noaa").sort_values(["harpnum", "start"], kind="stable")
    joined.insert(0, "region", "HARP " + joined["harpnum"].astype("str"))
    return joined[["region", "start", "peak", "flux"]].reset_index(drop=True)


def _on_grid(rows: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, int]:
    """Every 96 minutes from the first to the last row of each region, and the longest gap between two in such steps.

    Parameters of `restored` rows are interpolated, their flux24 is NaN. `rows` are sorted by region and time.
    """
    if (twice := rows.duplicated(["harpnum", "time"])).any():
        row = rows[twice].iloc[0]
        raise DataError(f"`{folder}`: a region has one row per time, but {row['harpnum']} has two at {row['time']}")
    first = rows.groupby("harpnum")["time"].transform("min")
    step = (rows["time"] - first) // _CADENCE
    if (off := first + step * _CADENCE != rows["time"]).any():
        row = rows[off].iloc[0]
        seen = f"{row['harpnum']} at {row['time']} does not"
        raise DataError(f"`{folder}`: the rows of a region must lie 96 minutes or a multiple apart, {seen}")
    length = step.groupby(rows["harpnum"]).max() + 1
    if (length > _LONGEST).any():
        seen = f"those of {length.idxmax()} span {length.max() * 96 / 1440:.0f} days"
        raise DataError(f"`{folder}`: the rows of a region must lie within a year, {seen}")
    grid = pd.DataFrame({"harpnum": length.index.repeat(length)})
    grid["step"] = grid.groupby("harpnum").cumcount()
    table = grid.merge(rows.assign(step=step, first=first), how="left", on=["harpnum", "step"])
    table["restored"] = table["time"].isna()
    table["time"] = (table["first"].ffill() + table["step"] * _CADENCE).astype(TIME_DTYPE)
    # First and last row of a region are distributed, so no interpolation reaches from one into another.
    table[list(COMMON_PARAMETERS)] = table[list(COMMON_PARAMETERS)].interpolate()
    return table, int(np.diff(np.flatnonzero(~table["restored"])).max(initial=1))
