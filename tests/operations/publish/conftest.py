"""Sites of the synthetic Sun."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from kflare.operations.forecast import Forecast, Outage
from kflare.operations.publish.curve import REACH
from kflare.operations.publish.pages import PastCycle, SiteData, WindowOutcome
from kflare.operations.publish.pictures import (
    OVERLAY,
    DiskPicture,
    intensity_picture,
    magnetogram_picture,
    overlay_picture,
)
from kflare.operations.publish.verification import verification_sections
from kflare.synthetic.sun import SyntheticSun
from tests.observation_sets import xray_flux


def outcomes_of(past: Iterable[PastCycle]) -> pd.DataFrame:
    """The outcomes of the full disk as `forecast_outcomes` gives them."""
    rows = [
        {"time": one.forecast.issue, "window_start": one.forecast.window_start, "window_end": one.forecast.window_end,
         "method": method, "threshold": name, "probability": p.deciding, "calibrated": p.calibrated,
         "observed": None if one.outcome is None else one.outcome.observed.get(name)}
        for one in sorted(past, key=lambda one: one.forecast.issue)
        if isinstance(one.forecast, Forecast)
        for method, of in (("kflare", one.forecast.full_disk), ("cnn", one.forecast.cnn))
        for name, p in of.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"probability": float, "calibrated": float, "observed": float})


@pytest.fixture(scope="session")
def pictures(sun: SyntheticSun, make_forecast: Callable[..., Forecast]) -> tuple[DiskPicture, ...]:
    """A magnetogram, an image in false colours made of it, and a map where it is strong: content for the pages."""
    magnetogram = sun.magnetogram(make_forecast().data_time, 512)
    strength = np.abs(magnetogram.data)
    coarse = np.nan_to_num(np.abs(magnetogram.resized(32).data))
    glow = intensity_picture(strength, magnetogram.disk, like=magnetogram, palette="sdoaia131", size=512)
    return (
        DiskPicture("hmi-magnetogram", "HMI magnetogram", magnetogram_picture(magnetogram, size=512), note="02:00 UTC"),
        DiskPicture("aia-131", "AIA 131 Å", glow, note="01:24 UTC"),
        DiskPicture("grad-cam-m", "Grad-CAM, ≥ M1.0", overlay_picture(coarse / coarse.max()), OVERLAY),
    )


@pytest.fixture(scope="session")
def past(make_forecast: Callable[..., Forecast]) -> tuple[PastCycle, ...]:
    """A week of forecasts before the current one, an outage among them; the last day is not verified yet."""
    random = np.random.default_rng(4)
    entries = []
    for step in range(1, 28):
        issue = make_forecast().issue - timedelta(hours=6 * step)
        if step == 7:
            reason = "no data: JSOC did not answer within 5 h of the issue time"
            entries.append(PastCycle(Outage(f"{issue:%Y%m%dT%H%MZ}", issue, reason)))
            continue
        forecast = make_forecast(issue, factor=0.5 + 1.1 * random.random())
        # Flares come as often as twice the calibrated probability says: neither perfect nor without skill.
        c, m = (bool(random.random() < 2 * forecast.full_disk[name].calibrated) for name in ("C", "M"))
        flares = ("C3.2 05:04 UT, AR 10053",) * (c or m) + ("M1.0 11:30 UT, AR 10057",) * m
        entries.append(PastCycle(forecast, WindowOutcome({"C": c or m, "M": m}, flares) if step > 4 else None))
    return tuple(entries)


@pytest.fixture(scope="session")
def site_data(
    sun: SyntheticSun,
    make_forecast: Callable[..., Forecast],
    pictures: tuple[DiskPicture, ...],
    past: tuple[PastCycle, ...],
) -> SiteData:
    """The site of an ordinary day: four regions, one of them at the limb."""
    forecast = make_forecast()
    limb = replace(
        forecast.regions[0], status="limb", probability={}, imputed=None, remarks=("55° from the central meridian",)
    )
    forecast = replace(forecast, regions=(limb, *forecast.regions[1:]), remarks=("AIA 131 Å is 36 min older.",))
    flares = sun.flares.between(forecast.issue - REACH, forecast.issue).table
    minutes = pd.date_range(forecast.issue - REACH, forecast.issue, freq="10min", inclusive="left", unit="us")
    xrays = pd.DataFrame({"time": minutes, "flux": xray_flux(sun.flares.table, minutes)})
    xrays.loc[200:220, "flux"] = np.nan  # an eclipse
    verified = verification_sections(outcomes_of(past))
    return SiteData(forecast, pictures, past, verified, xrays=xrays, flares=flares)
