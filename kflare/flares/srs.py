"""NOAA's Solar Region Summary (SRS): which active regions there are, with their numbers and positions.

It is issued at 00:30 UT, with positions valid at 00 UT of that day.
"""

import io
import logging
import re
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.reading import LOCATION
from kflare.flares.region_numbers import full_region_numbers
from kflare.io.catalogue_file import MAX_TEXT_BYTES
from kflare.io.payload import decoding, read_payload
from kflare.io.table_file import plausible_numbers, sound_rows

_NEEDED: Final = ("ar_noaanum", "LOCATION", "date")
_OPTIONAL: Final = ("AREA", "Longitude_extent", "Z")
_WHAT: Final = "NOAA's Solar Region Summary, its text or a CSV table"
_HEADING: Final = re.compile(r"(IA|III|II|I)\.")
_ISSUED: Final = re.compile(r":Issued:\s*([0-9]{4} [A-Za-z]{3} [0-9]{1,2} [0-9]{4})\s*(?:UTC?|Z)\b", re.IGNORECASE)
_FORMS: Final = "a text with a line `:Issued: 2013 Oct 23 0030 UTC` (or UT), or a CSV with the column `ar_noaanum`"
# What else stands in the parts: whether they are used or not. Part II has number, latitude and longitude.
_LINE: Final = {
    True: re.compile(r"\s*(?:none|nmbr\b.*)\s*$", re.IGNORECASE),
    False: re.compile(r"\s*(?:none|nmbr\b.*|[0-9]{1,5}\s+[NS][0-9]{2}\s+[0-9]{1,3})\s*$", re.IGNORECASE),
}
# Degrees from the central meridian: regions are listed until they are some way across the limb, up to W99.
_FARTHEST: Final = 110
# µHem and degrees; the largest group ever seen, of April 1947, had 6,132 µHem.
_LARGEST, _LONGEST = 10_000, 90
_MCINTOSH: Final = "[A-FH][XRSAHK][XOIC]"  # McIntosh (1990): modified Zurich class, largest spot, distribution
_LOG = logging.getLogger(__name__)


def is_srs(begin: bytes) -> bool:
    """Whether a file that begins so is a Solar Region Summary, in text or in CSV."""
    text = begin.decode("utf-8", "replace")
    return _is_csv(text) or ":Issued:" in text or "Solar Region Summary" in text


def read_srs(path: str | Path) -> pd.DataFrame:
    """Read NOAA's Solar Region Summary: a daily text of SWPC (`20131023SRS.txt`), or a table of many days.

    The text is as SWPC issues it, one or several joined, or a folder of such files (`*SRS*`); the table a CSV with the
    columns `ar_noaanum`, `LOCATION` ("N07E04"), `date` (when it was issued) and, where known, `AREA` (µHem),
    `Longitude_extent` (degrees) and `Z` (McIntosh's class); at most 32 MiB each. DataError: neither, or no row.

    Gives, sorted by time, `time` (datetime64[us, UTC], 00 UT of the day of issue, for which the positions are valid),
    `issued` (likewise), `noaa` (int64, 5 digits from June 2002 on, once a day, as issued last), `lon`, `lat`
    (Stonyhurst degrees, west and north positive), `area_uhem` (0 = plage without spots, NaN = unknown), `extent`
    (degrees of longitude, NaN = unknown), `mcintosh` (class in capitals such as EKI, "" = unknown or without spots).

    Regions that are due to return are left out. Rows whose number, day or position cannot be read or is impossible are
    left out, impossible areas, extents and classes unknown; rows left out, impossible areas and extents, and lines of a
    text that belong to no part that is used and are no heading, are logged.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if "SRS" in one.name.upper() and one.is_file())
        if not files:
            raise DataError(f"`{path}` holds no file named like 20131023SRS.txt; give {_WHAT}")
        return _once(pd.concat([read_srs(one) for one in files]), path)
    payload = read_payload(path, limit=MAX_TEXT_BYTES, what=_WHAT, kinds=())
    text = payload.decode("utf-8", "replace")
    if _is_csv(text):
        rows = _csv_rows(payload, path)
    elif _ISSUED.search(text[:4096]):
        rows = _text_rows(text, path)
    else:
        raise DataError(f"`{path}` is no Solar Region Summary that can be read: it must be {_FORMS}; give {_WHAT}")
    place = rows["LOCATION"].str.strip().str.extract(rf"^{LOCATION.pattern}$")
    lon, lat = place[3].astype("float64"), place[1].astype("float64")
    issued = pd.to_datetime(rows["date"], format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")
    noaa = full_region_numbers(rows["ar_noaanum"], issued)
    keep, _ = sound_rows(
        str(path),
        (rows["LOCATION"], (lon <= _FARTHEST) & (lat <= 90), f"like N07E04, {_FARTHEST} degrees east or west at most"),
        (rows["date"], issued.notna(), "a time such as 2013-10-23 00:30"),
        (rows["ar_noaanum"], noaa.notna(), "a number such as 11875"),
    )
    classes = rows["Z"].astype("str").str.strip().str.upper()
    lon, lat = lon * np.where(place[2] == "W", 1, -1), lat * np.where(place[0] == "N", 1, -1)
    table = pd.DataFrame({"time": issued.dt.normalize(), "issued": issued, "noaa": noaa, "lon": lon, "lat": lat})
    table["area_uhem"] = plausible_numbers(rows["AREA"], str(path), low=0, high=_LARGEST)
    table["extent"] = plausible_numbers(rows["Longitude_extent"], str(path), low=0, high=_LONGEST)
    table["mcintosh"] = classes.where(classes.str.fullmatch(_MCINTOSH), "").fillna("")
    return _once(table[keep].astype({"noaa": "int64"}), path)


def mcintosh_classes(samples: pd.DataFrame, srs: pd.DataFrame) -> pd.Series:
    """McIntosh's class of the region of each of N samples (`time`, `noaa`) by the last summary issued before.

    "" where the region has no number, or stands in no summary of `read_srs` of the 48 h before.
    """
    asked = samples[["time", "noaa"]].astype({"time": "datetime64[us, UTC]", "noaa": "Int64"})
    asked = asked.reset_index(drop=True).reset_index(names="row").sort_values("time")
    known = srs[["issued", "noaa", "mcintosh"]].astype({"noaa": "Int64"}).sort_values("issued")
    found = pd.merge_asof(asked, known, left_on="time", right_on="issued", by="noaa", tolerance=pd.Timedelta("48h"))
    return found.set_index("row")["mcintosh"].sort_index().fillna("").set_axis(samples.index)


def _once(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Each region once a day, as issued last, sorted by time."""
    table = table.sort_values(["time", "issued"], kind="stable", ignore_index=True)
    more = table.duplicated(["time", "noaa"], keep="last")
    if more.any():
        one = f"{table['noaa'][more.idxmax()]} of {table['time'][more.idxmax()]:%F}"
        _LOG.warning("`%s`: %d regions are there more than once for one day, the last counts: %s", path, sum(more), one)
    return table[~more].reset_index(drop=True)


def _is_csv(text: str) -> bool:
    return "ar_noaanum" in text.partition("\n")[0].strip().split(",")


def _csv_rows(payload: bytes, path: Path) -> pd.DataFrame:
    with decoding(str(path), "is no Solar Region Summary that can be read"):  # its encoding, or rows of unequal length
        # Rows with more fields than the header would give an index.
        seen = pd.read_csv(io.BytesIO(payload), dtype=str).reset_index(drop=True)
    if absent := [name for name in _NEEDED if name not in seen]:
        raise DataError(f"`{path}`: a Solar Region Summary needs the column `{absent[0]}`; it has {list(seen.columns)}")
    # A cell that is empty in a column of areas is that of a region without spots.
    areas = seen["AREA"].fillna("0") if "AREA" in seen else np.nan
    return seen.fillna(dict.fromkeys(_NEEDED, "")).assign(AREA=areas).reindex(columns=[*_NEEDED, *_OPTIONAL])


def _text_rows(text: str, path: Path) -> pd.DataFrame:
    """Rows of the sections I and IA, as they stand; sizes are stated in the first only."""
    rows, stray, section, date, parts = [], [], "", "", set()
    for number, line in enumerate(text.splitlines(), start=1):
        heading, cells = _HEADING.match(line), line.split()
        if ":Issued:" in line or ":Product:" in line:  # also of the next one, where several are joined in one file
            match = _ISSUED.search(line)
            issued = pd.to_datetime(match[1] if match else "", format="%Y %b %d %H%M", errors="coerce")
            section, date = "", line.strip() if pd.isna(issued) else issued.isoformat()
        elif cells and cells[0].lower() == "plain":
            section = "a message to the readers"
        elif heading and section != "a message to the readers":
            section = heading[1]
            parts.add(section)
        elif section in {"I", "IA"} and cells and cells[0].isdigit():
            # Number, location, Carrington longitude; then area, class, extent.
            sizes = (cells[3:4], cells[5:6], cells[4:5]) if section == "I" else (["0"], [], [])
            rows.append([cells[0], "".join(cells[1:2]), date, *("".join(size) for size in sizes), number])
        elif section in parts and cells and _LINE[section in {"I", "IA"}].match(line) is None:
            stray.append(f"line {number} {line.strip()[:40]!r}")
    if stray:
        _LOG.warning("`%s`: %d lines are left out, being no row of their part, such as %s", path, len(stray), stray[0])
    if "I" not in parts:
        raise DataError(f"`{path}` is no Solar Region Summary that can be read: it has no section I; download it again")
    if section == "I":
        _LOG.warning("`%s` ends in section I: if it was cut off, regions are missing", path)
    places = [f"{row}, line {number}" for row, (*_, number) in enumerate(rows)]
    return pd.DataFrame([row[:-1] for row in rows], places, columns=[*_NEEDED, *_OPTIONAL], dtype="str")
