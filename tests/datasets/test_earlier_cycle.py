"""The scale of MDI's parameters on that of HMI's."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares.catalogue import FlareList

_TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "earlier_cycle.py"))
matched, samples_of_smarp = _TOOL["matched"], _TOOL["samples_of_smarp"]


def regions(rng, n, *, area, gradient):
    return pd.DataFrame(
        {
            "AREA": 10 ** rng.normal(area, 0.4, n),
            "USFLUX": 10 ** rng.normal(21.5, 0.5, n),
            "MEANGBZ": rng.normal(gradient, gradient / 5, n),
            "R_VALUE": np.where(rng.random(n) < 0.3, 0.0, rng.normal(3.5, 0.5, n)),
        }
    )


def test_moments_become_those_of_the_reference():
    rng = np.random.default_rng(1)
    mdi, hmi = regions(rng, 400, area=3.0, gradient=50.0), regions(rng, 300, area=3.4, gradient=22.0)
    out = matched(mdi, hmi)
    for name in ("AREA", "USFLUX"):
        for moment in (np.mean, np.std):
            assert moment(np.log10(out[name])) == pytest.approx(moment(np.log10(hmi[name])))
    assert (out["MEANGBZ"].mean(), out["MEANGBZ"].std(ddof=0)) == pytest.approx(
        (hmi["MEANGBZ"].mean(), hmi["MEANGBZ"].std(ddof=0))
    )
    # No polarity inversion line stays none; among the others the order stays.
    assert ((out["R_VALUE"] == 0) == (mdi["R_VALUE"] == 0)).all()
    assert out["R_VALUE"][mdi["R_VALUE"] > 0].mean() == pytest.approx(hmi["R_VALUE"][hmi["R_VALUE"] > 0].mean())
    assert (out["AREA"].rank() == mdi["AREA"].rank()).all()
    assert mdi["AREA"].mean() != out["AREA"].mean()


def test_a_parameter_that_does_not_vary_is_refused():
    rng = np.random.default_rng(1)
    mdi, hmi = regions(rng, 40, area=3.0, gradient=50.0), regions(rng, 30, area=3.4, gradient=22.0)
    with pytest.raises(DataError, match="`MEANGBZ` does not vary in one of the two tables"):
        matched(mdi, hmi.assign(MEANGBZ=22.0))


def test_an_earlier_cycle_has_the_histories_that_its_own_lists_tell(tmp_path):
    start = pd.to_datetime(["2014-01-01T00:10Z", "2014-01-08T00:00Z"])
    listed = pd.DataFrame(
        {"start": start, "peak": start, "goes_class": ["C1.0", "B1.0"], "noaa": pd.array([None] * 2, "Int64")}
    )
    flares = FlareList(listed, "test", scale="operational")
    times = pd.date_range("2014-01-01", periods=31, freq="96min")
    rows = pd.DataFrame({"prefix": "TARP", "arpnum": 7, "t_end": times.astype(str), "flares": ""})
    rows = pd.concat([rows, rows.assign(arpnum=8)], ignore_index=True)
    rows.loc[:0, "flares"] = "C1.0"  # the flare of TARP 7 ten minutes after its first sample
    values = {"AREA": 100.0, "USFLUX": 1e21, "MEANGBZ": 90.0, "R_VALUE": 1.0}
    varied = rows.assign(**{name: value * (1 + rows.index / 100) for name, value in values.items()})
    varied.to_csv(tmp_path / "smarp_0.csv", index=False)
    table = samples_of_smarp(tmp_path, flares, reference=varied).table
    assert table["noaa"].isna().all()
    assert list(table["Chis"]) == [0, *[1] * 30, *[0] * 31]  # without NOAA numbers, and known nevertheless
