"""Three plain numbers of a full-disk magnetogram, for the baselines that a network on images has to beat."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.regions.polarity_lines import near_both_polarities

__all__ = ["magnetogram_proxies", "proxies_of"]

_STRONG = 80.0  # gauss; below ±100 G, so that it works on the byte scale of the papers' images too
_SATURATED = 0.95
_FULL_SCALE = 250.0  # gauss, where the image has no byte scale


def proxies_of(image: Magnetogram) -> dict[str, float]:
    """Unsigned flux, length of polarity inversion lines and saturated area of the disk.

    Returns
    -------
    dict of float
        `log_flux`: log10 of the mean |B| on the disk, in gauss. `log_pil`: log10 of the share of disk pixels that have
        both polarities, beyond ±80 G, in their 3×3 neighbourhood. `log_saturated`: log10 of the share beyond 95 % of
        the byte scale (of 250 G without one). Shares are counted from one pixel on. Our choice, not the papers'.
    """
    on_disk = np.isfinite(image.data)
    field = np.where(on_disk, image.data, 0.0)
    pixels = int(on_disk.sum())
    both = near_both_polarities(field, threshold=_STRONG, strict=True) & on_disk
    saturated = np.abs(field) >= _SATURATED * (image.byte_range or _FULL_SCALE)
    return {
        "log_flux": float(np.log10(max(np.abs(field).sum() / pixels, 1e-3))),
        "log_pil": float(np.log10((1 + both.sum()) / pixels)),
        "log_saturated": float(np.log10((1 + saturated.sum()) / pixels)),
    }


def magnetogram_proxies(
    paths: Sequence[str | Path], *, byte_range: float | None, progress: bool = True
) -> pd.DataFrame:
    """`proxies_of` N files, one row each.

    Parameters
    ----------
    paths : sequence of N paths
        Magnetograms.
    byte_range : float or None
        Field in gauss of byte 255 in 8-bit images; None for the default of each kind.
    progress : bool
        Whether to show a progress bar on a terminal.
    """
    from tqdm import tqdm

    bar = tqdm(paths, desc="measuring magnetograms", unit="image", disable=None if progress else True)
    return pd.DataFrame([proxies_of(read_magnetogram(Path(path), byte_range=byte_range)) for path in bar])
