"""GOES soft X-ray flux, long channel 0.1-0.8 nm (1-8 Å), as one series of minutes.

`irradiance = operational flux / 0.7` up to GOES-15, and operational flux is irradiance from GOES-16 on: the owner of
the factor is `kflare.sun.goes_scale`. (The short channel, which is not read here, carries 0.85.)
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from kflare.errors import DataError, SettingError
from kflare.io.catalogue_file import MAX_TEXT_BYTES, is_json, json_records
from kflare.io.payload import format_of, read_payload
from kflare.io.table_file import numbers, sound_rows
from kflare.sun.goes_scale import SWPC_FACTOR, FluxScale, carries_factor
from kflare.sun.times import microseconds, within
from kflare.xray.netcdf import Samples, samples_of_netcdf

Scale = FluxScale | Literal["as given"]

_LONG_CHANNEL: Final = "0.1-0.8nm"
_MINUTE: Final = 60_000_000  # microseconds
# GOES flew in 1975; a file of one satellite spans 10 years at most.
_FIRST: Final = pd.Timestamp("1974-01-01", tz="UTC")
_LAST: Final = pd.Timestamp("2100-01-01", tz="UTC")
_MOST_MINUTES: Final = 10_000_000
# Stronger than any flare (X28 is 0.0028): damage.
_MOST_FLUX: Final = 1.0
#: Bit of `quality` that SWPC's JSON sets for "electron_contaminaton" (sic); its fluxes are corrected for it.
CONTAMINATED: Final = 1


@dataclass(frozen=True, eq=False)
class XrayFlux:
    """X-ray flux of every minute from the first to the last of a file: one row of `table` each, without gaps, sorted.

    ========= ===================== ==================================================================
    time      datetime64[us, UTC]   begin of the minute
    flux      float64, W m^-2       mean over the minute, 0.1-0.8 nm; NaN = missing or flagged as bad
    satellite Int64                 GOES number; <NA> = no measurement in this minute, or unknown
    quality   Int64                 the file's flag bits, 0 = good; <NA> = no measurement or no flags
    ========= ===================== ==================================================================
    """

    table: pd.DataFrame
    scale: FluxScale  # "irradiance" or "operational": what `flux` is, see the module
    source: str  # file that it came from, for messages
    repairs: Mapping[str, int] = field(default_factory=dict)
    """`flagged` values taken out for their flags, `implausible` ones for their value or time, `averaged` samples of a
    cadence below a minute, `duplicates` second values of a minute."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def missing(self) -> float:
        """Share of the minutes without a flux, 0 to 1; 1.0 for an empty series."""
        return float(self.table["flux"].isna().mean()) if len(self) else 1.0

    def between(self, t0: datetime, t1: datetime) -> "XrayFlux":
        """Minutes that begin in [t0, t1); both must be aware."""
        return replace(self, table=self.table[within(self.table["time"], t0, t1)].reset_index(drop=True))

    def on_scale(self, scale: FluxScale) -> "XrayFlux":
        """The same flux as irradiance, or as SWPC's operational flux; of an unknown satellite the time decides."""
        if scale not in {"irradiance", "operational"}:
            raise SettingError(f"`scale` must be irradiance or operational, got {scale!r}")
        if scale == self.scale:
            return self
        factor = SWPC_FACTOR if scale == "operational" else 1 / SWPC_FACTOR
        factors = np.where(carries_factor(self.table["satellite"], self.table["time"]), factor, 1.0)
        return replace(self, table=self.table.assign(flux=self.table["flux"] * factors), scale=scale)


def read_xray_flux(path: str | Path, *, satellite: int | None = None, scale: Scale = "as given") -> XrayFlux:
    """Read GOES X-ray flux: SWPC's `xrays-*.json`, or netCDF of NOAA (NCEI), operational or reprocessed; gaps stay NaN.

    The format is told by the content: JSON records with `time_tag`, `flux`, `energy` (at most 32 MiB); netCDF-4 with
    `xrsb_flux` (1-minute averages of GOES-8 on, 1-second data of GOES-16 on) or `b_flux` (2-second data of GOES-8 to
    15); netCDF-3 or -4 with `B_AVG` (averages up to GOES-15), at most 512 MiB. Cadences below a minute are averaged.

    `satellite` is the GOES number, where the file does not tell; of a JSON file of two satellites the one to keep,
    otherwise the first value of each minute stays. `scale` says whether to undo ("irradiance") or apply ("operational")
    SWPC's factor of 0.7 for GOES-15 and before; "as given" leaves the values alone, another one raises SettingError.
    DataError if the file cannot be read, or holds no measurement of this channel.
    """
    path = Path(path)
    if scale not in {"as given", "irradiance", "operational"}:
        raise SettingError(f"`scale` must be as given, irradiance or operational, got {scale!r}")
    what = "X-ray flux in SWPC's JSON or in netCDF"
    kind = None
    with suppress(OSError, ValueError), path.open("rb") as stream:  # `read_payload` says what is wrong
        kind = format_of(stream.read(8))
    if kind in ("netCDF-3", "netCDF-4"):
        samples = samples_of_netcdf(path, is_hdf5=kind == "netCDF-4", satellite=satellite)
    else:
        payload = read_payload(path, limit=MAX_TEXT_BYTES, what=what, kinds=())
        if not is_json(payload):
            raise DataError(f"`{path}` must be {what}; it begins with {payload[:8]!r}; give another file")
        samples = _samples_of_json(payload, path, satellite)
    table, repairs = _minutes(samples, path)
    given: FluxScale = "operational" if samples.operational else "irradiance"
    flux = XrayFlux(table, given, path.name, {**samples.counts, **repairs})
    return flux if scale == "as given" else flux.on_scale(scale)


def _samples_of_json(payload: bytes, path: Path, satellite: int | None) -> Samples:
    records, skipped = json_records(payload, str(path))
    long = [record for record in records if record.get("energy") == _LONG_CHANNEL]
    if not long:
        seen = sorted({" ".join(key.split())[:40] for record in records[:10] for key in record})
        rule = f"`{path}` must hold records with `energy` {_LONG_CHANNEL}"
        raise DataError(f"{rule}, got {len(records)} records with the fields {', '.join(seen[:12])}")
    raw = pd.DataFrame(long, columns=["time_tag", "flux", "satellite", "electron_contaminaton"], dtype=object)
    raw[["flux", "satellite"]] = raw[["flux", "satellite"]].map(lambda value: None if isinstance(value, str) else value)
    plain = raw["time_tag"].map(lambda text: text if isinstance(text, str) and text.isascii() else "").astype("str")
    times = pd.to_datetime(plain, format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")
    frame = pd.DataFrame({"time": times, "flux": numbers(raw["flux"]), "satellite": numbers(raw["satellite"])})
    # SWPC's spelling. Where the field is absent nothing is known; anything but true is no contamination.
    given = np.array(["electron_contaminaton" in record for record in long], dtype=np.bool_)
    contaminated = raw["electron_contaminaton"].map(lambda value: value is True).astype("float64")
    frame["quality"] = np.where(given, CONTAMINATED * contaminated, np.nan)
    number = frame["satellite"].where(frame["satellite"].between(1, 99) & (frame["satellite"] % 1 == 0))
    if satellite is not None:
        number = number.fillna(satellite)
        frame, number = frame[number == satellite], number[number == satellite]
        if frame.empty:
            raise DataError(f"`{path}` holds no flux of GOES-{satellite}")
    flux, names, quality = (one.to_numpy(dtype=np.float64) for one in (frame["flux"], number, frame["quality"]))
    counts = {"records_skipped": skipped} if skipped else {}
    return Samples(microseconds(frame["time"]), flux, names, quality, operational=True, counts=counts)


def _minutes(samples: Samples, path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """Gap-free table of minutes, and what was taken out on the way."""
    first, last = (int(limit.value) // 1000 for limit in (_FIRST, _LAST))
    timed = (samples.time >= first) & (samples.time < last)
    # SWPC writes 0 for "no value"; NaN stands for flagged and missing ones.
    plausible = (samples.flux > 0) & (samples.flux < _MOST_FLUX)
    dropped = timed & ~plausible & np.isfinite(samples.flux) & (samples.flux != 0)
    repairs = {"implausible": int((~timed).sum() + dropped.sum())}
    seen = {"minute": samples.time[timed] // _MINUTE, "flux": np.where(plausible, samples.flux, np.nan)[timed]}
    rows = pd.DataFrame(seen | {"satellite": samples.satellite[timed], "quality": samples.quality[timed]})
    if rows.empty or rows["flux"].isna().all():
        raise DataError(f"`{path}` holds no measured flux between 1974 and 2100; give another file")
    sound_rows(
        str(path),
        (pd.Series(samples.time, name="time"), timed, "a time between 1974 and 2100"),
        (pd.Series(samples.flux, name="flux"), ~dropped, f"above 0 and below {_MOST_FLUX:g} W m^-2"),
    )
    rows = rows.sort_values("minute", kind="stable", ignore_index=True)
    begin, end = int(rows["minute"].iloc[0]), int(rows["minute"].iloc[-1])
    if end - begin >= _MOST_MINUTES:
        raise DataError(f"`{path}` must span at most {_MOST_MINUTES} minutes, got {end - begin + 1}; split it")
    if (twice := rows.duplicated("minute")).any():
        rows, done = _one_per_minute(rows, twice, cadence=samples.cadence)
        repairs.update(done)
    grid = np.arange(begin, end + 1)
    rows = rows.set_index("minute").reindex(grid)
    table = pd.DataFrame({"time": pd.to_datetime(grid * _MINUTE, unit="us", utc=True).astype("datetime64[us, UTC]")})
    table["flux"] = rows["flux"].to_numpy(dtype=np.float64)
    for name in ("satellite", "quality"):
        table[name] = rows[name].reset_index(drop=True).astype("Int64")
    return table, {key: count for key, count in repairs.items() if count}


def _one_per_minute(rows: pd.DataFrame, twice: pd.Series, *, cadence: float) -> tuple[pd.DataFrame, dict[str, int]]:
    """Average what is sampled within the minute; of other repetitions the first measured value stays."""
    if cadence < 60:
        groups = rows.groupby("minute", as_index=False, sort=True)
        # Flags of values that were left out do not say anything about the mean of the others.
        mean = groups.agg(flux=("flux", "mean"), satellite=("satellite", "first"), quality=("quality", "min"))
        return mean, {"averaged": len(rows)}
    ordered = rows.assign(unknown=rows["flux"].isna()).sort_values(["minute", "unknown"], kind="stable")
    return ordered[~ordered.duplicated("minute")].drop(columns="unknown"), {"duplicates": int(twice.sum())}
