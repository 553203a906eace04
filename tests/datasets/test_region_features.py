"""Region tables completed with changes and history, and held to the known features."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kflare.datasets.history import DISK_HISTORY, REGION_HISTORY
from kflare.datasets.region_features import complete_rows, features_of
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.merging import merge_flares
from kflare.flares.region_numbers import unassigned_note
from kflare.regions.feature_table import feature_set

SHARP = ["AREA", "USFLUX", "MEANGBZ", "R_VALUE"]
HISTORY = [*REGION_HISTORY, *DISK_HISTORY]
ALL = [feature.name for feature in feature_set("sharp")]


@pytest.fixture
def flares():
    table = pd.DataFrame(
        {
            "start": pd.to_datetime(["2014-03-18T01:00Z", "2014-03-18T20:00Z"], format="ISO8601"),
            "peak": pd.to_datetime(["2014-03-18T01:10Z", "2014-03-18T20:20Z"], format="ISO8601"),
            "goes_class": ["C2.0", "M3.0"],
            "noaa": pd.array([12010, 12011], dtype="Int64"),
        }
    )
    return FlareList(table, "test list", told=((table["start"][0] - pd.Timedelta(days=8), table["start"][1]),))


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "time": pd.to_datetime(["2014-03-18T00:00Z", "2014-03-19T00:00Z", "2014-03-19T00:00Z"], format="ISO8601"),
            "region": ["HARP 1", "HARP 1", "HARP 2"],
            "noaa": [12010, 12010, 12011],
            "AREA": [100.0, 130.0, 50.0],
            "USFLUX": [1e22, 3e22, 5e21],
            "MEANGBZ": [90.0, np.nan, 100.0],
            "R_VALUE": [3.0, 4.5, 0.0],
        }
    )


def completed(table, flares):
    return complete_rows(table, flares=flares)


def test_a_sharp_table_gets_every_feature(table, flares):
    out = completed(table, flares)
    assert set(out.columns) == {"time", "region", "noaa", *ALL}
    pd.testing.assert_frame_equal(out[table.columns], table)
    # HARP 1 a day later: 130 - 100, 3e22 - 1e22, unmeasured, 4.5 - 3.0; HARP 2 has no past.
    np.testing.assert_allclose(out["dt24AREA"], [np.nan, 30.0, np.nan])
    np.testing.assert_allclose(out["dt24USFLUX"], [np.nan, 2e22, np.nan])
    assert out["dt24MEANGBZ"].isna().all()
    np.testing.assert_allclose(out["dt24R_VALUE"], [np.nan, 1.5, np.nan])
    np.testing.assert_allclose(out["dt24logAREA"], [np.nan, np.log10(1.3), np.nan])
    np.testing.assert_allclose(out["dt24logUSFLUX"], [np.nan, np.log10(3), np.nan])
    # At 00:00 of the 18th nothing had happened; a day later the C flare was of HARP 1, the M flare of HARP 2.
    assert out["Chis"].tolist() == out["Chis1d"].tolist() == [0, 1, 0]
    assert out["Mhis"].tolist() == out["Mhis1d"].tolist() == [0, 0, 1]
    assert out["Xhis"].tolist() == out["Xhis1d"].tolist() == [0, 0, 0]
    assert out["diskC1d"].tolist() == out["diskC7d"].tolist() == [0, 2, 2]
    assert out["diskM1d"].tolist() == out["diskM7d"].tolist() == [0, 1, 1]


def test_whole_numbers_are_numbers(table, flares):
    """Failed before, with a traceback: a CSV whose flux has no decimals is read as integers."""
    whole = table.assign(USFLUX=[10**18, 3 * 10**18, 5], AREA=[100, 130, 50])
    pd.testing.assert_frame_equal(
        completed(whole, flares)[ALL[4:]], completed(whole.astype({"USFLUX": float, "AREA": float}), flares)[ALL[4:]]
    )


def test_columns_that_are_there_are_left_alone(table, flares):
    own = table.assign(dt24AREA=[1.0, 2.0, 3.0], Mhis=[7, 8, 9], diskC7d=[0.5, 0.5, 0.5])
    out = completed(own, flares)
    pd.testing.assert_frame_equal(out[own.columns], own)
    others = [name for name in ALL if name not in own]
    pd.testing.assert_frame_equal(out[others], completed(table, flares)[others])


def test_a_whole_table_stays_as_it_is(table, flares):
    whole = completed(table, flares)
    again = completed(whole, flares)
    pd.testing.assert_frame_equal(again, whole)
    assert again is not whole


def test_the_table_given_is_not_written_into(table, flares):
    before = table.copy()
    completed(table, flares)
    pd.testing.assert_frame_equal(table, before)


def test_without_sharp_columns_there_is_history_only(table, flares):
    out = completed(table.drop(columns=SHARP), flares)
    assert set(out.columns) == {"time", "region", "noaa", *HISTORY}


def test_nothing_is_known_of_the_flares_of_a_region_without_a_noaa_number(table, flares):
    out = completed(table.assign(noaa=0), flares)
    assert out[list(REGION_HISTORY)].isna().all(axis=None)
    assert out["diskC1d"].tolist() == [0, 2, 2]


def test_no_region_numbers_in_a_flare_list_is_not_no_flares(table, flares):
    nameless = replace(flares, table=flares.table.assign(noaa=pd.array([None, None], "Int64")))
    out = completed(table.assign(missing=["", "", "USFLUX: x"]), nameless)
    # A day later one flare of C and one of M had happened, nobody knows where; none of X, anywhere.
    for name in ("Chis", "Chis1d", "Mhis", "Mhis1d"):
        np.testing.assert_array_equal(out[name], [0, np.nan, np.nan])
    assert out["Xhis"].tolist() == out["Xhis1d"].tolist() == [0, 0, 0]
    assert out["diskC1d"].tolist() == [0, 2, 2]
    why = "Chis Mhis Chis1d Mhis1d: few flares of the list have a NOAA number"
    assert [why in text for text in out["missing"]] == [False, True, True]


def test_rows_keep_their_order_and_index(table, flares):
    mixed = table.iloc[[2, 1, 0]].set_axis([5, 5, 1])
    out = completed(mixed, flares)
    assert out.index.tolist() == [5, 5, 1]
    np.testing.assert_allclose(out["dt24AREA"], [np.nan, 30.0, np.nan])
    assert out["Chis"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["100", "large", "50"], "feature `AREA` of the region table must be numeric, got 'large' in row 1"),
        ([100.0, np.inf, 50.0], "feature `AREA` of the region table must be finite, got inf in row 1"),
    ],
)
def test_unusable_sharp_columns_are_refused_before_their_change_is_taken(table, flares, column, message):
    with pytest.raises(DataError, match=message):
        completed(table.assign(AREA=column), flares)


def test_a_nullable_column_is_as_good_as_any(table, flares):
    out = completed(table.assign(AREA=pd.array([100, None, 50], dtype="Int64")), flares)
    assert out["dt24AREA"].isna().all()


def test_a_region_given_twice_is_refused(table, flares):
    twice = pd.concat([table, table.tail(1)], ignore_index=True)
    with pytest.raises(DataError, match="`region` HARP 2 has two rows at 2014-03-19T00:00Z"):
        completed(twice, flares)


def test_all_features_are_taken_in_the_order_of_the_feature_table(table, flares):
    out = completed(table, flares)
    shuffled = out[sorted(out.columns)]
    assert [feature.name for feature in features_of(shuffled, None, source="x")] == ALL
    assert [feature.name for feature in features_of(table, None, source="x")] == SHARP


def test_named_features_are_taken_in_the_order_given(table):
    assert [feature.name for feature in features_of(table, ["R_VALUE", "AREA"], source="x")] == ["R_VALUE", "AREA"]


def test_key_columns_are_no_features(table):
    keys = table.assign(harpnum=1, lon=0.0, lat=0.0, quality=0)
    assert [feature.name for feature in features_of(keys, None, source="x")] == SHARP


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        ({"MAGIC": 1.0}, None, "regions.csv has the unknown feature `MAGIC`: rename or drop the column; known are"),
        ({"MAGIC": 1.0}, ["AREA"], "unknown feature `MAGIC`"),
        ({"area": 1.0}, None, "unknown feature `area`"),
        ({}, ["AREA", "Chis"], "regions.csv lacks the feature `Chis`: add the column"),
        ({}, ["AREA", "MAGIC"], "unknown feature `MAGIC`: the known ones are AREA,"),
        ({}, ["AREA", "R_VALUE", "AREA"], "feature `AREA` is named more than once"),
        ({"AREA": ["a", "b", "c"]}, None, "feature `AREA` of regions.csv must be numeric, got 'a' in row 0"),
        ({"AREA": [1.0, -np.inf, 2.0]}, None, "feature `AREA` of regions.csv must be finite, got -inf in row 1"),
    ],
)  # fmt: skip
def test_unusable_tables_are_refused(table, change, names, message):
    with pytest.raises(DataError, match=message):
        features_of(table.assign(**change), names, source="regions.csv")


def test_an_infinite_column_that_is_not_asked_for_does_not_matter(table):
    features_of(table.assign(AREA=np.inf), ["R_VALUE"], source="x")


def test_a_table_without_a_feature_is_refused(table):
    with pytest.raises(DataError, match="x has no feature column: known are ABSnJzh,"):
        features_of(table.drop(columns=SHARP), None, source="x")


def test_past_flares_are_not_known_where_the_list_does_not_tell_of_the_week_before(table, flares):
    """A list that ended two days before a row, or began within its week, counted as if nothing had flared besides."""
    start = pd.date_range("2014-03-08T01:00Z", "2014-03-18T20:00Z", freq="6h")  # every six hours: an active Sun
    rows = pd.DataFrame({"start": start, "peak": start, "goes_class": "C2.0", "noaa": pd.array([12010] * len(start))})
    # The list reaches a day beyond both ends, and half a day of a week may be untold.
    times = pd.to_datetime(["2014-03-13T12:00Z", "2014-03-13T13:00Z", "2014-03-20T07:00Z", "2014-03-20T08:00Z"])
    asked = pd.concat([table[:1]] * 4, ignore_index=True).assign(time=times, region=list("abcd"), missing="")
    out = completed(asked, FlareList(rows, "active.csv"))
    for name in (*DISK_HISTORY, "Chis", "Chis1d"):
        assert out[name].isna().tolist() == [True, False, False, True], name
    # From 8 March 1 UT; from 13 March 7 UT, itself not, to the last, 18 March 19 UT.
    assert out["diskC7d"][1:3].tolist() == [23, 22]
    assert "the flare list does not tell of the week before" in out["missing"][3]
    note = unassigned_note(asked["time"], FlareList(rows, "active.csv"))
    assert note.startswith(
        "active.csv does not tell of all the week before 2 of 4 rows: their past flares are not known"
    )
    # What is told without a flare is told: a quiet week.
    told = ((times[0] - pd.Timedelta(days=30), times[3]),)
    quiet = FlareList(rows[:1].assign(start=told[0][0], peak=told[0][0]), "quiet.csv", told=told)
    assert completed(asked, quiet)[list(DISK_HISTORY)].to_numpy().tolist() == [[0.0] * 4] * 4


def test_a_quiet_month_of_the_year_does_not_let_a_list_tell_of_a_month_after_its_last_flare(table):
    """Of C and above in 2017, with a gap of 40 days, a list of up to 25 August told of "no flare" until 4 October."""
    quiet, active = (
        pd.to_datetime(["2017-04-01T00:00Z"]),
        pd.date_range("2017-05-11", "2017-08-25", freq="12h", tz="UTC"),
    )
    start = quiet.append(active)
    rows = pd.DataFrame({"start": start, "peak": start, "goes_class": "C2.0", "noaa": pd.array([12673] * len(start))})
    times = pd.to_datetime(["2017-08-25T12:00Z", "2017-08-26T06:00Z", "2017-08-27T06:00Z", "2017-09-06T00:00Z"])
    asked = pd.concat([table[:1]] * 4, ignore_index=True).assign(time=times, region=list("abcd"), missing="")
    ended = FlareList(rows, "ended.csv")
    assert completed(asked, ended)["diskM1d"].isna().tolist() == [False, False, True, True]
    assert "does not tell of all the week before 2 of 4 rows" in unassigned_note(asked["time"], ended)


def test_a_part_of_a_list_tells_of_no_more_than_the_part(flares):
    part = flares.between(flares.table["start"][0], flares.table["start"][1])
    assert part.told == ((flares.table["start"][0], flares.table["start"][1]),)
    other = FlareList(flares.table.assign(start=flares.table["start"] + pd.Timedelta(days=40), peak=pd.NaT), "later")
    assert len(merge_flares(flares, other).told) == 2
