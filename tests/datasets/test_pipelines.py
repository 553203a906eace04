"""The tf.data pipelines: what comes out, in which order, and what augmentation may do."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kflare.datasets.pipelines import augment, image_dataset, one_hot, table_dataset
from kflare.datasets.preprocessing import fill_and_scale, reduce_field
from kflare.datasets.reduced_images import reduce_images
from kflare.observations.reading import read_magnetogram

COUNT, WIDTH, SIZE = 10, 32, 16
LABELS = np.arange(COUNT) % 3 == 0


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Ten different Suns, as JPEG and PNG."""
    folder = tmp_path_factory.mktemp("magnetograms")
    y, x = np.mgrid[:WIDTH, :WIDTH] - (WIDTH - 1) / 2
    written = []
    for number in range(COUNT):
        image = np.random.default_rng(number).normal(127, 30, (WIDTH, WIDTH)).clip(60, 255)
        image[np.hypot(x, y) > 0.44 * WIDTH] = 0
        written.append(folder / f"sun_201401{number + 1:02d}_000000.{'jpg' if number % 2 else 'png'}")
        Image.fromarray(image.astype(np.uint8)).save(written[-1], quality=95)
    return written


@pytest.fixture(scope="module")
def fields(paths, tmp_path_factory):
    return reduce_images(paths, size=SIZE, byte_range=250.0, folder=tmp_path_factory.mktemp("run")).fields


def dataset(fields, **options):
    return image_dataset(fields, np.arange(COUNT), LABELS, **{"batch_size": 4} | options)


def collect(data):
    batches = list(data.as_numpy_iterator())
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def order(images, plain):
    """Number of each image among the plain ones."""
    return [int(np.flatnonzero((plain == image).all(axis=(1, 2, 3)))[0]) for image in images]


@pytest.fixture(scope="module")
def plain(fields):
    return collect(dataset(fields))[0]


def test_one_hot_is_no_flare_then_flare():
    found = one_hot(np.array([True, False]))
    assert found.dtype == np.float32
    assert found.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("size", [WIDTH, SIZE])
def test_images_come_in_order_as_the_network_wants_them(paths, size, tmp_path):
    data = dataset(reduce_images(paths, size=size, byte_range=250.0, folder=tmp_path).fields)
    assert data.element_spec == (tf.TensorSpec((None, size, size, 1)), tf.TensorSpec((None, 2)))
    assert [len(x) for x, _ in data] == [4, 4, 2]
    images, labels = collect(data)
    np.testing.assert_array_equal(labels, one_hot(LABELS))
    assert images.dtype == np.float32
    for path, image in zip(paths, images, strict=True):
        field = read_magnetogram(path, byte_range=250.0).data[None, :, :, None]
        np.testing.assert_array_equal(image, fill_and_scale(reduce_field(tf.constant(field), size=size))[0])
    # Noise of 30 bytes is 30 / 255 * 500 = 59 G a pixel, a few times less in the mean; space holds no field.
    np.testing.assert_array_equal(images[:, 0, 0, 0], 0.0)
    assert 0.05 < images.std() < np.abs(images).max() <= 1.0


def test_the_byte_range_is_used(paths, tmp_path):
    narrow, wide = (
        collect(dataset(reduce_images(paths, size=WIDTH, byte_range=limit, folder=tmp_path).fields))[0]
        for limit in (50.0, 100.0)
    )
    below = np.abs(wide) < 1  # where nothing is clipped
    assert below.mean() > 0.9
    np.testing.assert_allclose(wide[below], 2 * narrow[below], rtol=0, atol=1e-5)


def test_the_order_without_training_is_the_same_in_every_pass(fields, plain):
    data = dataset(fields, seed=5)
    assert [order(collect(data)[0], plain) for _ in range(2)] == [list(range(COUNT))] * 2


def test_training_shuffles_anew_every_epoch_and_the_same_for_the_same_seed(fields, plain):
    def three_epochs(seed):
        data = dataset(fields, training=True, seed=seed)
        orders = []
        for epoch in range(3):
            images, labels = collect(data.skip(3 * epoch).take(3))  # 4, 4 and 2 images
            orders.append(order(images, plain))
            # The label goes where its image goes.
            np.testing.assert_array_equal(labels, one_hot(LABELS)[orders[-1]])
        return orders

    first = three_epochs(seed=1)
    assert [sorted(epoch) for epoch in first] == [list(range(COUNT))] * 3
    # Ten images have 3.6 million orders: equal ones are no chance.
    assert first[0] != first[1] != first[2] != first[0]
    assert three_epochs(seed=1) == first
    assert three_epochs(seed=2) != first
    # What is stopped after an epoch goes on with the next one.
    later = collect(dataset(fields, training=True, seed=1, epoch=2).take(3))[0]
    assert order(later, plain) == first[2]


# Which way each of the eight variants of an image (H, W, 1) goes: east-west, north-south, polarity.
VARIANTS = list(itertools.product([False, True], repeat=3))


def variant(field, east_west, north_south, polarity):
    field = field[:, ::-1] if east_west else field
    field = field[::-1] if north_south else field
    return -field if polarity else field


def test_augmentation_gives_these_eight_variants_and_no_other():
    field = np.random.default_rng(0).normal(0, 50, (6, 6, 1)).astype(np.float32)
    field[0, 0] = field[1, 5] = field[5, 2] = np.nan
    for toss in VARIANTS:
        found = augment(tf.constant(field), tf.constant([0.0, 1.0]), tf.constant(toss))[0].numpy()
        np.testing.assert_array_equal(found, variant(field, *toss))


def test_the_eight_variants_are_equally_frequent(fields, plain):
    data = dataset(fields, training=True, augmented=True, seed=3)
    seen = dict.fromkeys(VARIANTS, 0)
    fields_by_place = np.asarray(fields)
    for epoch in range(20):
        for image in collect(data.skip(3 * epoch).take(3))[0]:
            whole = [np.where(np.isnan(variant(f, *w)), 0.0, np.clip(variant(f, *w) / 100, -1, 1))
                     for f in fields_by_place for w in VARIANTS]  # fmt: skip
            (match,) = [place for place, wanted in enumerate(whole) if np.allclose(image, wanted, atol=1e-6)]
            seen[VARIANTS[match % 8]] += 1
    # 200 draws of one in eight: 25 with a standard deviation of (200 * 1/8 * 7/8)**0.5 = 4.7; five of them are 23.
    assert sum(seen.values()) == 200
    assert all(2 <= count <= 48 for count in seen.values())


def test_a_source_in_the_north_east_goes_to_the_other_quadrants_or_reverses():
    # Row 0 is north and column 0 is east.
    field = np.zeros((5, 5, 1), np.float32)
    field[0, 1] = 70.0
    places = set()
    for toss in VARIANTS:
        found = augment(tf.constant(field), tf.constant([0.0, 1.0]), tf.constant(toss))[0].numpy()[:, :, 0]
        ((row, column),) = np.argwhere(found)
        places.add((int(row), int(column), float(found[row, column])))
    north_east, north_west, south_east, south_west = (0, 1), (0, 3), (4, 1), (4, 3)
    assert places == {
        (*place, sign * 70.0) for place in (north_east, north_west, south_east, south_west) for sign in (-1, 1)
    }


def test_maps_are_mirrored_with_their_field_and_keep_their_sign():
    field = np.arange(1.0, 17.0, dtype=np.float32).reshape(4, 4, 1)
    for toss in VARIANTS:
        found, maps = augment(tf.constant(field), tf.constant(field), tf.constant(toss))
        np.testing.assert_array_equal(np.abs(found), maps)


def test_one_of_an_image_s_guises_or_itself_is_drawn_for_each_epoch(fields, plain):
    guises = np.stack([np.full_like(fields, 10), np.full_like(fields, 20)], axis=1).astype(np.float16)
    drawn = [collect(dataset(fields, guises=guises, seed=3, epoch=epoch))[0][:, 8, 8, 0] for epoch in range(30)]
    shares = [np.mean(np.isclose(drawn, value)) for value in (0.1, 0.2)]
    # 300 draws of one in three: 100 with a standard deviation of 8; five of them are 0.14.
    assert all(abs(share - 1 / 3) < 0.14 for share in shares)
    own = ~(np.isclose(drawn, 0.1) | np.isclose(drawn, 0.2))
    assert (np.where(own, drawn, 0) == np.where(own, plain[:, 8, 8, 0], 0)).all()
    np.testing.assert_array_equal(drawn[4], collect(dataset(fields, guises=guises, seed=3, epoch=4))[0][:, 8, 8, 0])


def test_maps_come_with_their_images_where_they_stand_for_labels(fields, plain):
    maps = np.random.default_rng(4).random((3, 4, 4, 2), np.float32)
    images, found = collect(image_dataset(fields, np.array([5, 0, 7]), maps, batch_size=4))
    np.testing.assert_array_equal(found, maps)
    np.testing.assert_array_equal(images, plain[[5, 0, 7]])


def test_augmented_images_hold_no_field_off_the_disk_and_keep_their_labels(fields, plain):
    # Eight passes are 80 draws; that one of eight variants is missing has a chance of 8 * (7/8)**80 = 0.02 %.
    epochs = [collect(dataset(fields, augmented=True, seed=7, epoch=epoch)) for epoch in range(8)]
    dark = np.isnan(fields[0, ..., 0])
    used = set()
    for images, labels in epochs:
        np.testing.assert_array_equal(labels, one_hot(LABELS))
        for image, whole in zip(images, plain, strict=True):
            # The disk is centred, so its outside is the same in all mirrored images; a reversal must not light it up.
            assert (image[dark] == 0.0).all()
            base = np.where(dark[..., None], np.nan, whole)
            matches = [
                wanted
                for wanted in VARIANTS
                if np.array_equal(np.where(dark[..., None], np.nan, image), variant(base, *wanted), equal_nan=True)
            ]
            assert len(matches) == 1
            used.update(matches)
    assert len(used) == 8
    assert not np.array_equal(epochs[0][0], epochs[1][0])
    np.testing.assert_array_equal(collect(dataset(fields, augmented=True, seed=7))[0], epochs[0][0])
    assert not np.array_equal(collect(dataset(fields, augmented=True, seed=8))[0], epochs[0][0])


FEATURES = np.arange(12, dtype=np.float32).reshape(6, 2)
ROW_LABELS = np.array([True, False, False, True, False, False])


def test_table_comes_in_order_and_ends():
    data = table_dataset(FEATURES, ROW_LABELS, batch_size=4)
    assert data.element_spec == (tf.TensorSpec((None, 2)), tf.TensorSpec((None, 2)))
    features, labels = collect(data)
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(labels, one_hot(ROW_LABELS))


def test_table_for_training_is_shuffled_anew_in_every_pass_without_end():
    def four_passes(seed):
        data = table_dataset(FEATURES, ROW_LABELS, batch_size=4, training=True, seed=seed)
        assert data.cardinality() == tf.data.INFINITE_CARDINALITY
        # Six batches of four are four passes over six rows; a batch may span two passes, so all are full.
        features, labels = collect(data.take(6))
        rows = (features[:, 0] / 2).astype(int)
        np.testing.assert_array_equal(labels, one_hot(ROW_LABELS)[rows])
        return rows.reshape(4, 6).tolist()

    passes = four_passes(seed=1)
    assert [sorted(one) for one in passes] == [list(range(6))] * 4
    assert len({tuple(one) for one in passes}) > 1
    assert four_passes(seed=1) == passes
    assert four_passes(seed=2) != passes


@pytest.mark.parametrize("first", [0, 1, 5, 6, 7])
def test_a_table_goes_on_with_the_batches_that_come_next(first):
    options = {"batch_size": 4, "training": True, "seed": 3}
    whole = collect(table_dataset(FEATURES, ROW_LABELS, **options).take(12))
    rest = collect(table_dataset(FEATURES, ROW_LABELS, **options, first=first).take(12 - first))
    for found, wanted in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(found, wanted[4 * first :])


def test_stopped_after_each_epoch_every_sample_is_still_drawn():
    features, labels = np.arange(3000, dtype=np.float32)[:, None], np.arange(3000) % 2 == 0
    drawn = [
        collect(table_dataset(features, labels, batch_size=50, training=True, first=10 * epoch).take(10))[0].ravel()
        for epoch in range(6)
    ]
    assert len(set(np.concatenate(drawn).tolist())) == 3000  # before, 500: those of the first epoch, six times


def test_a_crop_is_the_same_part_of_an_image_and_of_its_maps():
    fields = np.random.default_rng(0).normal(0, 40, (3, 64, 64, 1)).astype(np.float32)
    maps = fields.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4))[..., None]
    data = image_dataset(fields, np.arange(3), maps, batch_size=3, crop=32, training=True, seed=4)
    corners = set()
    for image, target in data.take(6):
        assert (image.shape, target.shape) == ((3, 32, 32, 1), (3, 8, 8, 1))
        means = 100 * image.numpy().reshape(3, 8, 4, 8, 4).mean(axis=(2, 4))
        np.testing.assert_allclose(means, target[..., 0], atol=1e-4)
        corners |= set(np.round(image.numpy()[:, 0, 0, 0], 5).tolist())
    assert len(corners) > 9  # five corners each way
