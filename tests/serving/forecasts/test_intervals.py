"""Published region models with an interval and a calibration of P_FD, and one as released before there were any."""

import json
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.models.calibration import Calibration, fit_calibration
from kflare.models.cross_fitting import OutOfSample, cross_fitted
from kflare.models.defn import build_defn
from kflare.models.disk_calibration import calibrate_disk
from kflare.models.feature_scaling import fit_scaling
from kflare.models.fitting import FittedNetwork
from kflare.models.known_answer import known_answer
from kflare.models.region_models import publish_region_model
from kflare.models.training import TrainingRun
from kflare.operations.questions import ask_regions
from kflare.regions.feature_table import features_named
from kflare.serving import Client, Server, full_disk_probability
from kflare.serving.forecasts.served_forecasts import forecast_regions

pytestmark = pytest.mark.trains

NAMES = ["AREA", "R_VALUE"]


def table(times, regions):
    rng = np.random.default_rng(1)
    rows = [(time, f"HARP {number}") for time in times for number in range(regions)]
    made = pd.DataFrame(rows, columns=["time", "region"])
    return made.assign(AREA=rng.lognormal(5, 1, len(made)), R_VALUE=rng.uniform(0, 5, len(made)))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """An untrained network, calibrated on three years of outputs that flare as often as the square of the output."""
    times = pd.date_range("2012-01-01", "2014-12-31", freq="D", tz="UTC")
    rng = np.random.default_rng(2)
    p = rng.uniform(0.01, 0.99, len(times)).astype(np.float32)
    samples = OutOfSample.of(rng.random(len(p)) < p**2, p, times)
    keras.utils.set_random_seed(0)  # an untrained network says another thing each time
    model = build_defn(len(NAMES))
    scaling = fit_scaling(table(times[:40], 1), features_named(NAMES))
    calibration, disk = cross_fitted(samples, resamples=40), calibrate_disk(samples)
    run = TrainingRun(tmp_path_factory.mktemp("run"), {})
    return FittedNetwork(model, run, calibration, 0.5, [], pd.DataFrame(), scaling, disk)


@pytest.fixture(scope="module")
def models(fitted, tmp_path_factory):
    """defn-c with all of it, defn-m as released before: no interval, no signature for the full disk."""
    folder = tmp_path_factory.mktemp("models")
    example = table(pd.date_range("2014-01-01", periods=2, freq="D", tz="UTC"), 2)
    publish_region_model(fitted, folder, "defn-c", example=example, metadata={"class": "C+"})
    plain = replace(fitted, calibration=Calibration(1.0, -1.0, 0.001), disk_calibration=None)
    publish_region_model(plain, folder, "defn-m", example=example, metadata={"class": "M+"})
    return folder


@pytest.fixture(scope="module")
def client(models):
    with Server(folder=models, port=0) as running, Client(running.address) as made:
        yield made


def test_both_versions_answer_with_what_they_have(client, fitted):
    times = pd.date_range("2014-03-01", periods=2, freq="D", tz="UTC")
    result = forecast_regions(client, table(times, 3), ["defn-c", "defn-m"])
    assert [name for name in result.rows if "calibrated" in name] == [
        "C+ calibrated", "C+ calibrated_lower", "C+ calibrated_upper", "M+ calibrated",
    ]  # fmt: skip
    for frame in (result.rows, result.disk):
        assert (frame["C+ calibrated_lower"] <= frame["C+ calibrated"]).all()
        assert (frame["C+ calibrated"] <= frame["C+ calibrated_upper"]).all()
    told = fitted.calibration.outputs(result.rows["C+ probability"].to_numpy(np.float32))
    np.testing.assert_allclose(result.rows["C+ calibrated_upper"], told["calibrated_upper"], rtol=1e-5)
    for time, disk in result.disk.set_index("time").iterrows():
        own = result.rows[result.rows["time"] == time]
        assert disk["M+ calibrated"] == pytest.approx(full_disk_probability(own["M+ calibrated"]))
        assert disk["C+ probability"] == pytest.approx(full_disk_probability(own["C+ probability"]))
        # Its own calibration of 1 - prod(1 - calibrated).
        combined = np.array([full_disk_probability(own["C+ calibrated"])], np.float32)
        wanted = fitted.disk_calibration.of(combined, {})
        for name, value in wanted.items():  # and none is below that of a region
            most = max(float(value[0]), own[f"C+ {name}"].max())
            assert disk[f"C+ {name}"] == pytest.approx(most, rel=1e-5)
    plain = json.loads(json.dumps(result.as_json()))
    assert set(plain["windows"][0]["full_disk"][0]["C+"]) == {
        "probability", "calibrated", "calibrated_lower", "calibrated_upper",
    }  # fmt: skip
    assert set(plain["windows"][0]["full_disk"][0]["M+"]) == {"probability", "calibrated"}


def test_a_cycle_takes_the_disk_as_its_model_calibrates_it(client):
    rows = table(pd.date_range("2014-03-01", periods=1, freq="D", tz="UTC"), 3)
    answers = ask_regions(client, rows, {"defn-c": NAMES, "defn-m": NAMES})
    assert answers.failures == {}
    disk = forecast_regions(client, rows, ["defn-c", "defn-m"]).disk.iloc[0]
    assert answers.full_disk["C"].calibrated == pytest.approx(disk["C+ calibrated"])
    assert answers.full_disk["C"].calibrated_upper == pytest.approx(disk["C+ calibrated_upper"])
    assert "(" in answers.full_disk["C"].frequency
    assert answers.full_disk["M"].calibrated_lower is None
    assert answers.full_disk["M"].calibrated == pytest.approx(disk["M+ calibrated"])


def test_a_row_of_which_nothing_was_measured_leaves_its_disk_unknown(client):
    rows = table(pd.date_range("2014-03-01", periods=2, freq="D", tz="UTC"), 2)
    rows.loc[0, NAMES] = np.nan
    disk = forecast_regions(client, rows, ["defn-c"]).disk
    chances = [name for name in disk if name != "time"]
    assert disk.loc[0, chances].isna().all()
    assert disk.loc[1, chances].notna().all()


def test_the_known_answer_is_of_the_network_and_not_of_a_calibration_alone(models):
    assert set(known_answer(models / "defn-c" / "1")) == {
        "probability", "probabilities", "calibrated", "calibrated_lower", "calibrated_upper",
    }  # fmt: skip
    assert set(known_answer(models / "defn-m" / "1")) == {"probability", "probabilities", "calibrated"}


def test_the_disk_is_calibrated_by_the_flares_before_where_they_are_known_and_agree(fitted, tmp_path):
    times = pd.date_range("2012-01-01", "2014-12-31", freq="D", tz="UTC")
    rng = np.random.default_rng(5)
    p, counts = rng.uniform(0.01, 0.99, len(times)), pd.DataFrame({"diskC7d": rng.poisson(3, len(times))}, dtype=float)
    samples = OutOfSample.of(rng.random(len(p)) < p * counts["diskC7d"].to_numpy() / 10, p, times)
    disk = calibrate_disk(samples, counts)
    rows = table(times[:3], 2).assign(diskC7d=[9.0, 9.0, 9.0, np.nan, np.nan, np.nan])
    names = [*NAMES, "diskC7d"]
    scaling = fit_scaling(table(times[:40], 1).assign(diskC7d=range(40)), features_named(names))
    keras.utils.set_random_seed(0)
    one = replace(fitted, model=build_defn(len(names)), scaling=scaling, disk_calibration=disk)
    publish_region_model(one, tmp_path, "defn-c", example=rows, metadata={"class": "C+"})
    with Server(folder=tmp_path, port=0) as running, Client(running.address) as client:
        told = forecast_regions(client, rows, ["defn-c"])
        with pytest.raises(DataError, match=r"`diskC7d` is of the whole disk: .* got 9 of HARP 0 and 8 of HARP 1"):
            forecast_regions(client, rows.assign(diskC7d=[9.0, 9.0, 9.0, np.nan, 9.0, 8.0]), ["defn-c"])
    combined = told.rows.groupby("time")["C+ calibrated"].agg(full_disk_probability).to_numpy(np.float32)
    wanted = disk.of(combined, {"diskC7d": np.array([9, 9, np.nan], np.float32)})
    for name, values in wanted.items():  # and none is below that of a region
        regions = told.rows.groupby("time")[f"C+ {name}"].max().to_numpy()
        np.testing.assert_allclose(told.disk[f"C+ {name}"], np.maximum(values, regions), rtol=1e-5)
    assert told.disk["C+ calibrated"][0] == pytest.approx(wanted["calibrated"][0], rel=1e-5)
    assert told.disk["C+ calibrated"][0] != pytest.approx(disk.alone(combined[:1]).numpy()[0], rel=1e-2)


def test_few_days_with_an_event_calibrate_no_disk():
    times = pd.date_range("2012-01-01", "2012-12-31", freq="D", tz="UTC")
    p = np.linspace(0.01, 0.99, len(times)).astype(np.float32)
    rare = OutOfSample.of(np.arange(len(times)) < 19, p, times)
    assert calibrate_disk(rare) is None
    assert calibrate_disk(replace(rare, observed=~rare.observed)) is None
    assert calibrate_disk(OutOfSample.of(np.arange(len(times)) < 20, p, times)) is not None
    assert fit_calibration(rare.observed, p).band is None
