"""Forecasts as cycles make them, on the synthetic Sun: fixtures shared by all tests of this room."""

import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kflare.operations.forecast import (
    FULL,
    Forecast,
    InputRecord,
    ModelUse,
    Probability,
    RegionForecast,
)
from kflare.synthetic.sun import SyntheticSun

from .toys import combined, write_toys

ISSUE = datetime(2014, 1, 8, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """The command that publishes, whose process ends with it, collects no garbage."""
    yield
    gc.enable()


@pytest.fixture(scope="session")
def toys(made_once: Callable[[Callable[[Path], object]], Path]) -> Path:
    """Small models with the signatures of the released ones, to be published by a test."""
    return made_once(write_toys)


@pytest.fixture(scope="session")
def sun() -> SyntheticSun:
    return SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 10, seed=5, activity=1.6)


@pytest.fixture(scope="session")
def make_forecast(sun: SyntheticSun) -> Callable[..., Forecast]:
    """A forecast of the synthetic Sun issued `at` a time; `factor` scales every network output, `changes` replace."""

    def make(at: datetime = ISSUE, *, factor: float = 1.0, **changes: object) -> Forecast:
        issue, seen = at, at - timedelta(hours=1)
        regions = tuple(_regions(sun, seen, factor))
        forecast = Forecast(
            cycle_id=f"{issue:%Y%m%dT%H%MZ}",
            issue=issue,
            data_time=seen,
            window_start=issue,
            window_end=issue + timedelta(days=1),
            next_issue=issue + timedelta(hours=6),
            rung=FULL,
            rung_reason="",
            regions=regions,
            full_disk=combined(regions),
            cnn={"C": Probability(0.82, 0.44), "M": Probability(0.43, 0.031)},
            models=tuple(ModelUse(name, 3) for name in ("defn-c", "defn-m", "cnn-c", "cnn-m")),
            inputs=(
                InputRecord("HMI magnetogram", f"hmi.M_720s_nrt[{seen:%Y.%m.%d_%H:%M:%S_TAI}]", seen, 1.0, 0x400, "",
                            "ok"),
                InputRecord("AIA 131", "aia.lev1_nrt2", seen - timedelta(minutes=36), 1.6, 0, "nearest image",
                            "degraded"),
                InputRecord("GOES flare list", "edited_events.json", issue, 0.0, None, "", "ok"),
            ),
            software="0.0.1",
        )  # fmt: skip
        return replace(forecast, **changes)

    return make


def _regions(sun: SyntheticSun, time: datetime, factor: float) -> list[RegionForecast]:
    regions = []
    table = sun.region_table([time]).sort_values("lon").to_dict("records")
    for number, row in enumerate(table, start=1):
        lon, lat = math.radians(row["lon"]), math.radians(row["lat"])
        # The synthetic disk's radius is 0.44 of the picture; 60 degrees of foreshortening leave a box half as wide.
        x, y, half = 0.5 + 0.44 * math.cos(lat) * math.sin(lon), 0.5 - 0.44 * math.sin(lat), 0.045
        wide = half * max(math.cos(lon), 0.4)
        limb = abs(row["lon"]) > 60
        # R_VALUE 0 to 5.5 to an output of 0.05 to 0.9, in broad strokes: a picture, not a model.
        c = min(factor * (0.05 + 0.15 * row["R_VALUE"]), 0.97)
        m = min(factor * (0.02 + 0.08 * row["R_VALUE"]), 0.95)
        probability = {} if limb else {
            "C": Probability(c, c * 0.4, c * 0.3, c * 0.5), "M": Probability(m, m * 0.06, m * 0.03, m * 0.09)
        }  # fmt: skip
        regions.append(
            RegionForecast(
                number=number,
                region=row["region"],
                noaa=(int(row["noaa"]),) if number % 3 else (),
                harp=(int(row["harpnum"]),),
                lon=row["lon"],
                lat=row["lat"],
                box=(x - wide, y - half, x + wide, y + half),
                status="limb" if limb else "forecast",
                probability=probability,
                imputed=None if limb else 4 * (number % 2),
                remarks=("more than 60° from the central meridian",) if limb else (),
                recent_flares=("C2.1 2014-01-07 14:20",) if number == 2 else (),
            )
        )
    return regions
