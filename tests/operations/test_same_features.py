"""The same three days through `kflare.features` and through operational cycles with their ledger: one feature table."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.commands import features
from kflare.flares.srs import read_srs
from kflare.observations.sets import sets_in
from kflare.operations.cycle import _features, _forecast
from kflare.operations.event_log import EventLog
from kflare.operations.inputs import CycleInputs
from kflare.operations.ledger import Ledger
from kflare.operations.settings import DataSettings, ForecastSettings, ServerSettings
from kflare.regions.feature_table import SETS, feature_set
from kflare.synthetic.sun import SyntheticSun
from kflare.xray.flux import read_xray_flux
from tests.observation_sets import write_observations

pytestmark = pytest.mark.slow

START = datetime(2014, 1, 1, tzinfo=UTC)
# Six hours apart and two, so that every change has its earlier row; the first image of a day is of before its SRS.
# Of the image at 36 h nothing is seen: both follow the regions through the 12 h around it.
HOURS = (0, 6, 12, 18, 24, 26, 30, 42, 48, 50, 54)


def test_archive_and_ledger_give_one_feature_table(tmp_path: Path) -> None:
    sun = SyntheticSun(START - timedelta(days=3), 7, seed=2)
    seen = tmp_path / "seen"
    times = pd.DatetimeIndex([START + timedelta(hours=hour) for hour in HOURS]).as_unit("us")
    write_observations(sun, seen, times, size=192)
    # The regions are numbered on the second day only.
    regions = pd.read_csv(seen / "srs.csv", dtype=str)
    regions[regions["date"] >= "2014-01-02"].to_csv(seen / "srs.csv", index=False)
    (xrays,) = seen.glob("goes_xrays_*.json")

    options = ["--flares", str(seen / "flares.csv"), "--srs", str(seen / "srs.csv"), "--xrays", str(xrays)]
    assert features.main([str(seen), "--output", str(tmp_path / "run"), *options]) == 0
    archive = pd.read_parquet(tmp_path / "run" / "regions.parquet").set_index(["time", "region"]).sort_index()

    settings = ForecastSettings(
        data=DataSettings(folder=tmp_path / "data", flares=seen / "flares.csv"),
        server=ServerSettings(address="127.0.0.1:9", timeout_seconds=0.5),
    )
    log = EventLog(str(tmp_path / "events.log"))
    srs, xray = read_srs(seen / "srs.csv"), read_xray_flux(xrays)
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        for observations in sets_in([seen]):
            inputs = CycleInputs((), None, None, observations, {}, xray, srs)
            issue = observations.time + timedelta(hours=1)
            cycle, disk = _forecast(issue, settings, inputs, ledger, log)
            ledger.record(cycle, features=_features(disk), tracker=disk.tracker)
        stored = ledger.features(START, START + timedelta(days=4))
    operational = stored.set_index(["time", "region"]).sort_index()

    assert len(archive) > 3 * len(HOURS)
    assert operational.index.tolist() == archive.index.tolist()
    names = list(dict.fromkeys(feature.name for set_ in SETS for feature in feature_set(set_)))
    for name in names:
        np.testing.assert_allclose(
            operational[name].astype(float), archive[name], rtol=1e-12, err_msg=name, equal_nan=True
        )
    first = archive.index.get_level_values("time") < pd.Timestamp("2014-01-02T00:30Z")
    numbered = archive["noaas"] != ""
    assert archive["Chis"][first].isna().all()
    assert archive["Chis"][~first & numbered].notna().all()
    assert (archive["Chis"] > 0).any()
    assert archive["Xmax1d"].notna().all()
    for prefix in ("dt02", "dt12", "dt24"):
        assert archive.filter(like=prefix).notna().any(axis=None)
