"""The fidelity checks of Yi et al. (2021), section 2: correlations, alignment and CW-SSIM."""

import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kflare.errors import DataError, SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.observations.similarity.fidelity import plain_ssim
from kflare.observations.similarity.measures import (
    aligned,
    byte_correlation,
    common_frame,
    cw_ssim,
    gauss_correlation,
    pixel_correlation,
)
from kflare.sun.disk import Disk, disk_mask
from kflare.synthetic.sun import SyntheticSun

NOON = datetime(2013, 10, 23, 12, tzinfo=UTC)


def sun(field, disk, *, instrument="HMI"):
    """Magnetogram of a function of (west, north) in solar radii."""
    width = round(2 * disk.x + 1)
    rows, columns = np.mgrid[:width, :width]
    west, north = (columns - disk.x) / disk.radius, (disk.y - rows) / disk.radius
    data = np.where(disk_mask(width, disk), field(west, north), np.nan).astype(np.float32)
    return Magnetogram(data, NOON, disk, instrument, "test")


def spots(west, north):
    """Two bipoles, smooth on the scale of 0.08 radii."""
    return sum(
        peak * np.exp(-((west - x) ** 2 + (north - y) ** 2) / (2 * 0.08**2))
        for x, y, peak in [(-0.3, 0.2, 800.0), (-0.1, 0.22, -700.0), (0.4, -0.3, -500.0), (0.55, -0.25, 450.0)]
    )


@pytest.fixture(scope="module")
def pattern():
    """A synthetic magnetogram of 256², with network and noise, in gauss."""
    image = SyntheticSun(datetime(2013, 10, 1, tzinfo=UTC), 5, seed=3).magnetogram(
        datetime(2013, 10, 3, tzinfo=UTC), 512
    )
    return image.resized(256)


def test_pixel_correlation_by_hand():
    x = np.array([[1.0, 2.0], [3.0, np.nan]])
    # Over the three pixels finite in both: y = 2 x + 1, then its mirror image.
    assert pixel_correlation(x, 2 * x + 1) == pytest.approx(1)
    assert pixel_correlation(x, -x) == pytest.approx(-1)
    # (1, 2, 3) and (1, 3, 2): covariance 1, variances 2 and 2, so r = 1/2.
    assert pixel_correlation(x, np.array([[1.0, 3.0], [2.0, 9.0]])) == pytest.approx(0.5)


def test_pixel_correlation_that_is_undefined():
    constant = np.full((2, 2), 0.1)
    assert np.isnan(pixel_correlation(constant, np.arange(4.0).reshape(2, 2)))
    assert np.isnan(pixel_correlation(constant, constant))
    assert np.isnan(pixel_correlation(np.full((2, 2), np.nan), constant))
    with pytest.raises(DataError, match="same shape"):
        pixel_correlation(constant, np.zeros((3, 3)))


def test_alignment_brings_both_to_the_same_pixels():
    reference = sun(spots, Disk(127.5, 127.5, 120.0))
    other = sun(spots, Disk(255.5, 255.5, 231.3))
    moved = aligned(other, disk=reference.disk, width=256)
    both = np.isfinite(moved.data) & np.isfinite(reference.data)
    assert both.sum() >= 0.99 * np.isfinite(reference.data).sum()
    # Mean over areas and cubic interpolation of a smooth field: 1.2 G where it peaks at 800; 3.5 G at the limb.
    inner = both & disk_mask(256, Disk(127.5, 127.5, 115.0))
    assert np.abs(moved.data - reference.data)[inner].max() < 1.5
    assert not np.isfinite(moved.data[~reference.on_disk]).any()
    assert moved.disk == reference.disk


def test_alignment_of_a_far_finer_image_does_not_alias():
    # Noise of one pixel at 1024 averages out over 4 × 4 pixels (to a quarter) before the cubic takes its samples.
    noise = np.random.default_rng(1).normal(0, 100, (1024, 1024))
    fine = sun(lambda west, north: noise[: len(west), : len(west)] + 0 * north, Disk(511.5, 511.5, 480.0))
    moved = aligned(fine, disk=Disk(127.5, 127.5, 120.0), width=256)
    assert 15 < np.nanstd(moved.data) < 30
    with pytest.raises(SettingError, match="`width`"):
        aligned(fine, disk=fine.disk, width=1)


def test_unmeasured_pixels_stay_unmeasured():
    image = sun(spots, Disk(127.5, 127.5, 120.0))
    data = image.data.copy()
    data[100:110, 100:140] = np.nan
    moved = aligned(Magnetogram(data, NOON, image.disk, "HMI", "test"), disk=Disk(130.0, 125.0, 118.0), width=256)
    # Row 105 of the old image lies at 125 + (105 - 127.5) · 118 / 120 = 102.9, column 120 at 122.6.
    assert np.isnan(moved.data[103, 123])
    assert np.isfinite(moved.data[115, 123])


def test_correlation_of_two_instruments_with_other_disks():
    mdi = sun(lambda west, north: 1.4 * spots(west, north), Disk(255.5, 255.5, 243.0), instrument="MDI")
    hmi = sun(spots, Disk(511.5, 511.5, 470.0))
    for first, second in ((mdi, hmi), (hmi, mdi)):
        assert gauss_correlation(first, second) > 0.999
        a, b = common_frame(first, second, size=128)
        assert a.data.shape == b.data.shape == (128, 128)
        assert (a.disk.x, a.disk.y, a.disk.radius) == pytest.approx((b.disk.x, b.disk.y, b.disk.radius))
    # Without bringing the disks together the spots lie beside each other, by up to 2 pixels of 256.
    assert pixel_correlation(mdi.resized(256).data, hmi.resized(256).data) < 0.995


def test_byte_correlation_clips_as_the_archive_did():
    data = sun(spots, Disk(255.5, 255.5, 230.0))
    shown = np.where(data.on_disk, data.to_bytes(100.0) / np.float32(255) * 200 - 100, np.nan).astype(np.float32)
    image = Magnetogram(shown, NOON, data.disk, "HMI", "jpeg", 100.0)
    assert byte_correlation(image, data) > 0.9999
    # In gauss the saturated image differs from the data.
    assert gauss_correlation(image, data) < 0.95
    with pytest.raises(SettingError, match="byte_range"):
        byte_correlation(image, data, byte_range=0)


def test_cw_ssim_of_an_image_with_itself_is_one(pattern):
    assert cw_ssim(pattern.data, pattern.data) == pytest.approx(1, abs=1e-9)
    assert cw_ssim(pattern.data, pattern.data, where=pattern.on_disk) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (0, -1)])
def test_a_shift_of_one_pixel_hurts_ssim_and_not_cw_ssim(pattern, shift):
    shifted = np.roll(pattern.data, shift, axis=(0, 1))
    on_disk = pattern.on_disk
    wavelet = cw_ssim(pattern.data, shifted, where=on_disk)
    plain = plain_ssim(pattern.data, shifted, where=on_disk)
    print(f"shift {shift}: CW-SSIM {wavelet:.3f}, SSIM {plain:.3f}")
    assert wavelet > 0.9
    assert plain < wavelet - 0.1


def test_a_shift_of_one_pixel_of_a_real_magnetogram(real_data):
    image = read_magnetogram(real_data / "hmi_daily" / "hmi.M_20131023_000054.jpg").resized(256)
    shifted = np.roll(image.data, 1, axis=1)
    # Measured: CW-SSIM 0.984 on the disk; SSIM 0.69 there, pixel correlation 0.63.
    wavelet = cw_ssim(image.data, shifted, where=image.on_disk)
    plain = plain_ssim(image.data, shifted, where=image.on_disk)
    print(f"CW-SSIM {wavelet:.3f}, SSIM {plain:.3f}")
    assert wavelet > 0.95
    assert plain < 0.75
    # Another day of the Sun is far below, though not at 0: the modulus of a sum of random phases is above it.
    other = read_magnetogram(real_data / "hmi_daily" / "hmi.M_20130401_000014.jpg").resized(256)
    assert cw_ssim(image.data, other.data, where=image.on_disk) < 0.4


def test_cw_ssim_against_the_formula(pattern):
    # One subband, one window over the whole subband: eq. (1) word by word.
    from pyrtools.pyramids import SteerablePyramidFreq

    x = np.nan_to_num(pattern.data).astype(float)[64:192, 64:192]
    y = np.roll(x, 3, axis=0) + 5
    c_x, c_y = (SteerablePyramidFreq(image, height=1, order=1, is_complex=True).pyr_coeffs for image in (x, y))
    expected = []
    for orientation in (0, 1):
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            window = slice(row, row + 127), slice(column, column + 127)
            a, b = c_x[0, orientation][window], c_y[0, orientation][window]
            top = 2 * abs((a * b.conj()).sum()) + 0.5
            expected.append(top / ((abs(a) ** 2).sum() + (abs(b) ** 2).sum() + 0.5))
    found = cw_ssim(x, y, scales=1, orientations=2, window=127, L=0.5)
    assert found == pytest.approx(np.mean(expected), rel=1e-9)


def test_degenerate_images():
    flat, rough = np.zeros((64, 64)), np.random.default_rng(0).normal(0, 100, (64, 64))
    # No coefficients at all: L / L, whatever the constants.
    assert cw_ssim(flat, flat, scales=3) == 1
    assert cw_ssim(flat, flat + 50, scales=3) == pytest.approx(1)
    assert cw_ssim(flat, rough, scales=3) < 1e-4
    assert np.isnan(cw_ssim(rough, rough, scales=3, where=np.zeros((64, 64), dtype=bool)))
    assert plain_ssim(flat, flat, where=np.ones((64, 64), dtype=bool)) == 1
    assert np.isnan(plain_ssim(flat, flat, where=np.zeros((64, 64), dtype=bool)))
    # What is not measured counts as 0.
    assert cw_ssim(np.full((64, 64), np.nan), flat, scales=3) == 1


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"scales": 0}, "`scales`"),
        ({"scales": 5}, "`scales` must be 1 to log2 of the width, less 2: 4"),
        ({"orientations": 1}, "`orientations`"),
        ({"orientations": 17}, "`orientations`"),
        ({"window": 6}, "`window`"),
        ({"window": 17, "scales": 3}, "coarsest subband of 16"),
        ({"L": 0.0}, "`L`"),
        ({"L": float("nan")}, "`L`"),
    ],
)
def test_settings_outside_their_range(setting, rule):
    image = np.zeros((64, 64))
    with pytest.raises(SettingError, match=rule):
        cw_ssim(image, image, **{"scales": 3, **setting})


def test_images_that_cannot_be_compared():
    with pytest.raises(DataError, match="same shape"):
        cw_ssim(np.zeros((64, 64)), np.zeros((64, 65)))
    with pytest.raises(DataError, match="two dimensions"):
        cw_ssim(np.zeros(64), np.zeros(64))
    with pytest.raises(DataError, match="`where`"):
        cw_ssim(np.zeros((64, 64)), np.zeros((64, 64)), scales=3, where=np.ones((32, 32), dtype=bool))


def test_odd_sizes_do_not_warn():
    image = np.random.default_rng(0).normal(0, 100, (65, 67))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cw_ssim(image, image, scales=3, where=np.ones((65, 67), dtype=bool)) == pytest.approx(1)


IMAGES = arrays.arrays(np.float32, (32, 32), elements=st.floats(-2000, 2000, width=32))


@settings(max_examples=30)
@given(IMAGES, IMAGES)
def test_cw_ssim_is_symmetric_and_within_its_range(x, y):
    kind = {"scales": 2, "orientations": 4}
    value = cw_ssim(x, y, **kind)
    assert 0 <= value <= 1
    assert cw_ssim(y, x, **kind) == pytest.approx(value, abs=1e-9)
    assert cw_ssim(x, x, **kind) == pytest.approx(1, abs=1e-6)
    r = pixel_correlation(x, y)
    assert np.isnan(r) or -1 <= r <= 1
