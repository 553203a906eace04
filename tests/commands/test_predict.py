"""`python -m kflare.predict` against a real server of small models fitted in this session."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from kflare.commands import fit, predict
from kflare.flares.repairing import read_flares
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains


@pytest.fixture(scope="session")
def sun(tmp_path_factory):
    """Ninety days of the synthetic Sun, small."""
    folder = tmp_path_factory.mktemp("sun")
    SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 90, seed=3).write(folder, size=128, table_cadence_hours=24)
    return folder


@pytest.fixture(scope="session")
def models(sun, tmp_path_factory):
    """cnn-c and defn-c, fitted for an epoch or two through the real command."""
    folder = tmp_path_factory.mktemp("fitted")
    spans = ["--train-until", "2014-02-15", "--validate-until", "2014-03-10", "--publish", str(folder / "models")]
    common = [*spans, "--flares", str(sun / "flares.csv"), "--epochs", "2"]
    images = ["--magnetograms", str(sun / "magnetograms"), "--image-size", "128", "--output", str(folder / "cnn")]
    regions = ["--regions", str(sun / "regions.parquet"), "--output", str(folder / "defn")]
    assert fit.main(["cnn-c", *images, *common]) == 0
    assert fit.main(["defn-c", *regions, *common]) == 0
    return folder / "models"


@pytest.fixture(scope="module")
def server(models):
    """Address of an embedded server of the models, on a free port of loopback."""
    from kflare.serving import Server

    with Server(folder=models, port=0) as running:
        yield running.address


def run(capsys, *arguments):
    capsys.readouterr()
    status = predict.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.slow
def test_magnetogram(server, sun, capsys):
    image = max((sun / "magnetograms").iterdir())
    status, out, _ = run(capsys, image, "--server", server, "--json")
    assert status == 0
    answer = json.loads(out)
    assert answer["models"] == {"cnn-c": 1}
    window = answer["windows"][0]
    assert window["start"] == "2014-03-31T00:00:00Z" or window["start"].endswith("T00:00:00Z")
    assert pd.Timestamp(window["end"]) - pd.Timestamp(window["start"]) == pd.Timedelta(hours=24)
    assert 0 < window["full_disk"][0]["C+"]["calibrated"] < 1
    # The same image read as if it held ±250 G goes as float32 gauss, and is another field.
    other = json.loads(run(capsys, image, "--byte-range", 250, "--server", server, "--json")[1])
    assert other["windows"][0]["full_disk"][0]["C+"]["probability"] != window["full_disk"][0]["C+"]["probability"]


@pytest.mark.slow
def test_maps_with_pictures_say_where_they_are_and_nothing_else_is_said(server, sun, tmp_path):
    image = max((sun / "magnetograms").iterdir())
    command = [sys.executable, "-m", "kflare.predict", image, "--server", server, "--attribute", tmp_path, "--png"]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    files = [tmp_path / "cnn-c" / f"{image.stem}.{kind}" for kind in ("fits", "png")]
    said = done.stderr.splitlines()
    assert said[-1] == f"kflare.predict: 2 files of maps in {tmp_path}, such as {files[1]}"
    assert all(line.startswith("kflare.predict: ") for line in said)
    assert all(file.stat().st_size > 10_000 for file in files)
    assert files[1].read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_asking_imports_no_tensorflow(server, sun):
    image = max((sun / "magnetograms").iterdir())
    code = (
        "import sys\nfrom kflare import predict\n"
        f"assert predict.main(['{image}', '--server', '{server}', '--json']) == 0\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.slow
def test_regions_combine_to_the_full_disk(server, sun, capsys):
    status, out, _ = run(
        capsys, "--regions", sun / "regions.parquet", "--flares", sun / "flares.csv", "--server", server, "--json"
    )
    assert status == 0
    for window in json.loads(out)["windows"]:
        regions = np.array([region["C+"]["probability"] for region in window["regions"]])
        # P_FD = 1 - prod(1 - P_i), Nishizuka et al. 2021, section 3
        assert window["full_disk"][0]["C+"]["probability"] == pytest.approx(1 - np.prod(1 - regions), rel=1e-5)


@pytest.mark.slow
def test_no_region_numbers_in_a_flare_list_is_not_no_flares(server, sun, tmp_path, capsys):
    """What is not known is imputed and counted, and a line says why and what to do."""
    pd.read_csv(sun / "flares.csv").drop(columns="noaa").to_csv(tmp_path / "list.csv", index=False)
    imputed = {}
    for flares in (sun / "flares.csv", tmp_path / "list.csv"):
        more = ["--flares", flares, "--server", server, "--json"]
        status, out, err = run(capsys, "--regions", sun / "regions.parquet", *more)
        assert status == 0
        windows = json.loads(out)["windows"]
        imputed[flares.name] = sum(region["C+"]["imputed"] for one in windows for region in one["regions"])
        told = [line for line in err.splitlines() if "names the region of 0 of its" in line]
        assert len(told) == (flares.name == "list.csv")
    assert imputed["list.csv"] > imputed["flares.csv"]
    # Without numbers in the table the list says as little: nothing was said of it before.
    pd.read_parquet(sun / "regions.parquet").assign(noaa=0).to_parquet(tmp_path / "regions.parquet")
    status, out, err = run(capsys, "--regions", tmp_path / "regions.parquet", "--flares", sun / "flares.csv", *more[2:])
    assert status == 0
    assert "no region there has a NOAA number (`noaa`)" in err


@pytest.mark.slow
def test_a_flare_list_that_ended_before_the_rows_says_nothing_of_them(server, sun, tmp_path, capsys):
    """Up to two days of no list counted as two days without a flare."""
    flares, last = read_flares(sun / "flares.csv"), pd.read_parquet(sun / "regions.parquet")["time"].max()
    ends = (flares.between(flares.span[0], last - timedelta(hours=hours)) for hours in range(24, 1000, 6))
    untold = ((part, last - part.told[-1][1]) for part in ends)
    part = next(part for part, behind in untold if timedelta(hours=14) < behind < timedelta(hours=40))
    part.write_csv(tmp_path / "ended.csv")
    imputed = {}
    for path in (sun / "flares.csv", tmp_path / "ended.csv"):
        more = ["--flares", path, "--server", server, "--json"]
        status, out, err = run(capsys, "--regions", sun / "regions.parquet", *more)
        assert status == 0
        (*_, window) = json.loads(out)["windows"]
        imputed[path.name] = min(region["C+"]["imputed"] for region in window["regions"])
        assert ("ended.csv does not tell of all the week before" in err) == (path.name == "ended.csv")
    assert imputed["ended.csv"] >= imputed["flares.csv"] + 4  # the disk's, and those of regions with numbers


@pytest.mark.slow
def test_table_never_shows_zero_percent(server, sun, capsys):
    status, out, _ = run(
        capsys, "--regions", sun / "regions.parquet", "--flares", sun / "flares.csv", "--server", server
    )
    assert status == 0
    assert "full disk (P_FD)" in out
    assert "defn-c version 1" in out
    assert " 0.0 %" not in out
    assert "100.0 %" not in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="AREA"), "`AREA`"),
        (lambda table: table.assign(WIDTH=1.0), "`WIDTH`"),
        (lambda table: table.assign(AREA="wide"), "must be numeric, got 'wide'"),
        (lambda table: pd.concat([table, table.head(1)]), "two rows"),
    ],
)
def test_bad_region_table(server, sun, tmp_path, capsys, change, message):
    path = tmp_path / "regions.parquet"
    change(pd.read_parquet(sun / "regions.parquet")).to_parquet(path)
    status, out, err = run(capsys, "--regions", path, "--flares", sun / "flares.csv", "--server", server)
    assert (status, out) == (1, "")
    assert message in err
    assert len([line for line in err.strip().splitlines() if "tell of all the week before" not in line]) == 1


@pytest.mark.slow
def test_model_that_is_not_served(server, sun, capsys):
    image = min((sun / "magnetograms").iterdir())
    status, _, err = run(capsys, image, "--server", server, "--models", "cnn-m")
    assert status == 1
    assert "`cnn-m` is not served" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_bad_magnetogram_costs_no_answer_of_the_good_ones(server, sun, tmp_path, capsys):
    good, other = sorted((sun / "magnetograms").iterdir())[:2]
    text, cut, absent = tmp_path / "a.jpg", tmp_path / "b_20140101_000000.jpg", tmp_path / "nowhere.jpg"
    text.write_text("no image")
    cut.write_bytes(good.read_bytes()[:900])
    status, out, err = run(capsys, text, good, cut, absent, other, "--server", server, "--json")
    assert status == 1
    assert [window["full_disk"][0]["source"] for window in json.loads(out)["windows"]] == [good.name, other.name]
    alone = json.loads(run(capsys, other, "--server", server, "--json")[1])
    assert json.loads(out)["windows"][1] == alone["windows"][0]
    scale, *lines = err.splitlines()
    assert scale == "kflare.predict: byte 255 is 100 G in 2 images (name of its archive)"
    assert len(lines) == 4
    for path, line in zip((text, cut, absent), lines, strict=False):
        assert line.startswith(f"kflare.predict: `{path}`")
    assert lines[3] == (
        "kflare.predict: 3 of 5 magnetograms could not be used, listed above; the forecasts of the others are on "
        "standard output"
    )
    # None of several is good: no table, and no answer that holds nothing.
    status, out, err = run(capsys, text, cut, "--server", server)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].endswith("2 of 2 magnetograms could not be used, listed above; there is no forecast")
    # The only one: one line.
    status, out, err = run(capsys, text, "--server", server)
    assert (status, out, len(err.splitlines())) == (1, "", 1)


@pytest.mark.slow
def test_what_the_server_refuses_costs_no_answer_of_the_others(models, sun, tmp_path, capsys):
    from kflare.serving import Server
    from kflare.serving.server.limits import Limits

    small = min((sun / "magnetograms").iterdir())
    SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 1, seed=3).write(tmp_path, size=1024)
    large = min((tmp_path / "magnetograms").iterdir())
    with Server(folder=models, port=0, limits=Limits(message_bytes=1 << 21)) as running:
        status, out, err = run(capsys, large, small, "--server", running.address, "--json")
    assert (status, len(json.loads(out)["windows"])) == (1, 1)
    assert err.splitlines()[1].startswith(f"kflare.predict: `{large}`: ")
    assert "RESOURCE_EXHAUSTED" in err


@pytest.mark.slow
def test_answers_are_kept_when_the_server_goes_away(models, sun, capsys, monkeypatch):
    from kflare.serving import Server
    from kflare.serving.forecasts import served_forecasts

    images = sorted((sun / "magnetograms").iterdir())[:3]
    read = served_forecasts.read_magnetogram
    with Server(folder=models, port=0) as running:

        def stop_then_read(path, **options):
            if path == images[1]:
                running.stop(0)
            return read(path, **options)

        monkeypatch.setattr(served_forecasts, "read_magnetogram", stop_then_read)
        status, out, err = run(capsys, *images, "--server", running.address, "--timeout", 2, "--json")
    assert (status, len(json.loads(out)["windows"])) == (1, 1)
    _, *lines = err.splitlines()  # first the scale of the bytes
    assert len(lines) == 3
    assert lines[0].startswith(f"kflare.predict: `{images[1]}`: no server at")
    assert lines[1] == f"kflare.predict: `{images[2]}` was not asked about"


def test_no_server(tmp_path, capsys):
    SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 2, seed=3).write(tmp_path, size=128)
    # Port 1 of loopback: nothing listens there.
    started = time.monotonic()
    status, out, err = run(capsys, tmp_path / "magnetograms", "--server", "127.0.0.1:1", "--timeout", "3")
    assert (status, out) == (1, "")
    assert time.monotonic() - started < 5  # the one deadline, not one for each model
    assert "no server at 127.0.0.1:1" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either magnetograms or --regions FILE"),
        (["image.jpg", "--regions", "t.parquet"], "--regions has no effect with magnetograms: leave one of them out"),
    ],
)
def test_either_images_or_regions(capsys, arguments, message):
    status, _, err = run(capsys, *arguments)
    assert (status, err) == (1, f"kflare.predict: {message}\n")
