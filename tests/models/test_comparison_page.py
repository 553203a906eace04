"""The page that shows the released models beside the forecasts of others: its rules, and its words."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.trains  # it imports TensorFlow


@pytest.fixture(scope="module")
def tools():
    """Both modules of the tool."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        import comparison_page
        import comparison_scores

        yield comparison_page, comparison_scores
    for name in ("comparison_page", "comparison_scores"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def samples():
    """Days, whether there was an event, and a probability that is right."""
    rng = np.random.default_rng(4)
    chance = rng.beta(1, 3, 1000)
    return pd.Series(pd.date_range("2013-01-01", periods=1000, tz="UTC")), rng.random(1000) < chance, chance


def cells(lines, method, *, table=0):
    """Numbers at the begin of the cells of a method's row in the first or second table."""
    rows = [line for line in lines if line.startswith(f"| {method} |")]
    return [cell.strip(" *").split(" ")[0].replace("−", "-") for cell in rows[table].strip("|").split("|")[1:]]


def test_the_table_has_each_number_by_its_rule(tools, samples):
    _, scores = tools
    times, observed, chance = samples
    methods = {
        "right": scores.Method.of(chance),
        "balanced": scores.Method.of(chance * 3 / (chance * 3 + 1 - chance), 0.6),
    }
    lines = scores.score_tables(times, observed, scores.weeks(times), methods, ["right"])
    right, balanced = (cells(lines, name) for name in methods)
    yes = chance >= 0.5
    tss = (yes & observed).sum() / observed.sum() - (yes & ~observed).sum() / (~observed).sum()
    assert right[:2] == ["0.5", f"{tss:.2f}"]
    assert balanced[0] == "0.6"
    # p/(1 - p) is three times as large at 0.6 as at 1/3: 1/3 of the right one.
    third = chance >= 1 / 3
    assert (
        balanced[1]
        == f"{(third & observed).sum() / observed.sum() - (third & ~observed).sum() / (~observed).sum():.2f}"
    )
    # What stretches a forecast moves neither its order, nor its best threshold, nor what a calibration makes of it.
    assert (right[2], right[3]) == (balanced[2], balanced[3])
    assert float(balanced[6]) == pytest.approx(float(right[6]), abs=0.011)
    expected = 1 - np.mean((chance - observed) ** 2) / observed.mean() / (1 - observed.mean())
    assert right[4] == f"{expected:.2f}"
    assert float(balanced[4]) < float(right[4]) - 0.1
    assert float(balanced[5]) > float(right[5]) + 0.02
    assert cells(lines, "balanced", table=1)[:2] == ["+0.00", "+0.000"]
    assert cells(lines, "right", table=1) == ["", "", ""]


def test_a_lead_that_chance_does_not_make_is_in_bold(tools, samples):
    _, scores = tools
    times, observed, chance = samples
    worse = np.random.default_rng(1).permutation(chance)
    methods = {"right": scores.Method.of(chance), "wrong": scores.Method.of(worse)}
    row = scores.score_tables(times, observed, scores.weeks(times), methods, ["right"])[-1]
    assert row.startswith("| wrong | **+0.")
    assert row.count("**") == 6


def test_a_block_is_calibrated_by_the_others_alone(tools, samples):
    _, scores = tools
    _, observed, chance = samples
    block = np.arange(1000) // 200
    changed = np.where(block == 2, ~observed, observed)
    for learn in (scores._calibrated, scores._decided):
        one, other = (scores._by_block(block, seen, chance, learn) for seen in (observed, changed))
        np.testing.assert_array_equal(one[block == 2], other[block == 2])
        assert (one[block != 2] != other[block != 2]).any()


def test_common_samples_take_the_outcomes_of_the_others(tools):
    page, _ = tools
    times = pd.to_datetime(["2014-01-01T00:00Z", "2014-01-02T00:00Z", "2014-01-03T00:00Z"])
    rows = pd.DataFrame({"time": times, "observed": [True, False, False]})
    other = pd.DataFrame({"time": times[1:], "observed": [True, False], "probability": [0.7, 0.2], "threshold": 0.4})
    both = pd.concat([other.assign(method=name) for name in "ab"])
    place, observed, methods = page.common(rows, both)
    assert (place.tolist(), observed.tolist(), list(methods)) == ([1, 2], [True, False], ["a", "b"])
    assert (methods["a"].threshold, methods["a"].output.tolist()) == (0.4, [0.7, 0.2])
    with pytest.raises(DataError, match="the other methods are of different samples"):
        page.common(rows, both.iloc[:3])


def test_baselines_are_those_of_the_recipe_or_else_of_the_cross_validation(tools):
    page, _ = tools
    rows = pd.DataFrame({"time": [1, 2], "kept": [0.1, 0.2], "kept, calibrated": [0.3, 0.4]})
    rows[["area alone", "area alone, calibrated"]] = 0.25
    beside = pd.DataFrame(
        {
            "time": [2, 1, 2, 1, 2],
            "method": ["made", "made", "made calibrated", "made calibrated", "half"],
            "probability": [0.5, 0.6, 0.7, 0.8, 0.9],
            "threshold": [0.2, 0.2, np.nan, np.nan, 0.1],
        }
    )
    found = page.beside_ours(rows, beside, ["time"], ("kept", "made"))
    assert (found["kept"].output.tolist(), found["kept"].chance.tolist()) == ([0.1, 0.2], [0.3, 0.4])
    assert (found["made"].output.tolist(), found["made"].chance.tolist()) == ([0.6, 0.5], [0.8, 0.7])
    assert found["made"].threshold == 0.2
    assert list(found) == ["kept", "made", "area alone"]
    with pytest.raises(DataError, match="the baseline half lacks 1 of 2 samples"):
        page.beside_ours(rows, beside, ["time"], ("half",))


def test_the_full_disk_is_of_the_last_sample_of_each_region(tools):
    page, _ = tools
    times = ["2016-01-01T22:25Z", "2016-01-01T23:30Z", "2016-01-02T00:00Z", "2016-01-02T12:00Z"]
    rows = pd.DataFrame({"time": pd.to_datetime(times), "region": ["a", "b", "b", "b"]})
    rows["network, calibrated"] = [0.2, 0.9, 0.5, 0.7]
    days = pd.Series(pd.date_range("2016-01-01", "2016-01-03", tz="UTC"))
    p, regions = page.disk_of_regions(rows, days)
    np.testing.assert_allclose(p, [0, 1 - 0.8 * 0.5, 0])
    assert regions.tolist() == [0, 2, 0]


def test_region_days_have_the_flares_of_their_day_and_of_the_day_before(tools, tmp_path):
    page, _ = tools
    for folder in ("regions", "goes"):
        (tmp_path / folder).mkdir()
    head = "ar_noaanum,LOCATION,AREA,Z,date\n"
    days = "".join(f"11875,N07E10,100,EKC,2013-10-{day} 00:30\n" for day in (22, 23, 24))
    (tmp_path / "regions" / "srs_1996-2018.csv").write_text(f"{head}{days}11876,N07E10,0,,2013-10-22 00:30\n")
    flares = "start,peak,end,goes_class,noaa\n" + "".join(
        f"{start},,,{size},{noaa}\n"
        for start, size, noaa in (
            ("2013-10-22T00:00Z", "M9.0", 11875), ("2013-10-22T23:59Z", "M9.0", 11875),
            ("2013-10-23T05:00Z", "C7.5", 11875), ("2013-10-24T05:00Z", "X1.0", 11876),
        )
    )  # fmt: skip
    for span in ("1996-2018", "2010-2025"):  # of 2013 the second counts alone, or each flare would be two
        (tmp_path / "goes" / f"swpc_flares_{span}.csv").write_text(flares)
    found = page.region_days(tmp_path, read=page.as_listed)
    assert found["noaa"].tolist() == [11875] * 3  # the other has no spots
    assert found["flares"].tolist() == [2, 0, 0]
    assert found["before"].tolist() == [0, 2, 0]
    # On today's scale a C7.5 of GOES-15 is an M1.0.
    assert page.region_days(tmp_path)["flares"].tolist() == [2, 1, 0]


def test_a_section_without_forecasts_says_so(tools, tmp_path, monkeypatch):
    page, _ = tools
    monkeypatch.setattr(sys, "argv", ["x", "--work", str(tmp_path), "--page", str(tmp_path / "page.md")])
    values = {"days": 731, "events": 26, "rate": "3.6%", "lacking": "none", "ours": "Nothing.", "tables": "| a |"}
    monkeypatch.setattr(page, "operational", lambda *_: values)
    monkeypatch.setattr(page, "daily_regions", lambda *_: {"past": "1", "tables": "| b |"})
    assert page.main() == 0
    _, disk, regions, days, operational = (tmp_path / "page.md").read_text().split("\n## ")
    assert "Not made: cnn-m-forecasts.parquet is not there" in disk
    assert ": `tools/train_released_models defn-m` writes them.\n" in regions
    assert "| b |" in days
    assert "731 days, 26 with a flare ≥M1.0 (base rate 3.6%)" in operational


def test_the_page_has_the_words_of_the_tool():
    words, page = (
        (ROOT / folder).read_text(encoding="utf-8").split("\n## ")
        for folder in ("tools/comparison_page.md", "docs/comparison.md")
    )
    for told, written in zip(words, page, strict=True):
        missing = "\nNot made: " in written
        for part in [told.splitlines()[0]] if missing else re.split(r"\{[a-z]+\}", told):
            assert part in written, "run python tools/comparison_page.py"
