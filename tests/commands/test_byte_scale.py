"""Every command that reads 8-bit images says which scale it took and why, and refuses one that an image contradicts."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from astropy.io import fits
from PIL import Image

from kflare.commands import analyse, attribute, controls, crossvalidate, fit, predict
from kflare.flares.catalogue import FlareList
from kflare.serving import Client, Server
from kflare.serving.server.config_files import ModelSettings
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains

START = datetime(2014, 1, 1, tzinfo=UTC)
DAYS = 9
RELEASED = Path(__file__).resolve().parents[2] / "savedmodels"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Nine days that by their names are of HMI, ±250 G, their flares and regions."""
    folder = tmp_path_factory.mktemp("archive")
    sun = SyntheticSun(START, DAYS + 1, seed=5)
    sun.write(folder, size=128, cadence_hours=24 * 9, table_cadence_hours=24)
    shutil.rmtree(folder / "magnetograms")
    (folder / "hmi").mkdir()
    for day in range(DAYS):
        time = START + timedelta(days=day)
        image = Image.fromarray(sun.magnetogram(time, size=384).to_bytes(250))
        image.save(folder / "hmi" / f"hmi.M_{time:%Y%m%d_%H%M%S}.jpg", quality=95)
    starts = pd.DatetimeIndex([START + timedelta(days=day, hours=6) for day in (0, 2, 4, 6, 8, 10)])
    flares = pd.DataFrame({"start": starts, "peak": starts, "end": starts, "goes_class": "M1.0"})
    FlareList(flares, "test").write_csv(folder / "m.csv")
    return folder


@pytest.fixture(scope="module")
def server(full_disk_models):
    with Server(folder=full_disk_models, port=0) as running:
        yield running.address


def arguments(command, archive, models, server, folder):
    """What is typed but --byte-range."""
    images, model, flares = archive / "hmi", models / "cnn-m", ["--flares", archive / "m.csv"]
    first = min(images.iterdir())
    training = ["cnn-m", "--magnetograms", images, *flares, "--image-size", 128, "--output", folder / "run"]
    return {
        predict: [first, "--server", server],
        attribute: [first, "--model", model, "--output", folder / "out"],
        controls: [first, "--model", model, "--images", 1],
        fit: [
            *training,
            "--epochs",
            1,
            "--no-publish",
            "--train-until",
            "2014-01-03",
            "--validate-until",
            "2014-01-05",
        ],
        crossvalidate: [*training, "--epochs", 1, "--blocks", 3, "--resamples", 20],
    }[command]


def run(capsys, command, *typed):
    capsys.readouterr()
    status = command.main([str(one) for one in typed])
    return status, *capsys.readouterr()


COMMANDS = [predict, attribute, controls, fit, crossvalidate]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.__name__.rpartition(".")[2])
def test_a_scale_that_the_image_contradicts_is_refused(command, archive, full_disk_models, server, tmp_path, capsys):
    # Failed before: all of them took 100 G in silence.
    typed = arguments(command, archive, full_disk_models, server, tmp_path)
    status, _, err = run(capsys, command, *typed, "--byte-range", 100)
    assert status == 1
    told = [line for line in err.splitlines() if "byte 255" in line]
    assert len(told) == 1
    assert "hmi.M_20140101_000000.jpg`: byte 255 cannot stand for 100 G (--byte-range)" in told[0]
    assert "it stands for about 250 G: give another --byte-range" in told[0]


@pytest.mark.parametrize("command", COMMANDS[:3], ids=lambda one: one.__name__.rpartition(".")[2])
@pytest.mark.parametrize(("option", "why"), [([], "measured"), (["--byte-range", 250], "--byte-range")])
def test_it_is_said_once_which_scale_was_taken(
    command, option, why, archive, full_disk_models, server, tmp_path, capsys
):
    typed = arguments(command, archive, full_disk_models, server, tmp_path)
    status, _, err = run(capsys, command, *typed, *option)
    (line,) = err.splitlines()
    name = command.__name__.rpartition(".")[2]
    assert (status, line.split(" in ")[0]) == (0, f"kflare.{name}: byte 255 is 250 G")
    assert f"hmi.M_20140101_000000.jpg` ({why}; noise of the quiet Sun 2." in line


@pytest.mark.slow
def test_fit_says_it_of_all_images_and_keeps_it(archive, full_disk_models, server, tmp_path, capsys):
    typed = arguments(fit, archive, full_disk_models, server, tmp_path)
    status, _, err = run(capsys, fit, *typed)
    assert status == 0, err
    (line,) = [line for line in err.splitlines() if "byte 255" in line]
    assert line.startswith("byte 255 is 250 G in 9 images (measured; noise of the quiet Sun 2.")
    (settings,) = tmp_path.rglob("settings.json")
    assert '"byte_range": 250.0' in settings.read_text()


def test_analyse_reads_by_the_scale_of_the_attribution_files(archive, full_disk_models, tmp_path, capsys):
    where = [archive / "hmi", "--model", full_disk_models / "cnn-m", "--output", tmp_path]
    assert run(capsys, attribute, *where)[0] == 0
    asked = [tmp_path, archive / "hmi", "--flares", archive / "m.csv", "--regions", archive / "regions.parquet"]
    status, _, err = run(capsys, analyse, *asked, "--resamples", 20)
    assert status == 0, err
    assert "kflare.analyse: byte 255 is 250 G in 9 images (attribution file)" in err.splitlines()
    # One that was made before images were looked at, by the default of then.
    wrong = tmp_path / "maps" / "hmi.M_20140102_000000.fits"
    with fits.open(wrong, mode="update") as units:
        for unit in units:
            if "BYTERANG" in unit.header:
                unit.header["BYTERANG"] = 100.0
    status, _, err = run(capsys, analyse, *asked, "--resamples", 20)
    assert status == 1
    assert "hmi.M_20140102_000000.jpg`: byte 255 cannot stand for 100 G" in err
    assert "byte 255 is 250 G in 8 images (attribution file)" in err


@pytest.fixture(scope="module")
def released():
    with Server([ModelSettings("cnn-m", RELEASED / "cnn-m")], port=0) as running:
        yield running.address


@pytest.mark.parametrize("command", [predict, attribute], ids=lambda one: one.__name__.rpartition(".")[2])
def test_a_served_model_tells_by_which_scale_it_learnt(command, archive, released, server, tmp_path, capsys):
    """Failed before: a server told nothing of it, and the noise does not tell 200 G from 250."""
    first = min((archive / "hmi").iterdir())
    asked = [first, "--server", released]
    more = ["--model-name", "cnn-m", "--output", tmp_path / "out"] if command is attribute else []
    status, _, err = run(capsys, command, *asked, *more)
    assert (status, "byte 255 is 250 G in `" in err, "hmi.M_20140101_000000.jpg` (model; noise" in err) == (
        0,
        True,
        True,
    )
    assert len(err.splitlines()) == 1
    # What is typed is believed before it, and what the image contradicts is not believed at all.
    assert "byte 255 is 200 G" in run(capsys, command, *asked, *more[:2], "--byte-range", 200,
                                      *(["--output", tmp_path / "200"] if more else []))[2]  # fmt: skip
    soho = tmp_path / first.name
    time = datetime.strptime(first.stem, "hmi.M_%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    Image.fromarray(SyntheticSun(START, DAYS + 1, seed=5).magnetogram(time, size=384).to_bytes(100)).save(
        soho, quality=95
    )
    (output,) = [["--output", tmp_path / "100"]] if more else [[]]
    assert "(measured; noise" in run(capsys, command, soho, *asked[1:], *more[:2], *output)[2]
    with Client(released) as client, Client(server) as other:
        assert (client.byte_range("cnn-m"), other.byte_range("cnn-m")) == (250.0, None)


def test_the_model_in_process_is_believed(archive, full_disk_models, tmp_path, capsys, monkeypatch):
    from kflare.attribution import published

    about = published.read_metadata
    monkeypatch.setattr(published, "read_metadata", lambda place: {**about(place), "data": {"byte_range": 270.0}})
    first = min((archive / "hmi").iterdir())
    typed = [first, "--model", full_disk_models / "cnn-m", "--output", tmp_path / "out"]
    status, _, err = run(capsys, attribute, *typed)
    assert (status, len(err.splitlines())) == (0, 1)
    assert "byte 255 is 270 G in `" in err
    assert "(model; noise" in err
