"""`python -m kflare.attribute` and `python -m kflare.predict --attribute`, with real models, servers and clusters."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.attribution.attribution_file import read_attribution
from kflare.commands import attribute, predict
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains

START = datetime(2014, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def sky(tmp_path_factory):
    """Six days of the synthetic Sun: images, flares and regions."""
    folder = tmp_path_factory.mktemp("sky")
    SyntheticSun(START, 6, seed=5).write(folder, size=128, table_cadence_hours=24)
    return folder


@pytest.fixture(scope="module")
def address(full_disk_models):
    """Address of an embedded server of the full-disk models."""
    from kflare.serving import Server

    with Server(folder=full_disk_models, port=0) as running:
        yield running.address


def run(capsys, *arguments, command=attribute):
    capsys.readouterr()
    status = command.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    # Which scale images of bytes have is said once; tests/commands/test_byte_scale.py reads it.
    lines = captured.err.splitlines(keepends=True)
    said = [line for line in lines if ": byte 255 is " in line]
    assert len(said) <= 1
    return status, captured.out, "".join(line for line in lines if line not in said)


def one_line(err):
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    return lines[0]


def table_of(folder):
    return pd.read_parquet(folder / "attribution.parquet")


def test_from_images_to_files_and_table(full_disk_models, sky, tmp_path, capsys):
    arguments = [
        sky / "magnetograms", "--model", full_disk_models / "cnn-m", "--flares", sky / "flares.csv",
        "--regions", sky / "regions.parquet", "--output", tmp_path / "out", "--from", "2014-01-02",
        "--until", "2014-01-05", "--json",
    ]  # fmt: skip
    status, out, err = run(capsys, *arguments, "--png")
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert (summary["model"], summary["version"], summary["images"], summary["already_done"]) == ("cnn-m", 1, 3, 0)
    assert sum(summary["outcomes"].values()) == 3
    stems = [f"synthetic_2014010{day}_000000" for day in (2, 3, 4)]
    assert sorted(path.name for path in (tmp_path / "out" / "maps").glob("*.fits")) == [f"{s}.fits" for s in stems]
    assert sorted(path.stem for path in (tmp_path / "out" / "pictures").iterdir()) == stems
    table = table_of(tmp_path / "out")
    assert len(table) == summary["rows"] > 3
    disk = table[table["region"] == "full disk"]
    assert list(disk["image"]) == [f"{stem}.jpg" for stem in stems]
    assert (disk["guided_backprop_flare_maximum"] <= 1).all()
    assert table["outcome"].isin(["hit", "miss", "false alarm", "null"]).all()
    assert (table["flux24"].notna() == (table["region"] == "full disk") | table["noaa"].notna()).all()
    # The rest, and the same again: only what is missing is made, and the table is that of all.
    summary = json.loads(run(capsys, *arguments[:-5], "--json")[1])
    assert (summary["images"], summary["already_done"]) == (6, 3)
    assert table_of(tmp_path / "out")["image"].nunique() == 6
    assert summary["images_without_regions"] == 0
    before = table_of(tmp_path / "out")
    status, out, _ = run(capsys, *arguments[:-5])
    assert "6 images attributed by cnn-m version 1, 6 of them before" in out
    pd.testing.assert_frame_equal(table_of(tmp_path / "out"), before)


def test_maps_that_the_model_does_not_answer(full_disk_models, sky, tmp_path, capsys):
    """Made by its network here, or by tf-keras-vis; what lacks one of them is made anew, and keeps what it had."""
    images = sorted((sky / "magnetograms").iterdir())[:2]
    given = [*images, "--model", full_disk_models / "cnn-m", "--output", tmp_path / "out", "--json"]
    for methods in ([], ["--methods", "grad_cam_plus_plus"], ["--methods", "saliency"]):
        status, out, err = run(capsys, *given, *methods)
        assert (status, json.loads(out)["already_done"], err) == (0, 0, "")
    found = read_attribution(tmp_path / "out" / "maps" / f"{images[0].stem}.fits")
    assert list(found.maps) == ["cam", "grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency"]
    more = [*given, "--methods", "grad_cam_plus_plus", "saliency"]
    assert json.loads(run(capsys, *more)[1])["already_done"] == 2
    status, out, err = run(capsys, *more, "--reference", "--png")
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert (summary["images"], summary["already_done"]) == (2, 0)
    differences = summary["largest_difference"]
    assert list(differences) == ["grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency"]
    # Of sums in another order: none is far off, and not all are 0, as of a map that is compared with itself.
    assert 0 < max(differences.values()) < 1e-3
    found = read_attribution(tmp_path / "out" / "maps" / f"{images[0].stem}.fits")
    assert list(found.maps) == ["cam", "grad_cam", "grad_cam_plus_plus", "guided_backprop", "saliency"]
    assert found.maps["saliency"].any()
    assert found.maps["grad_cam_plus_plus"].min() >= 0
    table = table_of(tmp_path / "out")
    assert table["saliency_flare_maximum"].between(0.1, 1).all()  # of the disk; 1 may lie beyond it
    assert json.loads(run(capsys, *more)[1])["already_done"] == 2
    assert json.loads(run(capsys, *given)[1])["already_done"] == 2


@pytest.mark.parametrize(
    ("more", "expected", "said"),
    [
        (
            ["--methods", "lime"],
            1,
            "no attribution method 'lime' here: the known ones are cam, grad_cam, grad_cam_plus_plus",
        ),
        (
            ["--server", "localhost:1", "--model-name", "cnn-m", "--reference"],
            1,
            "--reference has no effect without --model",
        ),
    ],
)
def test_methods_that_cannot_be_had(full_disk_models, sky, tmp_path, capsys, more, expected, said):
    where = [] if "--server" in more else ["--model", full_disk_models / "cnn-m"]
    status, _, err = run(capsys, sky / "magnetograms", *where, "--output", tmp_path / "out", *more)
    assert status == expected
    assert said in one_line(err)
    assert not (tmp_path / "out").exists()


def test_regions_of_another_time_are_told(full_disk_models, sky, tmp_path, capsys):
    regions = pd.read_parquet(sky / "regions.parquet")
    late = regions.assign(time=regions["time"] + pd.Timedelta(days=400))
    late.to_parquet(tmp_path / "late.parquet")
    images = sorted((sky / "magnetograms").iterdir())[:2]
    arguments = [*images, "--model", full_disk_models / "cnn-m", "--output", tmp_path / "out"]
    status, out, err = run(capsys, *arguments, "--regions", tmp_path / "late.parquet")
    assert status == 0
    assert "2 images have no region of `--regions` within 12 h" in out
    assert one_line(err).startswith(f"kflare.attribute: note: {tmp_path / 'late.parquet'} has no region within 12 h")
    # Some images with regions and some without: no warning, but the number.
    first = regions[regions["time"] < regions["time"].min() + pd.Timedelta(hours=1)]
    first.to_parquet(tmp_path / "first.parquet")
    status, out, err = run(capsys, *arguments, "--regions", tmp_path / "first.parquet", "--json")
    assert (status, err, json.loads(out)["images_without_regions"]) == (0, "", 1)


def test_served_maps_equal_those_made_in_process(full_disk_models, address, sky, tmp_path, capsys):
    here = [sky / "magnetograms", "--model", full_disk_models / "cnn-m", "--output", tmp_path / "here"]
    assert run(capsys, *here)[0] == 0
    there = ["--server", address, "--model-name", "cnn-m", "--batch-size", 4, "--output", tmp_path / "there"]
    assert run(capsys, sky / "magnetograms", *there)[0] == 0
    for path in (tmp_path / "here" / "maps").glob("*.fits"):
        one, other = read_attribution(path), read_attribution(tmp_path / "there" / "maps" / path.name)
        assert (one.image, one.time, one.origin.version) == (other.image, other.time, other.origin.version)
        assert other.probability == pytest.approx(one.probability, abs=1e-5)
        assert one.origin.digest
        assert other.origin.digest == ""
        wanted = one.maps["grad_cam"]
        np.testing.assert_allclose(other.maps["grad_cam"], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
        assert other.share == pytest.approx(one.share, rel=1e-4)
        # Each of the two files is rounded to 1e-5 of the largest value besides.
        for method in ("cam", "guided_backprop"):
            wanted = one.maps[method]
            np.testing.assert_allclose(other.maps[method], wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())
    columns = [name for name in table_of(tmp_path / "here") if name.endswith(("maximum", "mean", "p95", "probability"))]
    assert len(columns) == 1 + 3 * 2 * 4
    np.testing.assert_allclose(
        table_of(tmp_path / "there")[columns], table_of(tmp_path / "here")[columns], rtol=1e-3, atol=1e-5
    )


def test_predict_writes_the_same_files_from_the_same_request(full_disk_models, address, sky, tmp_path, capsys):
    images = sorted((sky / "magnetograms").iterdir())[:2]
    assert run(capsys, *images, "--model", full_disk_models / "cnn-m", "--output", tmp_path / "export")[0] == 0
    plain = json.loads(run(capsys, *images, "--server", address, "--json", command=predict)[1])
    status, out, err = run(
        capsys, *images, "--server", address, "--json", "--attribute", tmp_path / "maps", command=predict
    )
    assert status == 0
    assert err.startswith(f"kflare.predict: 2 files of maps in {tmp_path / 'maps'}, such as ")
    answer = json.loads(out)
    assert answer["models"] == plain["models"] == {"cnn-m": 1}
    for window, wanted in zip(answer["windows"], plain["windows"], strict=True):
        for name in ("probability", "calibrated"):
            assert window["full_disk"][0]["M+"][name] == pytest.approx(wanted["full_disk"][0]["M+"][name], abs=1e-6)
    for image in images:
        found = read_attribution(tmp_path / "maps" / "cnn-m" / f"{image.stem}.fits")
        wanted = read_attribution(tmp_path / "export" / "maps" / f"{image.stem}.fits")
        assert (found.image, found.time, found.header) == (wanted.image, wanted.time, wanted.header)
        assert found.probability == pytest.approx(wanted.probability, abs=1e-6)
        for method in ("cam", "grad_cam"):
            one, other = found.maps[method], wanted.maps[method]
            np.testing.assert_allclose(one, other, atol=3e-5 * np.abs(other).max())
    # With another range of bytes.
    assert run(capsys, images[0], "--byte-range", 250, "--server", address, "--attribute", tmp_path / "wide",
               command=predict)[0] == 0  # fmt: skip
    assert read_attribution(tmp_path / "wide" / "cnn-m" / f"{images[0].stem}.fits").byte_range == 250


def test_unreadable_images_are_listed_and_the_rest_is_done(full_disk_models, sky, tmp_path, capsys):
    shutil.copytree(sky / "magnetograms", tmp_path / "in")
    (tmp_path / "in" / "truncated_20140101_120000.jpg").write_bytes(
        min((sky / "magnetograms").iterdir()).read_bytes()[:900]
    )
    Image.new("RGB", (128, 128)).save(tmp_path / "in" / "a_20140101_000000.png")
    (tmp_path / "in" / "page.jpg").write_text("<html><title>Not found</title></html>")
    places = [tmp_path / "in", tmp_path / "nowhere.jpg"]
    status, out, err = run(capsys, *places, "--model", full_disk_models / "cnn-m", "--output", tmp_path / "out")
    assert status == 1
    assert "6 images attributed" in out
    lines = err.strip().splitlines()
    assert len(lines) == 5
    for name, line in zip(["a_20140101", "nowhere.jpg", "page.jpg", "truncated"], lines, strict=False):
        assert line.startswith("kflare.attribute: `")
        assert name in line
    assert lines[4] == (
        f"kflare.attribute: 4 of 10 images could not be used, listed above; the rest is in {tmp_path / 'out'}"
    )
    assert len(table_of(tmp_path / "out")) == 6
    assert len(list((tmp_path / "out" / "maps").glob("*.fits"))) == 6


def test_a_list_of_images(full_disk_models, sky, tmp_path, capsys):
    images = sorted((sky / "magnetograms").iterdir())
    (tmp_path / "list").write_text(f"{images[4]}\n\n{images[1]}\n")
    arguments = ["--model", full_disk_models / "cnn-m", "--output", tmp_path / "out"]
    assert run(capsys, "--list", tmp_path / "list", *arguments)[0] == 0
    assert list(table_of(tmp_path / "out")["image"]) == [images[1].name, images[4].name]
    status, _, err = run(capsys, "--list", tmp_path / "none", *arguments)
    assert status == 1
    assert "`--list`" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{images}"], "give either --model DIR or --server ADDRESS"),
        (
            ["{images}", "--model", "{model}", "--server", "127.0.0.1:1", "--model-name", "cnn-m"],
            "--server has no effect with --model: leave one of them out",
        ),
        (["{images}", "--server", "127.0.0.1:1"], "--server ADDRESS and --model-name NAME go together"),
        (
            ["{images}", "--model", "{model}", "--model-name", "cnn-m"],
            "--model-name has no effect without --server: leave it out",
        ),
        (["--model", "{model}"], "give magnetograms, folders of them, or --list FILE"),
        (["{images}/missing", "--model", "{model}"], "no file or folder"),
        (["{images}", "--model", "{model}", "--from", "2015-01-01"], "none of the magnetograms lies in 2015-01-01"),
        (["{images}", "--model", "{images}"], "holds no version of a model"),
        (["{images}", "--model", "{model}", "--output", "{file}/out"], "cannot write to"),
        (["{images}", "--model", "{model}", "--output", "{out}", "--byte-range", "-1"], "(--byte-range) must be"),
        (["{images}", "--model", "{model}", "--output", "{out}", "--batch-size", "0"], "`batch_size` must be"),
        (["{images}", "--model", "{model}", "--output", "{out}", "--regions", "{file}"], "lacks the column `time`"),
        (["{images}", "--model", "{model}", "--output", "{out}", "--flares", "{file}"], "{file}"),
        (
            ["{images}", "--server", "127.0.0.1:1", "--model-name", "cnn-m", "--timeout", "3"],
            " 127.0.0.1:1 ",
        ),
        (["{images}", "--server", "{server}", "--model-name", "cnn-c"], "`cnn-c` is not served"),
        (
            ["{images}", "--server", "{server}", "--model-name", "cnn-m", "--flares", "{flares}"],
            "give it with --threshold",
        ),
    ],
)
def test_bad_input_is_one_line(full_disk_models, address, sky, tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("a,b\n1,2\n")
    places = {
        "images": sky / "magnetograms", "model": full_disk_models / "cnn-m", "file": tmp_path / "file",
        "out": tmp_path / "out", "server": address, "flares": sky / "flares.csv",
    }  # fmt: skip
    status, out, err = run(capsys, *[argument.format(**places) for argument in arguments])
    assert (status, out) == (1, "")
    assert message.format(**places) in one_line(err)
    assert not list(tmp_path.rglob("*.fits"))


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory):
    """Address of a server whose cnn-m forecasts but does not attribute."""
    import tensorflow as tf

    from kflare.serving import Server
    from kflare.serving.server.servable import Trust

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 1), tf.float32, name="magnetogram")])
    def serving_default(magnetogram):
        return {"probability": tf.reduce_mean(tf.zeros_like(magnetogram), axis=(1, 2, 3)) + 0.5}

    folder = tmp_path_factory.mktemp("plain")
    tf.saved_model.save(tf.Module(), str(folder / "cnn-m" / "1"), signatures={"serving_default": serving_default})
    with Server(folder=folder, port=0, trust=Trust(unpublished=True, any_operation=True)) as running:
        yield running.address


def test_a_server_that_does_not_attribute(plain_server, sky, tmp_path, capsys):
    message = f"cnn-m version 1 at {plain_server} has no signature `attribute`, only serving_default"
    images = sky / "magnetograms"
    arguments = [images, "--server", plain_server, "--model-name", "cnn-m", "--output", tmp_path / "out"]
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert message in one_line(err)
    arguments = [images, "--server", plain_server, "--models", "cnn-m", "--attribute", tmp_path / "maps"]
    status, _, err = run(capsys, *arguments, command=predict)
    assert status == 1
    assert message in one_line(err)
    assert not list(tmp_path.rglob("*.fits"))


def test_predict_refuses_what_does_not_go_together(address, sky, tmp_path, capsys):
    status, _, err = run(capsys, "--regions", "regions.parquet", "--attribute", tmp_path, command=predict)
    assert status == 1
    assert "--attribute has no effect without magnetograms" in one_line(err)
    (tmp_path / "file").write_text("")
    arguments = [sky / "magnetograms", "--server", address, "--attribute", tmp_path / "file"]
    status, _, err = run(capsys, *arguments, command=predict)
    assert status == 1
    assert "cannot write to" in one_line(err)


@pytest.mark.slow
def test_killed_and_run_again_on_a_dask_cluster(field_models, sky, tmp_path, capsys):
    images, source = tmp_path / "in", sorted((sky / "magnetograms").iterdir())
    images.mkdir()
    for hour in range(60):
        moment = START + timedelta(hours=hour)
        (images / f"synthetic_{moment:%Y%m%d_%H%M%S}.jpg").hardlink_to(source[hour % 6])
    arguments = [str(images), "--model", str(field_models / "cnn-m"), "--output", str(tmp_path / "out")]
    command = [sys.executable, "-m", "kflare.attribute", *arguments, "--batch-size", "1"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    maps = tmp_path / "out" / "maps"
    while len(list(maps.glob("[!.]*.fits"))) < 3 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    done = {path.name: path.stat().st_mtime_ns for path in maps.glob("[!.]*.fits")}
    assert 3 <= len(done) < 60
    for name in done:
        read_attribution(maps / name)
    assert not (tmp_path / "out" / "attribution.parquet").exists()
    status, out, err = run(capsys, *arguments, "--workers", "2", "--json")
    assert (status, err) == (0, "")
    summary = json.loads(out)
    assert (summary["images"], summary["already_done"], summary["rows"]) == (60, len(done), 60)
    assert {name: (maps / name).stat().st_mtime_ns for name in done} == done
    assert len(list(maps.glob("[!.]*.fits"))) == 60
    assert not list(maps.glob(".part-*"))
    assert list(table_of(tmp_path / "out")["image"]) == sorted(path.name for path in images.iterdir())
