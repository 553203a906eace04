"""JSOC's records and files through drms's own client, against the stand-in."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import requests
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kflare.archives.jsoc import Jsoc, Record, by_quality, jsoc_time, newest
from kflare.archives.record_headers import complete_header
from kflare.archives.web import NoAnswerError, NotFoundError, RetryPolicy, Web
from kflare.errors import DataError, KflareError, SettingError
from kflare.observations.reading import read_magnetogram
from kflare.sun import times
from kflare.sun.times import tai_from_utc, utc_from_tai
from tests.standin import StandIn, quick_export, refusing, slot

HASTY = RetryPolicy(connect=0.5, read=0.4, total=3, attempts=3, first_wait=0.01, longest_wait=0.02, poll=0.01)
SERIES = "hmi.M_720s_nrt"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def sun():
    with StandIn() as server:
        for minutes in range(0, 61, 12):
            server.add_hmi(SERIES, NOON - HOUR + timedelta(minutes=minutes))
        yield server


@pytest.fixture
def jsoc(sun):
    with Web(HASTY) as web:
        yield Jsoc(web, sun.url)


# TAI − UTC was 34 s from 2009, 35 s from 2012-07, 36 s from 2015-07 and is 37 s since 2017 (IERS Bulletin C).
@pytest.mark.parametrize(("year", "seconds"), [(2010, 34), (2013, 35), (2016, 36), (2026, 37)])
def test_times_are_asked_for_in_tai(year, seconds):
    assert jsoc_time(datetime(year, 1, 1, tzinfo=UTC)) == f"{year}.01.01_00:00:{seconds}_TAI"
    assert tai_from_utc(datetime(year, 1, 1, tzinfo=UTC)) == datetime(year, 1, 1, 0, 0, seconds)  # noqa: DTZ001


@pytest.mark.parametrize("day", ["1965-03-03", "2012-06-29", "2012-06-30", "2012-07-01", "2013-05-05", "2016-12-31"])
def test_tai_is_what_astropy_says_also_beside_a_leap_second(day):
    from astropy.time import Time

    for second in (0, 34, 35, 36, 37, 43200.123456, 86364, 86399):
        clock = datetime.fromisoformat(day) + timedelta(seconds=second)
        tai = Time(clock, scale="utc").tai.to_datetime() + timedelta(milliseconds=500)
        assert tai_from_utc(clock.replace(tzinfo=UTC)) == tai.replace(microsecond=0)
        utc = Time(clock, scale="tai").utc.to_datetime(leap_second_strict="silent")
        assert utc_from_tai(clock) == utc.replace(tzinfo=UTC)


def test_astropy_is_not_asked_for_every_hour_of_an_archive(monkeypatch):
    asked = []
    slow = times._astropy_time
    monkeypatch.setattr(times, "_astropy_time", lambda *given: asked.append(given) or slow(*given))
    times._tai_ahead.cache_clear()
    for hour in range(8760):
        tai_from_utc(datetime(2013, 1, 1, tzinfo=UTC) + hour * HOUR)
    assert 0 < len(asked) <= 4 * 365  # milliseconds each


def test_times_of_aia_are_asked_for_in_utc():
    tokyo = datetime(2026, 1, 1, 9, tzinfo=UTC).astimezone()
    assert jsoc_time(tokyo, clock="UTC") == "2026-01-01T09:00:00Z"
    with pytest.raises(DataError, match="between 1961 and 2099"):
        tai_from_utc(datetime(1955, 1, 1, tzinfo=UTC))


def test_records_of_a_window(sun, jsoc):
    found = jsoc.records(SERIES, NOON - HOUR, NOON)
    # 11:00:00 UTC is 11:00:37 TAI: the slots of 11:12 to 12:00 TAI are in the window, that of 11:00 TAI is not.
    assert [record.time for record in found] == [
        datetime(2026, 1, 1, 11, minute, 23, tzinfo=UTC) - timedelta(minutes=1) for minute in (12, 24, 36, 48)
    ] + [datetime(2026, 1, 1, 11, 59, 23, tzinfo=UTC)]
    assert found[-1].name == f"{SERIES}[2026.01.01_12:00:00_TAI][3]"
    assert found[-1].quality == 0x400
    assert "%5B2026.01.01_11%3A00%3A37_TAI-2026.01.01_12%3A00%3A37_TAI%5D" in sun.log[0]
    assert len(sun.log) == 1


def test_steps_groups_and_conditions(sun, jsoc):
    first = slot(NOON - HOUR)
    every = jsoc.records(SERIES, first, NOON, every=timedelta(minutes=24))
    assert [(record.time - first) // timedelta(minutes=12) for record in every] == [0, 2, 4]
    for number in (11001, 11002):
        sun.add_harp(NOON, number)
    harps = jsoc.records("hmi.bharp_720s_nrt", NOON - HOUR, NOON, before="[]", keys=["HARPNUM"])
    assert [record.keywords["HARPNUM"] for record in harps] == ["11001", "11002"]
    assert harps[0].name == "hmi.bharp_720s_nrt[11001][2026.01.01_12:00:00_TAI]"
    sun.add_aia(NOON, 131)
    sun.add_aia(NOON, 193)
    aia = jsoc.records("aia.lev1_nrt2", NOON - HOUR, NOON, clock="UTC", where="[? WAVELNTH = 193 ?]", keys=["WAVELNTH"])
    assert [(record.time, record.keywords["WAVELNTH"]) for record in aia] == [(NOON, "193")]


# drms 0.9 with pandas 3 makes NaN of these; JSOC's C programs print them without sign.
@pytest.mark.parametrize("quality", [0, 0x400, 0x11C00, 0x40000000, 0x80000000, 0xC0000000, 0xFFFFFFFF])
def test_quality_is_a_mask_without_sign(sun, jsoc, quality):
    sun.add_hmi("hmi.M_45s", NOON, quality=quality)
    assert jsoc.records("hmi.M_45s", NOON - HOUR, NOON)[0].quality == quality


def test_a_record_without_a_time_is_left_out(sun, jsoc):
    for text in ("MISSING", "-4713.11.24_11:58:28.000_TAI", "1977.13.01_00:00:00_TAI"):
        sun.add_hmi(SERIES, NOON, T_REC=text, T_OBS=text)
    assert len(jsoc.records(SERIES, NOON - HOUR, NOON)) == 5


def test_a_record_of_unreadable_quality_costs_only_itself(sun, jsoc):
    sun.add_hmi(SERIES, NOON - HOUR + timedelta(minutes=1), QUALITY="0xgood")
    sun.add_hmi(SERIES, NOON - HOUR + timedelta(minutes=1), QUALITY="99999999999")
    assert len(jsoc.records(SERIES, NOON - HOUR, NOON)) == 5


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_is_records_or_an_error_of_kflare(sun, data):
    answer = sun.jsoc_info(
        {"op": "rs_list", "ds": f"{SERIES}[]", "key": "T_REC,QUALITY", "seg": "magnetogram", "R": "1"}
    )
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=4,
    )
    part = data.draw(st.sampled_from(["status", "count", "keywords", "segments", "recinfo", "values", "value"]))
    if part == "values":
        answer["keywords"][data.draw(st.integers(0, 1))]["values"] = data.draw(anything)
    elif part == "value":
        answer["keywords"][data.draw(st.integers(0, 1))]["values"][2] = data.draw(anything)
    else:
        answer[part] = data.draw(anything)
    sun.feeds["/cgi-bin/ajax/jsoc_info"] = answer
    with Web(HASTY) as web:
        try:
            found = Jsoc(web, sun.url).records(SERIES, NOON - HOUR, NOON, segments=["magnetogram"])
        except KflareError:
            return
    assert all(record.time.tzinfo == UTC for record in found)


def test_an_empty_window_and_an_unknown_series(jsoc):
    assert jsoc.records(SERIES, NOON + HOUR, NOON + 2 * HOUR) == []
    with pytest.raises(DataError, match="JSOC refuses the query: unknown series"):
        jsoc.records("hmi.nothing", NOON - HOUR, NOON)
    with pytest.raises(NotFoundError, match="any more"):
        jsoc.record(f"{SERIES}[2020.01.01_00:00:00_TAI][3]")


def test_html_with_status_200_is_recognised(sun, jsoc):
    sun.fail("jsoc_info", "html", times=1)
    assert len(jsoc.records(SERIES, NOON - HOUR, NOON)) == 5
    sun.fail("jsoc_info", "html")
    with pytest.raises(NoAnswerError, match=r"HTML \(JSOC is busy\)"):
        jsoc.records(SERIES, NOON - HOUR, NOON)


@pytest.mark.parametrize(
    "answer", [[], {}, {"status": 0}, {"status": 0, "count": 1}, {"status": 0, "keywords": 3}, "x"]
)
def test_json_that_is_not_jsocs_is_no_answer(sun, answer):
    sun.feeds["/cgi-bin/ajax/jsoc_info"] = answer
    with Web(HASTY) as web, pytest.raises((NoAnswerError, DataError)):
        Jsoc(web, sun.url).records(SERIES, NOON - HOUR, NOON)


def test_a_slow_and_a_refusing_server(sun, jsoc):
    sun.fail("jsoc_info", "slow", seconds=0.8)
    with pytest.raises(NoAnswerError, match=r"no reply within 0\.4 s"):
        jsoc.records(SERIES, NOON - HOUR, NOON)
    with refusing() as url, Web(HASTY) as web, pytest.raises(NoAnswerError, match="Connection refused"):
        Jsoc(web, url).records(SERIES, NOON - HOUR, NOON)


def test_drms_own_methods_work_by_the_same_way(sun, jsoc):
    assert jsoc.client.pkeys(SERIES) == ["T_REC", "CAMERA"]
    sun.fail("jsoc_info", "status", times=2)
    assert jsoc.client.query(f"{SERIES}[2026.01.01_12:00:00_TAI]", key="QUALITY", convert_numeric=False).size == 1


def test_files_on_disk_need_no_address(sun, jsoc):
    record = jsoc.records(SERIES, NOON - HOUR, NOON, segments=["magnetogram"])[-1]
    urls = jsoc.urls(record, ["magnetogram"])
    assert urls == {"magnetogram": f"{sun.url}/SUM1/D5/S00000/magnetogram.fits"}
    assert requests.get(urls["magnetogram"], timeout=5).content == quick_export()


def test_files_on_tape_are_brought_back_by_an_export(sun, jsoc):
    record = sun.add("hmi.M_720s", slot(NOON), primes=("T_REC", "3"), segments={"magnetogram": None})
    found = jsoc.records("hmi.M_720s", NOON - HOUR, NOON, segments=["magnetogram"])[-1]
    with pytest.raises(NotFoundError, match="not on JSOC's disks; give a registered e-mail address"):
        jsoc.urls(found, ["magnetogram"])
    sun.pending = 3
    registered = Jsoc(jsoc.web, sun.url, email="sun@example.org")
    assert registered.urls(found, ["magnetogram"]) == {"magnetogram": f"{sun.url}/SUM1/D6/S00000/magnetogram.fits"}
    assert len(sun.asked("exp_request")) == 1
    assert len(sun.asked("exp_status")) == 3
    assert record.segments["magnetogram"] == quick_export()


def test_export_as_is(sun, jsoc):
    sun.add_harp(NOON, 11001)
    registered = Jsoc(jsoc.web, sun.url, email="sun@example.org")
    record = registered.records("hmi.bharp_720s_nrt", NOON - HOUR, NOON, before="[]")[0]
    urls = registered.urls(record, ["field", "disambig"])
    assert list(urls) == ["field", "disambig"]
    request = sun.asked("exp_request")[0]
    assert "method=url_quick" in request
    assert "protocol=as-is" in request
    assert "ds=hmi.bharp_720s_nrt%5B11001%5D%5B2026.01.01_12%3A00%3A00_TAI%5D%7Bfield%2Cdisambig%7D" in request
    with pytest.raises(NotFoundError, match="nonsense"):
        registered.urls(record, ["nonsense"])


@pytest.mark.parametrize("status", [4, 7])
def test_export_errors_that_pass(sun, jsoc, status):
    registered = Jsoc(jsoc.web, sun.url, email="sun@example.org")
    record = registered.records(SERIES, NOON - HOUR, NOON)[-1]
    sun.export_errors = [(status, "try later")] * 2
    assert registered.urls(record, ["magnetogram"])
    sun.export_errors = [(status, "try later")] * 3
    with pytest.raises(NoAnswerError, match="try later"):
        registered.urls(record, ["magnetogram"])


def test_export_errors_that_do_not_pass(sun, jsoc):
    registered = Jsoc(jsoc.web, sun.url, email="sun@example.org")
    record = registered.records(SERIES, NOON - HOUR, NOON)[-1]
    sun.export_errors = [(3, "no such segment")]
    with pytest.raises(DataError, match="no such segment"):
        registered.urls(record, ["magnetogram"])
    assert len(sun.asked("exp_request")) == 1


def test_an_export_that_never_ends(sun):
    sun.pending = 10**9
    with Web(RetryPolicy(total=0.3, poll=0.05)) as web:
        registered = Jsoc(web, sun.url, email="sun@example.org")
        record = registered.records(SERIES, NOON - HOUR, NOON)[-1]
        with pytest.raises(NoAnswerError, match="did not finish the export"):
            registered.urls(record, ["magnetogram"])


def test_an_export_that_points_elsewhere(sun, jsoc):
    registered = Jsoc(jsoc.web, sun.url, email="sun@example.org")
    record = registered.records(SERIES, NOON - HOUR, NOON)[-1]
    sun.feeds["/cgi-bin/ajax/jsoc_fetch"] = {
        "status": 0, "requestid": "", "method": "url_quick", "protocol": "as-is", "dir": "",
        "data": [{"record": f"{record.name}{{magnetogram}}", "filename": "http://elsewhere.example/x.fits"}],
    }  # fmt: skip
    with pytest.raises(DataError, match="points to another server"):
        registered.urls(record, ["magnetogram"])


def test_keywords_become_the_header_that_the_file_lacks(jsoc, tmp_path):
    record = jsoc.record(f"{SERIES}[2026.01.01_12:00:00_TAI][3]", segments=["magnetogram"])
    cards = jsoc.cards(record)
    assert cards["DATE-OBS"] == "2026-01-01T11:59:23.50Z"
    assert (cards["QUALITY"], cards["CDELT1"], cards["TOTVALS"]) == (0x400, 36.0, 2290)
    assert "DATAMEAN" not in cards  # nan
    assert "LONG_KEYWORD" not in cards
    bare, whole = tmp_path / "bare.fits", tmp_path / "hmi.fits"
    bare.write_bytes(quick_export())
    complete_header(bare, whole, cards | {"BITPIX": 8, "BSCALE": 5.0, "NAXIS1": 1, "ZCMPTYPE": "GZIP_1"})
    assert fits.getheader(whole, 1)["BSCALE"] == 0.1  # how the pixels are stored stays the file's own
    np.testing.assert_array_equal(fits.getdata(bare, 1), fits.getdata(whole, 1))
    seen = read_magnetogram(whole)
    assert seen.time == datetime(2026, 1, 1, 11, 59, 23, tzinfo=UTC)
    assert seen.instrument == "HMI"


def test_a_file_without_an_image_cannot_be_completed(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(DataError, match="holds no image"):
        complete_header(tmp_path / "empty.fits", tmp_path / "new.fits", {})
    (tmp_path / "bad.fits").write_bytes(b"SIMPLE  =")
    with pytest.raises(DataError, match="cannot be given its keywords"):
        complete_header(tmp_path / "bad.fits", tmp_path / "new.fits", {})


def test_judging_by_quality_and_missing_values():
    def record(minutes, quality, **keywords):
        return Record("m", SERIES, NOON + timedelta(minutes=minutes), quality, keywords)

    judged = by_quality()
    records = [record(0, 0x400), record(12, 0x80000000), record(24, 0x100), record(36, 0x10400),
               record(48, 0x400, TOTVALS="100", MISSVALS="2"), record(60, None), record(72, 0xC0000000)]  # fmt: skip
    good, refused = newest(records, judged)
    # Newest first: the one without QUALITY, the one with few filtergrams (noted), the good one.
    assert [one.time.minute for one, _ in good] == [0, 36, 0]
    assert ["LOWINTERPNUM" in note for _, note in good] == [False, True, False]
    assert len(refused) == 4
    assert "NODATA" in refused[0]
    assert "2 % of the disk is missing" in refused[1]
    assert len(newest(records, by_quality("any"))[0]) == 7
    with pytest.raises(SettingError):
        by_quality("lenient")
