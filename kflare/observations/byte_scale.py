"""Which field byte 255 of an image stands for, who says so, and whether its quiet Sun agrees: docs/byte_scale.md.

The field between active regions is about the same on any day of any cycle, so that its spread in bytes tells the scale
within a factor of two: enough to tell the scales of the archives from each other.
"""

import math
from collections.abc import Iterable
from pathlib import PurePath
from typing import Final

import numpy as np

from kflare.errors import DataError
from kflare.io.arrays import ByteArray
from kflare.observations.magnetogram import ByteScale, require_byte_range
from kflare.observations.reduction import area_mean
from kflare.sun.disk import Disk

#: Part of a file's name to the scale of the archive that gives such names, gauss: SOHO's, and the made-up Sun.
NAMED: Final = {"mdimag": 100.0, "hmimag": 100.0, "synthetic": 100.0}
#: The scales in use, gauss: of the papers and SOHO's archive, of Helioviewer for HMI, and for MDI.
IN_USE: Final = (100.0, 250.0, 1000.0)
#: Limits of the quiet Sun's noise, gauss; by the right scale the images at hand have 1.9-3.7 (HMI), 2.9-6.2 (MDI).
QUIET: Final = {"HMI": (1.6, 5.0), "MDI": (2.3, 6.6)}
_ANY = (1.6, 6.6)
_ADVICE: Final = {"--byte-range": "give another --byte-range (`byte_range`)", "header": "its header is believed"}
_COARSE = 350.0  # gauss of byte 255, from which on a byte is coarser than the noise, which a JPEG may then lose
_RADIUS, _BLOCK, _BLOCKS = 100, 8, 12  # pixels, pixels, number: they cover ±0.48 radii about the disk's centre


def quiet_noise(image: ByteArray, disk: Disk) -> float:
    """The spread of the quiet Sun about the centre of the disk, in bytes.

    Areas are averaged until the disk has a radius of 100 pixels; in each of 12 × 12 blocks of 8 × 8 pixels the median
    of |v - median| stands for the standard deviation; the tenth percentile of the blocks is free of active regions. NaN
    where the radius is below 100 pixels, or half of the blocks have pixels of byte 0, which are missing or saturated.
    """
    side = math.ceil(_BLOCK * _BLOCKS / _RADIUS * disk.radius)
    top, left = (max(0, round(centre - (side - 1) / 2)) for centre in (disk.y, disk.x))
    seen = image[top : top + side, left : left + side].astype(np.float32)
    if disk.radius < _RADIUS or seen.shape != (side, side):
        return math.nan
    seen[seen == 0] = np.nan
    blocks = area_mean(seen, _BLOCK * _BLOCKS).reshape(_BLOCKS, _BLOCK, _BLOCKS, _BLOCK).swapaxes(1, 2)
    whole = blocks[np.isfinite(blocks).all(axis=(2, 3))].reshape(-1, _BLOCK**2)
    if len(whole) < _BLOCKS**2 / 2:
        return math.nan
    spread = np.median(np.abs(whole - np.median(whole, axis=1, keepdims=True)), axis=1)
    return float(np.percentile(1.4826 * spread, 10))


def choose_byte_scale(
    image: ByteArray, disk: Disk, *, source: str, instrument: str,
    header: float | None = None, option: float | None = None, model: float | None = None,
) -> ByteScale:  # fmt: skip
    """The scale of an image, gauss of byte 255: of its header, else the option, the archive by name, model, measured.

    The model's is taken only where the quiet Sun does not contradict it. `DataError` where an HMI or MDI image
    contradicts any other but the header's, or nothing known fits; of other instruments it is a doubt, and what can
    neither be known nor measured is taken for 100 G, as the papers have it.
    """
    low, high = QUIET.get(instrument, _ANY)
    middle, noise = math.sqrt(low * high), quiet_noise(image, disk) * 2 / 255  # of ±1 G
    unknown = math.isnan(noise) or instrument == "synthetic"
    fitting = [gauss for gauss in IN_USE if not unknown and low <= noise * gauss <= high]
    measured = min(fitting, key=lambda gauss: abs(math.log(noise * gauss / middle)), default=None)
    named = next((gauss for part, gauss in NAMED.items() if part in PurePath(source).name.lower()), None)
    known = {"header": header, "--byte-range": option, "name of its archive": named, "model": model,
             "measured": measured, "assumed as in the papers": IN_USE[0]}  # fmt: skip
    for why, gauss in known.items():
        if gauss is not None:
            seen = noise * require_byte_range(gauss)
            fits = unknown or (seen <= high and (seen >= low or gauss > _COARSE))
            if fits or why != "model":
                break
    assert gauss is not None
    guess = measured or middle / max(noise, 1e-3)
    likely = f"about {guess:.3g}" if measured or guess <= _COARSE else f"more than {_COARSE:g}"
    odd = f"its quiet Sun would have a noise of {seen:.1f} G, usual are {low:g} to {high:g} G"
    odd += f"; it stands for {likely} G: {_ADVICE.get(why, 'give --byte-range (`byte_range`)')}"
    if not fits and why != "header" and instrument in QUIET:
        other = f"or another name if it is not of {instrument}"
        raise DataError(f"`{source}`: byte 255 cannot stand for {gauss:g} G ({why}): {odd}, {other}")
    return ByteScale(float(gauss), why, source, seen, "" if fits else odd)


def scale_note(scales: Iterable[ByteScale | None]) -> str:
    """One line: which scales images were read by, and why; "" where none has 8 bits."""
    groups: dict[tuple[float, str], list[ByteScale]] = {}
    for scale in filter(None, scales):
        groups.setdefault((scale.gauss, scale.why), []).append(scale)
    parts = []
    for (gauss, why), found in groups.items():
        noises = [scale.noise for scale in found if not math.isnan(scale.noise)]
        ends = dict.fromkeys(f"{end(noises):.1f}" for end in (min, max)) if noises else ()
        note = f"; noise of the quiet Sun {' to '.join(ends)} G" if noises else ""
        if doubts := [scale for scale in found if scale.doubt]:
            note += f"; {len(doubts)} may be of another, as `{doubts[0].source}`: {doubts[0].doubt}"
        many = f"{len(found)} images" if len(found) > 1 else f"`{found[0].source}`"
        parts.append(f"{gauss:g} G in {many} ({why}{note})")
    return f"byte 255 is {'; '.join(parts)}" if parts else ""
