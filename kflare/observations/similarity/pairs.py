"""Which files of an archive show the Sun at the same time, for the fidelity checks."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from kflare.errors import DataError, SettingError
from kflare.io.payload import format_of
from kflare.observations.reading import SUFFIXES, magnetogram_time
from kflare.sun.times import time_from_name


def file_pairs(folders: Sequence[Path], *, within: timedelta = timedelta(minutes=30)) -> list[tuple[Path, Path]]:
    """Pairs of magnetogram files of about the same time, in order of time; `DataError` if there is none.

    Of two or more folders each file of the first with the nearest in time of the others; of one folder each image in it
    (JPEG, PNG, JPEG 2000) with the nearest FITS file. `within` is the largest distance of a pair (Yi et al. 2021,
    section 2: 30 min between MDI and HMI).
    """
    for folder in folders:
        if not folder.is_dir():
            raise SettingError(f"`{folder}` is no folder; give folders of magnetograms")
    if len(folders) > 1:
        first, second = _timed(folders[:1]), _timed(folders[1:])
    else:
        files = _timed(folders)
        second = [(time, path) for time, path in files if _is_fits(path)]
        first = [(time, path) for time, path in files if not _is_fits(path)]
    pairs = []
    for time, path in first:
        distance, nearest = min(((abs(other - time), file) for other, file in second), default=(within * 2, path))
        if distance <= within:
            pairs.append((path, nearest))
    if not pairs:
        named = ", ".join(f"`{folder}`" for folder in folders)
        near = f"within {within.total_seconds() / 60:g} min; give folders of the same days"
        raise DataError(f"{named}: no two of {len(first)} and {len(second)} magnetograms are of the same time {near}")
    return pairs


def _timed(folders: Sequence[Path]) -> list[tuple[datetime, Path]]:
    files = (path for folder in folders for path in folder.iterdir() if path.is_file())
    named = (path for path in files if path.name.lower().endswith(SUFFIXES))
    return sorted((time_from_name(path) or magnetogram_time(path), path) for path in named)


def _is_fits(path: Path) -> bool:
    with path.open("rb") as file:
        return format_of(file.read(16)) == "FITS"
