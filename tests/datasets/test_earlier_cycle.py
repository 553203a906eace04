"""The scale of MDI's parameters on that of HMI's."""

import numpy as np
import pandas as pd
import pytest

from kflare.datasets.earlier_cycle import matched
from kflare.errors import DataError


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
