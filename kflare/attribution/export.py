"""Going through an archive: magnetograms in, one attribution file per image out, in constant memory.

A file that is there already is read instead of made, so a run that was killed goes on where it was, and the numbers of
an image come from its file in either case. What cannot be read is told by name, and the rest is done.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kflare.attribution.attribution_file import (
    Attribution,
    read_attribution,
    read_origin,
    write_attribution,
)
from kflare.attribution.harps import RegionPatch, place_regions, regions_near
from kflare.attribution.map_values import image_rows
from kflare.attribution.published import Ask, Source, opened
from kflare.attribution.region_tables import read_regions
from kflare.datasets.archive import forecast_time
from kflare.errors import DataError, SettingError
from kflare.io.atomic import held_folders
from kflare.io.integrity import damage
from kflare.observations.magnetogram import Magnetogram, require_byte_range
from kflare.observations.reading import magnetogram_time, read_magnetogram
from kflare.sun.times import time_from_name

__all__ = ["Export", "Job", "Result", "export", "in_span", "plan", "tasks"]

_TASK_BATCHES = 4


@dataclass(frozen=True)
class Export:
    """What an export makes, and where; the same for all of its images.

    Parameters
    ----------
    folder : Path
        Gets `maps/`, and `pictures/` where asked for.
    byte_range : float or None
        Field in gauss of byte 255 in 8-bit images; None as `read_magnetogram` has it.
    batch_size : int
        Images per call of the model.
    regions : Path or None
        Table of region positions, as `region_tables.read_regions` takes it.
    pictures : bool
        Draw an overlay of each image.
    """

    folder: Path
    byte_range: float | None = None
    batch_size: int = 4
    regions: Path | None = None
    pictures: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingError(f"`batch_size` must be at least 1, got {self.batch_size}")
        if self.byte_range is not None:
            require_byte_range(self.byte_range)

    @property
    def maps(self) -> Path:
        """Folder of the attribution files."""
        return self.folder / "maps"

    @property
    def drawings(self) -> Path:
        """Folder of the overlays."""
        return self.folder / "pictures"

    def held(self) -> AbstractContextManager[None]:
        """Make the folders and keep them for this run alone; `SettingError` where that cannot be."""
        return held_folders(*((self.maps, self.drawings) if self.pictures else (self.maps,)))


@dataclass(frozen=True)
class Job:
    """One image: its magnetogram (None where only its attribution file is left), that file, and whether it is there."""

    image: Path | None
    target: Path
    done: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a job: rows of numbers, or why the image could not be used."""

    job: Job
    rows: list[dict[str, Any]]
    failure: str | None = None


def in_span(images: Iterable[Path], *, begin: pd.Timestamp | None, end: pd.Timestamp | None) -> list[Path]:
    """Magnetograms whose nominal time lies in [begin, end).

    The time is that in the name, else that in the file; a file without a readable time stays, so that it is reported.
    """
    if begin is None and end is None:
        return list(images)
    kept = []
    for path in images:
        time: datetime | None = time_from_name(path)
        if time is None:
            with suppress(DataError):
                time = magnetogram_time(path)
        nominal = None if time is None else forecast_time(time)
        if nominal is None or ((begin is None or nominal >= begin) and (end is None or nominal < end)):
            kept.append(path)
    return kept


def plan(images: Iterable[Path], settings: Export, source: Source) -> list[Job]:
    """What is to be done, in the order of the file names: the images given, and the attribution files found.

    Raises
    ------
    SettingError
        Two images would share a file, or the folder holds files of another model or byte range.
    """
    from tqdm import tqdm

    wanted: dict[str, Path] = {}
    for image in images:
        other = wanted.setdefault(f"{image.stem}.fits", image)
        if other.resolve() != image.resolve():
            raise SettingError(
                f"`{other}` and `{image}` would both become {image.stem}.fits: export them into two folders"
            )
    found = {path.name: path for path in settings.maps.glob("[!.]*.fits")}
    jobs = []
    names = sorted(wanted.keys() | found.keys())
    for name in tqdm(names, desc="looking for what is done", unit="image", disable=None, delay=2):
        whole = name in found and damage(found[name], "FITS") is None
        if whole:
            _require_same(found[name], settings, source)
        elif name not in wanted:
            continue  # A damaged file of an image that is not asked for: no job, and no harm.
        jobs.append(Job(wanted.get(name), settings.maps / name, whole))
    return jobs


def tasks(jobs: Sequence[Job], settings: Export) -> list[Sequence[Job]]:
    """The jobs in tasks: long enough to outweigh sending one, short enough for a lost worker to lose little."""
    step = _TASK_BATCHES * settings.batch_size
    return [jobs[begin : begin + step] for begin in range(0, len(jobs), step)]


def export(jobs: Sequence[Job], source: Source, settings: Export) -> Iterator[Result]:
    """Do the jobs in their order; each result when its file is in place.

    Parameters
    ----------
    jobs : sequence of Job
        As from `plan`.
    source : Source
        Whom to ask.
    settings : Export
        What to make.

    Yields
    ------
    Result
        One per job.

    Raises
    ------
    KflareError
        What concerns not one image but all: the model, the server, the folder, the table of regions.
    """
    if settings.regions is not None:
        _regions(settings.regions)  # Raises here what is wrong with the table, and not for each image.
    made = _made([job for job in jobs if not job.done], source, settings)
    for job in jobs:
        try:
            attribution, field = (read_attribution(job.target), None) if job.done else _next(made)
            patches = _patches(attribution, settings)
            if settings.pictures:
                _draw(attribution, field, job, settings, patches)
            yield Result(job, _rows(attribution, patches))
        except DataError as error:
            yield Result(job, [], str(error))


def _next(
    made: Iterator[tuple[Attribution | str, npt.NDArray[np.float32] | None]],
) -> tuple[Attribution, npt.NDArray[np.float32] | None]:
    attribution, field = next(made)
    if isinstance(attribution, str):
        raise DataError(attribution)
    return attribution, field


def _patches(attribution: Attribution, settings: Export) -> list[RegionPatch]:
    if settings.regions is None:
        return []
    return place_regions(regions_near(_regions(settings.regions), attribution.time), attribution.frame)


def _rows(attribution: Attribution, patches: list[RegionPatch]) -> list[dict[str, Any]]:
    about = {
        "time": attribution.time,
        "forecast_time": forecast_time(attribution.time),
        "image": attribution.image,
        "model": attribution.origin.model,
        "version": attribution.origin.version,
        "probability": attribution.probability,
        "calibrated": attribution.calibrated,
    }
    return [{**about, **row} for row in image_rows(attribution, patches)]


@lru_cache(maxsize=1)
def _regions(path: Path) -> pd.DataFrame:
    return read_regions(path)


def _draw(
    attribution: Attribution,
    field: npt.NDArray[np.float32] | None,
    job: Job,
    settings: Export,
    patches: list[RegionPatch],
) -> None:
    from kflare.attribution.overlay import draw_overlay

    path = settings.drawings / f"{job.target.stem}.png"
    if field is None:
        if path.exists() or job.image is None:
            return
        size = attribution.guided_backprop.shape[0]
        field = read_magnetogram(job.image, byte_range=settings.byte_range, size=size).data
    draw_overlay(attribution, field, path, patches=patches)


def _made(
    jobs: list[Job], source: Source, settings: Export
) -> Iterator[tuple[Attribution | str, npt.NDArray[np.float32] | None]]:
    """Attribution, or the reason why there is none, and the field (S, S) that the network saw, of each job in order."""
    if not jobs:
        return
    ask = opened(source)
    read: dict[int, Magnetogram] = {}
    failed: dict[int, str] = {}
    place = 0
    batches = _batches(jobs, source.size, settings, read, failed)
    for numbers, fields, outputs in _answers(batches, ask):
        for row, number in enumerate(numbers):
            while place < number:
                yield failed.pop(place), None
                place += 1
            attribution = Attribution.of_reply(outputs, row, read.pop(number), origin=source.origin)
            write_attribution(attribution, jobs[number].target)
            yield attribution, fields[row, :, :, 0]
            place += 1
    while place < len(jobs):
        yield failed.pop(place), None
        place += 1


def _answers(
    batches: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]], ask: Ask
) -> Iterator[tuple[list[int], npt.NDArray[np.float32], dict[str, npt.NDArray[Any]]]]:
    """The model's answer to each batch; it works on the next one while the last is written."""
    with ThreadPoolExecutor(1) as model:
        waiting = None
        for numbers, fields in batches:
            answer = model.submit(ask, fields)
            if waiting is not None:
                yield waiting[0], waiting[1], waiting[2].result()
            waiting = (numbers.tolist(), fields, answer)
        if waiting is not None:
            yield waiting[0], waiting[1], waiting[2].result()


def _batches(
    jobs: list[Job], size: int, settings: Export, read: dict[int, Magnetogram], failed: dict[int, str]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Numbers (B,) and fields (B, S, S, 1) of the images that can be read; `read` and `failed` take what else there is.

    Fields are reduced to the network's size as the model itself would, so that images of several sizes share a batch.
    """
    import tensorflow as tf

    from kflare.datasets.preprocessing import reduce_field

    def load(number: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        try:
            magnetogram = read_magnetogram(_image(jobs[int(number)]), byte_range=settings.byte_range)
        except DataError as error:
            failed[int(number)] = str(error)
            return np.zeros((0, 1, 1, 1), np.float32)
        # The field goes on through the pipeline: what is kept for the header needs the shape only.
        shape = np.broadcast_to(np.float32(np.nan), magnetogram.data.shape)
        read[int(number)] = replace(magnetogram, data=shape)
        return magnetogram.data[None, :, :, None]

    def loaded(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One image or, where it cannot be read, none: `unbatch` leaves that out.
        field = tf.ensure_shape(tf.numpy_function(load, [number], tf.float32, stateful=False), (None, None, None, 1))
        return tf.repeat(number, tf.shape(field)[0]), field

    def reduced(number: tf.Tensor, field: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return number, tf.ensure_shape(reduce_field(field[None], size=size)[0], (size, size, 1))

    data = tf.data.Dataset.range(len(jobs)).map(loaded, num_parallel_calls=tf.data.AUTOTUNE).unbatch().map(reduced)
    for numbers, fields in data.batch(settings.batch_size).prefetch(1):
        yield numbers.numpy(), fields.numpy()


def _image(job: Job) -> Path:
    assert job.image is not None
    return job.image


def _require_same(path: Path, settings: Export, source: Source) -> None:
    origin, byte_range = read_origin(path)
    mine = source.origin
    digests = {mine.digest, origin.digest} - {""}
    if (origin.model, origin.version) != (mine.model, mine.version) or len(digests) > 1:
        other = " of another training" if len(digests) > 1 else ""
        raise SettingError(
            f"`{path}` was made by {origin.model} version {origin.version}{other}, not by {mine.model} version "
            f"{mine.version}: choose another folder, or delete that one"
        )
    if None not in {byte_range, settings.byte_range} and byte_range != settings.byte_range:
        raise SettingError(
            f"`{path}` was made with a byte range of {byte_range:g} G, not {settings.byte_range:g} G: choose another "
            "folder, or delete that one"
        )
