"""The forecast as CSV."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kflare.errors import DataError
from kflare.operations.forecast import Forecast, Probability
from kflare.operations.publish.csv_table import csv_text, read_csv, rows_of, write_csv

Make = Callable[..., Forecast]
HOSTILE = "=HYPERLINK(\"http://x\"),\r\n'quoted'; -1"


def test_csv_goes_there_and_back(make_forecast: Make, tmp_path: Path) -> None:
    forecast = make_forecast()
    path = write_csv(forecast, tmp_path / "forecast.csv")
    assert read_csv(path.read_bytes().decode()) == rows_of(forecast)
    assert [row.values["scope"] for row in rows_of(forecast)] == ["full disk", "full disk CNN", *["region"] * 4]


def test_probabilities_keep_every_bit_and_unknown_cells_are_empty(make_forecast: Make) -> None:
    rows = read_csv(csv_text(make_forecast(full_disk={"M": Probability(1 / 3, None)}, cnn={}, data_time=None)))
    assert rows[0].probability == {"M": Probability(1 / 3, None)}
    assert rows[0].values["C_network"] == rows[0].values["M_calibrated"] == rows[0].values["data_time"] == ""
    assert rows[0].values["number"] == ""


@pytest.mark.parametrize("text", [HOSTILE, "+1", "-2+3", "@SUM(A1)", "'", "\tx", "plain"])
def test_hostile_text_goes_there_and_back_and_is_no_formula(make_forecast: Make, text: str) -> None:
    forecast = make_forecast()
    forecast = replace(forecast, regions=(replace(forecast.regions[0], region=text, remarks=(text,)),))
    written = csv_text(forecast)
    assert read_csv(written) == rows_of(forecast)
    for row in csv.DictReader(io.StringIO(written, newline="")):
        assert not row["region"].startswith(("=", "+", "-", "@", "\t"))
        assert not row["remarks"].startswith(("=", "+", "-", "@", "\t"))


def test_another_table_is_refused(make_forecast: Make) -> None:
    with pytest.raises(DataError, match="must have the columns cycle_id, issue"):
        read_csv("a,b\n1,2\n")
    with pytest.raises(DataError, match="cells, got"):
        read_csv(csv_text(make_forecast()) + "only,three,cells\r\n")
    with pytest.raises(DataError, match="must be a number, got 'x'"):
        read_csv(csv_text(make_forecast(full_disk={"M": Probability(0.125)})).replace("0.125", "x"))
