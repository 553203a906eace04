"""Three plain numbers of a full-disk magnetogram, for the baselines that a network on images has to beat."""

import numpy as np

from kflare.observations.magnetogram import Magnetogram
from kflare.regions.inversion_lines import near_both_polarities

__all__ = ["FULL_SCALE", "SATURATED", "proxies_of"]

_STRONG = 80.0  # gauss; below ±100 G, so that it works on the byte scale of the papers' images too
SATURATED = 0.95  # share of the full scale
FULL_SCALE = 250.0  # gauss, where the image has no byte scale


def proxies_of(image: Magnetogram) -> dict[str, float]:
    """Unsigned flux, length of polarity inversion lines and saturated area of the disk. Our choice, not the papers'.

    Returns
    -------
    dict of float
        `log_flux`: log10 of the mean |B| on the disk, in gauss. `log_pil`: log10 of the share of disk pixels that have
        both polarities, beyond ±80 G, in their 3×3 neighbourhood. `log_saturated`: log10 of the share beyond 95 % of
        the byte scale (of 250 G without one). Shares are counted from one pixel on.
    """
    on_disk = np.isfinite(image.data)
    field = np.where(on_disk, image.data, 0.0)
    pixels = int(on_disk.sum())
    both = near_both_polarities(field, threshold=_STRONG, strict=True) & on_disk
    saturated = np.abs(field) >= SATURATED * (image.byte_range or FULL_SCALE)
    return {
        "log_flux": float(np.log10(max(np.abs(field).sum() / pixels, 1e-3))),
        "log_pil": float(np.log10((1 + both.sum()) / pixels)),
        "log_saturated": float(np.log10((1 + saturated.sum()) / pixels)),
    }
