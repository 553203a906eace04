"""Reading a magnetogram of 4096² pixels, RICE-compressed as JSOC's are, against astropy's bare decoding.

All variants are run in turn, round by round, and the smallest time of each counts, so that what else the machine does
falls on all of them. The file is made here: HMI noise of 10 G with active regions, integers of 0.1 G, missing off the
limb's surroundings, upside down (CROTA2 = 180.01), 15 MB; or give one of JSOC's.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from kflare.observations.reading import read_magnetogram

BARE = "astropy, image as it is used (.data)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench observations", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="a RICE-compressed full disk; made if not given")
    parser.add_argument("--rounds", type=int, default=15, help="rounds over all variants (default: 15)")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or made(Path(folder) / "hmi.fits")
        variants: dict[str, Callable[[], object]] = {
            BARE: lambda: decoded(path, scaled=True),
            "astropy, stored integers only": lambda: decoded(path, scaled=False),
            "kflare, 512²": lambda: read_magnetogram(path, size=512),
            "kflare, 500² (areas, not blocks)": lambda: read_magnetogram(path, size=500),
            "kflare, full size": lambda: read_magnetogram(path),
            "kflare, full size, then .resized(512)": lambda: read_magnetogram(path).resized(512),
        }
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(args.rounds):
            for name, variant in variants.items():
                start = time.perf_counter()
                variant()
                times[name].append(time.perf_counter() - start)
        size = path.stat().st_size / 1e6
    print(f"{path.name} of {size:.1f} MB, {args.rounds} rounds, {os.cpu_count()} cores")
    print(f"{'':40}{'least ms':>10}{'median ms':>11}{'x bare decode (least)':>23}{'(median)':>10}")
    least, median = min(times[BARE]), float(np.median(times[BARE]))
    for name, seen in times.items():
        now = float(np.median(seen))
        ratios = f"{min(seen) / least:23.2f}{now / median:10.2f}"
        print(f"{name:40}{1e3 * min(seen):10.0f}{1e3 * now:11.0f}{ratios}")
    return 0


def decoded(path: Path, *, scaled: bool) -> object:
    with fits.open(path, memmap=False, do_not_scale_image_data=not scaled) as hdus:
        return hdus[1].data


def made(path: Path) -> Path:
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
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
