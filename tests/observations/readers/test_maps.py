"""Magnetograms as sunpy Maps and back."""

import io
import warnings
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
import sunpy.map
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from sunpy.coordinates.sun import B0, L0, earth_distance

from kflare.errors import DataError, KflareError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import POLICIES
from kflare.observations.readers.fits import magnetogram_from_fits
from kflare.observations.readers.maps import magnetogram_from_map
from kflare.observations.readers.reader import Options
from kflare.observations.world import header_of, map_of
from kflare.sun.disk import Disk
from kflare.sun.geometry import Observer

TIME = datetime(2013, 10, 23, 0, 0, 54, tzinfo=UTC)


def magnetogram(width=64, **changes):
    disk = Disk(31.2, 32.9, 27.5)
    data = np.random.default_rng(0).normal(0, 50, (width, width)).astype(np.float32)
    y, x = np.mgrid[:width, :width]
    data[np.hypot(x - disk.x, y - disk.y) > disk.radius] = np.nan
    fields = {"time": TIME, "disk": disk, "instrument": "HMI", "source": "here", "quality": 0x80000400}
    return Magnetogram(data, **(fields | {"observer": Observer(31.5, 5.1, 1.487e11)} | changes))


@pytest.mark.parametrize("instrument", ["HMI", "MDI", "synthetic"])
@pytest.mark.parametrize("roll", [0.0, -0.2])
def test_there_and_back(instrument, roll):
    there = magnetogram(instrument=instrument, roll=roll, quality=0x400 if instrument == "HMI" else None)
    back = magnetogram_from_map(map_of(there))
    np.testing.assert_array_equal(back.data, there.data)
    assert (back.disk.x, back.disk.y, back.disk.radius) == pytest.approx((31.2, 32.9, 27.5))
    assert back.time == TIME
    assert (back.instrument, back.quality, back.observer) == (instrument, there.quality, there.observer)
    assert back.roll == pytest.approx(roll)


def test_the_header_makes_a_fits_file_that_is_read_again():
    there = magnetogram(quality=0x80000400)
    stream = io.BytesIO()
    fits.PrimaryHDU(there.data[::-1], fits.Header(header_of(there))).writeto(stream)
    back = magnetogram_from_fits(stream.getvalue(), Options("x.fits", POLICIES["any"]))
    np.testing.assert_array_equal(back.data, there.data)
    assert back.quality == 0x80000400
    assert back.quality_note.startswith("rejected: ")


def test_where_the_observer_is_unknown_it_is_the_earth():
    header = header_of(magnetogram(observer=None))
    when = TIME.replace(tzinfo=None)
    assert header["CRLN_OBS"] == pytest.approx(L0(when).to_value("deg"))
    assert header["CRLT_OBS"] == pytest.approx(B0(when).to_value("deg"))
    assert header["DSUN_OBS"] == pytest.approx(earth_distance(when).to_value("m"))
    # The radius fills 27.5 pixels whatever the distance: 696 Mm at 0.995 au are 964 arcsec.
    assert header["RSUN_OBS"] == pytest.approx(964, abs=1)
    assert header["CDELT1"] == header["CDELT2"] == pytest.approx(header["RSUN_OBS"] / 27.5)


def test_pixels_of_the_map_are_counted_from_the_south():
    seen = magnetogram()
    solar_map = map_of(seen)
    np.testing.assert_array_equal(solar_map.data, seen.data[::-1])
    # Row 0 of 64 is the 64th from the south; CRPIX counts from 1.
    assert (solar_map.meta["crpix1"], solar_map.meta["crpix2"]) == pytest.approx((32.2, 64 - 32.9))
    assert str(solar_map.unit) == "G"


def test_a_mask_is_missing():
    solar_map = map_of(magnetogram(quality=None))
    mask = np.zeros(solar_map.data.shape, dtype=bool)
    mask[30, 31] = True
    seen = magnetogram_from_map(sunpy.map.Map(solar_map.data, solar_map.meta, mask=mask))
    assert np.argwhere(np.isnan(seen.data) & seen.on_disk).tolist() == [[33, 31]]


def test_size_disk_time_and_policy_are_those_of_files():
    solar_map = map_of(magnetogram())
    with pytest.raises(DataError, match=r"`sunpy Map` is rejected.*NODATA"):
        magnetogram_from_map(solar_map)
    disk, time = Disk(31, 33, 27), datetime(2001, 2, 3, tzinfo=UTC)
    seen = magnetogram_from_map(solar_map, policy="any", disk=disk, time=time, size=20, source="mine")
    assert (seen.data.shape, seen.time, seen.source, seen.disk) == ((20, 20), time, "mine", disk.resized(64, 20))


def test_cut_outs_and_other_things_are_refused():
    solar_map = map_of(magnetogram(quality=None))
    with pytest.raises(DataError, match=r"not a full disk.*NAXIS1 = 20, 30"):
        magnetogram_from_map(sunpy.map.Map(solar_map.data[:20, :30], solar_map.meta))
    with pytest.raises(DataError, match="must be a sunpy Map, got list"):
        magnetogram_from_map([1, 2])
    with pytest.raises(DataError, match="BUNIT"):
        magnetogram_from_map(sunpy.map.Map(solar_map.data, dict(solar_map.meta) | {"bunit": "m/s", "content": ""}))


KEYS = ["CRPIX1", "CDELT1", "CDELT2", "CROTA2", "PC1_1", "PC1_2", "CD1_1", "RSUN_OBS", "CUNIT1", "CTYPE1", "DATE-OBS",
        "T_OBS", "BUNIT", "CONTENT", "QUALITY", "CRLN_OBS", "CRLT_OBS", "DSUN_OBS", "INSTRUME", "TIMESYS"]  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(["TAI", "deg", "nan"])
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), st.sets(st.sampled_from(KEYS), max_size=2))
def test_any_metadata_give_a_magnetogram_or_a_kflare_error(changes, dropped):
    whole = magnetogram(quality=None)
    meta = {key: value for key, value in (header_of(whole) | changes).items() if key not in dropped}
    # As lazy as a Map can be: sunpy itself refuses some of these when it makes one.
    fake = SimpleNamespace(data=whole.data[::-1], mask=None, meta=meta)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            seen = magnetogram_from_map(fake)
        except KflareError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert isinstance(seen, Magnetogram)
