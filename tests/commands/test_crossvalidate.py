"""`python -m kflare.crossvalidate`: a whole run on the synthetic Sun's regions, on its images, and all refusals."""

import contextlib
import io
import json
import os
import re
import signal
import threading
from datetime import UTC, datetime, timedelta
from time import sleep

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.commands import crossvalidate
from kflare.flares.catalogue import FLUX_SCALES, FlareList
from kflare.synthetic.sun import SyntheticSun
from kflare.verification.tables import forecast_table, read_forecasts

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def sun(tmp_path_factory):
    """Three years of regions.parquet and flares.csv."""
    folder, synthetic = tmp_path_factory.mktemp("sun"), SyntheticSun(datetime(2011, 1, 1, tzinfo=UTC), 1095, seed=0)
    synthetic.region_table(synthetic.times(72)).to_parquet(folder / "regions.parquet")
    synthetic.flares.write_csv(folder / "flares.csv")
    return folder


def run(*arguments):
    """Exit status, stdout and stderr of the command, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = crossvalidate.main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def arguments(sun, folder):
    office = pd.read_parquet(sun / "regions.parquet")[["time", "region"]].assign(probability=0.3, method="office")
    office[::2].to_csv(folder / "office.csv", index=False)
    return [
        "defn-c", "--regions", sun / "regions.parquet", "--flares", sun / "flares.csv", "--test-years", 2013,
        "--epochs", 1, "--resamples", 20, "--features", "AREA", "R_VALUE", "USFLUX", "Chis",
        "--forecasts", folder / "office.csv", "--forecasts-threshold", "office=0.2", "--output", folder / "out",
        "--shuffled", "--periods", "winter=2013-01-01..2013-04-01", "spring=2013-04-01..2013-07-01",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def answer(arguments):
    return run(*arguments)


def test_prints_the_table_that_it_keeps(answer, folder):
    status, out, err = answer
    assert status == 0
    assert out == (folder / "out" / "table.md").read_text()
    assert "Training (2011), Validation (2012), Test (2013)" in out
    assert "samples shared with office" in out
    assert f"flares in `flares.csv`, {FLUX_SCALES['irradiance']}: nothing to repair" in err
    assert "| Average " in out


def test_writes_scores_and_forecasts_of_every_method(answer, folder):
    scores = json.loads((folder / "out" / "scores.json").read_text(), parse_constant=pytest.fail)
    methods = scores["all samples"]["methods"]
    assert list(methods) == [
        "network", "logistic regression", "gradient boosting", "random forest", "R_VALUE alone", "USFLUX alone",
        "past flares alone", "persistence + climatology", "event statistics", "persistence", "120-day climatology",
        "climatology",
    ]  # fmt: skip
    assert methods["network"]["mean"]["tss"]["value"] > 0.3
    shared = scores["samples shared with office"]
    assert shared["methods"]["office"]["mean"]["tss"]["value"] == 0
    assert shared["methods"]["office"]["thresholds"] == [0.2]
    assert shared["compared"] in (folder / "out" / "table.md").read_text()
    assert "forecasts by office are at most 48 minutes apart; the outcomes are ours" in shared["compared"]
    assert 0.4 < shared["folds"][0]["samples"] / scores["all samples"]["folds"][0]["samples"] < 0.6
    checked = forecast_table(read_forecasts(folder / "out" / "forecasts.parquet"))
    assert {*methods, "network calibrated"} <= set(checked.probability)
    table = methods["network"]["tables"]["half"][0]
    hits = checked.observed & (checked.probability["network"] >= 0.5)
    assert table["tp"] == hits.sum()


def test_shuffling_is_shown_beside_the_honest_scores_and_marked_as_wrong(answer, folder):
    scores = json.loads((folder / "out" / "scores.json").read_text())
    honest, wrong = scores["all samples"], scores["shuffled"]
    assert "never quote them" in wrong["wrong"]
    assert "# What shuffling would have claimed: WRONG\n\nThese are the same samples and methods" in answer[1]
    sizes = [[fold["samples"] for fold in board["folds"]] for board in (honest, wrong)]
    assert sizes[0] == sizes[1]
    kept = [pd.read_parquet(folder / "out" / part / "2013" / "baselines.parquet") for part in ("", "shuffled")]
    tested = [part.loc[(part["span"] == "test") & (part["method"] == "climatology"), "time"] for part in kept]
    assert tested[0].dt.year.unique().tolist() == [2013]
    assert tested[1].dt.year.unique().tolist() == [2011, 2012, 2013]
    for method in ("network", "random forest"):
        cells = next(
            line for line in answer[1].splitlines() if line.startswith(f"| {method} ") and line.count("|") == 10
        )
        values = [float(cell) for cell in cells.split("|")[2:4]]
        means = [board["methods"][method]["mean"]["tss"]["value"] for board in (honest, wrong)]
        assert values == pytest.approx(means, abs=0.0006)


def test_parts_of_the_test_and_the_criteria_of_the_paper(answer, folder):
    scores = json.loads((folder / "out" / "scores.json").read_text())
    rows = pd.read_parquet(folder / "out" / "forecasts.parquet")
    rows = rows[rows["method"] == "network"]
    for name, begin, end in (("winter", "2013-01-01", "2013-04-01"), ("spring", "2013-04-01", "2013-07-01")):
        part = rows[rows["time"].between(pd.Timestamp(begin, tz="UTC"), pd.Timestamp(end, tz="UTC"), inclusive="left")]
        found = next(p for p in scores["parts"] if (p["method"], p["span"]) == ("network", f"period {name}"))
        assert found["tp"] == (part["observed"] & (part["probability"] >= part["threshold"])).sum()
        assert found["tp"] + found["fn"] == part["observed"].sum()
        assert f"period {name}  network" in answer[1]
    numbers = [line.partition(" (")[2].partition(")")[0] for line in scores["criteria"]]
    assert numbers == ["i", "ii", "iii", "iv", "i", "ii", "iii"]
    fold = scores["all samples"]["folds"][0]
    quiet = f"{fold['clusters'] - fold['event_clusters']} of {fold['clusters']} regions tested have no event"
    assert quiet in scores["criteria"][2]
    assert "met: every test is later than all that was trained and chosen on" in answer[1]
    assert all(line in answer[1] for line in scores["criteria"])


def test_periods_are_checked_before_anything_is_trained(arguments, tmp_path):
    given = [*arguments[: arguments.index("--output")], "--output", tmp_path / "other", "--periods"]
    status, _, err = run(*given, "a=2013-01-01..2013-04-01", "b=2013-03-31..2013-07-01")
    assert status == 1
    assert "the periods `a` and `b` overlap: the one ends 2013-04-01T00:00Z, the other begins 2013-03-31T00:00Z" in err
    status, _, err = run(*given, "a=2012-01-01..2013-01-01")
    assert status == 1
    assert "the period `a` holds no sample that is scored: these are of 2013-01-0" in err
    with pytest.raises(SystemExit):
        crossvalidate.main([*map(str, given), "a=2012"])
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_on_dask_a_worker_killed_in_a_training_costs_its_task_alone_and_all_is_equal(
    answer, arguments, folder, tmp_path
):
    from distributed import LocalCluster

    place = arguments.index("--output") + 1
    given = [*arguments[:place], tmp_path / "out", *arguments[place + 1 : arguments.index("--shuffled")]]
    killed = []
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50, memory_limit=0
    )

    def kill():
        logs = tmp_path / "out" / "2013" / "seed-0" / "tensorboard" / "train"
        while not (found := list(logs.glob("events.out.tfevents.*"))):
            sleep(0.05)
        killed.append(int(found[0].name.split(".")[-3]))  # TensorBoard's files name the process that writes them
        os.kill(killed[0], signal.SIGKILL)

    try:
        workers = {worker.pid for worker in cluster.workers.values()}
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        status, _, err = run(*given, "--scheduler", cluster.scheduler_address)
        killer.join(10)
    finally:
        with contextlib.suppress(Exception):  # dask's bookkeeping may fail after a worker was killed
            cluster.close()
    assert (status, len(killed)) == (0, 1), err
    assert killed[0] in workers
    ours, theirs = (pd.read_parquet(one / "forecasts.parquet") for one in (tmp_path / "out", folder / "out"))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6, atol=1e-6)


def test_the_same_command_again_fits_nothing(answer, arguments, folder):
    written = {path: path.stat().st_mtime_ns for path in (folder / "out" / "2013").rglob("*") if path.is_file()}
    status, out, _ = run(*arguments, "--json")
    assert status == 0
    assert json.loads(out) == json.loads((folder / "out" / "scores.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_the_own_year_alone_may_calibrate(answer, arguments, folder):
    def calibrated():
        rows = pd.read_parquet(folder / "out" / "forecasts.parquet")
        return rows.loc[rows["method"] == "network calibrated", "probability"].to_numpy()

    kept = pd.read_parquet(folder / "out" / "2013" / "seed-0.parquet")
    days = kept.loc[kept["span"] == "validation", ["time", "region"]].drop_duplicates()  # 72 hours apart: windows
    assert calibrated().min() >= 1 / (len(days) + 2) - 1e-7
    assert run(*arguments, "--calibration", "own-year")[0] == 0
    np.testing.assert_array_equal(calibrated(), kept.loc[kept["span"] == "test", "probability"])
    assert run(*arguments)[0] == 0


def test_a_threshold_of_nobody_is_refused(answer, arguments):
    status, out, err = run(*arguments, "--forecasts-threshold", "0.3", "ofice=0.2")
    assert (status, out) == (1, "")
    assert 'there is no method "ofice" for a threshold: the files hold ' in err


def test_other_forecasts_are_read_before_anything_is_trained(arguments, tmp_path):
    given = [*arguments[: arguments.index("--output")], "--output", tmp_path / "other", "--forecasts"]
    assert "no table of forecasts nowhere.csv" in run(*given, "nowhere.csv")[2]
    (tmp_path / "disk.csv").write_text("time,probability\n2013-01-01,0.5\n")
    assert "disk.csv needs the column `region`" in run(*given, tmp_path / "disk.csv")[2]
    # What could be compared with nothing was refused only after the training.
    for name, method, told in (
        ("HARP 0", "others", '"others" shares no sample with the test spans'),
        ("HARP 1", "climatology", 'the method "climatology" of the forecasts has the name of one of ours: rename it'),
    ):
        rows = f"2013-01-01,{name},{method},0.5\n2013-01-01,HARP 0,office,0.5\n"
        (tmp_path / "own.csv").write_text(f"time,region,method,probability\n{rows}")
        assert told in run(*given, tmp_path / "own.csv")[2]
    assert not (tmp_path / "other").exists()


def test_other_settings_are_refused_naming_the_key(answer, arguments, folder):
    status, out, err = run(*arguments, "--epochs", 2)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith(
        f"kflare.crossvalidate: {folder / 'out'} holds a cross-validation with another `epochs`"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["defn-c"], "defn-c needs either --sharp DIR or --regions FILE"),
        (["defn-m", "--sharp", "x"], "--sharp needs --harp-noaa FILE"),
        (["cnn-m"], "cnn-m needs --magnetograms DIR"),
        (["cnn-m", "--magnetograms", "x", "--image-size", 64], "--image-size must be at least 128"),
        (["defn-c", "--regions", "x", "--seeds", 1, 1], "--seeds must differ, got [1, 1]"),
        (["defn-c", "--regions", "x"], "no region table x"),
    ],
)
def test_refuses_what_it_cannot_do(sun, more, message):
    status, out, err = run(*more, "--flares", sun / "flares.csv")
    assert (status, out) == (1, "")
    assert message in err


def test_refuses_a_flare_list_that_names_no_region(sun, tmp_path):
    pd.read_csv(sun / "flares.csv").drop(columns="noaa").to_csv(tmp_path / "list.csv", index=False)
    more = ["--flares", tmp_path / "list.csv", "--output", tmp_path / "cv", "--test-years", 2013]
    status, out, err = run("defn-c", "--regions", sun / "regions.parquet", *more)
    assert (status, out) == (1, "")
    assert "`flares`: list.csv names the region of 0 of its" in err


def test_refuses_years_without_samples_or_events(sun, tmp_path):
    common = ["--regions", sun / "regions.parquet", "--flares", sun / "flares.csv", "--output", tmp_path]
    status, _, err = run("defn-c", *common, "--test-years", 2019)
    assert status == 1
    assert "test year 2019: the validation span holds no sample: the samples cover 2011-01-01 to 2013-12" in err


def test_a_year_without_events_to_learn_from_is_left_out_and_said(tmp_path):
    longer = SyntheticSun(datetime(2010, 1, 1, tzinfo=UTC), 1460, seed=0)
    longer.region_table(longer.times(72)).to_parquet(tmp_path / "regions.parquet")
    longer.flares.write_csv(tmp_path / "flares.csv")
    flares = pd.read_csv(tmp_path / "flares.csv")
    # None of 2010 reaches C: that is all there is to learn from for 2012, but not for 2013.
    flares.assign(goes_class=flares["goes_class"].where(flares["start"] >= "2011", "B5.0")).to_csv(
        tmp_path / "flares.csv", index=False
    )
    given = ["--regions", tmp_path / "regions.parquet", "--flares", tmp_path / "flares.csv", "--epochs", 1]
    given += ["--resamples", 20, "--features", "AREA", "R_VALUE", "--output", tmp_path / "cv", "--test-years"]
    status, out, err = run("defn-c", *given, 2012)
    assert (status, out) == (1, "")
    told = r"test 2012: a flare >= C1.0 occurs in none of \d+ samples of the train span"
    assert re.search(told, err)
    status, out, err = run("defn-c", *given, 2012, 2013)
    assert status == 0, err
    assert re.search(f"Left out: {told}", out)
    scores = json.loads((tmp_path / "cv" / "scores.json").read_text())["all samples"]
    assert [fold["name"] for fold in scores["folds"]] == ["2013"]
    assert "Left out: test 2012" in scores["compared"]
    assert "Training (2010-2011), Validation (2012), Test (2013)" in out


@pytest.fixture
def images(tmp_path):
    """Twelve days of each of three years, the last one of another instrument, and flares on every other day."""
    sun = SyntheticSun(datetime(2011, 1, 1, tzinfo=UTC), 800, seed=2)
    days = [datetime(year, 1, 2 + day, tzinfo=UTC) for year in (2011, 2012, 2013) for day in range(12)]
    for name in ("mdi", "hmi"):
        (tmp_path / name).mkdir()
    for time in days:
        field = sun.magnetogram(time, size=128).to_bytes(100)
        for name in ("mdi", "hmi") if time.year == 2012 else ("mdi",) if time.year == 2011 else ("hmi",):
            Image.fromarray(field).save(tmp_path / name / f"{name}_{time:%Y%m%d_%H%M%S}.png")
    # One more flare at the end, to which the list must reach.
    starts = pd.DatetimeIndex([time + timedelta(hours=6) for time in [*days[::2], days[-1] + timedelta(days=1)]])
    flares = pd.DataFrame({"start": starts, "peak": starts, "end": starts, "goes_class": "M1.0"})
    FlareList(flares, "test").write_csv(tmp_path / "flares.csv")
    return [
        "cnn-m",
        "--magnetograms",
        tmp_path / "mdi",
        tmp_path / "hmi",
        "--flares",
        tmp_path / "flares.csv",
        "--resamples",
        20,
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--test-years", 2019], "test year 2019: the validation span holds no sample"),
        (["--blocks", 40], "40 blocks need at least as many samples, got 36"),
        (["--test-years", 2013, "--periods", "a=2012-01-01..2012-03-01"], "the period `a` holds no sample"),
        (["--test-years", 2013, "--forecasts", "own.csv"], '"own" shares no sample with the test spans'),
    ],
)
def test_spans_that_the_images_do_not_have_are_refused_before_one_is_read(images, tmp_path, monkeypatch, more, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text("time,probability\n2019-01-01,0.5\n")
    for path in (*tmp_path.glob("mdi/*"), *tmp_path.glob("hmi/*")):
        path.write_bytes(path.read_bytes()[:200])  # whoever reads it says so
    status, _, err = run(*images, *more, "--output", tmp_path / "out")
    assert (status, told in err) == (1, True), err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_cnn_is_cross_validated_by_years_and_in_blocks(images, tmp_path):
    common = [*images, "--image-size", 128, "--json", "--daily", 12]
    status, out, err = run(*common, "--epochs", 1, "--test-years", 2013, "--output", tmp_path / "years")
    assert status == 0, err
    methods = json.loads(out)["all samples"]["methods"]
    assert -1 <= methods["network"]["mean"]["tss"]["value"] <= 1
    rows = pd.read_parquet(tmp_path / "years" / "forecasts.parquet")
    assert "region" not in rows
    assert rows["probability"].between(0, 1).all()

    status, out, err = run(*common, "--blocks", 3, "--seeds", "--output", tmp_path / "blocks")
    assert status == 0, err
    assert "12 images passed over: the folder named first has one for their time" in err
    assert "36 days with an image for 00:00 UT, 0 by an earlier one;" in err
    parts = {p["span"]: p["tp"] + p["fn"] for p in json.loads(out)["parts"] if p["method"] == "climatology"}
    assert parts == {"year 2011": 6, "year 2012": 6, "year 2013": 6, "instrument HMI": 6, "instrument MDI": 12}
    assert any(
        "Nishizuka et al. 2021 (ii)" in line and "NOT met: 2 of 3" in line for line in json.loads(out)["criteria"]
    )
    board = json.loads(out)["all samples"]
    assert [fold["name"] for fold in board["folds"]] == ["block 1", "block 2", "block 3"]
    assert [fold["samples"] for fold in board["folds"]] == [12, 12, 12]
    assert "network" not in board["methods"]
    assert {"flux alone", "line length alone", "line field alone"} <= set(board["methods"])
    # Every other day, so that persistence is always wrong.
    assert board["methods"]["persistence"]["folds"]["tss_half"] == [-1, -1, -1]
