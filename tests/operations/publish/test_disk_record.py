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
        means = [float(cell.split(" %")[0]) for cell in row[4:]]
        assert means == pytest.approx([100 * days[of].mean() for of in ("observed", "score", "calibrated")], abs=0.051)
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


def test_the_record_tells_of_the_same_days_before_and_of_another_archive(disk: pd.DataFrame) -> None:
    disk = disk.assign(calibrated=_TOOL["yearly_calibrated"](disk))
    other = disk.assign(time=disk["time"] - pd.DateOffset(years=12), fold="before", likeliest=0.0).drop(
        columns="calibrated"
    )
    record = _TOOL["disk_record"](disk, other)
    alone, combined, others = record["beside"]
    assert others.startswith("1096 days of 2000 to 2002")
    first = disk[disk["time"].dt.hour == 0]
    for title in record["beside"]:
        for on in ("score", "calibrated"):
            assert sum(record["beside"][title][on]["days"]) == 1096
            assert sum(record["beside"][title][on]["events"]) == first["observed"].sum()
    mean = {title: sum(of["calibrated"]["calibrated"]) / 1096 for title, of in record["beside"].items()}
    assert mean[combined] == pytest.approx(first["combined"].mean(), abs=1e-3)  # twice what followed
    assert mean[combined] > 1.9 * first["observed"].mean()
    assert mean[alone] == pytest.approx(first["observed"].mean(), abs=0.02)
    assert mean[others] == pytest.approx(first["observed"].mean(), abs=0.02)
    # By the regions' archive alone: what came in the other one changes nothing.
    never = _TOOL["disk_record"](disk, other.assign(observed=False))["beside"][others]
    assert never["calibrated"]["calibrated"] == record["beside"][others]["calibrated"]["calibrated"]
    assert sum(never["calibrated"]["events"]) == 0
