"""GOES flare lists: one table whatever the dialect of the file, with every repair counted.

The catalogues that people pass around carry the same defects: flares over midnight whose end (or peak) kept the date
of the start, decimal commas, times without a date, rows given twice. They are repaired here and nowhere else, and
:meth:`FlareList.report` says how often.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.atomic import write_whole
from kflare.io.stored_table import stored_rows
from kflare.io.table_file import by_distinct
from kflare.sun.goes_scale import SWPC_FACTOR, FluxScale, carries_factor
from kflare.sun.times import within

#: Lowest peak flux of a GOES class in W m^-2 (1-8 Å): "≥ M" means flux >= CLASS_THRESHOLDS["M"].
CLASS_THRESHOLDS = {"C": 1e-6, "M": 1e-5, "X": 1e-4}

#: Classes are printed to two digits: a millionth of slack keeps the flux of "C1.0", rounded in float32, at C1.0.
CLASS_SLACK: Final = 1 - 1e-6

TIME_DTYPE: Final = "datetime64[us, UTC]"

# Written as exponents so that "M1.0" becomes exactly the float 1e-5, and `>= CLASS_THRESHOLDS["M"]` holds for it.
_EXPONENT = {"A": "e-8", "B": "e-7", "C": "e-6", "M": "e-5", "X": "e-4"}
_CLASS = r"^([ABCMX])([0-9]+(?:\.[0-9]*)?)$"
# The strongest flare since 1975 is X28; from X10000 on it is a slip of the pen.
_FLUX_LIMIT = 1.0

#: How reports, cards and records tell the scale of a list.
FLUX_SCALES: Final[Mapping[FluxScale, str]] = {
    "irradiance": "classes on today's scale (irradiance, as SWPC's of GOES-16 and later)",
    "operational": "classes as listed (SWPC's of the time: up to GOES-15 0.7 of the irradiance)",
}

# XRS of GOES-8 to 12 saturated at about X17 of its time (Thomson et al. 2004, 2005): classes from there on are lower
# limits or estimates, whatever the list, and stay what the list says. Only the greatest flare has a published peak on
# today's scale: Hudson et al. (2024, arXiv:2310.11457), 4.32e-3 W m^-2. Of the other eleven that saturated since 1975,
# which they name in an appendix that we could not read, and of GOES-1 to 7, nothing more is done.
_SATURATION: Final = 17e-4 * CLASS_SLACK
_LAST_SATURATED: Final = 12
_GREATEST: Final = (pd.Timestamp("2003-11-04T19:29Z"), "X43.2")

# Beside a hundred flares of C and above there are a dozen from B7 to B9, if a list holds them.
_ENOUGH: Final = 100

# What each repair did, for report().
REPAIRS = {row["repair"]: row["told"] for row in stored_rows("kflare.flares", "repairs.csv")}


def class_to_flux(goes_class: str) -> float:
    """Peak flux (1-8 Å, W m^-2) of a GOES class such as "M3.1", 3.1e-5, or "X20"; DataError if it is none."""
    text = goes_class.strip().upper() if isinstance(goes_class, str) else ""
    flux = float(class_fluxes(pd.Series([text], dtype="str")).iloc[0])
    if not flux > 0:
        rule = "`goes_class` must be one of the letters A, B, C, M, X and a number above 0"
        raise DataError(f"{rule}, got {goes_class!r}")
    return flux


def flux_to_class(flux: float) -> str:
    """GOES class of a peak flux in W m^-2 (1-8 Å), with one decimal, such as "M3.1"; "A" also below 1e-8.

    The letter is that of the largest class that the flux reaches (`kflare.flares.labels.reaches`): 9.99e-6 is below
    M1.0 and is written "C9.9", never "M1.0". DataError if the flux is not positive and finite.
    """
    if not (np.isfinite(flux) and flux > 0):
        raise DataError(f"`flux` must be a peak flux in W m^-2, finite and above 0; got {flux}")
    lowest = {letter: float("1" + exponent) for letter, exponent in _EXPONENT.items()}
    letter = max(["A", *(name for name in lowest if flux >= lowest[name] * CLASS_SLACK)])
    value = round(flux / lowest[letter], 1)
    return f"{letter}{value if letter == 'X' else min(value, 9.9):.1f}"


@dataclass(frozen=True, eq=False)
class FlareList:
    """Flares in order of their start: one row of `table` each.

    `start` and `goes_class` are needed, else DataError; the other columns are filled in where absent:

    ============ ===================== ==========================================================
    start        datetime64[us, UTC]   begin of the flare
    peak, end    datetime64[us, UTC]   NaT = unknown
    goes_class   str                   such as "M3.1"
    flux         float64, W m^-2       peak flux, follows from `goes_class`
    noaa         Int64                 NOAA active region number, <NA> = none or unknown
    lon, lat     float64, degree       NaN = unknown
    satellite    Int64                 GOES number, <NA> = unknown
    ============ ===================== ==========================================================

    DataError too of a start that is unknown or naive, and of a class that is unreadable.
    """

    table: pd.DataFrame
    source: str  # file or simulation that it came from, for messages
    repairs: Mapping[str, int] = field(default_factory=dict)  # how often each defect was repaired
    scale: FluxScale = "irradiance"
    """Of classes and fluxes: "irradiance", today's, or "operational", SWPC's of the time, 0.7 of it up to GOES-15
    (`kflare.sun.goes_scale`); else SettingError."""
    told: tuple[tuple[datetime, datetime], ...] = ()
    """Spans that it tells of, merged and in order; unless its source says so, a day beyond its first and last flare."""

    def __post_init__(self) -> None:
        if self.scale not in FLUX_SCALES:
            raise SettingError(f"`scale` of a flare list must be one of {', '.join(FLUX_SCALES)}, got {self.scale!r}")
        for name in ("start", "goes_class"):
            if name not in self.table:
                columns = list(self.table.columns)
                raise DataError(f"`{self.source}`: a flare list needs the column `{name}`; it has {columns}")
        seen = self.table.reindex(columns=["start", "peak", "end", "goes_class", "noaa", "lon", "lat", "satellite"])
        rows = pd.DataFrame({name: _as_utc(seen[name], name, self.source) for name in ("start", "peak", "end")})
        if rows["start"].isna().any():
            raise DataError(f"`{self.source}`: every flare needs a `start`; {rows['start'].isna().sum()} have none")
        rows["goes_class"] = seen["goes_class"].astype("str")
        rows["flux"] = class_fluxes(rows["goes_class"])
        if rows["flux"].isna().any():
            value = rows["goes_class"][rows["flux"].isna()].iloc[0]
            raise DataError(f"`{self.source}`: `goes_class` must be like M3.1, got {value!r}")
        kinds = {"noaa": "Int64", "lon": "float64", "lat": "float64", "satellite": "Int64"}
        rows[list(kinds)] = seen[list(kinds)].astype(kinds)
        rows = rows.sort_values("start", kind="stable", ignore_index=True)
        if not self.told and len(rows):  # a flare may follow any gap
            first, last, day = rows["start"].iloc[0], rows["start"].iloc[-1], timedelta(days=1)
            object.__setattr__(self, "told", ((first - day, last + day),))
        object.__setattr__(self, "table", rows)
        object.__setattr__(self, "repairs", dict(self.repairs))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Start of the first and of the last flare, aware UTC. An empty list has none: DataError."""
        if self.table.empty:
            raise DataError(f"`{self.source}` holds no flare, so it covers no span of time")
        start = self.table["start"]
        return start.iloc[0].to_pydatetime(), start.iloc[-1].to_pydatetime()

    def between(self, t0: datetime, t1: datetime) -> "FlareList":
        """Flares that start in [t0, t1); both must be aware."""
        table = self.table[within(self.table["start"], t0, t1)]
        told = tuple((max(since, t0), min(until, t1)) for since, until in self.told if since < t1 and until > t0)
        return replace(self, table=table, told=told)

    def as_irradiance(self) -> "FlareList":
        """The same flares on today's scale; itself, where it is on it already.

        A class that carries SWPC's factor is divided by 0.7 and given to one decimal, in steps of which it never
        reaches a letter that its flux does not (C6.9 is C9.9, C7.0 is M1.0). `repairs` counts these, those that lay on
        the lower edge of a letter, whose true flux may lie below, and those at which XRS saturated.
        """
        if self.scale == "irradiance":
            return self
        table = self.table
        scaled = carries_factor(table["satellite"], table["start"])
        classes = table["goes_class"].where(~scaled, irradiance_classes(table["goes_class"]))
        saturated = scaled & (table["flux"] >= _SATURATION).to_numpy()
        saturated &= (table["satellite"] <= _LAST_SATURATED).fillna(value=True).to_numpy(dtype=bool)
        great = saturated & ((table["start"] - _GREATEST[0]).abs() < pd.Timedelta(minutes=30)).to_numpy()
        letters = table["goes_class"][scaled].str[0]
        seven = table["goes_class"].str.fullmatch("[ABCM]7(?:[.]0*)?").to_numpy()
        none_below = len(letters) >= _ENOUGH and not letters.isin(["A", "B"]).any()
        counts = {"rescaled": scaled, "edge_of_class": scaled & seven, "saturated": saturated & ~great}
        counts |= {"estimated": great, "none_below_c": scaled & none_below}
        repairs = {**self.repairs, **{name: int(where.sum()) for name, where in counts.items() if where.any()}}
        table = table.assign(goes_class=classes.mask(great, _GREATEST[1]))
        return replace(self, table=table, repairs=repairs, scale="irradiance")

    def report(self) -> str:
        """One line: how many flares, from where, on which scale, and what was repaired."""
        done = [f"{count} {REPAIRS.get(key, key)}" for key, count in self.repairs.items() if count]
        told = f"{len(self)} flares in `{self.source}`, {FLUX_SCALES[self.scale]}"
        return f"{told}: {', '.join(done) or 'nothing to repair'}"

    def write_csv(self, path: Path | str) -> None:
        """Write kflare's plain CSV: the table without `flux`, UTC with Z, and in each row scale and span told of."""
        plain = self.table.drop(columns="flux").assign(flare_scale=self.scale)
        for name in ("start", "peak", "end"):
            plain[name] = plain[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        for span in self.told:
            written = [f"{time.astimezone(UTC):%FT%TZ}" for time in span]
            plain.loc[within(self.table["start"], *span), ["told_from", "told_until"]] = written
        write_whole(path, plain.to_csv(index=False))


@by_distinct  # a list of 50,000 flares has 500 classes
def class_fluxes(goes_class: pd.Series) -> pd.Series:
    """Peak fluxes in W m^-2, float64; NaN where the class is unreadable, 0, or X10000 and more."""
    parts = goes_class.str.extract(_CLASS)
    flux = pd.to_numeric(parts[1] + parts[0].map(_EXPONENT), errors="coerce").astype("float64")
    return flux.where((flux > 0) & (flux < _FLUX_LIMIT))


@by_distinct
def irradiance_classes(goes_class: pd.Series) -> pd.Series:
    """Classes that carry SWPC's factor, on today's scale; "" where one is unreadable."""
    flux = class_fluxes(goes_class) / SWPC_FACTOR
    return flux.map(flux_to_class, na_action="ignore").fillna("").astype("str")


def _as_utc(times: pd.Series, name: str, source: str) -> pd.Series:
    if not isinstance(times.dtype, pd.DatetimeTZDtype) and times.notna().any():
        first = times.dropna().iloc[0]
        if getattr(first, "tzinfo", None) is None:
            raise DataError(f"`{source}`: `{name}` must hold times with a zone (UTC), got {first!r}")
    return pd.to_datetime(times, utc=True).astype(TIME_DTYPE)
