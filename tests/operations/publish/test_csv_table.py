"""The forecast as CSV."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from kflare.operations.forecast import Forecast, Probability
from kflare.operations.publish.csv_table import csv_text, rows_of

Make = Callable[..., Forecast]
HOSTILE = "=HYPERLINK(\"http://x\"),\r\n'quoted'; -1"


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows, without the apostrophes that keep a spreadsheet from computing them."""
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    return [{name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]


def test_csv_goes_there_and_back(make_forecast: Make) -> None:
    forecast = make_forecast()
    assert read_csv(csv_text(forecast)) == rows_of(forecast)
    assert [row["scope"] for row in rows_of(forecast)] == ["full disk", "full disk CNN", *["region"] * 4]


def test_probabilities_keep_every_bit_and_unknown_cells_are_empty(make_forecast: Make) -> None:
    rows = read_csv(csv_text(make_forecast(full_disk={"M": Probability(0.9, 1 / 3)}, cnn={}, data_time=None)))
    assert float(rows[0]["M_calibrated"]) == 1 / 3
    assert rows[0]["M_score"] == "90.0"
    assert rows[0]["C_score"] == rows[0]["C_calibrated"] == rows[0]["data_time"] == rows[0]["number"] == ""


def test_the_calibrated_probability_stands_before_the_score(make_forecast: Make) -> None:
    columns = list(read_csv(csv_text(make_forecast()))[0])
    assert [name for name in columns if name.startswith("M_")] == [
        "M_calibrated", "M_calibrated_lower", "M_calibrated_upper", "M_calibrated_text", "M_score",
    ]  # fmt: skip


@pytest.mark.parametrize("text", [HOSTILE, "+1", "-2+3", "@SUM(A1)", "'", "\tx", "plain"])
def test_hostile_text_goes_there_and_back_and_is_no_formula(make_forecast: Make, text: str) -> None:
    forecast = make_forecast()
    forecast = replace(forecast, regions=(replace(forecast.regions[0], region=text, remarks=(text,)),))
    written = csv_text(forecast)
    assert read_csv(written) == rows_of(forecast)
    for row in csv.DictReader(io.StringIO(written, newline="")):
        assert not row["region"].startswith(("=", "+", "-", "@", "\t"))
        assert not row["remarks"].startswith(("=", "+", "-", "@", "\t"))
