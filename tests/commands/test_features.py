"""python -m kflare.features: from a folder of observations to the region table."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from kflare.commands import features
from kflare.datasets.history import REGION_HISTORY
from kflare.datasets.region_run import table_columns
from tests.observations.test_producers import cards, jp2_file, sun


@pytest.fixture(scope="module")
def run(observed_sun, tmp_path_factory):
    """A finished run over the three times, with pictures."""
    folder = tmp_path_factory.mktemp("features")
    options = ["--flares", str(observed_sun / "flares.csv"), "--srs", str(observed_sun / "srs.csv")]
    assert features.main([str(observed_sun), "--output", str(folder), "--png", *options]) == 0
    return folder


def test_a_flare_list_that_names_no_region_leaves_the_history_open(observed_sun, run, copy, tmp_path, caplog):
    flares = pd.read_csv(observed_sun / "flares.csv")
    flares.drop(columns="noaa").to_csv(tmp_path / "list.csv", index=False)
    options = ["--flares", str(tmp_path / "list.csv"), "--srs", str(observed_sun / "srs.csv")]
    assert features.main([str(observed_sun), "--output", str(copy), *options]) == 0
    assert "list.csv names the region of 0 of its" in caplog.text
    before, after = (pd.read_parquet(folder / "regions.parquet") for folder in (run, copy))
    happened = before["Chis"] > 0
    assert happened.any()
    assert after.loc[happened, "Chis"].isna().all()
    assert after.loc[happened, "missing"].str.contains("Chis.*: few flares of the list have a NOAA number").all()


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def test_the_table_and_what_lies_beside_it(run):
    table = pd.read_parquet(run / "regions.parquet")
    assert list(table.columns) == list(table_columns())
    assert table["time"].nunique() == 3
    last = table[table["time"] == table["time"].max()]
    # In the third hour everything but the changes over 12 and 24 h can be measured.
    measured = [name for name, feature in table_columns().items() if feature and name[:4] not in {"dt12", "dt24"}]
    known = last[last["region"].isin(table["region"][table["time"] == table["time"].min()])]
    assert known[[name for name in measured if name not in {"MeanGAM", *REGION_HISTORY}]].notna().all(axis=None)
    # Without a NOAA number nothing is known of a region's flares.
    numbered = last["region"].isin(table["region"][table["noaas"] != ""])
    assert numbered.any()
    assert last.loc[numbered, list(REGION_HISTORY)].notna().all(axis=None)
    assert last.loc[~numbered, list(REGION_HISTORY)].isna().all(axis=None)
    outcomes = pd.read_csv(run / "outcomes.csv")
    assert outcomes["status"].tolist() == ["regions"] * 3
    assert outcomes["time"].tolist() == [f"2014-01-02T0{hour}:00:00Z" for hour in range(3)]
    assert (run / "tracks.csv").read_text().startswith("time,kind,before,after")
    pictures = sorted((run / "pictures").glob("*.png"))
    # At each time the disk, and the frames over the vector field (Nishizuka et al. 2021, Fig. 2).
    hours = [f"20140102T0{hour}0000Z" for hour in range(3)]
    assert [path.name for path in pictures] == [f"{hour}.{kind}" for hour in hours for kind in ("png", "vector.png")]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert not list(run.rglob(".part-*"))


def test_what_is_there_is_not_measured_again(observed_sun, copy, run, capsys):
    before = {path: path.stat().st_mtime_ns for path in (copy / "parts").glob("*.parquet")}
    (copy / "parts" / "20140102T010000Z.parquet").unlink()
    options = ["--flares", str(observed_sun / "flares.csv"), "--srs", str(observed_sun / "srs.csv"), "--json"]
    assert features.main([str(observed_sun), "--output", str(copy), *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["times"], summary["measured_now"], summary["no_data"]) == (3, 1, 0)
    again = {path: path.stat().st_mtime_ns for path in (copy / "parts").glob("*.parquet")}
    assert sum(again[path] != before[path] for path in before) == 1
    pd.testing.assert_frame_equal(pd.read_parquet(copy / "regions.parquet"), pd.read_parquet(run / "regions.parquet"))


def test_other_options_need_another_folder(observed_sun, copy, capsys):
    assert features.main([str(observed_sun), "--output", str(copy), "--detection", "threshold=200"]) == 1
    assert "holds parts that were measured with another `detection`" in capsys.readouterr().err


def test_no_sunspot_is_an_outcome(observed_sun, tmp_path, capsys):
    arguments = ["--detection", "threshold=9000", "--until", "2014-01-02T01:30", "--output", str(tmp_path)]
    assert features.main([str(observed_sun), *arguments]) == 0
    assert "0 with regions, 2 with no sunspot" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "outcomes.csv")["status"].tolist() == ["no sunspot"] * 2
    assert pd.read_parquet(tmp_path / "regions.parquet").empty


def test_a_damaged_magnetogram_costs_its_time_only(observed_sun, tmp_path, capsys):
    folder = tmp_path / "observed"
    folder.mkdir()
    for path in observed_sun.glob("hmi.M_720s_nrt.*"):
        shutil.copy(path, folder)
    damaged = folder / "hmi.M_720s_nrt.20140102_010035_TAI.magnetogram.fits"
    damaged.write_bytes(damaged.read_bytes()[:20000])
    assert features.main([str(folder), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert damaged.name in error
    assert "1 of 3 magnetograms could not be used" in error
    outcomes = pd.read_csv(tmp_path / "out" / "outcomes.csv")
    assert outcomes["status"].tolist() == ["regions", "no data", "regions"]
    assert damaged.name in outcomes["reason"][1]
    table = pd.read_parquet(tmp_path / "out" / "regions.parquet")
    assert table["time"].nunique() == 2
    assert table["VUSflux"].isna().all()
    assert table["missing"].str.contains("no vector field").sum() == (table["status"] == "forecast").sum()


def test_the_names_of_jsocs_exports_serve_as_well(observed_sun, tmp_path, capsys):
    folder = tmp_path / "observed"
    folder.mkdir()
    (magnetogram,) = observed_sun.glob("hmi.M_720s_nrt.20140102_02*")
    shutil.copy(magnetogram, folder / "hmi.m_720s.2014.01.02_02_00_35_TAI.magnetogram.fits")
    for path in [*observed_sun.glob("aia.*.131.*"), *observed_sun.glob("aia.*T02*.1600.*")]:
        _, _, time, channel, *_ = path.name.split(".")
        exported = f"2014-01-02T{time[9:15]}Z.{channel}.image_lev1.fits"
        shutil.copy(path, folder / f"aia.lev1_euv_12s.{exported}")
    (folder / "page.fits").write_text("<html><title>Busy</title>")
    assert features.main([str(folder), "--output", str(tmp_path / "out")]) == 0
    table = pd.read_parquet(tmp_path / "out" / "regions.parquet")
    inner = table[table["status"] == "forecast"]
    assert inner[["CHArea", "CHMax", "CRArea", "CRMax", "CRMax_m1", "CRMax_m2"]].notna().all(axis=None)
    left = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert [path.rpartition("/")[2] for path in left["file"]] == ["page.fits"]
    assert "HTML" in left["reason"][0]
    assert "1 files left out" in capsys.readouterr().err


def test_files_of_which_none_serves_are_no_success(observed_sun, tmp_path, capsys):
    folder = tmp_path / "observed"
    folder.mkdir()
    for path in [*observed_sun.glob("hmi.M_720s_nrt.20140102_02*"), *observed_sun.glob("aia.*T00*.1600.*")]:
        shutil.copy(path, folder)
    assert features.main([str(folder), "--output", str(tmp_path / "out")]) == 1
    assert "none of 1 files of AIA at 1600 Å is within 30 min of a magnetogram" in capsys.readouterr().err
    assert len(pd.read_parquet(tmp_path / "out" / "regions.parquet"))


def test_a_name_that_its_header_contradicts(observed_sun, tmp_path, capsys):
    folder = tmp_path / "observed"
    folder.mkdir()
    (magnetogram,) = observed_sun.glob("hmi.M_720s_nrt.20140102_02*")
    shutil.copy(magnetogram, folder / "hmi.M_720s_nrt.20140102_120035_TAI.magnetogram.fits")
    assert features.main([str(folder), "--output", str(tmp_path / "out")]) == 1
    assert "is of 2014-01-02T02:00Z by its header and of 2014-01-02T12:00Z by its name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detection", "size=3"], "`--detection` takes NAME=VALUE with one of threshold,"),
        (["--detection", "threshold=strong"], "`--detection` threshold must be a number"),
        (["--detection", "radial=so"], "`--detection` radial must be a number, or true or false, got 'so'"),
        (["--detection", "threshold=-1"], "`threshold` of the detection must lie in"),
        (["--from", "2015-01-01"], "holds no magnetogram from 2015-01-01"),
        (["--flares", "absent.csv"], "absent.csv"),
        (["--srs", "absent.csv"], "absent.csv"),
        (["--xrays", "absent.json"], "absent.json"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(observed_sun, tmp_path, capsys, arguments, message):
    assert features.main([str(observed_sun), "--output", str(tmp_path / "out"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "regions.parquet").exists()


def test_help_needs_no_heavy_import():
    code = (
        "import sys, kflare.features as f\n"
        "try: f.main(['--help'])\n"
        "except SystemExit: print(sorted({'tensorflow','numpy','pandas','scipy','sunpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_on_a_dask_cluster(observed_sun, run, tmp_path, capsys):
    options = ["--flares", str(observed_sun / "flares.csv"), "--srs", str(observed_sun / "srs.csv")]
    assert features.main([str(observed_sun), "--output", str(tmp_path), "--workers", "2", *options]) == 0
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "regions.parquet"), pd.read_parquet(run / "regions.parquet")
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_observations_to_a_served_forecast(tmp_path, capsys):
    """Three days at 1 h cadence, the table, a model trained on it, and a forecast from a server."""
    from datetime import UTC, datetime

    from kflare.commands import fit, predict
    from kflare.synthetic.sun import SyntheticSun
    from tests.observation_sets import write_observations

    seen = tmp_path / "observed"
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 5, seed=2)
    hours = pd.date_range("2014-01-01T00:00Z", "2014-01-04T00:00Z", freq="h", unit="us")
    # Without the cut-outs of each region it is a fifth of the files.
    write_observations(sun, seen, hours, size=128, full_disk_vector=True)
    flares = ["--flares", str(seen / "flares.csv")]
    table, models = tmp_path / "features" / "regions.parquet", tmp_path / "models"
    assert features.main([str(seen), "--output", str(table.parent), "--srs", str(seen / "srs.csv"), *flares]) == 0
    spans = ["--train-until", "2014-01-03", "--validate-until", "2014-01-04"]
    where = ["--output", str(tmp_path / "run"), "--publish", str(models)]
    assert fit.main(["defn-c", "--regions", str(table), "--epochs", "2", *flares, *spans, *where]) == 0
    whole = pd.read_parquet(table)
    last = tmp_path / "last.parquet"
    whole[whole["time"] == whole["time"].max()].to_parquet(last)
    capsys.readouterr()
    with subprocess.Popen(
        [sys.executable, "-m", "kflare.serve", "--models", str(models), "--port", "0"],
        stderr=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        try:
            line = next(line for line in server.stderr if "listening on" in line)
            address = line.split("listening on ")[1].split(",")[0]
            assert predict.main(["--regions", str(last), "--server", address, "--json"]) == 0
        finally:
            server.terminate()
    (window,) = json.loads(capsys.readouterr().out)["windows"]
    forecast = whole[(whole["time"] == whole["time"].max()) & (whole["status"] == "forecast")]
    assert {row["region"] for row in window["regions"]} == set(forecast["region"])
    assert 0 < window["full_disk"][0]["C+"]["probability"] < 1


def test_it_says_by_which_scale_images_of_bytes_were_read(tmp_path, capsys):
    """Failed before: the other commands that read such images said it, this one did not."""
    name = "2013_10_22__23_59_27_000__SDO_HMI_HMI_magnetogram.jp2"
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / name).write_bytes(jp2_file(np.clip(sun(), -249, 249), cards()))
    assert features.main([str(tmp_path / "seen"), "--output", str(tmp_path / "out")]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "byte 255" in line]
    assert line.startswith("kflare.features: byte 255 is 250 G in `")
    assert f"{name}` (header" in line
