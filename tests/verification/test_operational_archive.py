"""Scores of the operational forecasts of Leka et al. 2019 (M1.0+, 731 days of 2016 and 2017).

The expected rows were computed once, independently, from the same archive; the printed tables of the paper were not
seen. A missing forecast counts as probability 0, as in that comparison.
"""

import numpy as np
import pandas as pd
import pytest

from kflare.verification.comparison import VerificationSettings, compare
from kflare.verification.contingency import ContingencyTable
from kflare.verification.intervals import bootstrap
from kflare.verification.probabilistic import brier_skill_score, gini, msess, trailing_climatology
from kflare.verification.tables import forecast_table, read_forecasts


@pytest.fixture(scope="module")
def archive(real_data):
    table = pd.read_csv(real_data / "forecasts" / "leka_park_2019_M1.csv", parse_dates=["valid_date"])
    forecasts = table.pivot_table(index="valid_date", columns="method", values="probability", dropna=False).fillna(0)
    observed = table.groupby("valid_date")["observed"].first()
    assert table.groupby("valid_date")["observed"].nunique().eq(1).all()
    return forecasts, observed.to_numpy()


def test_the_sample(archive):
    # 731 days, 26 with an M1.0+ flare: climatology .036.
    _, observed = archive
    assert (len(observed), observed.sum()) == (731, 26)


# Columns: table; ACC, TSS, ApSS, ETS, FB, BSS, MSESS_clim, Gini.
ROWS = {
    "NOAA": ((8, 2, 18, 703), (0.973, 0.305, 0.231, 0.277, 0.385, 0.333, 0.355, 0.772)),
    "NICT": ((17, 5, 9, 700), (0.981, 0.647, 0.462, 0.537, 0.846, 0.442, 0.460, 0.647)),
    "MOSWOC": ((6, 2, 20, 703), (0.970, 0.228, 0.154, 0.206, 0.308, 0.189, 0.216, 0.787)),
    # With 26 events and no forecast the ETS is (0 - 0)/(26 - 0) = 0.
    "CLIM120": ((0, 0, 26, 705), (0.964, 0, 0, 0, 0, -0.035, 0, 0.106)),
}


@pytest.mark.parametrize("method", ROWS)
def test_rows(archive, method):
    forecasts, observed = archive
    probability, climatology = forecasts[method], forecasts["CLIM120"]
    table = ContingencyTable.from_probabilities(observed, probability)
    counts, expected = ROWS[method]
    assert table == ContingencyTable(*counts)
    scores = (
        *(table.accuracy, table.tss, table.apss, table.ets, table.frequency_bias),
        brier_skill_score(observed, probability),
        msess(observed, probability, climatology),
        gini(observed, probability),
    )
    assert tuple(round(score, 3) for score in scores) == expected
    # The climatology never reaches 50 %, so it errs as the across-the-board reference does.
    assert table.apss_against(ContingencyTable.from_probabilities(observed, climatology)) == pytest.approx(table.apss)


def test_trailing_climatology_against_the_archive(archive):
    forecasts, observed = archive
    days = forecasts.index.to_numpy()
    ours = trailing_climatology(days, days, observed)
    assert np.isnan(ours[:120]).all()
    # The archive's column is the events of the preceding 121 days divided by 120: one event more than ours at times.
    assert np.nanmax(np.abs(ours - forecasts["CLIM120"])) == pytest.approx(1 / 120, abs=1e-6)
    longer = trailing_climatology(days, days, observed, days=121)
    np.testing.assert_allclose(longer[121:] * 121 / 120, forecasts["CLIM120"][121:], atol=1e-7)


def test_intervals_say_what_731_days_can_tell(archive):
    forecasts, observed = archive
    days = forecasts.index.to_numpy()
    tss = bootstrap(observed, forecasts["NOAA"], days, resamples=1000, block_length=3)["tss"]
    assert tss.lower < tss.value < tss.upper
    assert tss.upper - tss.lower > 0.2  # 26 event days
    difference = bootstrap(observed, forecasts["NICT"], days, other=forecasts["CLIM120"], resamples=1000)["tss"]
    assert difference.lower > 0


def test_all_methods_together(real_data):
    path = real_data / "forecasts" / "leka_park_2019_M1.csv"
    frame = read_forecasts(path)
    table = forecast_table(frame, missing="zero")
    assert (len(table.time), len(table.probability), sum(table.missing.values())) == (731, 18, 1220)
    found = compare(table, VerificationSettings(thresholds=(0.5,), resamples=50))
    assert found.event_clusters == 26
    assert len(found.differences) == 18 * 17 / 2 * (11 + 7)
    counts = found.contingency.set_index("method").loc[list(ROWS), ["tp", "fp", "fn", "tn"]]
    assert [tuple(row) for row in counts.to_numpy()] == [row[0] for row in ROWS.values()]
    # 348 of the 731 days were forecast by all 18; MOSWOC alone left out 8.
    assert len(forecast_table(frame).time) == 348
    assert len(forecast_table(read_forecasts(path, methods=["NOAA", "MOSWOC"])).time) == 731 - 8
