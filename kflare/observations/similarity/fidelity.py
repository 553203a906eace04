"""The report of the fidelity checks: pairs of magnetograms in, one row of figures per pair out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kflare.errors import DataError
from kflare.io.arrays import BoolArray, Float32Array
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.observations.similarity import measures

_COLUMNS: Final = (
    *("first", "second", "instruments", "minutes_apart"),
    *("byte_correlation", "gauss_correlation", "cw_ssim", "ssim", "note"),
)

MagnetogramSource = Magnetogram | str | Path


def fidelity_report(
    pairs: Iterable[tuple[MagnetogramSource, MagnetogramSource]], *, wavelet_size: int = 512
) -> pd.DataFrame:
    """Compare pairs of magnetograms as section 2 of Yi et al. (2021) does.

    Pairs are of image and data, or MDI and HMI, each as a magnetogram or path; the second is brought to the disk of the
    first. A pair with an 8-bit image in it gets its `byte_correlation` alone, since gauss beyond the byte range are
    lost; a pair of data gets everything. A pair that cannot be read or compared gets a `note` and NaN, and the others
    go on. CW-SSIM and SSIM are of `wavelet_size` pixels, or of the width of the smaller image if it is less (paper: not
    stated); below 256 pixels CW-SSIM is of as many scales as there are. The other settings are those of the functions
    in `kflare.observations.similarity.measures`.

    Gives one row per pair: `first`, `second` (sources), `instruments` ("MDI, HMI"), `minutes_apart` (float),
    `byte_correlation`, `gauss_correlation`, `cw_ssim`, `ssim` (plain SSIM on the byte scale, for comparison), all NaN
    where they do not apply, and `note` ("" or what was wrong). `attrs["published"]` holds the paper's means,
    `attrs["scales"]` the scales of 8-bit images.
    """
    rows, scales = [], []
    for first, second in pairs:
        row: dict[str, object] = dict.fromkeys(_COLUMNS, np.nan) | {"note": "", "instruments": ""}
        sources = [one.source if isinstance(one, Magnetogram) else str(one) for one in (first, second)]
        row["first"], row["second"] = sources
        try:
            x, y = (one if isinstance(one, Magnetogram) else read_magnetogram(one) for one in (first, second))
            scales += [x.byte_scale, y.byte_scale]
            row["instruments"] = f"{x.instrument}, {y.instrument}"
            row["minutes_apart"] = abs((x.time - y.time).total_seconds()) / 60
            row["byte_correlation"] = measures.byte_correlation(x, y)
            if x.byte_range is None and y.byte_range is None:
                row["gauss_correlation"] = measures.gauss_correlation(x, y)
                width = min(wavelet_size, x.data.shape[0], y.data.shape[0])
                a, b = measures.common_frame(x, y, size=width)
                on_disk = a.on_disk & np.isfinite(a.data) & np.isfinite(b.data)
                most = min(6, measures.most_scales(a.data.shape))
                row["cw_ssim"] = measures.cw_ssim(a.data, b.data, scales=most, where=on_disk)
                row["ssim"] = plain_ssim(a.data, b.data, where=on_disk)
        except DataError as error:
            row["note"] = str(error)
        rows.append(row)
    report = pd.DataFrame(rows, columns=list(_COLUMNS))
    report.attrs |= {"published": measures.PUBLISHED_SIMILARITY, "scales": scales}
    return report


def plain_ssim(x: Float32Array, y: Float32Array, *, where: BoolArray) -> float:
    """Structural similarity (Wang et al. 2004) by scikit-image, -1 to 1; NaN if `where` is empty.

    Images (H, W) are in gauss; what is not finite counts as 0. Fields are clipped to ±100 G, which also is half of the
    data range: with a range of thousands of gauss the constants of SSIM would call any two Suns alike.
    """
    from skimage.metrics import structural_similarity

    if not where.any():
        return float("nan")
    shown = [np.clip(np.where(np.isfinite(image), image, 0.0), -100.0, 100.0) for image in (x, y)]
    _, similar = structural_similarity(*shown, data_range=200.0, full=True)  # type: ignore[no-untyped-call]
    return float(similar[where].mean())
