"""GOES features by hand, and what holes in the series do to them."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.regions.xray_features import XRAY_FEATURES, joined, xray_features
from kflare.xray.flux import XrayFlux

NOON = datetime(2014, 1, 2, 12, tzinfo=UTC)


def series(flux, end=NOON):
    times = pd.date_range(end=pd.Timestamp(end) - pd.Timedelta(minutes=1), periods=len(flux), freq="min", unit="us")
    table = pd.DataFrame({"time": times, "flux": flux, "satellite": 15, "quality": 0})
    return XrayFlux(table, "operational", "test")


@pytest.fixture
def day():
    """A day at 1e-7 W m^-2 with single minutes that stand out."""
    flux = np.full(24 * 60, 1e-7)
    flux[-30] = 1e-5  # in the last hour: M1.0
    flux[-90] = 1e-6  # an hour before: C1.0
    flux[-150] = 1e-4  # two hours before: X1.0
    flux[0] = 1e-3  # a day before: X10
    return flux


def test_by_hand(day):
    values, reasons = xray_features(series(day), NOON)
    assert tuple(values) == XRAY_FEATURES
    assert reasons == {}
    assert values["Xmax1d"] == 1e-3
    assert values["Xflux1h"] == pytest.approx((59 * 1e-7 + 1e-5) / 60)
    assert values["Xflux4h"] == pytest.approx((237 * 1e-7 + 1e-5 + 1e-6 + 1e-4) / 240)
    assert values["Xmax1h"] == pytest.approx(1)
    assert values["Xmax1m1"] == pytest.approx(0)
    assert values["Xmax1m2"] == pytest.approx(2)


def test_the_future_does_not_count(day):
    later = series(np.concatenate([day, np.full(120, 1e-2)]), end=datetime(2014, 1, 2, 14, tzinfo=UTC))
    assert xray_features(later, NOON)[0] == xray_features(series(day), NOON)[0]


def test_holes(day):
    day[-60:-29] = np.nan  # 31 of 60 minutes, among them the M1.0
    values, reasons = xray_features(series(day), NOON)
    assert np.isnan(values["Xflux1h"])
    assert reasons == dict.fromkeys(("Xflux1h", "Xmax1h"), "29 of 60 min measured by GOES")
    assert values["Xmax1m1"] == pytest.approx(0)
    day[-29] = day[-31] = 1e-6
    values, reasons = xray_features(series(day), NOON)
    assert values["Xmax1h"] == pytest.approx(0)  # 30 of 60 are enough
    assert reasons == {}


def test_outside_the_series(day):
    values, reasons = xray_features(series(day), datetime(2014, 1, 9, tzinfo=UTC))
    assert np.isnan(list(values.values())).all()
    assert reasons["Xmax1d"] == "0 of 1440 min measured by GOES"
    values, reasons = xray_features(series(day), datetime(2013, 1, 9, tzinfo=UTC))
    assert np.isnan(list(values.values())).all()
    # The first hours of a series: 12 h of the day are half of it, of which the last minute is not in the series.
    values, reasons = xray_features(series(day), datetime(2014, 1, 2, tzinfo=UTC))
    assert list(reasons) == []
    assert values["Xmax1d"] == 1e-3


def test_without_a_series():
    values, reasons = xray_features(None, NOON)
    assert np.isnan(list(values.values())).all()
    assert set(reasons.values()) == {"no GOES flux given"}
    with pytest.raises(DataError, match="`time` must carry a time zone"):
        xray_features(None, datetime(2014, 1, 1))  # noqa: DTZ001


def test_joined_series_are_free_of_gaps(day):
    early = series(day[:600], end=datetime(2014, 1, 1, 22, tzinfo=UTC))
    both = joined([series(day), early, series(np.full(60, np.nan))])
    assert xray_features(both, NOON)[0] == xray_features(series(day), NOON)[0]
    late = series(day[-60:])
    apart = joined([early, late])
    assert len(apart) == 24 * 60
    assert apart.table["flux"].notna().sum() == 660
    assert joined([late]) is late
    with pytest.raises(DataError, match="of one `scale`"):
        joined([late, XrayFlux(late.table, "irradiance", "other")])
    with pytest.raises(DataError, match="at least one file"):
        joined([])
