"""Times of observations: in file names, in headers, and from the TAI scale of JSOC to UTC."""

import re
import warnings
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kflare.errors import DataError, SettingError

if TYPE_CHECKING:
    import pandas as pd

    from kflare.io.arrays import BoolArray, Float64Array, IntArray

HOUR: Final = timedelta(hours=1)
DAY_SECONDS: Final = 86_400
#: By the letters of durations and cadences.
UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS}

_AGO = re.compile(r"(\+?)(\d{1,3}) *(day|week|month|year)s?")

# 20131023_000054, 20131023_0000, 20131023T000054, and with _TAI behind it for names made by JSOC.
_NAME_TIME = re.compile(r"(?<!\d)(\d{8})[_T](\d{4})(\d{2})?(?:\.\d+)?(?!\d)(_TAI)?", re.IGNORECASE)
# 2022_08_02__10_47_53_000__SDO_HMI_HMI_magnetogram.jp2 of Helioviewer.
_HELIOVIEWER_TIME = re.compile(r"(?<!\d)(\d{4})_(\d\d)_(\d\d)__(\d\d)_(\d\d)_(\d\d)_\d{2,3}(?!\d)()")

_SINCE = re.compile(
    r"\s*(seconds|milliseconds)\s+since\s+(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\s*(?:UTC|Z)?\s*"
)

# 2010.10.15_00:03:30.000_TAI (JSOC), 2010-10-15T00:00:26.000 (FITS, UTC), the same with Z, 25-Feb-2014 00:46:51.300
# (SolarSoft), 25/02/99 00:46 (FITS before 2000).
_HEADER_TIME = re.compile(
    r"(?:(?P<y>\d{4})[.\-/](?P<m>\d\d?)[.\-/](?P<d>\d\d?)|(?P<vms>\d\d?-[a-z]{3}-(?:\d\d)?\d\d)"
    r"|(?P<old>\d\d/\d\d/\d\d))"
    r"[_T ]+(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d+)?))?\s*_?(?P<scale>TAI|UTC|UT|Z)?",
    re.IGNORECASE,
)


def time_from_name(path: str | Path) -> datetime | None:
    """Observation time written in a file name, aware UTC; None if the name holds no such time.

    Understands YYYYMMDD_HHMM and YYYYMMDD_HHMMSS anywhere in the name (`hmi.M_20131023_000054.jpg`,
    `20010311_0000_mdimag_512.jpg`) and the names of Helioviewer (`2022_08_02__10_47_53_000__SDO_HMI_HMI_...`). A time
    followed by `_TAI` (`mdi.fd_M_96m_lev182.20101015_000000_TAI.fits`) is converted to UTC, any other is UTC.
    """
    name = Path(path).name
    for match in (*_HELIOVIEWER_TIME.finditer(name), *_NAME_TIME.finditer(name)):
        *digits, tai = match.groups()
        try:
            clock = "".join(part or "" for part in digits).ljust(14, "0")
            time = datetime.strptime(clock, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            return utc_from_tai(time) if tai else time
        except (ValueError, DataError):
            continue  # digits that are no time, such as a serial number
    return None


def parse_header_time(text: str, *, scale: str = "UTC") -> datetime | None:
    """UTC of a time as headers write it: `2010.10.15_00:03:30.000_TAI`, `2010-10-15T00:00:26.000`, the same with Z.

    Also SolarSoft's `25-Feb-2014 00:46:51.300`, and `25/02/99 00:46` of FITS before 2000. `scale`, "UTC" or "TAI", is
    that of a text that names none (`TIMESYS`). None if it is no time at all; ValueError if it does not exist, such as
    the 13th month; DataError if it is TAI of a year that has no UTC.
    """
    match = _HEADER_TIME.fullmatch(text.strip())
    if match is None:
        return None
    if vms := match["vms"]:
        day = datetime.strptime(vms, "%d-%b-%Y" if len(vms.rpartition("-")[2]) == 4 else "%d-%b-%y").replace(tzinfo=UTC)
    elif old := match["old"]:
        day = datetime.strptime(old, "%d/%m/%y").replace(tzinfo=UTC)
    else:
        day = datetime(int(match["y"]), int(match["m"]), int(match["d"]), tzinfo=UTC)
    # Added rather than given, so that a leap second (60) is the next second and not an error.
    time = day.replace(hour=int(match["hour"]), minute=int(match["minute"]))
    time += timedelta(seconds=float(match["second"] or 0))
    return utc_from_tai(time) if (match["scale"] or scale).upper() == "TAI" else time


def utc_from_tai(tai: datetime) -> datetime:
    """UTC of a time of the TAI scale (JSOC's T_OBS and T_REC), aware, to the microsecond.

    The clock reading in `tai` counts; its time zone is ignored. Before 1960 there is no UTC: DataError.
    """
    tai = tai.replace(tzinfo=None)
    if (ahead := _tai_ahead(tai.date())) is not None:
        return (tai - ahead).replace(tzinfo=UTC)
    utc: datetime = _astropy_time(tai, "tai").utc.to_datetime(leap_second_strict="silent")
    return utc.replace(tzinfo=UTC)


def tai_from_utc(time: datetime) -> datetime:
    """Clock reading in TAI of an aware time, without a time zone, to the second; DataError as `utc_from_tai`."""
    utc = time.astimezone(UTC).replace(tzinfo=None)
    ahead = _tai_ahead(utc.date())
    tai: datetime = _astropy_time(utc, "utc").tai.to_datetime() if ahead is None else utc + ahead
    return (tai + timedelta(milliseconds=500)).replace(microsecond=0)


def name_of_time(time: datetime) -> str:
    """An aware time as JSOC writes it into names: `20101015_000000_TAI`."""
    return f"{tai_from_utc(time):%Y%m%d_%H%M%S}_TAI"


def in_utc(time: datetime, name: str) -> datetime:
    """An aware time in UTC; SettingError with its name if it has no time zone."""
    if time.utcoffset() is None:
        raise SettingError(f"`{name}` must carry a time zone (UTC), got {time!r}")
    return time.astimezone(UTC)


def read_date(text: str) -> datetime:
    """A date or time of ISO 8601, or so long ago as "6months", "10 days" or "1year" (0 UT of the day), aware UTC.

    SettingError of any other text, and of such a date in the future ("+6months").
    """
    if ago := _AGO.fullmatch(text.strip()):
        if ago[1]:
            raise SettingError(f"`{text}` lies in the future: a date such as 6months is so long ago, without a sign")
        import pandas as pd

        today = pd.Timestamp(datetime.now(UTC)).floor("D")
        return (today - pd.DateOffset(**{f"{ago[3]}s": int(ago[2])})).to_pydatetime()
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        if 1600 <= time.year < 2600:  # far from where Python's own calendar ends
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    raise SettingError(f"`{text}` is no date: write it as 2014-03-18, 2014-03-18T12:00Z or 6months")


def require_span(since: datetime, until: datetime) -> None:
    """Raise SettingError if a time has no zone, or `until` is not later."""
    if not in_utc(since, "since") < in_utc(until, "until"):
        raise SettingError(f"`until` must be later than `since`, got {since:%FT%H:%MZ} to {until:%FT%H:%MZ}")


def slots(since: datetime, until: datetime, cadence: timedelta) -> list[datetime]:
    """Times from `since` (included) to `until` (excluded) in steps of `cadence`, UTC.

    SettingError if a time has no zone, `until` is not later, or the cadence is below a minute.
    """
    if cadence < timedelta(minutes=1):
        raise SettingError(f"`cadence` must be at least a minute, got {cadence}")
    require_span(since, until)
    return [since.astimezone(UTC) + step * cadence for step in range(-((since - until) // cadence))]


def in_hours(span: timedelta) -> str:
    """A length of time for messages, to a hundredth of an hour, such as "12 h"."""
    return f"{round(span.total_seconds() / 3600, 2):g} h"


def within(times: "pd.Series", t0: datetime, t1: datetime) -> "BoolArray":
    """Which of some aware times lie in [t0, t1), bool (N,); DataError if `t0` or `t1` has no time zone."""
    for name, value in (("t0", t0), ("t1", t1)):
        if value.utcoffset() is None:
            raise DataError(f"`{name}` must carry a time zone (UTC), got {value!r}")
    return ((times >= t0) & (times < t1)).to_numpy(dtype=bool)


def times_since(values: "Float64Array", unit: object, source: str) -> "IntArray":
    """Microseconds since 1970 of the times of a netCDF file; the smallest integer where unknown.

    `unit` is such as "seconds since 2000-01-01 12:00:00"; DataError if it is none that is known.
    """
    import numpy as np

    match = _SINCE.fullmatch(unit) if isinstance(unit, str) else None
    try:
        epoch = datetime.fromisoformat(f"{match[2]}T{match[3]}+00:00") if match else None
    except ValueError:
        epoch = None
    if match is None or epoch is None:
        raise DataError(f"`{source}`: `time` must be in seconds or milliseconds since a moment, got {str(unit)[:60]!r}")
    elapsed = values * (1e6 if match[1] == "seconds" else 1e3)
    # ±100 years, well inside an int64; anything else is damage or missing.
    known = np.abs(elapsed) < 3.2e15
    since = (epoch - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return np.where(known, np.rint(np.where(known, elapsed, 0)).astype(np.int64) + since, np.iinfo(np.int64).min)


def microseconds(times: "pd.Series") -> "IntArray":
    """Microseconds since 1970 of aware times; the smallest integer for NaT."""
    return times.astype("datetime64[us, UTC]").astype("int64").to_numpy()


@lru_cache(maxsize=4096)
def _tai_ahead(day: date) -> timedelta | None:
    """TAI less UTC where it stays the same from the day before to the day after, which astropy needs long to say."""
    midnights = [datetime.fromordinal(day.toordinal() + n) for n in range(-1, 3) if 1972 < day.year < 2099]
    found = {_astropy_time(one, "utc").tai.to_datetime() - one for one in midnights}
    return found.pop() if len(found) == 1 else None


def _astropy_time(clock: datetime, scale: str) -> Any:
    if not 1960 < clock.year < 2100:
        raise DataError(f"a time must lie between 1961 and 2099 to have a UTC and a TAI, got {clock:%Y-%m-%dT%H:%M:%S}")
    from astropy.time import Time

    with warnings.catch_warnings():
        # "dubious year": leap seconds are announced for half a year only.
        warnings.simplefilter("ignore")
        return Time(clock, scale=scale)
