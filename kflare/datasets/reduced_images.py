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
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter

from kflare.datasets.nuisances import as_another_source
from kflare.errors import SettingError
from kflare.io.arrays import AnyArray, Float16Array, Float32Array
from kflare.observations.magnetogram import ByteScale, Magnetogram
from kflare.observations.readers.reader import Options
from kflare.observations.reading import open_reader
from kflare.observations.usability import require_usable
from kflare.regions.inversion_lines import near_both_polarities

_STRONG = 80.0  # gauss; below ±100 G, so that it works on the byte scale of the papers' images too
# Gauss, or half of the byte scale where that is less: of the lines whose field says most (Schrijver 2007).
_LINES = 125.0
SATURATED = 0.95  # share of the full scale
FULL_SCALE = 250.0  # gauss, where the image has no byte scale


def proxies_of(image: Magnetogram) -> dict[str, float]:
    """Unsigned flux, length and field of polarity inversion lines, saturated area of the disk. Our choice.

    `log_flux`: log10 of the mean |B| on the disk, in gauss. `log_pil`: log10 of the share of disk pixels that have both
    polarities, beyond ±80 G, in their 3×3 neighbourhood. `log_saturated`: log10 of the share beyond 95 % of the byte
    scale (of 250 G without one). Shares are counted from one pixel on. `log_line_field`: log10 of the mean over the
    disk of |B| near lines (both polarities beyond ±125 G, averaged over 9×9 pixels), from 1e-3 gauss on.
    """
    on_disk = np.isfinite(image.data)
    field = np.where(on_disk, image.data, 0.0)
    pixels = int(on_disk.sum())
    both = near_both_polarities(field, threshold=_STRONG, strict=True) & on_disk
    scale = image.byte_range or FULL_SCALE
    saturated = np.abs(field) >= SATURATED * scale
    near = near_both_polarities(field, threshold=min(_LINES, scale / 2)).astype(np.float32)
    line_field = uniform_filter(near, 9, mode="constant") * np.abs(field)
    shares = {"log_flux": max(np.abs(field).sum() / pixels, 1e-3), "log_pil": (1 + both.sum()) / pixels}
    shares |= {"log_saturated": (1 + saturated.sum()) / pixels}
    shares |= {"log_line_field": max(line_field.sum() / pixels, 1e-3)}
    return {name: float(np.log10(share)) for name, share in shares.items()}


_THREADS = 4  # each may hold a magnetogram of 4096 pixels, 64 MB, and a few copies of it


@dataclass(frozen=True, eq=False)
class ReducedImages:
    """N magnetograms, reduced, and what else was wanted of them while they were decoded."""

    fields: Float32Array  # of `reduce_field`, (N, S, S, 1), in a nameless file: not all of it in memory
    digests: tuple[str, ...]  # SHA-256 of the content of each file, unpacked
    proxies: pd.DataFrame  # `proxies_of` each magnetogram
    guises: Float16Array  # the same of each image as V other sources show it, (N, V, S, S, 1)
    measured: Float32Array | None  # what `measure` gave for each, shape (N, ...)
    instruments: tuple[str, ...] = ()  # what each is of: "HMI", "MDI", "unknown"
    scales: tuple[ByteScale | None, ...] = ()  # of the 8-bit images


def reduce_images(
    paths: Sequence[str | Path], *, size: int, byte_range: float | None, folder: Path,
    measure: Callable[[Float32Array], Float32Array] | None = None, guises: int = 0
) -> ReducedImages:  # fmt: skip
    """Read, decode, reduce and measure N magnetograms, for all epochs, folds and seeds of a run.

    `size` is the side of the network's input in pixels, `byte_range` as of `read_magnetogram`, `measure` gives an array
    of one shape of each reduced image (S, S, 1), and of each `guises` more are made (`nuisances.as_another_source`; the
    same for the same content). The reduced images, 4 · size² bytes each and half as much for a guise, lie in `folder`
    while the process runs: the run's own, or where that will be made. `SettingError` if nothing can be written there.
    """
    from kflare.datasets.preprocessing import reduced, reduction
    from kflare.io.progress import progress

    fields = _unnamed_file(folder, (len(paths), size, size, 1), np.float32)
    others = _unnamed_file(folder, (len(paths), guises, size, size, 1), np.float16)

    def one(number: int) -> tuple[str, dict[str, float], Float32Array | None, str, ByteScale | None]:
        reader, content = open_reader(paths[number])
        magnetogram = require_usable(reader.read(content, Options(str(paths[number]), byte_range=byte_range)))
        digest = hashlib.sha256(content)
        fields[number, ..., 0] = field = reduced(magnetogram, size=size)
        random = np.random.default_rng(list(digest.digest()))
        for guise in range(guises):
            other = reduction(size)(as_another_source(magnetogram, random)).numpy()
            # A small image may be too coarse in a smaller guise.
            others[number, guise, ..., 0] = other if np.isfinite(other).any() else field
        measured = None if measure is None else measure(fields[number])
        return digest.hexdigest(), proxies_of(magnetogram), measured, magnetogram.instrument, magnetogram.byte_scale

    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        work = pool.map(one, range(len(paths)))  # after a file that cannot be used the others are not read
        found = list(progress(work, total=len(paths), desc="reading magnetograms", unit="image"))
    digests, proxies, measured, instruments, scales = zip(*found, strict=True)
    maps = None if measure is None else np.stack(measured)
    return ReducedImages(fields, digests, pd.DataFrame(proxies), others, maps, instruments, scales)


def _unnamed_file(folder: Path, shape: tuple[int, ...], dtype: type[np.floating[Any]]) -> AnyArray:
    size = np.dtype(dtype).itemsize * math.prod(shape)
    if not size:
        return np.empty(shape, dtype)
    try:
        # A run that is refused afterwards leaves no folder behind, so one that is not there yet is not made here.
        folder = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if size > shutil.disk_usage(folder).free:
            fault = f"{folder} has no room for {shape[0]} images of {shape[1]} pixels, {size >> 20} MiB"
            raise SettingError(f"{fault}: choose another --output or a smaller --image-size")
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # so that a full disk is an error, not a signal at some write
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise SettingError(f"cannot use {folder} for the reduced images: {error}; choose another --output") from error
