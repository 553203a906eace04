"""Reading a magnetogram of 4096² pixels, RICE-compressed as JSOC's are, against astropy's bare decoding.

The file: HMI noise of 10 G with active regions, integers of 0.1 G, missing off the limb's surroundings, upside down
(CROTA2 = 180.01), 15 MB. At full size the fields are compared.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from benchmark import Row, Timed


def prepare(folder: Path) -> None:
    """Write a file like those of hmi.M_720s."""
    width, radius = 4096, 1900.0
    random = np.random.default_rng(0)
    index = np.arange(width, dtype=np.float32) - 2047.5
    distance = np.hypot(index, index[:, np.newaxis])
    field = random.normal(0, 10, (width, width)).astype(np.float32)
    for x, y, strength in zip(*random.uniform(-1000, 1000, (2, 40)), random.normal(0, 800, 40), strict=True):
        field += strength * np.exp(-((index - x) ** 2 + (index[:, np.newaxis] - y) ** 2) / 2 / 30**2)
    raw = np.where(distance < radius + 50, np.rint(10 * field), -(2**31)).astype(np.int32)
    header = fits.Header(
        {
            "BLANK": -(2**31), "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec",
            "CRPIX1": 2048.5, "CRPIX2": 2048.5, "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": 0.504, "CDELT2": 0.504,
            "CROTA2": 180.013, "RSUN_OBS": 0.504 * radius, "DSUN_OBS": 1.5e11, "CRLN_OBS": 20.0, "CRLT_OBS": 5.0,
            "BUNIT": "Gauss", "CONTENT": "MAGNETOGRAM", "INSTRUME": "HMI_SIDE1", "TELESCOP": "SDO/HMI", "QUALITY": 0,
            "T_OBS": "2013.10.23_00:00:01.5_TAI",
        }
    )  # fmt: skip
    image = fits.CompImageHDU(raw, header, compression_type="RICE_1", tile_shape=(1, width))
    image.header["BSCALE"] = 0.1
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "hmi.fits")


def ours(folder: Path, size: int | None = None) -> Timed:
    from kflare.observations.reading import read_magnetogram

    def run() -> Any:
        return read_magnetogram(folder / "hmi.fits", **({} if size is None else {"size": size})).data

    return Timed(run, answer=lambda: on_disk(run()) if size is None else None)


def bare(folder: Path, size: int | None = None) -> Timed:
    def run() -> Any:
        with fits.open(folder / "hmi.fits", memmap=False) as hdus:
            return hdus[1].data

    return Timed(run, answer=lambda: on_disk(run()[:, ::-1]) if size is None else None)


def on_disk(field: Any) -> Any:
    """Every fourth pixel of the disk in every fourth row."""
    index = np.arange(len(field))[::4] - 2047.5
    return np.where(np.hypot(index, index[:, np.newaxis]) < 1890, field[::4, ::4], 0)


ROWS = [
    Row("observations/4096", "a magnetogram of 4096² read at full size", ours, "file", {"bare astropy": bare}, prepare,
        threads=1, tolerance=1e-3),
    *(Row(f"observations/{size}", f"a magnetogram of 4096² read at {size}² ({how})", partial(ours, size=size), "file",
          {"bare astropy": partial(bare, size=size)}, prepare, threads=1)
      for size, how in ((512, "blocks"), (500, "areas"))),
]  # fmt: skip
