"""Measuring a run's times one by one, here or on many machines, each into a small file, so that it can go on later.

Each part is a Parquet file of the rows of a time, with what is known of the time itself as their `attrs`: also
where there was "no sunspot", or no usable magnetogram.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kflare.errors import DataError
from kflare.flares.srs import read_srs
from kflare.io.atomic import held_folders, write_whole
from kflare.io.run_settings import require_same_settings
from kflare.observations.magnetogram import ByteScale
from kflare.observations.sets import ObservationSet
from kflare.regions.detection import Detection, Region
from kflare.regions.extraction import Extraction, Measured, measure
from kflare.regions.tracking import noaa_numbers
from kflare.sun.disk import Disk
from kflare.sun.geometry import DiskGeometry

NO_DATA: Final = "no data"
_srs = lru_cache(maxsize=1)(read_srs)
_REGION = tuple(Region.__dataclass_fields__)


@dataclass(frozen=True, eq=False)
class Part:
    """What was measured at one time."""

    time: datetime  # Of the magnetogram, or of the set where it could not be read; UTC.
    status: str  # "regions", "no sunspot" or "no data"
    reason: str  # why there are no data; "" where there are
    files: list[str]  # names, the magnetogram's first
    detection: Detection | None  # None without data
    rows: pd.DataFrame  # as `Measured.rows`


def part_path(folder: Path, observations: ObservationSet) -> Path:
    """Where the part of a set is kept."""
    return folder / f"{observations.time:%Y%m%dT%H%M%SZ}.parquet"


def is_done(path: Path, observations: ObservationSet) -> bool:
    """Whether a part is there and of the same files; a set that has got more files since is measured again."""
    from pyarrow import ArrowException, parquet

    with suppress(ArrowException, OSError, LookupError):
        about = json.loads(parquet.read_schema(path).metadata[b"PANDAS_ATTRS"])  # of the file without its rows
        return bool(about["files"] == _names(observations))
    return False


def write_part(measured: Measured | str, observations: ObservationSet, path: Path) -> None:
    """Write what was measured, or why a set could not be; the file takes its place when it is whole."""
    about: dict[str, Any] = {"time": observations.time.isoformat(), "status": NO_DATA, "reason": measured}
    rows, geometry = pd.DataFrame(), None
    if not isinstance(measured, str):
        rows, geometry = measured.rows.copy(), asdict(measured.detection.geometry)
        about = {"time": measured.time.isoformat(), "status": measured.detection.status, "reason": ""}
    rows.attrs = {**about, "geometry": geometry, "files": _names(observations)}
    write_whole(path, lambda file: rows.to_parquet(file, index=False))


def read_part(path: Path, *, columns: Sequence[str] | None = None) -> Part:
    """Read a part, or some columns of it; `DataError` if it is damaged."""
    from pyarrow import ArrowException, parquet

    try:
        known = parquet.read_schema(path).names
        rows = pd.read_parquet(path, columns=columns and [name for name in columns if name in known])
        about, rows.attrs = rows.attrs, {}
        time = datetime.fromisoformat(about["time"])
        detection = None if about["geometry"] is None else _detection(time, about["geometry"], rows)
        return Part(time, about["status"], about["reason"], about["files"], detection, rows)
    except (ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"`{path}` is a damaged part of a run: {reason}; delete it and run again") from error


def _detection(time: datetime, geometry: dict[str, Any], rows: pd.DataFrame) -> Detection:
    view = DiskGeometry(**{**geometry, "disk": Disk(**geometry["disk"]), "shape": tuple(geometry["shape"])})
    regions = tuple(Region(**row) for row in rows.reindex(columns=list(_REGION)).to_dict("records"))
    return Detection(time, view, regions)


def _names(observations: ObservationSet) -> list[str]:
    return [path.name for path in observations.files]


@dataclass(frozen=True)
class Job:
    """One set of observations, where its part and its picture go (None = no picture), and whether they are there."""

    observations: ObservationSet
    part: Path
    picture: Path | None = None
    srs: Path | None = None
    done: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a job: how many regions, or why it could not be measured."""

    job: Job
    regions: int
    failure: str | None = None
    scale: ByteScale | None = None  # of a magnetogram of 8 bits


@contextmanager
def settled_folder(folder: Path, options: Extraction) -> Iterator[Path]:
    """Make a run's folder, for this run alone; `SettingError` if it holds another's work or other options' parts."""
    folder = folder.absolute()
    with held_folders(folder / "parts", folder / "pictures"):
        path = folder / "parts" / "options.json"
        if path.exists():
            require_same_settings(path, options.as_json(), what="parts that were measured")
        write_whole(path, json.dumps(options.as_json(), indent=2))
        yield folder


def plan(sets: Iterable[ObservationSet], folder: Path, *, pictures: bool = False, srs: Path | None = None) -> list[Job]:
    """What is to be done for each set, in order; `srs` names the regions in the pictures."""
    jobs = []
    for observations in sets:
        part = part_path(folder / "parts", observations)
        picture = folder / "pictures" / f"{part.stem}.png" if pictures else None
        done = is_done(part, observations) and (picture is None or picture.exists())
        jobs.append(Job(observations, part, picture, srs, done))
    return jobs


def measure_all(jobs: Iterable[Job], options: Extraction) -> Iterator[Result]:
    """Do the jobs, one after the other."""
    for job in jobs:
        try:
            measured = measure(job.observations, options=options, drawn=job.picture is not None)
        except DataError as error:
            write_part(str(error), job.observations, job.part)
            yield Result(job, 0, str(error))
            continue
        if job.picture is not None:
            from kflare.regions.quick_look import draw_quick_look, draw_vector_map

            numbers = [()] * len(measured.rows) if job.srs is None else noaa_numbers(measured.detection, _srs(job.srs))
            names = ["/".join(map(str, own)) for own in numbers]
            if measured.vector is not None:
                path = job.picture.with_suffix(".vector.png")
                draw_vector_map(measured.vector, measured.detection, path, names=names)
            draw_quick_look(measured.magnetogram, measured.detection, job.picture, names=names)
        write_part(measured, job.observations, job.part)
        yield Result(job, len(measured.rows), scale=measured.magnetogram.byte_scale)
