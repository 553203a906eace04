"""Flare lists of every format: SWPC's event text and JSON, stored answers of the HEK, and CSV by its header."""

import json
from datetime import UTC, datetime
from functools import partial

import pandas as pd
import pytest

from kflare.errors import DataError
from kflare.flares import reading
from kflare.flares.repairing import read_flares
from tests import catalogue_seeds as seeds

# What the formats hold; their scales have tests of their own.
as_listed = partial(read_flares, scale="as listed")


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


def test_event_text_gives_the_xra_rows_with_the_positions_of_their_optical_flares(tmp_path):
    flares = as_listed(written(tmp_path, "20150301events.txt", seeds.EVENT_TEXT))
    table = flares.table
    assert table["goes_class"].tolist() == ["C1.0", "C3.7", "B7.4", "M1.2"]
    assert table["start"].tolist() == [
        *(utc(2015, 3, 1, 1, 58), utc(2015, 3, 1, 5, 4), utc(2015, 3, 1, 8, 55), utc(2015, 3, 1, 23, 51)),
    ]
    # Begun on March 1, over on March 2.
    assert table["peak"].iloc[3] == utc(2015, 3, 2, 0, 3)
    assert table["end"].iloc[3] == utc(2015, 3, 2, 0, 12)
    # 2290 is 12290; event 4140 names none. West is positive.
    assert table["noaa"].tolist() == [12290, 12290, pd.NA, 12290]
    assert table[["lon", "lat"]].iloc[0].tolist() == [66, 19]
    assert table[["lon", "lat"]].iloc[1:].isna().all(axis=None)
    # "B0855": it began before that. "////": no peak is known, so it is taken as late as it can be.
    assert flares.repairs["times_qualified"] == 1
    assert flares.repairs["regions_completed"] == 3
    assert flares.repairs["unreadable_peaks"] == 1
    assert table["peak"].iloc[2] == utc(2015, 3, 1, 10, 21)


@pytest.mark.parametrize(
    ("written_class", "read_class"),
    [("X 20", "X20.0"), ("M 9.9", "M9.9"), ("X 28+", "X28.0"), ("M", "M1.0"), ("C1.0", "C1.0")],
)
def test_a_class_of_event_text_may_have_a_blank(tmp_path, written_class, read_class):
    # The bare letter before, with the fluence or the region behind it, is a class without a number.
    text = seeds.EVENT_TEXT.replace("C3.7", written_class)
    row = as_listed(written(tmp_path, "20150301events.txt", text)).table.iloc[1]
    assert (row["goes_class"], row["noaa"]) == (read_class, 12290)


@pytest.mark.parametrize("name", ["noaa_active_region", "active_region", "ar", "AR"])
def test_a_region_under_other_names_is_kept(tmp_path, name):
    text = f"goes_class,{name},event_date,start_time,peak_time,end_time\n"
    text += "M1.0,11946,2014-01-07,2014-01-07 03:49 UTC,2014-01-07 03:53 UT,2014-01-07 03:56:00.000\n"
    row = as_listed(written(tmp_path, "list.csv", text)).table.iloc[0]
    assert (row["noaa"], row["start"], row["peak"]) == (11946, utc(2014, 1, 7, 3, 49), utc(2014, 1, 7, 3, 53))


def test_flares_of_donki(tmp_path):
    record = {"beginTime": "2014-01-01T18:40Z", "peakTime": "2014-01-01T18:52Z", "endTime": "2014-01-01T19:03Z"}
    record |= {"classType": "M9.9", "activeRegionNum": 11936, "instruments": [{"displayName": "GOES15"}]}
    row = as_listed(written(tmp_path, "flr.json", [record])).table.iloc[0]
    assert (row["goes_class"], row["noaa"], row["end"]) == ("M9.9", 11936, utc(2014, 1, 1, 19, 3))


def test_several_days_of_event_text_in_one_file(tmp_path):
    days = seeds.EVENT_TEXT + seeds.EVENT_TEXT.replace("2015 03 01", "2015 03 02").replace("2015 Mar 01", "2015 Mar 02")
    table = as_listed(written(tmp_path, "events.txt", days)).table
    assert len(table) == 8
    assert table["start"].iloc[4] == utc(2015, 3, 2, 1, 58)
    assert table[["lon", "lat"]].iloc[4].tolist() == [66, 19]


def test_the_day_of_event_text_comes_from_the_title_or_the_name(tmp_path):
    text = "".join(line for line in seeds.EVENT_TEXT.splitlines(keepends=True) if not line.startswith(":"))
    assert as_listed(written(tmp_path, "a.txt", text)).span[0] == utc(2015, 3, 1, 1, 58)
    text = text.replace("for 2015 Mar 01", "of the day")
    assert as_listed(written(tmp_path, "19980511events.txt", text)).span[0] == utc(1998, 5, 11, 1, 58)
    with pytest.raises(DataError, match=r"`:Date:`.*YYYYMMDDevents"):
        as_listed(written(tmp_path, "a.txt", text))


def test_a_day_without_events_is_an_empty_list(tmp_path):
    text = ":Product: 20190301events.txt\n:Date: 2019 03 01\n#\nNO EVENT REPORTS.\n"
    assert len(as_listed(written(tmp_path, "20190301events.txt", text))) == 0
    assert len(as_listed(written(tmp_path, "edited_events.json", []))) == 0
    assert len(as_listed(written(tmp_path, "hek.json", {"result": [], "overmax": False}))) == 0


def test_an_early_region_keeps_its_four_digits(tmp_path):
    text = seeds.EVENT_TEXT.replace("2015", "1998").replace("2290", "8210")
    assert as_listed(written(tmp_path, "19980301events.txt", text)).table["noaa"].dropna().unique().tolist() == [8210]


def test_edited_events(tmp_path):
    flares = as_listed(written(tmp_path, "edited_events.json", seeds.EDITED_EVENTS))
    row = flares.table.iloc[0]
    assert len(flares) == 1
    assert (row["start"], row["peak"], row["end"]) == (
        *(utc(2024, 5, 28, 6, 38), utc(2024, 5, 28, 6, 43), utc(2024, 5, 28, 6, 48)),
    )
    # 3697 is 13697; S19E66 of the optical flare in the same bin.
    assert (row["goes_class"], row["noaa"], row["lon"], row["lat"]) == ("C4.1", 13697, -66, -19)


def test_an_optical_flare_of_another_day_gives_no_position(tmp_path):
    # Event numbers come round again within the year.
    records = [seeds.EDITED_EVENTS[0], seeds.EDITED_EVENTS[1] | {"begin_datetime": "2024-05-30T06:40:00"}]
    assert as_listed(written(tmp_path, "edited_events.json", records)).table["lon"].isna().all()


def test_xray_flares_of_the_last_days(tmp_path):
    flares = as_listed(written(tmp_path, "xray-flares-7-day.json", seeds.XRAY_FLARES))
    assert flares.table["goes_class"].tolist() == ["C4.7", "M1.0"]
    assert flares.table["end"].tolist() == [utc(2022, 9, 26, 9, 36), pd.NaT]
    assert flares.table["peak"].tolist() == [utc(2022, 9, 26, 9, 11), utc(2022, 9, 26, 10, 9)]
    assert flares.table["noaa"].isna().all()


def test_a_stored_answer_of_the_hek(tmp_path):
    flares = as_listed(written(tmp_path, "hek.json", {"result": seeds.HEK_RECORDS, "overmax": False}))
    row = flares.table.iloc[0]
    # SWPC's region, the position of SSW Latest Events (SWPC's 0, 0 means unknown), no EUV detection.
    assert len(flares) == 1
    assert (row["noaa"], row["lon"], row["lat"]) == (11875, -4, 7)
    assert flares.repairs["not_goes"] == 1
    assert flares.repairs["merged_duplicates"] == 1
    assert flares.repairs["positions_filled"] == 1


def test_a_table_of_the_hek_as_csv(tmp_path):
    pd.DataFrame(seeds.HEK_RECORDS).to_csv(tmp_path / "hek.csv", index=False)
    from_csv = as_listed(tmp_path / "hek.csv")
    from_json = as_listed(written(tmp_path, "hek.json", {"result": seeds.HEK_RECORDS}))
    pd.testing.assert_frame_equal(from_csv.table, from_json.table)


def test_the_format_is_told_by_the_content_not_by_the_name(tmp_path):
    for name, payload, reader in seeds.seeds():
        if reader is read_flares and "events.txt" not in name:
            path = tmp_path / "list.dat"
            path.write_bytes(payload)
            assert len(as_listed(path)) > 0, name


def test_a_byte_order_mark_and_blank_lines_are_no_harm(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbfstart,peak,end,goes_class\r\n\r\n  \r\n0,2013-10-23 01:00,,,C1.0\r\n")
    assert as_listed(path).table["goes_class"].tolist() == ["C1.0"]
    path.write_bytes(b"\xef\xbb\xbf  " + json.dumps(seeds.XRAY_FLARES).encode())
    assert len(as_listed(path)) == 2


def test_a_row_with_too_many_fields_is_named(tmp_path):
    path = written(tmp_path, "list.csv", "start,peak,end,goes_class\n2013-10-23 01:00,,,C1.0\n1,2,3,4,5,6\n")
    with pytest.raises(DataError, match="Expected 4 fields in line 3, saw 6"):
        as_listed(path)


def test_json_of_something_else_names_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"needs the column `start`.*time_tag, satellite, flux, energy"):
        as_listed(written(tmp_path, "xrays.json", seeds.XRAYS))
    with pytest.raises(DataError, match="none of 1 rows"):
        as_listed(written(tmp_path, "flares.json", [seeds.XRAY_FLARES[0] | {"max_class": "Unk"}]))
    big = [seeds.XRAY_FLARES[0] | {"max_class": 10**400}]  # no float can hold it
    with pytest.raises(DataError, match="none of 1 rows"):
        as_listed(written(tmp_path, "flares.json", big))
    flares = as_listed(written(tmp_path, "flares.json", ["no record", *seeds.XRAY_FLARES]))
    assert flares.repairs["records_skipped"] == 1


@pytest.mark.parametrize("start", ["1969-12-31 23:59", "2100-01-01 00:00", "9999-12-31 23:59"])
def test_a_time_before_the_space_age_or_far_ahead_is_unreadable(tmp_path, start):
    flares = as_listed(
        written(tmp_path, "list.csv", f"start,peak,end,goes_class\n{start},,,C1.0\n2013-10-23 01:00,,,C2.0\n")
    )
    assert flares.table["goes_class"].tolist() == ["C2.0"]
    assert flares.repairs["unreadable_start"] == 1


ROW = "2013-10-23 20:41,2013-10-23 20:50,2013-10-23 21:00,M1.0,11875"


@pytest.mark.parametrize(
    "rows",
    [
        ROW + "\n" + ROW.replace("M1.0", " 01 ") + "\n\n",
        (ROW + "\r\n") * 3,
        ROW.replace("M1.0", "NA").replace("11875", "nan"),
        ROW.replace("M1.0", "é\u2028"),
        ROW + "\n" + ROW.rpartition(",")[0],  # a field less
        ROW.replace("M1.0", '"M1,0"'),
        ROW.replace("M1.0", "M1\0"),
        "",
    ],
)
@pytest.mark.parametrize("header", ["start,peak,end,goes_class,noaa", "\ufeffstart,peak,end,goes_class,goes_class"])
def test_cells_are_those_of_pandas_whichever_reads_them(tmp_path, monkeypatch, header, rows):
    path = written(tmp_path, "flares.csv", f"{header}\n{rows}")
    fast = reading.read_flare_columns(path).table
    monkeypatch.setattr(reading, "_plain_cells", lambda payload: None)
    pd.testing.assert_frame_equal(fast, reading.read_flare_columns(path).table)


def test_each_cell_is_read_as_if_it_stood_alone(tmp_path):
    # Texts that come again are worked out once.
    head = "start,peak,end,goes_class,noaa,lon"
    rows = [
        *("2013-10-23 20:41,2050,21:00,M1.1,1875,12", "23-Oct-13 20:42,20:50,21:00,M 2.1,AR 11875,x"),
        *('2013/10/23 20:43 UT,2013-10-23 20:50,,M3,"1875,1877",', "2013-10-23T20:44Z,20:50:00,9999,M4.1+,HARP 3,-12"),
        "2013-10-23 20:45 UTC,23-Oct-2013 20:50,2400,X>17,0,200",
    ]
    alone = [as_listed(written(tmp_path, "one.csv", f"{head}\n{row}")).table for row in rows]
    again = [row.replace("10-23", "10-25").replace("10/23", "10/25").replace("23-Oct", "25-Oct") for row in rows]
    together = as_listed(written(tmp_path, "all.csv", "\n".join([head, *rows, *again]))).table
    pd.testing.assert_frame_equal(together[:5], pd.concat(alone, ignore_index=True))
    assert together["noaa"].tolist() == 2 * [11875, 11875, 11875, pd.NA, pd.NA]
    later = together[5:].reset_index(drop=True)
    for name in ("start", "peak", "end"):
        assert set((later[name] - together[name][:5]).dropna()) == {pd.Timedelta(days=2)}
