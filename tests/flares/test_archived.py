"""NOAA's archives of flares: NGDC's yearly reports and NCEI's flare summaries."""

import h5py
import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares.repairing import read_flares
from kflare.xray.flux import read_xray_flux
from tests import catalogue_seeds as seeds


def report(tmp_path, text):
    path = tmp_path / "goes-xrs-report_2014.txt"
    path.write_text(text)
    return read_flares(path, scale="as listed")


def line(date, clocks, letter="C", tenths="61", region="", station="GOES"):
    start, end, peak = (clock.ljust(5) for clock in clocks)
    head = f"31777{date}  {start}{end}{peak}".ljust(59)
    return f"{head}{letter}{tenths:>3}    {station} 2.5E-03 {region:>5}\n"


def test_the_yearly_report_of_ngdc(tmp_path):
    table = report(tmp_path, seeds.REPORT).table
    assert table["start"].dt.strftime("%F %H:%M").tolist() == [
        "2014-01-07 03:49",
        "2014-01-07 18:04",
        "2014-01-11 23:57",
    ]
    assert table["peak"].dt.strftime("%F %H:%M").tolist() == [
        "2014-01-07 03:53",
        "2014-01-07 18:32",
        "2014-01-12 00:05",
    ]
    assert table["end"].dt.strftime("%F %H:%M").tolist() == ["2014-01-07 03:56", "2014-01-07 18:58", "2014-01-12 00:09"]
    assert table["goes_class"].tolist() == ["M1.0", "X1.2", "C6.1"]
    assert table["noaa"].tolist() == [11946, pd.NA, pd.NA]
    np.testing.assert_array_equal(table[["lon", "lat"]], [[-8, 7], [np.nan] * 2, [np.nan] * 2])


@pytest.mark.parametrize("begin", ["\ufeff", "# GOES flares, NGDC\n", "\n\n"])
def test_a_yearly_report_may_begin_with_a_mark_or_a_title(begin, tmp_path, caplog):
    assert report(tmp_path, begin + seeds.REPORT).table["goes_class"].tolist() == ["M1.0", "X1.2", "C6.1"]
    assert ("got '# GOES flares, NGDC' in row 0" in caplog.text) is ("#" in begin)


@pytest.mark.parametrize(
    ("text", "start", "end", "goes_class", "noaa"),
    [
        (line("141231", ("2355", "0010", "0003")), "2014-12-31 23:55", "2015-01-01 00:10", "C6.1", pd.NA),
        (line("991231", ("2355", "2400", "2358")), "1999-12-31 23:55", "2000-01-01 00:00", "C6.1", pd.NA),
        (line("750901", ("0224", "0245", "0233"), region="13"), "1975-09-01 02:24", "1975-09-01 02:45", "C6.1", 13),
        (line("031104", ("1929", "2006", "1950"), "X", "280", region="486"), "2003-11-04 19:29", "2003-11-04 20:06",
         "X28.0", 10486),
        (line("020624", ("2400", "0020", "0010"), region="9997"), "2002-06-25 00:00", "2002-06-25 00:20", "C6.1", 9997),
        (line("150311", ("1611", "1629", "1622"), "X", "2.1", "2297"), "2015-03-11 16:11",
         "2015-03-11 16:29", "X2.1", 12297),
        (line("840101", ("0100D", "0120E", "0110U")), "1984-01-01 01:00", "1984-01-01 01:20", "C6.1", pd.NA),
    ],
)  # fmt: skip
def test_other_years_midnight_and_letters_behind_the_clock(tmp_path, text, start, end, goes_class, noaa):
    flares = report(tmp_path, text)
    row = flares.table.iloc[0]
    assert (f"{row['start']:%F %H:%M}", f"{row['end']:%F %H:%M}", row["goes_class"]) == (start, end, goes_class)
    assert flares.table["noaa"].tolist() == [noaa]
    assert flares.repairs.get("times_qualified", 0) == (3 if "D" in text[:20] else 0)


def test_a_line_that_is_cut_off_is_named(tmp_path, caplog):
    assert len(report(tmp_path, seeds.REPORT + "31777140117  0208 02\n")) == 3
    assert "1 of 4 rows left out" in caplog.text
    assert "'31777140117  0208 02' in row 3" in caplog.text
    with pytest.raises(DataError, match="none of 1 rows"):
        report(tmp_path, "31777140117  0208 02\n")


def test_a_first_line_without_a_date_changes_how_no_other_is_read(tmp_path, caplog):
    """The form of all dates was guessed from the first one, with a warning on standard error."""
    damaged = line("143107", ("0208", "0220", "0210"))
    flares = report(tmp_path, damaged + line("020612", ("2400", "0020", "0010")))
    assert [f"{start:%F %H:%M}" for start in flares.table["start"]] == ["2002-06-13 00:00"]
    assert "1 of 2 rows left out: `start` must be a time" in caplog.text


@pytest.fixture
def summary(tmp_path):
    path = tmp_path / "sci_xrsf-l2-flsum_g16_d20170906_v2-2-0.nc"
    path.write_bytes(seeds.flare_summary())
    return path


def test_a_flare_summary_is_a_list_of_flares_and_no_flux_of_every_minute(summary):
    table = read_flares(summary).table
    clock = "%Y-%m-%d %H:%M"
    assert table["start"].dt.strftime(clock).tolist() == ["2017-09-05 20:57", "2017-09-05 23:53"]
    assert table["goes_class"].tolist() == ["X2.2", "X9.3"]
    assert (table["peak"] - table["start"]).dt.total_seconds().tolist() == [780, 540]
    assert (table["end"] - table["start"]).dt.total_seconds().tolist() == [1200, 1020]
    with pytest.raises(DataError, match=r"holds `flare_id`, so it is a flare summary.*--flares"):
        read_xray_flux(summary)


def test_netcdf_that_is_no_flare_summary(summary, caplog):
    with h5py.File(summary, "a") as file:
        file["flare_class"][1] = ""
    assert read_flares(summary).table["goes_class"].tolist() == ["X9.3"]
    assert "1 of 2 rows left out: `goes_class`" in caplog.text
    with h5py.File(summary, "a") as file:
        del file["flare_id"]
    with pytest.raises(DataError, match=r"no flare summary: it lacks `flare_id`.*--xrays"):
        read_flares(summary)
