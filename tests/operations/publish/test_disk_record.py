"""What followed full-disk forecasts of unseen days, as the tools write it into metadata and the page reads it."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.datasets.history import DISK_HISTORY
from kflare.flares.catalogue import FlareList
from kflare.models.publish import METADATA
from kflare.operations.forecast import Forecast, MarkBounds, ModelUse
from kflare.operations.publish.verification import record_sections

_TOOL = runpy.run_path(str(Path(__file__).resolve().parents[3] / "tools" / "disk_record.py"))


@pytest.fixture
def disk() -> pd.DataFrame:
    """Three years of two forecasts a day; events come with half of the probability that the regions give."""
    random = np.random.default_rng(3)
    time = pd.date_range("2012-01-01", "2014-12-31", freq="12h", tz="UTC")
    combined = random.uniform(0.02, 0.9, len(time))
    return pd.DataFrame(
        {
            "time": time,
            "fold": time.year.astype(str),
            "score": combined**0.2,
            "combined": combined,
            "likeliest": combined / 4,
            "observed": random.random(len(time)) < combined / 2,
            **{name: random.poisson(2, len(time)).astype(float) for name in DISK_HISTORY},
        }
    )


def test_each_year_is_calibrated_by_the_others(disk: pd.DataFrame) -> None:
    calibrated = _TOOL["yearly_calibrated"](disk)
    for year in ("2012", "2013", "2014"):
        own = disk["fold"] == year
        assert calibrated[own].mean() == pytest.approx(disk["observed"][own].mean(), abs=0.05)
    other = disk.assign(observed=np.where(disk["fold"] == "2013", True, disk["observed"]))
    changed = _TOOL["yearly_calibrated"](other)
    assert np.array_equal(changed[disk["fold"] == "2013"], calibrated[disk["fold"] == "2013"])
    assert not np.array_equal(changed[disk["fold"] == "2012"], calibrated[disk["fold"] == "2012"])


def test_the_page_reads_what_the_tool_writes(
    disk: pd.DataFrame, make_forecast: Callable[..., Forecast], tmp_path: Path
) -> None:
    disk = disk.assign(calibrated=_TOOL["yearly_calibrated"](disk))
    record = json.loads(json.dumps(_TOOL["disk_record"](disk)))
    place = tmp_path / "defn-m" / "7" / METADATA
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"class": "M+", "full_disk_record": record}), encoding="utf-8")
    forecast = make_forecast(models=(ModelUse("defn-m", 7),))
    bounds = MarkBounds(calibrated_danger=0.4, calibrated_warning=0.2)
    (section,) = record_sections(forecast, tmp_path, bounds)
    first = disk[disk["time"].dt.hour == 0]
    for row, (on, least, below) in zip(
        section.rows,
        (("calibrated", 0.4, 1.1), ("calibrated", 0.2, 0.4), ("calibrated", 0, 0.2),
         ("score", 0.8, 1.1), ("score", 0.5, 0.8), ("score", 0, 0.5)),
        strict=True,
    ):  # fmt: skip
        days = first[(first[on] >= least) & (first[on] < below)]
        assert row[3] == str(len(days))
        assert row[1] == on
        rate, mean = (float(cell.split(" %")[0]) for cell in row[4:])
        assert rate == pytest.approx(100 * days["observed"].mean(), abs=1)
        assert mean == pytest.approx(100 * days["calibrated"].mean(), abs=1)
    assert "1096 days of 2012, 2013, 2014" in section.text
    # The made-up flares before tell nothing, and without the regions nothing is known.
    assert record["bss"]["regions alone"] == pytest.approx(record["bss"]["regions and flares before"], abs=0.01)
    assert abs(record["bss"]["flares before alone"]) < 0.01 < record["bss"]["regions alone"]


def test_the_record_is_of_what_a_client_tells(disk: pd.DataFrame) -> None:
    """No day is recorded with less than its likeliest region has, as no client tells of such a disk."""
    free = _TOOL["yearly_calibrated"](disk.assign(likeliest=0.0))
    held = _TOOL["yearly_calibrated"](disk.assign(likeliest=0.3))
    assert (free < 0.3).any()
    assert np.array_equal(held, np.maximum(free, np.float32(0.3)))
    rows = pd.DataFrame({
        "time": pd.to_datetime(["2014-01-02T00:00Z", "2014-01-02T00:00Z", "2014-01-03T00:00Z"]), "fold": "2014",
        "network": [0.5, 0.2, 0.1], "network, calibrated": [0.3, 0.1, 0.2],
    })  # fmt: skip
    start = pd.date_range("2013-12-01", "2014-02-01", freq="6h", tz="UTC")
    flares = FlareList(pd.DataFrame({"start": start, "goes_class": "C2.0"}), "made up")
    assert _TOOL["disk_times"](rows, "M", {"2014": flares})["likeliest"].tolist() == [0.3, 0.2]
