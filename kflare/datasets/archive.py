"""Folders of magnetograms as an index: which image forecasts from which time."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from kflare.errors import DataError
from kflare.observations.reading import SUFFIXES, magnetogram_time
from kflare.observations.selection import select_for

CADENCE = pd.Timedelta(minutes=12)
"""HMI's 720-s cadence. The window of a magnetogram begins at its record's nominal time: 00:00:34 counts as 00:00."""


def forecast_time(observed: datetime) -> pd.Timestamp:
    """The nominal time (UTC) of a record observed a little before or after it."""
    return pd.Timestamp(observed).tz_convert("UTC").round(CADENCE)


def magnetogram_files(places: Iterable[Path], *, deep: bool = False) -> list[Path]:
    """The files named, there or not, and the magnetograms in the folders named; `DataError` if there is none at all.

    `deep` also takes those in the folders' folders.
    """
    found: list[Path] = []
    places = [Path(place) for place in places]
    if places and not any(place.exists() for place in places):
        raise DataError(f"no file or folder {places[0]}")
    for place in places:
        if place.is_dir():
            found += sorted(one for one in place.glob("**/*" if deep else "*") if one.name.lower().endswith(SUFFIXES))
        else:
            found.append(place)  # one of several that is not there costs itself alone: who reads it names it
    if not found:
        fault = f"no magnetogram in {', '.join(map(str, places))}"
        raise DataError(f"{fault}: expected files ending in {', '.join(SUFFIXES)}")
    return found


def index_archive(folders: Path | Sequence[Path]) -> pd.DataFrame:
    """List the magnetograms of folders, and of the folders in them, with their times, without decoding them.

    Gives `path`, `time` (observation, UTC), `forecast_time` (UTC), sorted by time. Where images of several folders
    stand for one forecast time, that of the folder named first is taken; `attrs["notes"]` tells of those passed over.

    DataError: a folder is missing or empty, a file without known kind or time, two of one folder of one forecast time.
    """
    from kflare.io.progress import progress

    ranks: dict[Path, int] = {}
    for rank, folder in enumerate([folders] if isinstance(folders, Path) else folders):
        for path in magnetogram_files([folder], deep=True):
            ranks.setdefault(path, rank)
    times = [magnetogram_time(p) for p in progress(ranks, desc="reading times", unit="image", delay=2)]
    table = pd.DataFrame({"path": map(str, ranks), "time": times, "forecast_time": map(forecast_time, times)})
    table = table.assign(rank=list(ranks.values())).sort_values(["time", "rank"], ignore_index=True)
    kept = table[table["rank"] == table.groupby("forecast_time")["rank"].transform("min")]
    if (twice := kept["forecast_time"].duplicated()).any():
        time = kept["forecast_time"][twice].iloc[0]
        names = " and ".join(kept["path"][kept["forecast_time"] == time])
        fault = f"there is more than one magnetogram for {time:%Y-%m-%dT%H:%MZ}, and no order says which: {names}"
        raise DataError(f"{fault}; keep one, or give them in folders of their own, the preferred one first")
    passed = len(table) - len(kept)
    kept = kept.drop(columns="rank").reset_index(drop=True)
    kept.attrs["notes"] = [f"{passed} images passed over: the folder named first has one for their time"] * bool(passed)
    return kept


def daily_images(index: pd.DataFrame, *, limit: timedelta) -> pd.DataFrame:
    """Choose one image for 00:00 UT of each day: that at the time, else the nearest earlier one, never a later one.

    The rule of Yi et al. 2021, section 2; see :func:`kflare.observations.select_for`. Of an `index_archive`;
    `limit` is how much earlier than 00:00 the image may have been observed, less than a day: one serves one day.

    Gives `path`, `time` (both missing for a day without an image), `forecast_time` (00:00 UT, every day from the first
    to the last image's) and `note`: "" for an image of 00:00, else what stands for it, or why nothing does.
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
