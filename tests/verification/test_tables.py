"""Which tables of forecasts are read, which are refused and with what words, and which samples remain."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from kflare.errors import DataError, SettingError
from kflare.verification.tables import forecast_table, read_forecasts

DAYS = ["2016-01-01", "2016-01-02", "2016-01-03"]


def long_table(**change):
    """Two methods on three days; the first misses its second forecast."""
    columns = {
        "time": DAYS * 2,
        "method": ["NOAA"] * 3 + ["SIDC"] * 3,
        "probability": [0.1, None, 0.6, 0.2, 0.3, 0.4],
        "observed": [0, 1, 1] * 2,
    }
    return pd.DataFrame({name: values for name, values in (columns | change).items() if values is not None})


def test_a_missing_forecast_leaves_the_sample_out_for_every_method():
    table = forecast_table(long_table())
    assert table.time.tolist() == np.array([DAYS[0], DAYS[2]], "datetime64[us]").tolist()
    assert table.observed.tolist() == [False, True]
    assert {method: values.tolist() for method, values in table.probability.items()} == {
        "NOAA": [0.1, 0.6],
        "SIDC": [0.2, 0.4],
    }
    assert table.missing == {"NOAA": 1, "SIDC": 0}
    assert "Forecasts not issued: 1." in table.notes[0]
    assert "2 of 3 samples remain" in table.notes[0]
    assert table.history[1].tolist() == [False, True, True]  # the outcome is known all the same
    assert table.region is None


def test_or_counts_as_probability_zero():
    table = forecast_table(long_table(), missing="zero")
    assert table.probability["NOAA"].tolist() == [0.1, 0.0, 0.6]
    assert table.missing["NOAA"] == 1
    assert "count as probability 0: 3 of 3 samples remain" in table.notes[0]
    with pytest.raises(SettingError, match='`missing` must be "exclude" or "zero", got "drop"'):
        forecast_table(long_table(), missing="drop")


def test_absent_rows_are_other_samples():
    table = long_table()[lambda rows: rows.index != 1]
    assert len(forecast_table(table).time) == 2
    with pytest.raises(DataError, match='method "NOAA" has no row for 1 of the 3 samples: methods must have the same'):
        forecast_table(table, missing="zero")
    apart = table.assign(time=[f"2016-01-0{number}" for number in range(1, 6)], probability=0.5)
    with pytest.raises(DataError, match=r"no sample was forecast by every method \(forecasts: NOAA 2, SIDC 3\)"):
        forecast_table(apart)


def test_outcomes_that_are_not_known_yet_are_left_out():
    table = forecast_table(long_table(observed=[0, 1, None] * 2))
    assert table.notes[0] == "Samples left out because their outcome is not known: 1."
    assert len(table.time) == 1
    # One method's row may leave out what another's tells.
    assert len(forecast_table(long_table(observed=[0, 1, None, 0, 1, 1])).time) == 2
    with pytest.raises(DataError, match="`observed` is empty in every row"):
        forecast_table(long_table(observed=[None] * 6))


def test_one_method_needs_no_column_and_rows_no_order():
    table = long_table(
        method=None, probability=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], time=[f"2016-01-0{n}" for n in "654321"]
    )
    scored = forecast_table(table)
    assert scored.probability["probability"].tolist() == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert scored.time[0] == np.datetime64("2016-01-01")


def test_regions_are_samples_of_their_own():
    table = long_table(method=None, region=[12673.0] * 3 + [12674.0] * 3, probability=[0.5] * 6)
    scored = forecast_table(table)
    assert sorted(set(scored.region)) == ["12673", "12674"]
    assert scored.shortest_step_hours() == 24
    assert forecast_table(table[:1]).shortest_step_hours() == np.inf


def test_times_of_another_zone_become_utc():
    nine_hours = [f"{day}T09:00+09:00" for day in DAYS] * 2
    aware = pd.to_datetime(nine_hours)
    for times in (nine_hours, aware, [f"{day}T00:00:00Z" for day in DAYS] * 2):
        assert forecast_table(long_table(time=times)).time[0] == np.datetime64("2016-01-01T00:00")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": [10, 20, 30, 40, 50, 60]}, r"`probability` must lie in \[0, 1\], got 10 in row 0: div"),
        ({"probability": [0.1, -0.2, 0.3, 0.4, 0.5, 0.6]}, "got -0.2 in row 1"),
        ({"probability": [0.1, np.inf, 0.3, 0.4, 0.5, 0.6]}, "got inf in row 1"),
        ({"probability": [0.1, "high", 0.3, 0.4, 0.5, 0.6]}, '`probability` must be a number or empty, got "high"'),
        ({"probability": None}, "lacks the column `probability`: it has time, method, observed; name the columns of a"),
        ({"probability": [None] * 6}, r"no sample was forecast by every method \(forecasts: NOAA 0, SIDC 0\)"),
        ({"observed": [0, 2, 1] * 2}, "`observed` must be 0, 1 or empty, got 2 in row 1"),
        ({"observed": [0, 1, 1, 0, 0, 1]}, r"`observed` differs between the methods .*2016-01-02T00:00Z"),
        ({"observed": None}, "lacks the column `observed`"),
        ({"time": ["2016-01-01"] * 6}, r"row 1 repeats the time, method and region of row 0 \(2016-01-01T00:00Z"),
        ({"time": ["2016-01-01T00:00Z", *DAYS[1:], *DAYS]}, "one time zone, got Z in row 0 and no zone in row 1"),
        (
            {"time": ["2016-01-01T00:00Z", "2016-01-02T00:00+09:00", *["2016-01-03T00:00Z"] * 4]},
            r"one time zone, got Z in row 0 and \+09:00 in row 1: write all times in UTC",
        ),
        ({"time": ["03/04/2016", *DAYS[1:], *DAYS]}, r"`time` must be a UTC time .*, got '03/04/2016' in row 0$"),
        ({"time": [DAYS[0], "20114-01-01", *DAYS[2:], *DAYS]}, r"`time` must be .*, got '20114-01-01' in row 1$"),
        ({"time": [None, *DAYS[1:], *DAYS]}, "`time` is empty in row 0"),
        ({"time": [20160101] * 6}, "`time` must be a UTC time such as .* got the number 20160101"),
        ({"time": np.array(["17999-11-25", *DAYS[1:], *DAYS], "datetime64[us]")}, "such as .*, got 17999-11-25"),
        ({"time": None}, "lacks the column `time`"),
        ({"method": ["NOAA", "", *["SIDC"] * 4]}, "`method` is empty in row 1"),
        ({"region": ["1", None, "1", "1", "1", "1"]}, "`region` is empty in row 1: .*full disk and of regions"),
    ],
)  # fmt: skip
def test_bad_tables_are_named(change, message):
    with pytest.raises(DataError, match=message):
        forecast_table(long_table(**change))


def test_nullable_columns_of_pandas():
    probability = pd.array([0.1, None, 0.6, 0.2, 0.3, 0.4], "Float64")
    observed = pd.array([False, True, None] * 2, "boolean")
    method = pd.Categorical(["NOAA"] * 3 + ["SIDC"] * 3)
    table = forecast_table(long_table(probability=probability, observed=observed, method=method), missing="zero")
    assert table.probability["NOAA"].tolist() == [0.1, 0.0]
    assert table.observed.tolist() == [False, True]


@pytest.mark.parametrize(
    "probability",
    [
        [0, 0, 1, 0, 1, 0],  # both methods, as integers
        ["0.1", "0.5", "0.6", "0", "1", " 1"],
        ["1", "", "1", "0.5", "0.2", "0.4"],  # a gap in between
        ["01", "00", "01", "+1", "0", "1"],
        pd.array([1, None, 1, 0, 1, 1], "Int64"),
        [0.1, 0.5, 0.6, "1", "1", "1"],  # numbers and text in one column
    ],
)
def test_whole_numbers_0_and_1_may_be_percentages(probability):
    with pytest.raises(DataError, match="is never but 0 or 1, without decimals"):
        forecast_table(long_table(probability=probability))
    table = forecast_table(long_table(probability=probability), percent=True)
    assert max(values.max() for values in table.probability.values()) <= 0.01


def test_what_is_no_percentage_is_told_as_it_stands():
    with pytest.raises(DataError, match=r"must lie in \[0, 100\] percent, got 101 in row 1"):
        forecast_table(long_table(probability=[0, 101, 1, 0, 1, 0]), percent=True)


@pytest.mark.parametrize(
    "probability",
    [
        [0.0, 0.0, 1.0, 0.0, 1.0, 0.0],
        ["0.0", "0.0", "1.0", "0.0", "1.0", "1.0"],
        [False, False, True, False, True, False],
        ["false", "false", "true", "false", "true", "true"],
        ["0", "0", "0", "0.1", "1", "0.2"],  # 0 % is 0; and a 1 among decimals is what it says
    ],
)
def test_yes_and_no_are_forecasts(probability):
    assert forecast_table(long_table(probability=probability)).probability["NOAA"][0] == 0


def test_no_rows():
    with pytest.raises(DataError, match="the table of forecasts holds no rows"):
        forecast_table(long_table()[:0])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"forecasts.{suffix}"
    table = long_table().rename(columns={"time": "valid_date"})
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    assert forecast_table(read_forecasts(path)).probability["SIDC"].tolist() == [0.2, 0.4]
    only = forecast_table(read_forecasts(path, methods=["SIDC"]))
    assert {name: values.tolist() for name, values in only.probability.items()} == {"SIDC": [0.2, 0.3, 0.4]}
    assert list(forecast_table(read_forecasts(path, methods=["SIDC", "NOAA"])).probability) == ["SIDC", "NOAA"]
    with pytest.raises(DataError, match='there is no method "BOM": the table holds NOAA, SIDC'):
        read_forecasts(path, methods=["BOM"])


def test_wide_files(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("time,observed,A,B\n2016-01-01,false,0.1,\n2016-01-02,True,0.7,0.4\n")
    wide = forecast_table(read_forecasts(path, methods=["A", "B"]), missing="zero")
    assert wide.observed.tolist() == [False, True]
    assert {name: values.tolist() for name, values in wide.probability.items()} == {"A": [0.1, 0.7], "B": [0, 0.4]}
    with pytest.raises(DataError, match=r'there is no method "C": the table holds A, B$'):
        read_forecasts(path, methods=["A", "C"])
    with pytest.raises(DataError, match=r"lacks the column `probability`: .*; name the columns of a wide table"):
        forecast_table(read_forecasts(path))


def test_the_columns_of_a_run_are_its_methods(tmp_path):
    """A fit writes a column for each: with `probability` among them the table was taken for one of a single method."""
    path = tmp_path / "forecasts.csv"
    path.write_text("time,span,observed,probability,calibrated\n2016-01-01,test,0,0.5,0.1\n2016-01-02,test,1,0.7,0.4\n")
    both = forecast_table(read_forecasts(path, methods=["calibrated", "probability"]), span="test")
    assert {name: p.tolist() for name, p in both.probability.items()} == {
        "calibrated": [0.1, 0.4], "probability": [0.5, 0.7],
    }  # fmt: skip


def spans():
    """Two days of validation, then two of a test."""
    days = pd.date_range("2016-01-01", periods=4, tz="UTC")
    return pd.DataFrame({"time": days, "probability": [0.1, 0.2, 0.3, 0.4], "observed": [0, 1, 0, 1],
                         "span": ["validation", "validation", "test", "test"]})  # fmt: skip


def test_spans_are_not_pooled():
    with pytest.raises(DataError, match=r"the spans validation, test, which are not pooled: choose one \(`--span`\)"):
        forecast_table(spans())
    test = forecast_table(spans(), span="test")
    assert test.probability["probability"].tolist() == [0.3, 0.4]
    assert test.notes == ("Only a part of the table was asked for: 2 of 4 forecasts.",)
    with pytest.raises(DataError, match='there is no span "train": the table holds validation, test'):
        forecast_table(spans(), span="train")
    with pytest.raises(DataError, match='there is no span "test": the table holds none, without a column `span`'):
        forecast_table(spans().drop(columns="span"), span="test")


def test_a_period_is_of_the_time_of_the_forecasts():
    since, until = datetime(2016, 1, 2, tzinfo=UTC), datetime(2016, 1, 3, tzinfo=UTC)
    table = spans().drop(columns="span")
    assert forecast_table(table, since=since).probability["probability"].tolist() == [0.2, 0.3, 0.4]
    assert forecast_table(table, until=until).probability["probability"].tolist() == [0.1, 0.2]
    # 2 January at 1 UT in a zone one hour ahead of UTC is its 0 UT.
    ahead = datetime(2016, 1, 2, 1, tzinfo=timezone(timedelta(hours=1)))
    day = forecast_table(table, since=ahead, until=until)
    assert day.probability["probability"].tolist() == [0.2]
    # What happened on all days tells the climatology of the period.
    assert day.history[1].tolist() == [False, True, False, True]
    # Of one span nothing is to choose.
    assert forecast_table(spans(), since=until).probability["probability"].tolist() == [0.3, 0.4]
    with pytest.raises(DataError, match="the table reaches from 2016-01-01T00:00Z to 2016-01-04T00:00Z"):
        forecast_table(table, since=datetime(2017, 1, 1, tzinfo=UTC))
    with pytest.raises(SettingError, match="`until` must be later than `since`, got 2016-01-03T00:00Z to 2016-01-02"):
        forecast_table(table, since=until, until=since)


def test_a_method_may_have_the_name_of_a_gap(tmp_path):
    path = tmp_path / "forecasts.csv"
    path.write_text("time,method,probability,observed\n2016-01-01,NA,0.1,0\n2016-01-02,NA,nan,1\n")
    assert forecast_table(read_forecasts(path), missing="zero").probability["NA"].tolist() == [0.1, 0.0]


def test_unreadable_files(tmp_path):
    with pytest.raises(DataError, match=r"no table of forecasts .*nothing.csv: give a Parquet or CSV file"):
        read_forecasts(tmp_path / "nothing.csv")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="cannot be read as a table of forecasts"):
        read_forecasts(broken)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="cannot be read as a table of forecasts"):
        read_forecasts(tmp_path / "empty.csv")
    long_table(method=None).to_csv(tmp_path / "single.csv", index=False)
    with pytest.raises(DataError, match=r'there is no method "NOAA": the table holds probability$'):
        read_forecasts(tmp_path / "single.csv", methods=["NOAA"])
    (tmp_path / "timeless.csv").write_text("day,observed,A\n1,0,0.5\n")
    with pytest.raises(DataError, match="lacks the column `time`: it has day, observed, A"):
        read_forecasts(tmp_path / "timeless.csv", methods=["A"])


def test_a_file_that_is_no_table_is_told_of_in_one_short_line(tmp_path):
    path = tmp_path / "feed.json"
    path.write_text("[" + ", ".join('{"time_tag": "2020-07-14T18:26:00Z", "flux": 1e-8}' for _ in range(500)) + "]\n")
    with pytest.raises(DataError, match=r"lacks the column `time`: it has .* more") as error:
        forecast_table(read_forecasts(path))
    assert len(str(error.value)) < 1200


@pytest.mark.parametrize("extra", [",", ",NOAA", ",,"])
def test_rows_with_more_fields_than_the_header_are_refused(tmp_path, extra):
    path = tmp_path / "shifted.csv"
    path.write_text("time,probability,observed\n" + "".join(f"{day},0.2,0{extra}\n" for day in DAYS))
    with pytest.raises(DataError, match="its rows have more fields than its header, which names 3"):
        read_forecasts(path)


def test_a_text_that_is_damaged_is_told_when_the_file_is_read(tmp_path):
    """It was decoded where it was first looked at, and ended there in an error of Arrow's."""
    path = tmp_path / "forecasts.parquet"
    long_table(method=["NOAA-Z"] * 3 + ["SIDC"] * 3).to_parquet(path, compression=None)
    path.write_bytes(path.read_bytes().replace(b"NOAA-Z", b"NOAA-\x80"))
    with pytest.raises(DataError, match=r"forecasts\.parquet cannot be read as a .*Invalid UTF8"):
        read_forecasts(path)
