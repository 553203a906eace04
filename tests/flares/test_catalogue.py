"""Flare lists: classes and fluxes, the dialects, every repair, and facts of the real catalogues."""

from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kflare.errors import DataError
from kflare.flares.catalogue import CLASS_THRESHOLDS, FLUX_SCALES, FlareList, class_to_flux, flux_to_class
from kflare.flares.region_numbers import full_region_numbers
from kflare.flares.repairing import read_flares

HEADER = "start,peak,end,goes_class,noaa,lon,lat"


def read(tmp_path, *lines, header=HEADER):
    path = tmp_path / "flares.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    flares = read_flares(path, scale="as listed")
    # That the scale of such a list is unknown has its own tests.
    flares.repairs.pop("scale_assumed", None)
    return flares


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("goes_class", "flux"),
    [
        ("A5.0", 5e-8),
        ("B0.9", 9e-8),
        ("C1.0", 1e-6),
        ("M3.1", 3.1e-5),
        ("X1", 1e-4),
        ("X28.0", 2.8e-3),
        (" m1. ", 1e-5),
    ],
)
def test_class_to_flux_is_exact(goes_class, flux):
    # Exactly the decimal: a comparison with a threshold must not fail by a rounding error.
    assert class_to_flux(goes_class) == flux


@pytest.mark.parametrize(
    "goes_class", ["", "C", "D1.0", "M-1", "M1,5", "1.0", "Mx", "M0.0", "M1.0e3", "X99999", None, 3.1]
)
def test_what_is_no_class_is_refused(goes_class):
    with pytest.raises(DataError, match="goes_class"):
        class_to_flux(goes_class)


@pytest.mark.parametrize(
    ("flux", "goes_class"),
    [(3.1e-5, "M3.1"), (1e-5, "M1.0"), (10 * 1e-6, "M1.0"), (9.99e-6, "C9.9"), (2.8e-3, "X28.0"), (4e-9, "A0.4")],
)
def test_flux_to_class_never_lifts_a_flare_over_a_threshold(flux, goes_class):
    assert flux_to_class(flux) == goes_class


@pytest.mark.parametrize("flux", [0.0, -1e-6, float("nan"), float("inf")])
def test_flux_must_be_positive_and_finite(flux):
    with pytest.raises(DataError, match="flux"):
        flux_to_class(flux)


@given(st.sampled_from("ABCM"), st.integers(10, 99))
def test_class_and_flux_are_inverse(letter, tenths):
    goes_class = f"{letter}{tenths / 10:.1f}"
    assert flux_to_class(class_to_flux(goes_class)) == goes_class


def test_plain_list_is_sorted_typed_and_complete(tmp_path):
    flares = read(
        tmp_path,
        "2013-10-23T20:41:00Z,2013-10-23T20:53:00Z,2013-10-23T21:00:00Z,M2.7,11875,5.5,7",
        "2013-10-23 04:50,2013-10-23 04:55,2013-10-23 05:00,C3.3,0,,",
    )
    assert flares.repairs == {}
    table = flares.table
    assert list(table.columns) == ["start", "peak", "end", "goes_class", "flux", "noaa", "lon", "lat", "satellite"]
    assert [str(kind) for kind in table.dtypes[["start", "peak", "end", "flux", "noaa", "lon"]]] == [
        *["datetime64[us, UTC]"] * 3,
        "float64",
        "Int64",
        "float64",
    ]
    assert table["goes_class"].tolist() == ["C3.3", "M2.7"]
    assert table["flux"].tolist() == [3.3e-6, 2.7e-5]
    assert table["noaa"].tolist() == [pd.NA, 11875]
    assert table["lat"].isna().tolist() == [True, False]
    assert list(table.index) == [0, 1]
    assert flares.span == (utc(2013, 10, 23, 4, 50), utc(2013, 10, 23, 20, 41))
    assert flares.report() == f"2 flares in `flares.csv`, {FLUX_SCALES['operational']}: nothing to repair"


def test_an_offset_is_converted_to_utc(tmp_path):
    flares = read(tmp_path, "2013-10-23T09:00:00+09:00,,,M1.0,,,")
    assert flares.table["start"].iloc[0] == utc(2013, 10, 23)


def test_selection_by_start(tmp_path):
    flares = read(
        tmp_path,
        "2013-10-23 00:00,2013-10-23 00:05,2013-10-23 00:10,C1.0,11875,,",
        "2013-10-23 23:59,2013-10-24 00:05,2013-10-24 00:10,C2.0,11877,,",
        "2013-10-24 00:00,2013-10-24 00:05,2013-10-24 00:10,C3.0,,,",
    )
    # The start decides, the first moment counts, the last does not.
    day = flares.between(utc(2013, 10, 23), utc(2013, 10, 24))
    assert day.table["goes_class"].tolist() == ["C1.0", "C2.0"]
    with pytest.raises(DataError, match="t0"):
        flares.between(datetime(2013, 10, 23), utc(2013, 10, 24))  # noqa: DTZ001
    with pytest.raises(DataError, match="no flare"):
        _ = flares.between(utc(2013, 10, 25), utc(2013, 10, 26)).span


def test_over_midnight(tmp_path):
    flares = read(
        tmp_path,
        "2013-10-23 23:44:00,2013-10-23 23:51:00,2013-10-23 00:12:00,C5.6,,,",
        "2013-12-31 23:58:00,2013-12-31 00:06:00,2013-12-31 00:20:00,C1.8,,,",
    )
    assert flares.repairs == {"ends_over_midnight": 2, "peaks_over_midnight": 1}
    assert flares.table["end"].tolist() == [utc(2013, 10, 24, 0, 12), utc(2014, 1, 1, 0, 20)]
    assert flares.table["peak"].tolist() == [utc(2013, 10, 23, 23, 51), utc(2014, 1, 1, 0, 6)]


def test_times_without_a_date(tmp_path):
    header = "start_time,max_time,end_time,goes_class,noaa_ar"
    flares = read(
        tmp_path,
        "2002-08-21 23:57:00,2359,0003,C3.1,10069",
        "2002-08-22 10:00:00,////,1010,C3.2,0",
        "2002-08-23 10:00:00,2561,1010,C3.3,0",
        header=header,
    )
    assert flares.table["end"].tolist() == [utc(2002, 8, 22, 0, 3), utc(2002, 8, 22, 10, 10), utc(2002, 8, 23, 10, 10)]
    # An unknown peak is taken as late as it can be: 25:61 is no time.
    assert flares.table["peak"].tolist() == [utc(2002, 8, 21, 23, 59), *flares.table["end"][1:]]
    assert flares.repairs == {
        "ends_over_midnight": 1,
        "ends_completed": 3,
        "peaks_completed": 1,
        "unreadable_peaks": 2,
    }


def test_peak_after_the_end_becomes_the_end(tmp_path):
    flares = read(tmp_path, "2020-05-28 10:13,2020-05-28 10:36,2020-05-28 10:27,B2.9,,,")
    assert flares.table["peak"].iloc[0] == utc(2020, 5, 28, 10, 27)
    assert flares.repairs == {"peaks_after_end": 1}


def test_an_end_on_an_earlier_day_is_unknown_not_over_midnight(tmp_path):
    flares = read(tmp_path, "2020-05-28 10:13,2020-05-28 10:20,2020-05-20 10:27,B2.9,,,")
    assert flares.table["end"].isna().all()
    assert flares.repairs == {"unreadable_ends": 1}


def test_mixed_date_formats(tmp_path):
    header = ",start_time,peak_time,end_time,label,noaa_ar"
    flares = read(
        tmp_path,
        "0,2023-12-28 00:23:00,2023-12-28 00:33:00,2023-12-28 00:41:00,C2.5,13528",
        "1,2023/12/29 00:23,2023-12-29 00:33:00,2023/12/29 00:41,C2.5,13528",
        header=header,
    )
    assert flares.table["start"].tolist() == [utc(2023, 12, 28, 0, 23), utc(2023, 12, 29, 0, 23)]
    assert flares.repairs == {}


def test_an_unnamed_index_in_the_rows_only(tmp_path):
    # swpc_flares_1996-2018.csv: 12 names, 13 fields.
    flares = read(tmp_path, "0,2013-10-23 01:00,0105,0110,C2.5", header="start_time,max_time,end_time,goes_class")
    assert flares.table["goes_class"].tolist() == ["C2.5"]


def test_classes_as_catalogues_write_them(tmp_path):
    lines = [
        f"2013-10-{day} 01:00,2013-10-{day} 01:05,2013-10-{day} 01:10,{text},,,"
        for day, text in enumerate(["X17.", "C8", "C", "B0.9", "c1.346", "Q3.0", "M0.0"], start=10)
    ]
    lines.append('2013-10-17 01:00,2013-10-17 01:05,2013-10-17 01:10,"C6,2",,,')
    lines.append("yesterday,2013-10-17 01:05,2013-10-17 01:10,C1.0,,,")
    flares = read(tmp_path, *lines)
    assert flares.table["goes_class"].tolist() == ["X17.0", "C8.0", "C1.0", "B0.9", "C1.346", "C6.2"]
    assert flares.repairs == {
        "unreadable_start": 1,
        "unreadable_class": 2,
        "decimal_commas": 1,
        "classes_without_number": 1,
    }
    assert flares.report() == (
        f"6 flares in `flares.csv`, {FLUX_SCALES['operational']}: 1 dropped for an unreadable start, 2 dropped for an "
        "unreadable class, 1 decimal commas in the class, 1 classes without a number, taken as the lowest of the class"
    )


def test_one_flare_seen_by_two_satellites_is_kept_once_with_its_region(tmp_path):
    start = "2023-07-18 20:16,2023-07-18 20:27"
    flares = read(
        tmp_path,
        f"{start},2023-07-18 20:35,M2.1,0,,",
        f"{start},2023-07-19 10:19,M2.1,13372,,",
        f"{start},2023-07-18 20:40,M2.10,13372,,",
        f"{start},2023-07-18 20:40,M2.2,13372,,",  # another class, equal times: the same flare
        f"{start},2023-07-18 20:41,M2.3,13372,,",  # another class and end: another flare
        f"{start},2023-07-18 20:40,M2.2,13373,,",  # another region: another flare
    )
    assert flares.repairs == {"duplicates": 3}
    assert flares.table["noaa"].tolist() == [13372, 13373, 13372]
    assert flares.table["goes_class"].tolist() == ["M2.2", "M2.2", "M2.3"]
    assert flares.table["end"].iloc[0] == utc(2023, 7, 18, 20, 40)


@pytest.mark.parametrize(
    ("text", "flux"),
    [
        ("X28+", 28e-4), ("X 20", 20e-4), ("M 9.9", 9.9e-5), ("x>17", 17e-4), (">X17.2", 17.2e-4),
        ("X17.2/4B", 17.2e-4),
        ("M1.0 /SF", 1e-5), ("C 2,7", 2.7e-6), (" B9.9 ", 9.9e-7), ("X28.0+", 28e-4), ("C10.0", 1e-5),
    ],
)  # fmt: skip
def test_a_class_in_every_form_in_which_it_is_written(tmp_path, text, flux):
    flares = read(tmp_path, f'2003-11-04 19:29,2003-11-04 19:50,2003-11-04 20:06,"{text}",486,,')
    assert flares.table["flux"].tolist() == pytest.approx([flux])
    assert ("lower_limits" in flares.repairs) == any(mark in text for mark in "+>")


@pytest.mark.parametrize("text", ["M10", "C 27", "B99"])
def test_a_class_without_its_point_is_named_and_left_out(tmp_path, caplog, text):
    # Of NGDC's columns, where it would be M1.0.
    times = "2003-11-04 19:29,2003-11-04 19:50,2003-11-04 20:06"
    flares = read(tmp_path, f"{times},X1.0,486,,", f"{times},{text},486,,", f"{times},?,486,,")
    assert len(flares) == 1
    assert f"2 of 3 rows left out: `goes_class` must be a class such as M3.1, got {text!r} in row 1" in caplog.text


def test_days_and_clocks_in_two_columns(tmp_path):
    rows = "2014-12-31,23:50,00:10,23:58,M1.0", "2014-12-31,2355,0005,2359,C3.0"
    flares = read(tmp_path, *rows, header="date,start_time,end_time,peak_time,goes_class")
    assert flares.table["start"].tolist() == [utc(2014, 12, 31, 23, 50), utc(2014, 12, 31, 23, 55)]
    assert flares.table["end"].tolist() == [utc(2015, 1, 1, 0, 10), utc(2015, 1, 1, 0, 5)]
    # The start as a day, beside the clock: all flares at midnight once.
    assert read(tmp_path, *rows, header="start,start_time,end,peak,goes_class").table.equals(flares.table)
    days = "2014-12-31,2014-12-31,2014-12-31,M1.0", "2015-01-01,2015-01-01,2015-01-01,C3.0"
    with pytest.raises(DataError, match=r"`start` must be a time.*holds days alone, such as '2014-12-31'"):
        read(tmp_path, *days, header="start,end,peak,goes_class")
    with pytest.raises(DataError, match="holds days alone"):
        read(tmp_path, days[0], header="start,end,peak,goes_class")
    solarsoft = read(tmp_path, "31-Dec-2014 23:50,1-Jan-2015 00:10:00,31-DEC-2014 23:58,M1.0", "31-Foo-2014,,,C1.0",
                     header="start,end,peak,goes_class")  # fmt: skip
    assert solarsoft.table.equals(flares.table[:1])


def test_four_digit_regions_are_completed_only_after_june_2002(tmp_path):
    rows = [("2001-04-02", 9393), ("2002-06-23", 9997), ("2002-06-24", 7), ("2013-10-23", 1875), ("2013-10-24", -3)]
    flares = read(tmp_path, *(f"{day} 01:00,{day} 01:05,{day} 01:10,C1.0,{noaa},," for day, noaa in rows))
    assert flares.table["noaa"].tolist() == [9393, 9997, 10007, 11875, pd.NA]
    assert flares.repairs == {"regions_completed": 2}


def test_positions_outside_the_sphere_are_dropped(tmp_path):
    flares = read(tmp_path, "2013-10-23 01:00,2013-10-23 01:05,2013-10-23 01:10,C1.0,,190,95")
    assert flares.table[["lon", "lat"]].isna().all(axis=None)
    assert flares.repairs == {"positions_dropped": 2}


@pytest.mark.parametrize(
    ("day", "given", "full"),
    [
        ("2002-06-24", "9997", 9997), ("2002-07-05", 9999, 9999), ("2002-06-24", "0014", 10014),
        ("2003-11-04", 486, 10486), ("2014-01-07", "AR 11944", 11944), ("2014-01-07", "NOAA 1944", 11944),
        ("2014-01-07", "1944/1946", 11944),
        ("1996-11-23", "7999", 7999), ("1975-09-01", "13", 13), ("2025-05-14", "4086", 14086),
        ("2014-01-07", "1e30", pd.NA), ("2014-01-07", "HARP 3000", pd.NA), ("2014-01-07", "11944*", 11944),
        ("2014-01-07", "['11944', '11946']", 11944), ("2014-01-07", "11944-11946", 11944),
        ("2014-01-07", "{11944,11946}", 11944), ("2014-01-07", "11944: 11946", 11944), ("2014-01-07", "-1", pd.NA),
    ],
)  # fmt: skip
def test_a_region_number_is_completed_by_its_date(day, given, full):
    found = full_region_numbers(pd.Series([given]), pd.Series([pd.Timestamp(day, tz="UTC")]))
    assert found.tolist() == [full]


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("start,peak,end,strength", "goes_class"),
        ("begin,peak,end,goes_class", "start"),
        ("start,goes_class,end", "peak"),
    ],
)
def test_a_missing_column_is_named_with_those_seen(tmp_path, header, missing):
    with pytest.raises(DataError, match=f"`{missing}`") as caught:
        read(tmp_path, "1,2,3,4", header=header)
    assert header.replace(",", ", ") in str(caught.value)


def test_header_alone_is_an_empty_list(tmp_path):
    flares = read(tmp_path)
    assert len(flares) == 0
    assert flares.report() == f"0 flares in `flares.csv`, {FLUX_SCALES['operational']}: nothing to repair"


def test_files_that_are_no_flare_list(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_flares(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"must hold YYYYMMDDevents[.]txt, has 0"):  # a folder is read as event reports
        read_flares(tmp_path)
    for name, payload in {"empty.csv": b"", "binary.csv": b"\xff\xd8\xff\xe0\x00\x10JFIF"}.items():
        (tmp_path / name).write_bytes(payload)
        with pytest.raises(DataError, match=name):
            read_flares(tmp_path / name)
    with pytest.raises(DataError, match=r"none of 1 rows.*'soon'"):
        read(tmp_path, "soon,2013-10-23 01:05,2013-10-23 01:10,C1.0,,,")


CELL = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["2013-10-23 01:00", "2013/10/23 23:59", "0003", "C1.0", "X17.", "M", "C6,2", "11875", "1e400"]),
)


@settings(max_examples=100)
@given(rows=st.lists(st.lists(CELL, min_size=4, max_size=7), max_size=6), shuffled=st.booleans())
def test_arbitrary_cells_give_a_list_or_a_data_error(tmp_path_factory, rows, shuffled):
    path = tmp_path_factory.mktemp("flares") / "flares.csv"
    header = ",".join(reversed(HEADER.split(","))) if shuffled else HEADER
    text = "\n".join([header, *(",".join(row) for row in rows)])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        flares = read_flares(path)
    except DataError:
        return
    table = flares.table
    assert (table["flux"] > 0).all()
    assert not (table["peak"] < table["start"]).any()
    assert not (table["end"] < table["start"]).any()


def test_written_list_reads_back_the_same(tmp_path):
    flares = read(
        tmp_path,
        "2013-10-23 23:44:00,2013-10-23 23:51:00,2013-10-23 00:12:00,C5.6,11875,-12.25,7",
        "2013-10-24 01:00:00,,,X17.,,,",
    )
    flares.write_csv(str(tmp_path / "again.csv"))
    again = read_flares(tmp_path / "again.csv", scale="as listed")
    pd.testing.assert_frame_equal(again.table, flares.table)
    assert again.told == flares.told == ((utc(2013, 10, 22, 23, 44), utc(2013, 10, 25, 1)),)


def test_a_list_says_in_two_columns_from_when_until_when_it_is_complete(tmp_path):
    """Of a quiet Sun nobody could tell kflare that there was no flare."""
    path = tmp_path / "list.csv"
    rows = "start,peak,end,goes_class,told_from,told_until\n2018-07-06 19:41,,,C1.6,2018-06-01,2018-09-01 12:00\n"
    path.write_text(rows + "2018-10-12 01:52,,,B8.0,2018-10-01,2018-11-01\n2018-10-15 01:52,,,B8.0,,\n")
    flares = read_flares(path)
    first, second = (utc(2018, 6, 1), utc(2018, 9, 1, 12)), (utc(2018, 10, 1), utc(2018, 11, 1))
    assert flares.told == (first, second)
    # And writes them again, each beside its flares.
    flares.write_csv(tmp_path / "again.csv")
    assert read_flares(tmp_path / "again.csv").told == (first, second)
    assert flares.between(utc(2018, 7, 1), utc(2018, 10, 5)).told == (
        (utc(2018, 7, 1), first[1]),
        (second[0], utc(2018, 10, 5)),
    )
    # Nobody knows what is to come.
    path.write_text(rows.replace("2018-09-01 12:00", "2095-01-01"))
    assert read_flares(path).told[-1][1] <= datetime.now(UTC)
    for cells, seen in (("2018-09-01,2018-06-01", "'2018-09-01', '2018-06-01'"), (",soon", "'', 'soon'")):
        path.write_text(f"start,peak,end,goes_class,told_from,told_until\n2018-07-06 19:41,,,C1.6,{cells}\n")
        with pytest.raises(DataError, match=f"`list.csv`: `told_from` and `told_until` must be .*, got {seen}"):
            read_flares(path)


def test_a_list_can_be_built_from_starts_and_classes():
    starts = pd.to_datetime(["2013-10-24", "2013-10-23"], utc=True)
    flares = FlareList(pd.DataFrame({"start": starts, "goes_class": ["C1.0", "M1.0"]}), "here")
    assert flares.table["flux"].tolist() == [1e-5, 1e-6]
    assert flares.table["noaa"].isna().all()
    with pytest.raises(DataError, match="zone"):
        FlareList(pd.DataFrame({"start": [pd.Timestamp("2013-10-24")], "goes_class": ["C1.0"]}), "here")
    with pytest.raises(DataError, match="`goes_class`"):
        FlareList(pd.DataFrame({"start": starts}), "here")
    with pytest.raises(DataError, match="'big'"):
        FlareList(pd.DataFrame({"start": starts, "goes_class": ["C1.0", "big"]}), "here")
    with pytest.raises(DataError, match="1 have none"):
        FlareList(pd.DataFrame({"start": [starts[0], pd.NaT], "goes_class": ["C1.0", "C2.0"]}), "here")


def test_defects_of_the_catalogue_of_1996_to_2024(real_data):
    flares = read_flares(real_data / "goes" / "flares_1996-2024.csv")
    # 50,852 rows with 613 ends before the start and 161 duplicates (data/README.md); C6,2 and C7,4; three bare "C".
    # 13 more have the start and end of another row, and a class or a peak that is a digit or a minute away.
    assert len(flares) == 50852 - 174
    assert {key: flares.repairs[key] for key in ("duplicates", "ends_over_midnight", "decimal_commas")} == {
        "duplicates": 174,
        "ends_over_midnight": 613,
        "decimal_commas": 2,
    }
    assert not flares.table[["start", "peak", "end"]].isna().any(axis=None)


def test_defects_of_the_catalogue_of_1996_to_2018(real_data):
    flares = read_flares(real_data / "goes" / "swpc_flares_1996-2018.csv")
    # All peaks are HHMM but 14, which are "////". Its regions have four digits only where they really had.
    assert len(flares) == 23285
    assert flares.repairs["peaks_completed"] == 23285 - 14
    assert flares.repairs["unreadable_peaks"] == 14
    assert "regions_completed" not in flares.repairs


def test_october_23_2013(real_data):
    # docs/science.md: 7 C and 3 M of region 11875, 2 C of 11877; the M3.1 starts at 23:58 and peaks on the next day.
    flares = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv", scale="as listed")
    day = flares.between(utc(2013, 10, 23), utc(2013, 10, 24))
    assert flux_to_class(day.table["flux"].max()) == "M3.1"
    letters = day.table["goes_class"].str[0].groupby(day.table["noaa"])
    counts = {noaa: letters.get_group(noaa).value_counts().to_dict() for noaa in (11875, 11877)}
    assert counts == {11875: {"C": 7, "M": 3}, 11877: {"C": 2}}


@pytest.mark.parametrize(
    ("name", "days"),
    [
        # Leka et al. 2019, table of events 2016-2017: 188 / 26 / 3 days.
        ("swpc_flares_1996-2018.csv", [188, 26, 3]),
        # These two lack the C1.3 of 2017-03-26 23:49, whose peak time is unknown.
        ("flares_1996-2024.csv", [187, 26, 3]),
        ("swpc_flares_2010-2025.csv", [187, 26, 3]),
    ],
)
def test_event_days_of_2016_and_2017(real_data, name, days):
    flares = read_flares(real_data / "goes" / name, scale="as listed")
    table = flares.between(utc(2016, 1, 1), utc(2018, 1, 1)).table
    counted = [table.loc[table["flux"] >= CLASS_THRESHOLDS[letter], "start"].dt.date.nunique() for letter in "CMX"]
    assert counted == days


def test_a_peak_or_end_of_another_year_is_unknown(tmp_path):
    path = tmp_path / "flares.csv"
    path.write_text(
        "start,peak,end,goes_class\n2013-10-26 20:41,2014-10-26 20:50,2014-10-26 21:00,M1.1\n"
        "2013-10-27 23:41,2013-10-28 00:10,2013-10-28 01:00,C1.1\n"
    )
    flares = read_flares(path)
    assert flares.table["end"].isna().tolist() == [True, False]
    assert flares.table["peak"].isna().tolist() == [True, False]
    assert "1 ends unreadable, left open, 1 peaks unreadable" in flares.report()


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("4-Nov-03 19:29:00", "2003-11-04T19:29Z"),
        ("06-SEP-17 11:53", "2017-09-06T11:53Z"),
        ("1-Mar-79 00:10", "1979-03-01T00:10Z"),
    ],
)
def test_the_days_of_solarsofts_event_lists(start, expected, tmp_path):
    path = tmp_path / "gev.csv"
    path.write_text(f"start,peak,end,goes_class\n{start},,,M1.0\n")
    assert read_flares(path).table["start"].tolist() == [pd.Timestamp(expected)]
