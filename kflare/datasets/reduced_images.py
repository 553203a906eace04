"""An archive of magnetograms as a network sees it: each file is read and decoded once, for a whole run."""

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import uniform_filter

from kflare.errors import SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.readers.reader import Options
from kflare.observations.reading import open_reader
from kflare.observations.usability import require_usable
from kflare.regions.inversion_lines import near_both_polarities

__all__ = ["FULL_SCALE", "SATURATED", "ReducedImages", "proxies_of", "reduce_images"]

_STRONG = 80.0  # gauss; below ±100 G, so that it works on the byte scale of the papers' images too
_LINES = (
    125.0  # gauss, or half of the byte scale where that is less: of the lines whose field says most (Schrijver 2007)
)
SATURATED = 0.95  # share of the full scale
FULL_SCALE = 250.0  # gauss, where the image has no byte scale


def proxies_of(image: Magnetogram) -> dict[str, float]:
    """Unsigned flux, length and field of polarity inversion lines, saturated area of the disk. Our choice.

    Returns
    -------
    dict of float
        `log_flux`: log10 of the mean |B| on the disk, in gauss. `log_pil`: log10 of the share of disk pixels that have
        both polarities, beyond ±80 G, in their 3×3 neighbourhood. `log_saturated`: log10 of the share beyond 95 % of
        the byte scale (of 250 G without one). Shares are counted from one pixel on. `log_line_field`: log10 of the mean
        over the disk of |B| near lines (both polarities beyond ±125 G, averaged over 9×9 pixels), from 1e-3 gauss on.
    """
    on_disk = np.isfinite(image.data)
    field = np.where(on_disk, image.data, 0.0)
    pixels = int(on_disk.sum())
    both = near_both_polarities(field, threshold=_STRONG, strict=True) & on_disk
    scale = image.byte_range or FULL_SCALE
    saturated = np.abs(field) >= SATURATED * scale
    near = near_both_polarities(field, threshold=min(_LINES, scale / 2)).astype(np.float32)
    line_field = uniform_filter(near, 9, mode="constant") * np.abs(field)
    return {
        "log_flux": float(np.log10(max(np.abs(field).sum() / pixels, 1e-3))),
        "log_pil": float(np.log10((1 + both.sum()) / pixels)),
        "log_saturated": float(np.log10((1 + saturated.sum()) / pixels)),
        "log_line_field": float(np.log10(max(line_field.sum() / pixels, 1e-3))),
    }


_THREADS = 4  # each may hold a magnetogram of 4096 pixels, 64 MB, and a few copies of it


@dataclass(frozen=True, eq=False)
class ReducedImages:
    """N magnetograms, reduced, and what else was wanted of them while they were decoded."""

    fields: npt.NDArray[np.float32]  # of `reduce_field`, (N, S, S, 1), in a nameless file: not all of it in memory
    digests: tuple[str, ...]  # SHA-256 of the content of each file, unpacked
    proxies: pd.DataFrame  # `proxies_of` each magnetogram
    measured: npt.NDArray[np.float32] | None  # what `measure` gave for each, shape (N, ...)


def reduce_images(
    paths: Sequence[str | Path],
    *,
    size: int,
    byte_range: float | None,
    folder: Path,
    measure: Callable[[Magnetogram], npt.NDArray[np.float32]] | None = None,
) -> ReducedImages:
    """Read, decode, reduce and measure N magnetograms, for all epochs, folds and seeds of a run.

    `size` is the side of the network's input in pixels, `byte_range` as of `read_magnetogram`, `measure` gives an array
    of one shape of each magnetogram. The reduced images, 4 · size² bytes each, lie in `folder` while the process runs:
    the run's own, or where that will be made. `SettingError` if it cannot be written to or is full.
    """
    import tensorflow as tf
    from tqdm import tqdm

    from kflare.datasets.preprocessing import reduce_field

    fields = _unnamed_file(folder, (len(paths), size, size, 1))

    def one(number: int) -> tuple[str, dict[str, float], npt.NDArray[np.float32] | None]:
        reader, content = open_reader(paths[number])
        magnetogram = require_usable(reader.read(content, Options(str(paths[number]), byte_range=byte_range)))
        fields[number] = reduce_field(tf.constant(magnetogram.data[None, :, :, None]), size=size)[0]
        measured = None if measure is None else measure(magnetogram)
        return hashlib.sha256(content).hexdigest(), proxies_of(magnetogram), measured

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        work = pool.map(one, range(len(paths)))  # after a file that cannot be used the others are not read
        found = list(tqdm(work, total=len(paths), desc="reading magnetograms", unit="image", disable=None))
    digests, proxies, measured = zip(*found, strict=True)
    return ReducedImages(fields, digests, pd.DataFrame(proxies), None if measure is None else np.stack(measured))


def _unnamed_file(folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    size = 4 * math.prod(shape)
    try:
        # A run that is refused afterwards leaves no folder behind, so one that is not there yet is not made here.
        folder = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if size > shutil.disk_usage(folder).free:
            raise SettingError(
                f"{folder} has no room for {shape[0]} images of {shape[1]} pixels, {size >> 20} MiB: choose another "
                "--output or a smaller --image-size"
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # so that a full disk is an error, not a signal at some write
            return np.memmap(file, np.float32, "r+", shape=shape)
    except OSError as error:
        raise SettingError(f"cannot use {folder} for the reduced images: {error}; choose another --output") from error
