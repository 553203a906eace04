"""A study: one folder with what `kflare.fit` takes, as `kflare.fetch study` fills it; docs/data.md describes it."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.flares.labels import reaches
from kflare.flares.merging import merge_flares
from kflare.flares.reading import read_flare_columns
from kflare.flares.repairing import read_flares
from kflare.io.atomic import write_whole
from kflare.observations.quality import policy_named
from kflare.regions.vector_parameters import VECTOR_KEYWORDS
from kflare.sharp.keywords import SHARP_KEYWORDS, UNITS, read_sharp_table, write_sharp_table
from kflare.sun.constants import AU_M, SOLAR_RADIUS_M


def study_files(folder: Path, *, images: bool, regions: bool = True) -> dict[str, Any]:
    """What of a study `kflare.fit` takes, by its options: for image models, else for region models.

    Of these without a table of `regions` if the user has one. DataError: it lacks what is needed.
    """
    folders = [path for path in (folder / "hmi", folder / "mdi") if path.is_dir()]
    named = {"regions": folder / "regions.parquet"} if regions and not images else {}
    needed = {"flares": folder / "flares.csv"} | named
    lacking = [path.name for path in needed.values() if not path.is_file()] + ["hmi or mdi"] * (images and not folders)
    if lacking:
        raise DataError(f"`{folder}` has no {', '.join(lacking)}: let kflare fetch study fill it")
    if images:
        return {**needed, "magnetograms": folders}
    srs = {"srs": folder / "srs.txt"} if (folder / "srs.txt").is_file() else {}
    return needed | srs | ({"features": ["measured"]} if regions else {})


def make_tables(folder: Path, part: str) -> list[str]:
    """Make of the `sources` of a part its tables, and say in lines what a user should know of them."""
    makers: dict[str, Callable[[Path], list[str]]] = {"flares": _flares, "srs": _summaries, "sharp": _sharp}
    return makers[part](folder) if part in makers else []


def _flares(folder: Path) -> list[str]:
    notes, lists = [], []
    events = folder / "sources" / "events"
    for path in events.glob("*events.txt"):
        try:
            read_flare_columns(path)
        except DataError as error:  # one text must not cost the others
            path.rename(f"{path}.unreadable")
            notes.append(f"set aside: {error}")
    # The yearly reports are NOAA's last word; the HEK names regions that the daily ones do not.
    daily = [events] if any(events.glob("*events.txt")) else []
    for path in [*sorted(events.glob("goes-xrs-report_*.txt")), *daily, *sorted(folder.glob("sources/hek/*.csv"))]:
        try:
            lists.append(read_flares(path, scale="as listed"))
        except DataError as error:
            notes.append(f"left out: {error}")
    if not lists:
        return [*notes, "flares.csv: not written, there is no list of flares"]
    merged = reduce(merge_flares, lists)
    merged.write_csv(folder / "flares.csv")
    strong = merged.table[reaches(merged.table["flux"], "C")]
    named = int(strong["noaa"].notna().sum())
    few = ", too few for region models" * (3 * named < len(strong))
    told = f"flares.csv: {len(merged)} flares; {named} of {len(strong)} of class C and above name their region{few}"
    months = merged.table["start"].dt.tz_localize(None).dt.to_period("M")
    empty = [str(month) for month in pd.period_range(months.min(), months.max()) if not (months == month).any()]
    return [*notes, told, *[f"flares.csv: no flare in {', '.join(empty)}"] * bool(empty)]


def _summaries(folder: Path) -> list[str]:
    texts = [path.read_bytes() for path in sorted(folder.glob("sources/srs/*SRS.txt"))]
    dated = [text for text in texts if b":Issued:" in text]
    if dated:
        write_whole(folder / "srs.txt", b"\n".join(dated))
    return [f"srs.txt: {len(dated)} daily summaries; {len(texts) - len(dated)} left out, without a time of issue"]


def _sharp(folder: Path) -> list[str]:
    tables = [read_sharp_table(path) for path in sorted(folder.glob("sources/sharp-*/*.parquet"))]
    if not tables:
        return ["sharp.parquet, regions.parquet: not written, there is no record"]
    table = pd.concat(tables).drop_duplicates(["time", "harpnum"]).sort_values(["time", "harpnum"], ignore_index=True)
    table.attrs = {"units": dict(UNITS)}
    write_sharp_table(table, folder / "sharp.parquet")
    regions = keyword_regions(table)
    write_whole(folder / "regions.parquet", lambda file: regions.to_parquet(file, index=False))
    told = f"regions.parquet: {len(regions)} rows of {regions['region'].nunique()} regions"
    return [f"{told}; {len(table) - len(regions)} records left out by their QUALITY"]


_KEYS: Final = ["time", "region", "harpnum", "noaa", "noaas", "lon", "lat", "quality", "AREA", "R_VALUE"]


def keyword_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Region table of a `sharp_table`: AREA, R_VALUE, and under their names the vector features that keywords are.

    SAVNCPP, which has 1/c for c (`kflare.sharp.keywords`), becomes ampere by the distance of the Earth, to 0.1 %.
    Records whose QUALITY the policy `default` rejects are left out.
    """
    since_perihelion = 2 * np.pi * (table["time"].dt.day_of_year - 4) / 365.25
    distance = AU_M * (1 - 0.0167 * np.cos(since_perihelion))
    arcsec = np.degrees(np.arctan(np.radians(0.03) * SOLAR_RADIUS_M / distance)) * 3600
    features = {name: table[of] for name, of in VECTOR_KEYWORDS.items() if of in SHARP_KEYWORDS}
    features["SavNCPP"] = features["SavNCPP"] * arcsec**2
    keep = (table["quality"].fillna(0).to_numpy(np.int64) & policy_named("default").hmi_reject) == 0
    return table[_KEYS].assign(**features)[keep].reset_index(drop=True)
