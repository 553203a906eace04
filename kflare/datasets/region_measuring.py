"""Measuring a run's times one by one, here or on many machines: one job per time, one part per job."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from kflare.datasets.region_parts import is_done, part_path, write_failure, write_part
from kflare.errors import DataError, SettingError
from kflare.flares.srs import read_srs
from kflare.io.atomic import held_folders, write_whole
from kflare.observations.sets import ObservationSet
from kflare.regions.extraction import Extraction, measure
from kflare.regions.tracking import noaa_numbers

__all__ = ["Job", "Result", "measure_all", "plan", "settled_folder"]


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


@contextmanager
def settled_folder(folder: Path, options: Extraction) -> Iterator[Path]:
    """Make a run's folder and keep it for this run alone.

    `SettingError` if another run is at work in it, or it holds parts that were measured with other options.
    """
    folder = folder.absolute()
    with held_folders(folder / "parts", folder / "pictures"):
        _require_same(folder / "parts" / "options.json", options)
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
            measured = measure(job.observations, options=options)
        except DataError as error:
            write_failure(str(error), job.observations, job.part)
            yield Result(job, 0, str(error))
            continue
        if job.picture is not None:
            from kflare.regions.quick_look import draw_quick_look

            numbers = [()] * len(measured.rows) if job.srs is None else noaa_numbers(measured.detection, _srs(job.srs))
            names = ["/".join(map(str, own)) for own in numbers]
            draw_quick_look(measured.magnetogram, measured.detection, job.picture, names=names)
        write_part(measured, job.observations, job.part)
        yield Result(job, len(measured.rows))


@lru_cache(maxsize=1)
def _srs(path: Path) -> pd.DataFrame:
    return read_srs(path)


def _require_same(path: Path, options: Extraction) -> None:
    wanted = options.as_json()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        write_whole(path, json.dumps(wanted, indent=2))
        return
    except (OSError, ValueError) as error:
        raise SettingError(f"`{path}` cannot be read: {error}; choose another folder") from error
    if stored != wanted:
        changed = sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))
        raise SettingError(
            f"`{path.parent}` holds parts that were measured with another `{'`, `'.join(changed)}`: choose another "
            "--output, or delete the folder to measure anew"
        )
