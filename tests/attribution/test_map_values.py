from datetime import UTC, datetime

import numpy as np
import pytest

from kflare.attribution.attribution_file import Attribution, Origin
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import enlarged, image_rows, rectified, scaled, scaled_maps, value_columns
from kflare.observations.magnetogram import Magnetogram
from kflare.sun.disk import Disk

SIZE = 8


def attribution(grad_cam, guided_backprop, **more):
    """Maps of "flare"; those of "no flare" are zero. The disk has radius 3.4 around the middle of 8 × 8 pixels."""
    image = Magnetogram(
        np.zeros((SIZE, SIZE), np.float32),
        datetime(2014, 1, 1, tzinfo=UTC),
        Disk(3.5, 3.5, 3.4),
        "synthetic",
        "a.jpg",
    )

    def both(flare):
        flare = np.asarray(flare, np.float32)
        return np.stack([np.zeros_like(flare), flare], axis=-1)[None]

    given = {"grad_cam": both(grad_cam), "guided_backprop": both(guided_backprop)} | more
    if "cam" in more:
        given["cam"] = both(more["cam"])
    return Attribution.of_reply(
        {"probability": np.array([0.5]), "calibrated": np.array([0.5]), **given}, 0, image, origin=Origin("cnn-m", 1)
    )


def enlarge(cells, *, cell, size):
    """Both labels alike."""
    one, other = np.moveaxis(enlarged(np.stack([cells, -cells], axis=-1), cell=cell, size=size), -1, 0)
    np.testing.assert_array_equal(one, -other)
    return one


def test_enlarged_is_linear_between_the_centres_of_cells():
    # Cells of 4 pixels have their centres at 1.5 and 5.5; pixel 2 is 1/8 on the way, pixel 5 is 7/8.
    across = np.array([0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1])
    np.testing.assert_allclose(enlarge(np.array([[0, 1], [0, 1]], np.float32), cell=4, size=8), [across] * 8)
    np.testing.assert_allclose(enlarge(np.array([[0, 0], [1, 1]], np.float32), cell=4, size=8).T, [across] * 8)


def test_enlarged_is_level_where_there_is_one_cell_and_where_pixels_are_left_over():
    assert (enlarge(np.full((1, 1), 3, np.float32), cell=8, size=8) == 3).all()
    # One pixel more than two cells of 4 have: it takes the value of the last cell.
    np.testing.assert_allclose(enlarge(np.array([[0, 1], [0, 1]], np.float32), cell=4, size=9)[:, 8], 1)


def test_enlarged_is_what_tensorflow_resizes_to():
    import tensorflow as tf

    cells = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    wanted = tf.image.resize(cells[..., None], (512, 512), method="bilinear").numpy()[..., 0]
    np.testing.assert_allclose(enlarge(cells, cell=32, size=512), wanted, atol=1e-5)


def test_gradients_are_shown_as_magnitudes_and_grad_cam_after_its_relu():
    gradient = np.zeros((SIZE, SIZE))
    gradient[3, 4], gradient[5, 2] = -4, 2
    found = attribution([[-1, 0], [0, -2]], gradient)
    shown, raw = scaled_maps(found)
    guided, grad_cam, signed = shown["guided_backprop"][..., 1], shown["grad_cam"][..., 1], raw["grad_cam"][..., 1]
    assert (guided[3, 4], guided[5, 2], guided.sum()) == (1, 0.5, 1.5)
    # All of Grad-CAM is negative or zero: nothing is left of it after the ReLU, and its raw maximum is 0.
    assert not grad_cam.any()
    assert (signed.max(), signed.min()) == (0, -2)


def test_rectified_and_scaled():
    maps = np.stack([[[-2.0, 1.0], [0.0, 4.0]], np.zeros((2, 2))], axis=-1).astype(np.float32)
    np.testing.assert_array_equal(rectified(maps)[..., 0], [[0, 1], [0, 4]])
    # |-2|/4, 1/4, 0, 4/4; a map of zeros stays zero
    np.testing.assert_array_equal(np.moveaxis(scaled(maps), -1, 0), [[[0.5, 0.25], [0, 1]], np.zeros((2, 2))])


def test_rows_of_the_disk_and_of_a_region():
    gradient = np.zeros((SIZE, SIZE))
    gradient[2:4, 2:4] = [[1, 2], [3, 4]]
    gradient[0, 0] = -8  # off the disk, the largest of the image
    found = attribution([[0, 8], [0, 0]], gradient)
    patch = RegionPatch(
        name="NOAA 11967", noaa=11967, lon=-30.0, lat=10.0, rows=slice(2, 4), columns=slice(2, 4),
        mask=np.array([[True, True], [True, False]]), index=0,
    )  # fmt: skip
    disk, region = image_rows(found, [patch])
    assert (disk["region"], disk["noaa"], disk["lon"], disk["lat"]) == ("full disk", None, None, None)
    assert (region["region"], region["noaa"], region["lon"], region["lat"]) == ("NOAA 11967", 11967, -30.0, 10.0)
    # Distances from the middle, within 3.4, in an octant: (0.5, 0.5), (1.5, 0.5), (2.5, 0.5), (1.5, 1.5), (2.5, 1.5);
    # but (3.5, 0.5) and (2.5, 2.5) are 3.54 away: 4 · (1 + 2 + 2 + 1 + 2) = 32.
    assert disk["pixels"] == 32
    assert region["pixels"] == 3
    # Scaled by 8, the largest of the image; 1, 2, 3 in the region.
    assert region["guided_backprop_flare_maximum"] == 3 / 8
    assert region["guided_backprop_flare_mean"] == 2 / 8
    # numpy's linear percentile of three values: 0.95 · 2 = 1.9, so 2 + 0.9 · (3 − 2).
    assert region["guided_backprop_flare_p95"] == pytest.approx(2.9 / 8)
    assert region["guided_backprop_flare_raw_maximum"] == 3
    assert disk["guided_backprop_flare_maximum"] == 4 / 8
    assert disk["guided_backprop_flare_mean"] == pytest.approx(10 / 8 / 32)
    # Columns 0 to 3 hold 0, 0, 1, 3 eighths of the 8 in the north-western cell, row 2 seven eighths of row 1.
    assert region["grad_cam_flare_raw_maximum"] == pytest.approx(3 * (1 - 1 / 8))
    assert region["grad_cam_flare_maximum"] == pytest.approx(3 / 8 * (1 - 1 / 8))
    # The cell's own centre lies off the disk; nearest to it are row 1, column 5 and row 2, column 6.
    assert disk["grad_cam_flare_maximum"] == 7 / 8
    for label_column in value_columns():
        if label_column.startswith("cam_") or label_column.endswith("_share"):  # none of this model
            assert np.isnan([disk[label_column], region[label_column]]).all()
        elif "no_flare" in label_column:
            assert disk[label_column] == region[label_column] == 0
    assert set(value_columns()) < set(disk)
    assert set(disk) == set(region)


def test_what_places_add_to_the_score():
    # One cell of 2 x 2 pixels of the 16, north west of the middle; it fades into the next.
    cam = np.zeros((4, 4))
    cam[1, 1] = 32
    found = attribution(np.zeros((2, 2)), np.zeros((SIZE, SIZE)), cam=cam, grad_cam_share=np.array([[np.nan, -0.25]]))
    everything = RegionPatch("all", None, 0.0, 0.0, slice(0, 8), slice(0, 8), np.ones((8, 8), bool), 0)
    cell = RegionPatch("cell", None, 0.0, 0.0, slice(2, 4), slice(2, 4), np.ones((2, 2), bool), 1)
    disk, whole, part = image_rows(found, [everything, cell])
    # The mean of the map: 32 / 16. Linear between the cells' centres keeps the sum, and leaves (3/4)^2 in the cell.
    assert disk["cam_flare_score"] == 2
    assert whole["cam_flare_score"] == pytest.approx(2, rel=1e-6)
    assert part["cam_flare_score"] == pytest.approx(2 * 9 / 16, rel=1e-6)
    assert (disk["cam_no_flare_score"], disk["grad_cam_flare_share"]) == (0, -0.25)
    assert np.isnan([disk["grad_cam_no_flare_share"], whole["grad_cam_flare_share"]]).all()
    assert disk["cam_flare_maximum"] == part["cam_flare_maximum"] == 1
