"""Whether real images are the right way up, by what is known of the Sun: where NOAA saw spots, and Hale's law.

A half turn leaves Hale's law as it is (it exchanges the hemispheres and the order of the polarities), so that the law
finds mirrored images, and the places of sunspot groups those that are upside down.
"""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from kflare.flares.srs import read_srs
from kflare.observations.magnetogram import MDI_TO_HMI
from kflare.observations.reading import read_magnetogram
from kflare.observations.similarity.fidelity import fidelity_report
from kflare.sun.geometry import rotated

MDI = "mdi/mdi.fd_M_96m_lev182.{}_000000_TAI.data.fits"
# File, how many times stronger the field is at the groups than at the places of a half turn, at least; sign of the
# leading (western) polarity in the north: cycle 23 is odd, 24 even, 25 odd.
FILES = [
    (MDI.format("19991211"), 1.1, 1),
    (MDI.format("20101015"), 2.0, -1),
    ("hmi_fulldisk/2022_08_02__10_47_53_000__SDO_HMI_HMI_magnetogram.jp2", 2.0, 1),
    ("hmi_daily/hmi.M_20130104_000034.jpg", 2.0, -1),
    ("hmi_daily/hmi.M_20140102_000034.jpg", 2.0, -1),
    ("hmi_daily/hmi.M_20140903_000014.jpg", 2.0, -1),
]


def groups(magnetogram, real_data):
    """Pixel and latitude of each sunspot group within 60 degrees of the centre line."""
    name = "srs_1996-2018.csv" if magnetogram.time.year < 2019 else "srs_2018-2024.csv"
    table = read_srs(real_data / "regions" / name)
    away = (table["time"] - pd.Timestamp(magnetogram.time)).abs()
    near = table[(away == away.min()) & (table["area_uhem"] > 0)]
    seconds = (pd.Timestamp(magnetogram.time) - near["time"].iloc[0]).total_seconds()
    lon, lat = near["lon"].to_numpy(float), near["lat"].to_numpy(float)
    lon = rotated(lon, lat, seconds=seconds)
    inner = np.abs(lon) < 60
    x, y, _ = magnetogram.geometry.pixel(lon[inner], lat[inner])
    return list(zip(x, y, lat[inner], strict=True))


def around(magnetogram, x, y, share):
    reach = round(share * magnetogram.disk.radius)
    row, column = round(float(y)), round(float(x))
    return np.nan_to_num(magnetogram.data[row - reach : row + reach + 1, column - reach : column + reach + 1])


@pytest.mark.parametrize(("name", "contrast", "leading"), FILES)
def test_sunspot_groups_lie_on_strong_field(name, contrast, leading, real_data):
    seen = read_magnetogram(real_data / name)
    disk, places = seen.disk, groups(seen, real_data)
    assert places
    here = np.mean([np.abs(around(seen, x, y, 0.04)).mean() for x, y, _ in places])
    turned = np.mean([np.abs(around(seen, 2 * disk.x - x, 2 * disk.y - y, 0.04)).mean() for x, y, _ in places])
    assert here > contrast * turned
    right = total = 0
    for x, y, lat in places:
        box = around(seen, x, y, 0.1)
        columns = np.arange(box.shape[1])
        weights = [np.where(box > 60, box, 0).sum(axis=0), np.where(box < -60, -box, 0).sum(axis=0)]
        if min(weight.sum() for weight in weights) > 0:
            positive, negative = (float(weight @ columns / weight.sum()) for weight in weights)
            total += 1
            right += (positive > negative) == (leading * lat > 0)
    assert right > 0.6 * total


def written(source, path, turn):
    """The magnetogram of a file of JSOC as SOI writes it, of SOHO upright or upside down."""
    with fits.open(source) as hdus:
        data, header = hdus[1].data, hdus[1].header
    kept = ("T_OBS", "DATE-OBS", "CDELT1", "CDELT2", "CTYPE1", "CTYPE2", "R_SUN", "BUNIT", "TELESCOP", "CAMERA")
    new = fits.Header({key: header[key] for key in kept})
    width = data.shape[0]
    centre = header["CRPIX1"], header["CRPIX2"]
    if turn:
        data, centre = data[::-1, ::-1], tuple(width + 1 - value for value in centre)
    new.update({"CRPIX1": centre[0], "CRPIX2": centre[1], "P_ANGLE": turn, "SOLAR_P0": turn, "ORIENT": "SESW"})
    fits.PrimaryHDU(np.ascontiguousarray(data, np.float32), new).writeto(path)
    return path


def test_the_fidelity_checks_with_both_orientations_of_soho(real_data, tmp_path):
    source = real_data / MDI.format("20101015")
    jsoc = read_magnetogram(source)
    pairs = [(written(source, tmp_path / f"soi_{turn:g}.fits", turn), jsoc) for turn in (0.0, 180.0, -179.99999)]
    report = fidelity_report(pairs, wavelet_size=256)
    assert report["note"].eq("").all()
    assert report["gauss_correlation"].min() > 0.999
    assert report["byte_correlation"].min() > 0.999
    assert report["cw_ssim"].min() > 0.999
    # Upside down, as it was once read, nothing agrees.
    wrong = jsoc.data[::-1, ::-1]
    both = np.isfinite(wrong) & np.isfinite(jsoc.data)
    assert abs(np.corrcoef(wrong[both], jsoc.data[both])[0, 1]) < 0.1
    assert jsoc.on_hmi_scale().data[both].std() == pytest.approx(jsoc.data[both].std() / MDI_TO_HMI, rel=1e-5)
