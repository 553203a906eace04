"""Exports by a transparent model and by a dense CNN, in process and on executors."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.attribution.attribution_file import read_attribution
from kflare.attribution.export import Export, export, in_span, plan_export, tasks
from kflare.attribution.image_maps import image_rows
from kflare.attribution.published import PublishedModel, open_once
from kflare.errors import DataError, ModelError, SettingError
from kflare.io.workers import results_on
from kflare.observations.reading import read_magnetogram
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains

START = datetime(2014, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def sun():
    return SyntheticSun(START, 12, seed=5)


@pytest.fixture(scope="session")
def archive(sun, tmp_path_factory):
    """Eight days, 128 pixels, and one of them larger."""
    folder = tmp_path_factory.mktemp("archive")
    for day in range(8):
        time = START + timedelta(days=day, seconds=54)
        image = sun.magnetogram(time, size=256 if day == 3 else 128)
        Image.fromarray(image.to_bytes(100)).save(folder / f"synthetic_{time:%Y%m%d_%H%M%S}.png")
    return folder


@pytest.fixture(scope="module")
def model(field_models):
    return PublishedModel.find(field_models / "cnn-m")


def images_of(folder):
    return sorted(folder.glob("*.png"))


def run(images, source, settings):
    with settings.held():
        return list(export(plan_export(images, settings, source), source, settings))


def names(results):
    return [result.job.target.name for result in results]


def test_a_file_per_image_holds_what_the_model_answers(archive, model, tmp_path):
    images = images_of(archive)
    results = run(images, model, Export(tmp_path, batch_size=3))
    assert names(results) == [f"{image.stem}.fits" for image in images]
    assert [result.failure for result in results] == [None] * 8
    for image, result in zip(images, results, strict=True):
        magnetogram = read_magnetogram(image)
        found = read_attribution(result.job.target)
        assert (found.image, found.time, found.byte_range) == (image.name, magnetogram.time, 100.0)
        assert found.origin == model.origin
        answer = open_once(model)(magnetogram.data[None, :, :, None])
        assert found.probability == answer["probability"][0]
        np.testing.assert_array_equal(found.maps["grad_cam"], answer["grad_cam"][0])
        np.testing.assert_allclose(found.maps["cam"], answer["cam"][0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.maps["guided_backprop"], answer["guided_backprop"][0], rtol=0, atol=1e-5)
        row = result.rows[0]
        assert row == {**row, **image_rows(found)[0]}
        assert row["cam_flare_score"] == pytest.approx(answer["cam"][0, ..., 1].mean(), abs=1e-5)
        assert row["grad_cam_flare_share"] == 0.25
        assert (row["image"], row["model"], row["version"]) == (image.name, "cnn-m", 1)
        assert (row["time"], row["forecast_time"]) == (magnetogram.time, pd.Timestamp(magnetogram.time).floor("D"))
    assert {path.name for path in tmp_path.iterdir()} == {"maps"}


def test_the_compiled_networks_maps_do_not_depend_on_the_batch(archive, full_disk_models, tmp_path):
    source = PublishedModel.find(full_disk_models / "cnn-m" / "1")
    for size in (1, 8):
        run(images_of(archive), source, Export(tmp_path / str(size), batch_size=size))
    for path in sorted((tmp_path / "1" / "maps").glob("*.fits")):
        one, other = read_attribution(path), read_attribution(tmp_path / "8" / "maps" / path.name)
        for method in one.maps:
            wanted = one.maps[method]
            # 1e-5 of the largest value for each of the two files' rounding, and for the order of sums.
            np.testing.assert_allclose(other.maps[method], wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_a_second_run_makes_only_what_is_missing(archive, model, tmp_path):
    images, settings = images_of(archive), Export(tmp_path)
    first = run(images[:5], model, settings)
    stamps = {path: path.stat().st_mtime_ns for path in settings.maps.glob("*.fits")}
    assert len(stamps) == 5
    (settings.maps / names(first)[1]).unlink()
    whole = (settings.maps / names(first)[2]).read_bytes()
    (settings.maps / names(first)[2]).write_bytes(whole[:-3000])
    (settings.maps / ".part-x-left.fits").write_bytes(b"by a killed run")
    second = run(images[1:], model, settings)
    # Those that were found are in the results too, with the same rows, although the first was not asked for again.
    assert names(second) == [f"{image.stem}.fits" for image in images]
    assert [result.job.done for result in second] == [True, False, False, True, True, False, False, False]
    assert [result.rows for result in second][:5] == [result.rows for result in first]
    for place in (0, 3, 4):
        path = second[place].job.target
        assert path.stat().st_mtime_ns == stamps[path]
    assert sorted(path.name for path in settings.maps.iterdir()) == [".lock", *names(second)]
    assert all(result.job.done for result in run(images, model, settings))


def test_unreadable_images_are_told_and_the_rest_is_done(archive, model, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(archive, folder)
    good = images_of(folder)
    (folder / "a.png").write_text("<html>")
    middle = good[3].with_name(good[3].stem + "x.png")
    middle.write_bytes(good[3].read_bytes()[:2000])
    (folder / "z_20140101_000000.png").write_bytes(b"")
    results = run(images_of(folder), model, Export(tmp_path / "out", batch_size=2))
    assert len(results) == 11
    failed = [result for result in results if result.failure]
    assert [result.job.image for result in failed] == [folder / "a.png", middle, folder / "z_20140101_000000.png"]
    for result in failed:
        assert f"`{result.job.image}`" in result.failure
        assert result.rows == []
        assert not result.job.target.exists()
    assert [result.job.image for result in results if not result.failure] == good
    # None at all can be read: no batch reaches the model.
    results = run([folder / "a.png"], model, Export(tmp_path / "none"))
    assert [bool(result.failure) for result in results] == [True]


def test_a_folder_belongs_to_one_model_and_byte_range(archive, model, full_disk_models, tmp_path):
    images, settings = images_of(archive)[:1], Export(tmp_path, byte_range=100.0)
    run(images, model, settings)
    run(images, model, Export(tmp_path))
    with pytest.raises(SettingError, match=r"made with a byte range of 100 G, not 250 G: choose another folder"):
        plan_export(images, Export(tmp_path, byte_range=250.0), model)
    other = PublishedModel.find(full_disk_models / "cnn-m")
    with pytest.raises(SettingError, match="by cnn-m version 1 of another training, not by cnn-m version 1"):
        plan_export(images, settings, other)


def test_two_images_of_one_name_are_refused(archive, model, tmp_path):
    image = images_of(archive)[0]
    (tmp_path / "other").mkdir()
    shutil.copy(image, tmp_path / "other" / image.name)
    assert len(plan_export([image, image], Export(tmp_path), model)) == 1
    with pytest.raises(SettingError, match=f"would both become {image.stem}.fits"):
        plan_export([image, tmp_path / "other" / image.name], Export(tmp_path), model)


def test_two_exports_do_not_share_a_folder(tmp_path):
    settings = Export(tmp_path)
    with settings.held(), pytest.raises(SettingError, match="another run is at work"), settings.held():
        pass
    with settings.held():
        pass


def test_pictures_also_of_images_done_before(archive, model, tmp_path):
    images = images_of(archive)[2:4]
    run(images[:1], model, Export(tmp_path))
    settings = Export(tmp_path, pictures=True)
    run(images, model, settings)
    drawn = sorted(settings.drawings.glob("*.png"))
    assert [path.stem for path in drawn] == [image.stem for image in images]
    stamp = drawn[0].stat().st_mtime_ns
    for path in drawn:
        with Image.open(path) as picture:
            assert min(picture.size) > 500
            assert len(np.unique(np.asarray(picture.convert("L")))) > 50
    run(images, model, settings)
    assert drawn[0].stat().st_mtime_ns == stamp


@pytest.fixture(scope="module")
def regions(sun, tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "regions.parquet"
    times = [START + timedelta(days=day) for day in range(8)]
    sun.region_table(times).to_parquet(path)
    return path


def test_a_row_per_region(archive, model, regions, tmp_path):
    results = run(images_of(archive), model, Export(tmp_path, regions=regions))
    table = pd.read_parquet(regions)
    for day, result in enumerate(results):
        here = table[table["time"] == START + timedelta(days=day)]
        assert [row["region"] for row in result.rows] == ["full disk", *here["region"]]
        assert [row["noaa"] for row in result.rows[1:]] == list(here["noaa"])
        # 54 s later, in which the Sun turns by 0.009 degrees.
        np.testing.assert_allclose([row["lon"] for row in result.rows[1:]], here["lon"], atol=0.02)
    every = pd.DataFrame([row for result in results for row in result.rows])
    disk, region = every[every["region"] == "full disk"], every[every["region"] != "full disk"]
    # The gradient of this model is the field: regions are where it is strong, so the boxes are in the right places.
    assert region["guided_backprop_flare_mean"].mean() > 2 * disk["guided_backprop_flare_mean"].mean()
    # Averaged as networks see it, a region's field reaches 25 of 100 G on 92 % of them; on 15 % at mirrored longitudes.
    assert (region["guided_backprop_flare_maximum"] > 0.25).mean() > 0.8


def test_a_bad_table_of_regions_is_no_fault_of_the_images(archive, model, tmp_path):
    with pytest.raises(DataError, match="no table of regions"):
        run(images_of(archive), model, Export(tmp_path, regions=tmp_path / "missing.csv"))


def test_images_in_a_span(archive, tmp_path):
    images = images_of(archive)
    day = pd.Timestamp(START)
    # The images of 00:00:54 belong to 00:00, also to the one at which the span ends.
    kept = in_span(images, begin=day + pd.Timedelta(days=2), end=day + pd.Timedelta(days=4))
    assert kept == images[2:4]
    assert in_span(images, begin=None, end=day + pd.Timedelta(days=1)) == images[:1]
    assert in_span(images, begin=None, end=None) == images
    broken = tmp_path / "no time.png"
    broken.write_bytes(b"")
    assert in_span([broken], begin=day, end=None) == [broken]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"byte_range": 0.0}, {"byte_range": float("nan")}])
def test_bad_settings(options, tmp_path):
    with pytest.raises((SettingError, DataError), match=f"`{next(iter(options))}`.* must be"):
        Export(tmp_path, **options)


def memory():
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_archive(archive, model, tmp_path):
    image, images = images_of(archive)[0], []
    for minute in range(100):
        time = START + timedelta(minutes=minute)
        images.append(tmp_path / f"synthetic_{time:%Y%m%d_%H%M%S}.png")
        images[-1].hardlink_to(image)
    settings, seen = Export(tmp_path / "out"), []
    with settings.held():
        for number, result in enumerate(export(plan_export(images, settings, model), model, settings)):
            assert result.failure is None
            result.job.target.unlink()
            if number % 25 == 24:
                seen.append(memory())
    # Kept maps and fields of the 75 images after the first 25 would take 75 · 128² · (2 + 1) · 4 bytes = 15 MB.
    assert max(seen) - seen[0] < 8e6, [round(value / 1e6) for value in seen]


def test_an_executor_gives_the_same_in_the_same_order(archive, model, regions, tmp_path):
    images = images_of(archive)
    bad = tmp_path / "synthetic_20140102_120000.png"
    bad.write_bytes(b"no image")
    images.insert(2, bad)
    here = run(images, model, Export(tmp_path / "here", batch_size=1, regions=regions))
    settings = Export(tmp_path / "there", batch_size=1, regions=regions)
    # Chunks of four images: three tasks, of which two are at work at a time. tests/commands runs a real dask cluster.
    with settings.held(), ThreadPoolExecutor(2) as executor:
        work, todo = (
            partial(export, source=model, settings=settings),
            tasks(plan_export(images, settings, model), settings),
        )
        there = list(results_on(executor, work, todo, workers=1))
    assert [len(task) for task in todo] == [4, 4, 1]
    assert [result.job.image for result in there] == images
    assert [result.rows for result in there] == [result.rows for result in here]
    assert [result.failure for result in there] == [result.failure for result in here]
    for path in (tmp_path / "here" / "maps").glob("*.fits"):
        assert (settings.maps / path.name).read_bytes() == path.read_bytes()


def test_the_newest_version_is_found(full_disk_models):
    found = PublishedModel.find(full_disk_models / "cnn-m")
    assert found == PublishedModel.find(full_disk_models / "cnn-m" / "1")
    assert (found.origin.model, found.origin.version, len(found.origin.digest)) == ("cnn-m", 1, 16)
    assert (found.size, found.event, found.threshold) == (128, "M", 0.5)


def changed(models, folder, change):
    place = folder / "cnn-m" / "1"
    shutil.copytree(models / "cnn-m" / "1", place)
    change(place)
    return folder / "cnn-m"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda place: shutil.rmtree(place.parent), "no model .*: give a published one, such as .*cnn-m"),
        (shutil.rmtree, "holds no version of a model"),
        (lambda place: (place / "MANIFEST.sha256").unlink(), "has no MANIFEST"),
        (lambda place: (place / "saved_model.pb").write_bytes(b"x"), r"saved_model.pb differs from MANIFEST"),
        (lambda place: rewrite(place, "image_size"), "is no full-disk model, so it has no attribution maps"),
        (lambda place: rewrite(place, "decision_threshold"), "its kflare.json lacks `decision_threshold`"),
    ],
)
def test_a_model_that_cannot_be_used(full_disk_models, tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        PublishedModel.find(changed(full_disk_models, tmp_path, change))


def rewrite(place, missing):
    import json

    from kflare.models.publish import METADATA, _write_manifest

    content = json.loads((place / METADATA).read_text())
    del content[missing]
    (place / METADATA).write_text(json.dumps(content))
    _write_manifest(place)


def test_a_model_without_the_signature(tmp_path):
    import tensorflow as tf

    from kflare.models.publish import publish_version

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def serving_default(x):
        return {"probability": x}

    publish_version(
        tmp_path,
        "cnn-m",
        export=lambda path: tf.saved_model.save(
            tf.Module(), str(path), signatures={"serving_default": serving_default}
        ),
        cases=[],
        metadata={"class": "M+", "decision_threshold": 0.5, "image_size": 128},
    )
    with pytest.raises(ModelError, match="has no signature `attribute`, only serving_default"):
        open_once(PublishedModel.find(tmp_path / "cnn-m"))
