"""A month of cycles in the ledger as training data, and a new version beside that in office on the same cycles."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.commands import forecast
from kflare.datasets.region_samples import samples_of_region_table
from kflare.errors import ModelError
from kflare.flares.repairing import read_flares
from kflare.models.publish import publish_version
from kflare.operations.forecast import FULL, Forecast, ModelUse, Probability, RegionForecast
from kflare.operations.ledger import Ledger
from kflare.operations.settings import ForecastSettings, LedgerSettings, as_toml, read_settings
from kflare.serving import Server
from kflare.serving.server.config_files import read_models_config
from kflare.serving.server.version_labels import labels_of
from tools import retrain, synthetic_office

from .test_outcomes import flare_list

START = datetime(2026, 3, 1, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS, REGIONS = 30, 3
# Of the field at each day in each region, and whether it flares at 06 UT: the more the larger.
RANDOM = np.random.default_rng(5)
R_VALUE = RANDOM.uniform(0, 5, (DAYS, REGIONS))
FLARES = RANDOM.random((DAYS, REGIONS)) < 1 / (1 + np.exp(-3 * (R_VALUE - 2.5)))
SLOPES = {1: 1.0, 2: -1.0, 3: 3.0}  # of the versions' logits: the third is the truth, the second its contrary

CONFIG = """model_config_list {
  config {
    name: "defn-c" base_path: "%s/defn-c" model_platform: "tensorflow"
    model_version_policy { all {} }
    version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: %d }
  }
}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ledger of a cycle a day; the list of flares covers all windows but the last two."""
    found = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite'}"
    flares = flare_list(
        *((START + day * DAY + 3 * HOUR, "C2.0", 13000 + region) for day, region in np.argwhere(FLARES).tolist())
    )
    with Ledger(found) as ledger:
        for day in range(DAYS):
            issue = START + day * DAY
            features = pd.DataFrame({"R_VALUE": R_VALUE[day], "USflux": 1e21}, index=range(1, REGIONS + 1))
            ledger.record(cycle(issue), features=features)
        ledger.record_flares(flares, since=START - DAY, until=START + (DAYS - 2) * DAY, source="test")
    return found


def cycle(issue: datetime) -> Forecast:
    probability = Probability(0.5, 0.3)
    regions = tuple(
        RegionForecast(
            number=number + 1, region=f"region {number}", noaa=(13000 + number,), harp=(), lon=0.0, lat=0.0,
            box=(0.1, 0.1, 0.2, 0.2), status="forecast", probability={"C": probability}, imputed=0, remarks=(),
            recent_flares=(),
        )
        for number in range(REGIONS)
    )  # fmt: skip
    return Forecast(
        cycle_id=f"{issue:%Y%m%dT%H%MZ}", issue=issue, data_time=issue - HOUR, window_start=issue,
        window_end=issue + DAY, next_issue=issue + DAY, rung=FULL, rung_reason="", regions=regions,
        full_disk={"C": probability}, cnn={}, models=(ModelUse("defn-c", 1),), inputs=(), software="0",
    )  # fmt: skip


def test_the_ledger_is_exported_as_what_fit_takes(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "kflare.toml"
    settings.write_text(as_toml(ForecastSettings(ledger=LedgerSettings(url))))
    assert forecast.main(["--settings", str(settings), "--export", str(tmp_path / "training")]) == 0
    # Of the last windows it is not known yet what happened, nor of 24 h after the image of the one before.
    known = DAYS - 2
    assert f"{known * REGIONS} rows of {REGIONS} regions, 2026-03-01 to 2026-03-28" in capsys.readouterr().out
    samples = samples_of_region_table(
        tmp_path / "training" / "regions.parquet", read_flares(tmp_path / "training" / "flares.csv")
    )
    (note,) = samples.notes  # the list begins with the ledger, and tells of a day before its first flare
    assert "does not tell of all the week before 18 of 84 rows" in note
    table = samples.table
    day = ((table["time"] - (START - HOUR)) / DAY).round().astype(int)
    region = table["region"].str[-1].astype(int)
    np.testing.assert_array_equal(table["R_VALUE"], R_VALUE[day, region])
    np.testing.assert_array_equal(samples.flux >= 1e-6, FLARES[day, region])
    assert table["VUSflux"].isna().all()
    with Ledger(f"sqlite:///{tmp_path / 'new.sqlite'}"):
        pass
    settings.write_text(as_toml(ForecastSettings(ledger=LedgerSettings(f"sqlite:///{tmp_path / 'new.sqlite'}"))))
    assert forecast.main(["--settings", str(settings), "--export", str(tmp_path / "none")]) == 1
    assert "no region whose outcome is known" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def write_network(path: Path, *, slope: float) -> None:
    """Probability and calibrated = sigmoid(slope (R_VALUE - 2.5))."""
    import tensorflow as tf

    module = tf.Module()
    module.slope = tf.Variable(slope)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="R_VALUE")])
    def serve(R_VALUE: tf.Tensor) -> dict[str, tf.Tensor]:
        p = tf.sigmoid(module.slope * (R_VALUE - 2.5))
        return {"probability": p, "calibrated": p, "imputed": tf.cast(tf.math.is_nan(R_VALUE), tf.int32)}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """defn-c versions 1 to 3, whose validation ended on the second day."""
    root = tmp_path_factory.mktemp("models")
    last = {"train": {"last": f"{START:%FT%T+00:00}"}, "validation": {"last": f"{START + DAY:%FT%T+00:00}"}}
    for slope in SLOPES.values():
        half = {"probability": [0.5], "calibrated": [0.5]}
        cases = [("serving_default", {"R_VALUE": np.full(1, 2.5, np.float32)}, half)]
        export = lambda path, slope=slope: write_network(path, slope=slope)  # noqa: E731
        publish_version(root, "defn-c", export=export, cases=cases, metadata={"event": "C", "spans": last})
    return root


@pytest.fixture
def promote(models: Path, url: str, tmp_path: Path) -> Iterator[object]:
    """Promote a version as the canary of 1, if it is better; returns the exit status and the labels then."""

    def run(canary: int) -> tuple[int, dict[str, int]]:
        config = tmp_path / "models.config"
        settings = tmp_path / "kflare.toml"
        settings.write_text(as_toml(ForecastSettings(ledger=LedgerSettings(url))))
        config.write_text(CONFIG % (models, canary))
        with Server(read_models_config(config), port=0) as server:
            status = retrain.main([
                "defn-c", "--models", str(models), "--config", str(config), "--settings", str(settings), "--judge",
                "--notify", server.address,
            ])  # fmt: skip
        return status, labels_of(config)["defn-c"]

    return run


def skill(slope: float) -> float:
    """BSS of the days from the third to the last whose outcome is known: those that no version was trained on."""
    p = 1 / (1 + np.exp(-slope * (R_VALUE[2 : DAYS - 2] - 2.5)))
    o = FLARES[2 : DAYS - 2].astype(float)
    return float(1 - np.mean((p - o) ** 2) / (o.mean() * (1 - o.mean())))


def test_a_better_canary_is_promoted(promote, capsys: pytest.CaptureFixture[str]) -> None:
    assert promote(3) == (0, {"stable": 3})
    said = capsys.readouterr().out
    assert f"defn-c since 2026-03-03: BSS {skill(3.0):.3f} of canary and {skill(1.0):.3f} of stable" in said
    assert f"{skill(3.0) - skill(1.0):+.3f} more (" in said


def test_a_worse_canary_stays_one_and_it_is_said_why(promote, capsys: pytest.CaptureFixture[str]) -> None:
    assert promote(2) == (3, {"stable": 1, "canary": 2})
    out = capsys.readouterr().out
    assert f"{skill(-1.0):.3f} of canary" in out
    assert "defn-c version 2 is not promoted: it is no better on the same cycles" in out


def test_the_program_runs_as_the_page_starts_it() -> None:
    told = subprocess.run([sys.executable, retrain.__file__, "defn-c"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (2, "")
    assert "the following arguments are required: --models, --config, --notify" in told.stderr


@pytest.mark.slow
def test_an_office_on_the_synthetic_sun_has_a_ledger_to_retrain_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tmp_path / "office"), "--days", "2", "--until", "2026-11-30"]
    assert synthetic_office.main(given) == 0
    with Ledger(read_settings(tmp_path / "office" / "kflare.toml").ledger.url, begin=False) as ledger:
        cycles = list(ledger.cycles(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)))
        measured = ledger.features(cycles[0].issue - DAY, cycles[-1].issue)
    assert [f"{one.issue:%F %H}" for one in cycles] == ["2026-11-29 03", "2026-11-30 03"]
    assert all(isinstance(one, Forecast) and one.regions for one in cycles)
    assert measured["USFLUX"].notna().mean() > 0.5  # all but what is near the limb
    capsys.readouterr()
    assert synthetic_office.main(given) == 1
    assert capsys.readouterr().err.endswith("cannot be made: File exists; name a new folder\n")


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.parametrize(("stable", "status", "labels"), [(2, 0, {"stable": 4}), (3, 3, {"stable": 3, "canary": 4})])
def test_the_whole_chain_from_a_ledger_to_a_verdict(
    stable: int, status: int, labels: dict[str, int], models: Path, url: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Learnt from 18 regions it is better than a version that says the contrary, and worse than the truth itself."""
    settings, config, served = tmp_path / "kflare.toml", tmp_path / "models.config", tmp_path / "models"
    settings.write_text(as_toml(ForecastSettings(ledger=LedgerSettings(url))))
    shutil.copytree(models, served)
    config.write_text((CONFIG % (served, 9)).replace("value: 1 }", f"value: {stable} }}"))
    config.write_text(config.read_text().replace(' version_labels { key: "canary" value: 9 }', ""))
    begin = [f"{START + days * DAY:%F}" for days in (7, 13)]
    with Server(read_models_config(config), port=0, poll_seconds=0.1) as server:
        found = retrain.main([
            "defn-c", "--models", str(served), "--config", str(config), "--settings", str(settings),
            "--notify", server.address, "--work", str(tmp_path / "work"), "--features", "R_VALUE",
            "--train-until", begin[0], "--validate-until", begin[1], "--epochs", "2",
        ])  # fmt: skip
    said = capsys.readouterr()
    assert (found, labels_of(config)["defn-c"]) == (status, labels), said.err
    assert "defn-c/4 published" in said.out
    # Of the days that neither was shown: the last window of the validation ends on the 13th, 2 UT.
    assert "defn-c since 2026-03-13: BSS " in said.out
    assert ("defn-c version 4 is not promoted: it is no better on the same cycles" in said.out) == (status == 3)


def test_a_version_is_judged_by_what_it_was_not_trained_on() -> None:
    spans = [
        {"train": {"last": f"2026-0{month}-01T00:00:00+00:00"}, "test": {"last": "2026-09-01"}} for month in (2, 4)
    ]
    assert retrain.unseen_since(*({"spans": one} for one in spans)) == datetime(2026, 4, 2, tzinfo=UTC)
    with pytest.raises(ModelError, match="does not tell on which spans"):
        retrain.unseen_since({"event": "C"})
