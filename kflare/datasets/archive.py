"""A folder of magnetograms as an index: which image forecasts from which time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from kflare.errors import DataError
from kflare.observations.reading import SUFFIXES, magnetogram_time
from kflare.observations.selection import select_for

__all__ = ["CADENCE", "daily_images", "forecast_time", "index_archive", "magnetogram_files"]

CADENCE = pd.Timedelta(minutes=12)
"""HMI's 720-s cadence. The window of a magnetogram begins at its record's nominal time: 00:00:34 counts as 00:00."""


def forecast_time(observed: datetime) -> pd.Timestamp:
    """The nominal time (UTC) of a record observed a little before or after it."""
    return pd.Timestamp(observed).tz_convert("UTC").round(CADENCE)


def magnetogram_files(places: Iterable[Path]) -> list[Path]:
    """The files named, there or not, and the magnetograms in the folders named; `DataError` if there is none at all."""
    found: list[Path] = []
    places = [Path(place) for place in places]
    if places and not any(place.exists() for place in places):
        raise DataError(f"no file or folder {places[0]}")
    for place in places:
        if place.is_dir():
            found += sorted(path for path in place.iterdir() if path.name.lower().endswith(SUFFIXES))
        else:
            found.append(place)  # one of several that is not there costs itself alone: who reads it names it
    if not found:
        raise DataError(
            f"no magnetogram in {', '.join(map(str, places))}: expected files ending in {', '.join(SUFFIXES)}"
        )
    return found


def index_archive(folder: Path) -> pd.DataFrame:
    """List the magnetograms of a folder with their times, without decoding them.

    Returns
    -------
    DataFrame
        `path`, `time` (observation, UTC), `forecast_time` (UTC), sorted by time.

    Raises
    ------
    DataError
        The folder is empty, a file is of no known kind or has no time, or two are of one forecast time.
    """
    from tqdm import tqdm

    paths = magnetogram_files([folder])
    times = [magnetogram_time(p) for p in tqdm(paths, desc="reading times", unit="image", disable=None, delay=2)]
    table = pd.DataFrame({"path": map(str, paths), "time": times, "forecast_time": map(forecast_time, times)})
    table = table.sort_values("time", ignore_index=True)
    twice = table["forecast_time"].duplicated()
    if twice.any():
        time = table["forecast_time"][twice].iloc[0]
        names = ", ".join(Path(path).name for path in table["path"][table["forecast_time"] == time])
        raise DataError(f"{folder} holds more than one magnetogram for {time:%Y-%m-%dT%H:%MZ}: keep one of {names}")
    return table


def daily_images(index: pd.DataFrame, *, limit: timedelta) -> pd.DataFrame:
    """Choose one image for 00:00 UT of each day: that at the time, else the nearest earlier one, never a later one.

    The rule of Yi et al. 2021, section 2; see :func:`kflare.observations.selection.select_for`.

    Parameters
    ----------
    index : DataFrame
        Of `index_archive`.
    limit : timedelta
        How much earlier than 00:00 the image may have been observed; below a day, or one image may serve two days.

    Returns
    -------
    DataFrame
        `path`, `time` (both missing for a day without an image), `forecast_time` (00:00 UT, every day from the first to
        the last image's) and `note`: "" for an image of 00:00, else what stands for it, or why nothing does.
    """
    observed = pd.DatetimeIndex(index["time"])
    # The midnight that the last image can serve: its own, or the next one.
    days = pd.date_range(forecast_time(observed.min()).ceil("D"), forecast_time(observed.max()).ceil("D"), freq="D")
    rows = []
    times = list(observed.to_pydatetime())
    for day in days:
        chosen = select_for(day.to_pydatetime(), times, limit=limit)
        image = {"path": None, "time": pd.NaT} if chosen.index is None else index.iloc[chosen.index]
        rows.append({"path": image["path"], "time": image["time"], "forecast_time": day, "note": chosen.note})
    return pd.DataFrame(rows).astype({"time": index["time"].dtype})
