"""Going through an archive: magnetograms in, one attribution file per image out, in constant memory.

A file that exists is read instead of made, so a run that was killed can be continued, and the numbers of an image come
from its file in either case. Images that cannot be read are reported by name, and the others are done.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from kflare.attribution.attribution_file import (
    ANSWERED_METHODS,
    Attribution,
    read_attribution,
    read_origin,
    write_attribution,
)  # fmt: skip
from kflare.attribution.harps import RegionPatch, bitmap_files, place_regions, regions_near
from kflare.attribution.image_maps import image_rows
from kflare.attribution.published import Ask, AttributionModel, open_once
from kflare.attribution.region_tables import read_regions
from kflare.datasets.archive import forecast_time
from kflare.errors import DataError, SettingError
from kflare.io.arrays import AnyArray, Float32Array
from kflare.io.atomic import held_folders
from kflare.io.integrity import damage
from kflare.observations.magnetogram import ByteScale, Magnetogram, require_byte_range
from kflare.observations.reading import magnetogram_time, read_magnetogram
from kflare.observations.usability import require_usable
from kflare.sun.times import time_from_name

_TASK_BATCHES = 4
_regions = lru_cache(maxsize=1)(read_regions)

Batch = list[tuple[Magnetogram, Float32Array] | str]
Made = tuple[Attribution, Float32Array | None, dict[str, float], ByteScale | None]
Outputs = dict[str, AnyArray]


@dataclass(frozen=True)
class Export:
    """What an export makes, and where; the same for all of its images."""

    folder: Path  # gets `maps/`, and `pictures/` where asked for
    byte_range: float | None = None  # gauss of byte 255 in 8-bit images, as told: see `read_magnetogram`
    model_range: float | None = None  # the same of what the model learnt from
    batch_size: int = 4  # images per call of the model
    regions: Path | None = None  # table that `region_tables.read_regions` takes
    bitmaps: Path | None = None  # folder of the bitmaps of HARPs, see `harps.harp_areas`
    pictures: bool = False  # draw an overlay of each image

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
class ImageJob:
    """One image: its magnetogram (None where only its attribution file is left), that file, and whether it is there."""

    image: Path | None
    target: Path
    done: bool = False


@dataclass(frozen=True)
class ImageResult:
    """What came of a job: rows of numbers, or why the image could not be used."""

    job: ImageJob
    rows: list[dict[str, Any]]
    failure: str | None = None
    scale: ByteScale | None = None  # of an image of 8 bits that was read


def in_span(images: Iterable[Path], *, begin: datetime | None, end: datetime | None) -> list[Path]:
    """Magnetograms of nominal time (of the name, else the file) in [begin, end), and those without a readable one."""
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


def plan_export(images: Iterable[Path], settings: Export, source: AttributionModel) -> list[ImageJob]:
    """Jobs by file name, of the images given and the attribution files found; `SettingError` where these disagree."""
    from kflare.io.progress import progress

    wanted: dict[str, Path] = {}
    for image in images:
        other = wanted.setdefault(f"{image.stem}.fits", image)
        if other.resolve() != image.resolve():
            fault = f"`{other}` and `{image}` would both become {image.stem}.fits"
            raise SettingError(f"{fault}: export them into two folders")
    found = {path.name: path for path in settings.maps.glob("[!.]*.fits")}
    jobs = []
    names = sorted(wanted.keys() | found.keys())
    for name in progress(names, desc="looking for what is done", unit="image", delay=2):
        whole = name in found and damage(found[name], "FITS") is None
        if whole:
            headed = name in wanted and wanted[name].suffix.lower() == ".jp2"  # whose header tells the scale
            held = _require_same(found[name], None if headed else settings.byte_range, source)
            lacks = set(source.methods) - held - set(ANSWERED_METHODS)
            whole = name not in wanted or not (lacks or source.reference)
        elif name not in wanted:
            continue  # A damaged file of an image that is not asked for: no job, and no harm.
        jobs.append(ImageJob(wanted.get(name), settings.maps / name, whole))
    return jobs


def tasks(jobs: Sequence[ImageJob], settings: Export) -> list[Sequence[ImageJob]]:
    """The jobs in tasks: long enough to outweigh sending one, short enough for a lost worker to lose little."""
    step = _TASK_BATCHES * settings.batch_size
    return [jobs[begin : begin + step] for begin in range(0, len(jobs), step)]


def export(jobs: Sequence[ImageJob], source: AttributionModel, settings: Export) -> Iterator[ImageResult]:
    """Do the jobs in order; a failed image stands in its result, what concerns all (model, folder, table) is raised."""
    if settings.regions is not None:
        _regions(settings.regions)  # Raises here what is wrong with the table, and not for each image.
    if settings.bitmaps is not None:
        bitmap_files(settings.bitmaps)
    made = _made([job for job in jobs if not job.done], source, settings)
    for job in jobs:
        try:
            found = (read_attribution(job.target), None, {}, None) if job.done else next(made)
            if isinstance(found, str):
                yield ImageResult(job, [], found)
                continue
            attribution, field, more, scale = found
            patches: list[RegionPatch] = []
            if settings.regions is not None:
                near = regions_near(_regions(settings.regions), attribution.time)
                patches = place_regions(near, attribution.frame, bitmaps=settings.bitmaps)
            if settings.pictures:
                _draw(attribution, field, job, settings, patches)
            yield ImageResult(job, [row | more for row in _rows(attribution, patches)], scale=scale)
        except DataError as error:
            yield ImageResult(job, [], str(error))


def _rows(attribution: Attribution, patches: list[RegionPatch]) -> list[dict[str, Any]]:
    origin = attribution.origin
    about = {name: getattr(attribution, name) for name in ("time", "image", "probability", "calibrated")}
    about |= {"forecast_time": forecast_time(attribution.time), "model": origin.model, "version": origin.version}
    return [{**about, **row} for row in image_rows(attribution, patches)]


def _draw(
    attribution: Attribution, field: Float32Array | None, job: ImageJob, settings: Export, patches: list[RegionPatch]
) -> None:
    from kflare.attribution.figures import overlay, save

    path = settings.drawings / f"{job.target.stem}.png"
    if field is None:
        if path.exists() or job.image is None:
            return
        field = attribution.on_maps(read_magnetogram(job.image, byte_range=attribution.byte_range)).data
    save(overlay(attribution, field, patches=patches), path, dpi=100)


def _made(jobs: Sequence[ImageJob], source: AttributionModel, settings: Export) -> Iterator[Made | str]:
    """Attribution, field (S, S) that the network saw, difference from tf-keras-vis; or why not: by job."""
    targets = (job.target for job in jobs)
    for images, outputs in _answered(_batches(jobs, source.size, settings), source):
        row = 0
        for image, target in zip(images, targets):  # noqa: B905 (batches end before the targets do)
            if isinstance(image, str):
                yield image
                continue
            attribution = Attribution.of_reply(outputs, row, image[0], origin=source.origin)
            if target.exists():
                with suppress(DataError):  # of a damaged file nothing is kept
                    attribution = attribution.with_others(read_attribution(target))
            write_attribution(attribution, target)
            apart = {name: float(values[row]) for name, values in outputs.items() if name.endswith("_reference")}
            yield attribution, image[1], apart, image[0].byte_scale
            row += 1


def _answered(batches: Iterable[Batch], source: AttributionModel) -> Iterator[tuple[Batch, Outputs]]:
    """The model's answer to each batch; it works on the next one while the last is written."""
    with ThreadPoolExecutor(1) as model:
        waiting = None
        for batch in batches:
            fields = [image[0].data for image in batch if not isinstance(image, str)]
            answer = model.submit(_ask, open_once(source), fields) if fields else None
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            if answer is None:  # only the last batch may have no image that can be read
                yield batch, {}
                return
            waiting = batch, answer
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def _ask(ask: Ask, fields: Sequence[Float32Array]) -> Outputs:
    """Ask about magnetograms as they were measured, at once where they have one size."""
    if len({field.shape for field in fields}) == 1:
        return ask(np.stack(fields)[..., None])
    replies = [ask(field[None, ..., None]) for field in fields]
    return {name: np.concatenate([reply[name] for reply in replies]) for name in replies[0]}


def _batches(jobs: Sequence[ImageJob], size: int, settings: Export) -> Iterator[Batch]:
    """Images of as many jobs as hold `batch_size` that can be read, which are read ahead on all processors."""
    readers_at_work = os.cpu_count() or 1
    ahead = readers_at_work + settings.batch_size
    with ThreadPoolExecutor(readers_at_work) as readers:
        under_way: deque[Future[tuple[Magnetogram, Float32Array] | str]] = deque()
        waiting = iter(jobs)
        batch: Batch = []
        while True:
            under_way += [readers.submit(_read, job, size, settings) for job in islice(waiting, ahead - len(under_way))]
            if not under_way:
                break
            batch.append(under_way.popleft().result())
            if sum(not isinstance(image, str) for image in batch) == settings.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch


def _read(job: ImageJob, size: int, settings: Export) -> tuple[Magnetogram, Float32Array] | str:
    """An image, and its field (S, S) reduced as the model itself does for a picture; or why there is none."""
    from kflare.datasets.preprocessing import reduced

    assert job.image is not None
    try:
        image = read_magnetogram(job.image, byte_range=settings.byte_range, model_range=settings.model_range)
        return require_usable(image), reduced(image, size=size)
    except DataError as error:
        return str(error)


def _require_same(path: Path, told: float | None, source: AttributionModel) -> set[str]:
    """The methods of a file that was made by the same model from the same field, else `SettingError`."""
    origin, byte_range, methods = read_origin(path)
    mine = source.origin
    digests = {mine.digest, origin.digest} - {""}
    if (origin.model, origin.version) != (mine.model, mine.version) or len(digests) > 1:
        other = " of another training" if len(digests) > 1 else ""
        made = f"{origin.model} version {origin.version}{other}, not by {mine.model} version {mine.version}"
        raise SettingError(f"`{path}` was made by {made}: choose another folder, or delete that one")
    if None not in {byte_range, told} and byte_range != told:
        fault = f"`{path}` was made with a byte range of {byte_range:g} G, not {told:g} G"
        raise SettingError(f"{fault}: choose another folder, or delete that one")
    return set(methods)
