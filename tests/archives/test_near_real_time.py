"""What a forecast gets of servers in every kind of trouble: data, older data with their age, or "no data" and why."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from kflare.archives.jsoc import Jsoc
from kflare.archives.near_real_time import fetch_nrt
from kflare.archives.near_real_time_data import SOURCES
from kflare.archives.web import RetryPolicy, Web
from kflare.errors import SettingError
from kflare.observations.reading import read_magnetogram
from tests.standin import StandIn, quick_export, refusing, xrays

HASTY = RetryPolicy(connect=0.5, read=0.4, total=2, attempts=2, first_wait=0.01, longest_wait=0.02)
ISSUE = datetime(2026, 1, 1, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SERIES = "hmi.M_720s_nrt"
MAGNETOGRAM = SOURCES[:1]


@pytest.fixture
def sun():
    with StandIn() as server:
        yield server


def fetched(url, folder, *, jsoc2=None, retry=HASTY, issue=ISSUE, **options):
    with Web(retry) as web:
        servers = {"jsoc": Jsoc(web, url), "jsoc2": Jsoc(web, jsoc2 or url)}
        return fetch_nrt(
            issue, folder, servers=servers, web=web, swpc_url=url + "/json", **{"now": issue + MINUTE} | options
        )


def magnetogram(sun, folder, **options):
    """Result of the magnetogram alone; no partial file may be left, whatever happened."""
    found = fetched(sun.url, folder, sources=MAGNETOGRAM, feeds=(), **options)["magnetogram"]
    assert [path for path in folder.rglob("*") if path.suffix != ".fits"] == []
    assert found.as_json()["status"] == ("data" if found.files else "no data")
    return found


def test_everything_is_there(sun, tmp_path):
    sun.add_forecast_set(ISSUE - HOUR)
    found = fetched(sun.url, tmp_path)
    assert found.as_json()["complete"]
    assert [(result.name, len(result.files)) for result in found.results] == [
        ("magnetogram", 1), ("vector_field", 8), ("continuum", 1), ("aia_131", 1), ("aia_193", 1), ("aia_304", 1),
        ("aia_1600", 1), ("goes_xrays", 1), ("goes_flares", 1), ("goes_events", 1),
    ]  # fmt: skip
    # One hour before issue is 02:00:37 TAI; the newest record then is that of 02:00:00 TAI.
    assert found["magnetogram"].time == ISSUE - HOUR - timedelta(seconds=37)
    assert found["magnetogram"].age == HOUR + timedelta(seconds=37)
    assert found["goes_xrays"].age == MINUTE
    assert read_magnetogram(found["magnetogram"].files[0]).time == found["magnetogram"].time
    assert {path.name for path in found["vector_field"].files} >= {
        "hmi.bharp_720s_nrt.11001.20260101_020000_TAI.field.fits",
        "hmi.bharp_720s_nrt.11002.20260101_020000_TAI.disambig.fits",
    }
    assert found["aia_131"].files[0].name == "aia.lev1_nrt2.20260101T020000Z.131.image_lev1.fits"
    # What was fetched is handed over as what it is: nobody has to tell it by its name again.
    vector = {record.group: record.files for record in found["vector_field"].records}
    assert set(vector) == {"11001", "11002"}
    assert list(vector["11001"]) == ["field", "inclination", "azimuth", "disambig"]
    assert all(f".{group}." in path.name for group, files in vector.items() for path in files.values())
    told = json.loads(json.dumps(found.as_json()))
    assert told["sources"][0]["age_hours"] == 1.01
    assert told["sources"][0]["quality"] == "0x00000400"


def test_a_second_run_downloads_nothing(sun, tmp_path):
    sun.add_forecast_set(ISSUE - HOUR)
    first = fetched(sun.url, tmp_path)
    before = len(sun.log)
    again = fetched(sun.url, tmp_path)
    assert [result.files for result in again.results] == [result.files for result in first.results]
    assert {outcome.status for result in again.results for outcome in result.outcomes} == {"already there"}
    # One query per series and nothing else: neither files nor feeds.
    assert len([path for path in sun.log[before:] if "rs_list" in path]) == len(sun.log) - before == len(SOURCES)


# -- the scenarios, on the magnetogram -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "how", "where"),
    [
        ("status", {"status": 500}, "jsoc_info"),
        ("status", {"status": 503}, "/SUM"),
        ("html", {}, "jsoc_info"),
        ("html", {}, "/SUM"),
        ("slow", {"seconds": 0.8}, "jsoc_info"),
        ("slow", {"seconds": 0.8}, "/SUM"),
        ("reset", {}, "jsoc_info"),
        ("truncate", {"size": 3000}, "/SUM"),
        ("truncate", {"size": 30}, "jsoc_info"),
    ],
)
def test_trouble_once_costs_nothing(sun, tmp_path, fault, how, where):
    sun.add_hmi(SERIES, ISSUE - HOUR)
    sun.fail(where, fault, times=1, **how)
    found = magnetogram(sun, tmp_path)
    assert found.age == HOUR + timedelta(seconds=37)
    assert len(found.files) == 1


@pytest.mark.parametrize(
    ("fault", "how", "reason"),
    [
        ("status", {"status": 500}, "status 500"),
        ("html", {}, "HTML (JSOC is busy) with status 200"),
        ("slow", {"seconds": 0.8}, "no reply within 0.4 s"),
        ("trickle", {"seconds": 0.1}, "not finished within"),
        ("reset", {}, "onnection"),
        ("truncate", {"size": 30}, ""),
    ],
)
def test_a_server_that_never_answers_gives_no_data(sun, tmp_path, fault, how, reason):
    sun.add_hmi(SERIES, ISSUE - HOUR)
    sun.fail("jsoc_info", fault, **how)
    retry = RetryPolicy(read=0.4, total=1.5, attempts=2, first_wait=0.01)
    found = magnetogram(sun, tmp_path, retry=retry)
    assert (found.time, found.age, found.files) == (None, None, ())
    assert found.reason.startswith("no answer:")
    assert reason in found.reason


def test_a_refusing_server_gives_no_data_and_is_left_alone(tmp_path):
    with refusing() as url:
        found = fetched(url, tmp_path)
    assert not found.as_json()["complete"]
    assert all(result.time is None for result in found.results)
    assert "Connection refused" in found["magnetogram"].reason
    assert "not asked again after 3 times without an answer" in found["aia_1600"].reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hours", [2, 3, 4])
def test_only_older_records(sun, tmp_path, hours):
    sun.add_hmi(SERIES, ISSUE - hours * HOUR)
    found = magnetogram(sun, tmp_path)
    assert found.age == hours * HOUR + timedelta(seconds=37)
    assert found.as_json()["age_hours"] == round(hours + 37 / 3600, 3)


def test_the_newest_that_is_old_enough(sun, tmp_path):
    for minutes in range(0, 180, 12):
        sun.add_hmi(SERIES, ISSUE - minutes * MINUTE)
    assert magnetogram(sun, tmp_path).age == HOUR + timedelta(seconds=37)
    assert len(sun.asked("/SUM")) == 1


def test_records_just_beyond_five_hours_are_no_data(sun, tmp_path):
    sun.add_hmi(SERIES, ISSUE - 5 * HOUR)  # its slot begins 37 s before: 5 h 0 min 37 s
    found = magnetogram(sun, tmp_path)
    assert found.reason == f"`{SERIES}` has no usable record from 1 h to 5 h before issue"
    assert len(sun.asked("rs_list")) == 4  # hour by hour
    assert magnetogram(sun, tmp_path, last=6 * HOUR).age == 5 * HOUR + timedelta(seconds=37)


def test_an_empty_archive_is_no_data(sun, tmp_path):
    sun.add_hmi(SERIES, ISSUE - 48 * HOUR)
    assert "no usable record" in magnetogram(sun, tmp_path).reason
    assert list(tmp_path.iterdir()) == []


def test_the_newest_record_is_bad(sun, tmp_path):
    sun.add_hmi(SERIES, ISSUE - HOUR, quality=0x80000000)
    sun.add_hmi(SERIES, ISSUE - HOUR - 12 * MINUTE, quality=0x100)
    sun.add_hmi(SERIES, ISSUE - HOUR - 24 * MINUTE, quality=0x00011C00)
    found = magnetogram(sun, tmp_path)
    assert found.age == HOUR + 24 * MINUTE + timedelta(seconds=37)
    assert found.quality == 0x00011C00
    assert "2 records passed over" in found.notes[0]
    assert "NODATA" in found.notes[0]
    assert "LOWINTERPNUM" in found.notes[1]
    assert len(sun.asked("/SUM")) == 1  # what is bad by its QUALITY is not downloaded


def test_all_records_are_bad(sun, tmp_path):
    for hours in range(1, 5):
        sun.add_hmi(SERIES, ISSUE - hours * HOUR, quality=0xC0000000)
    found = magnetogram(sun, tmp_path)
    assert found.time is None
    assert "no usable record" in found.reason
    assert "TARGETFILTERGRAMMISSING" in found.reason
    assert magnetogram(sun, tmp_path, policy="any").quality == 0xC0000000


@pytest.mark.parametrize("fault", ["truncate", "html", "status"])
def test_the_newest_file_cannot_be_had(sun, tmp_path, fault):
    sun.ranges = False
    sun.add_hmi(SERIES, ISSUE - HOUR)
    sun.add_hmi(SERIES, ISSUE - HOUR - 12 * MINUTE)
    sun.fail("/SUM1/D0", fault, size=3000)
    found = magnetogram(sun, tmp_path)
    assert found.age == HOUR + 12 * MINUTE + timedelta(seconds=37)
    assert "02:00:00_TAI][3] could not be fetched" in found.notes[0]


def test_no_file_can_be_had(sun, tmp_path):
    for minutes in (60, 72, 84, 96, 130):
        sun.add_hmi(SERIES, ISSUE - minutes * MINUTE, content=b"SIMPLE  =" + bytes(3000))
    found = magnetogram(sun, tmp_path)
    assert found.time is None
    assert "damaged or cut off" in found.reason
    assert {outcome.status for outcome in found.outcomes} == {"rejected"}
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_is_only_on_tape_is_passed_over(sun, tmp_path):
    sun.add(SERIES, ISSUE - HOUR - timedelta(seconds=37), primes=("T_REC", "3"), segments={"magnetogram": None})
    sun.add_hmi(SERIES, ISSUE - 2 * HOUR)
    found = magnetogram(sun, tmp_path)
    assert found.age == 2 * HOUR + timedelta(seconds=37)
    assert "not on JSOC's disks" in found.notes[0]


def test_a_download_that_broke_off_goes_on_in_the_next_run(sun, tmp_path):
    sun.add_hmi(SERIES, ISSUE - HOUR, content=quick_export(width=128))
    sun.fail("/SUM", "truncate", times=1, size=4000)
    found = fetched(sun.url, tmp_path, sources=MAGNETOGRAM, feeds=(), retry=RetryPolicy(attempts=1))
    assert not found.as_json()["complete"]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".part"]
    found = magnetogram(sun, tmp_path)
    assert sun.headers[-1]["Range"] == "bytes=4000-"
    assert len(found.files) == 1


# -- the other kinds -----------------------------------------------------------------------------------------------


def test_each_region_has_a_newest_record_of_its_own(sun, tmp_path):
    # 11001 lags by an hour, the newest of 11002 is bad, 11003 is bad altogether.
    sun.add_harp(ISSUE - 2 * HOUR, 11001)
    sun.add_harp(ISSUE - HOUR, 11002, quality=0x80000000)
    sun.add_harp(ISSUE - HOUR - 12 * MINUTE, 11002)
    sun.add_harp(ISSUE - HOUR, 11003, quality=0x80000000)
    found = fetched(sun.url, tmp_path, sources=SOURCES[1:2], feeds=())["vector_field"]
    assert {path.name.split(".")[2] + path.name.split(".")[3] for path in found.files} == {
        "1100120260101_010000_TAI", "1100220260101_014800_TAI",
    }  # fmt: skip
    assert found.time == ISSUE - 2 * HOUR - timedelta(seconds=37)  # the oldest


def test_a_region_number_that_is_none_names_no_file(sun, tmp_path):
    sun.add_harp(ISSUE - HOUR, "../../elsewhere")
    found = fetched(sun.url, tmp_path / "data", sources=SOURCES[1:2], feeds=())["vector_field"]
    assert found.time is None
    assert list(tmp_path.rglob("*.fits")) == []


def test_a_region_without_all_its_files_is_left_out(sun, tmp_path):
    for number in (11001, 11002):
        sun.add_harp(ISSUE - HOUR, number)
    sun.fail("D0/S00000/azimuth", "status", status=404)
    found = fetched(sun.url, tmp_path, sources=SOURCES[1:2], feeds=())["vector_field"]
    assert len(found.files) == 4
    assert all(".11002." in path.name for path in found.files)
    assert "HARPNUM 11001 left out" in " ".join(found.notes)


def test_quality_of_aia_means_other_things(sun, tmp_path):
    source = [one for one in SOURCES if one.name == "aia_304"]
    sun.add_aia(ISSUE - HOUR, 304, quality=0x40000000 | 1 << 13)  # eclipse
    sun.add_aia(ISSUE - HOUR - timedelta(seconds=12), 304, quality=0x40000000 | 1 << 8)  # some pixels missing
    sun.add_aia(ISSUE - HOUR - timedelta(seconds=24), 131)
    found = fetched(sun.url, tmp_path, sources=source, feeds=())["aia_304"]
    assert found.age == HOUR + timedelta(seconds=12)
    assert "eclipse" in found.notes[0]
    assert "degraded: `QUALITY` 0x40000100" in found.notes[1]


def test_one_server_that_is_down_costs_only_its_own(sun, tmp_path):
    sun.add_forecast_set(ISSUE - HOUR)
    with refusing() as url:
        found = fetched(sun.url, tmp_path, jsoc2=url)
    assert [result.name for result in found.results if result.time is None] == [
        "aia_131", "aia_193", "aia_304", "aia_1600",
    ]  # fmt: skip


XRAYS = "/json/goes/primary/xrays-7-day.json"


def test_xray_flux_and_its_age(sun, tmp_path):
    sun.feeds[XRAYS] = xrays(ISSUE - 3 * HOUR)
    found = fetched(sun.url, tmp_path, sources=())["goes_xrays"]
    assert found.age == 3 * HOUR + MINUTE  # the last minute begins a minute before its end
    sun.feeds[XRAYS] = xrays(ISSUE + 2 * HOUR, minutes=300)  # the feed goes on: what was fetched too early is renewed
    found = fetched(sun.url, tmp_path, sources=())["goes_xrays"]
    assert found.age == MINUTE
    assert [path.name for path in tmp_path.iterdir()] == ["goes_xrays_20260101T0300Z.json"]


@pytest.mark.parametrize(
    ("feed", "reason"),
    [
        ([], "got 0 records"),
        (xrays(ISSUE - 6 * HOUR), "more than 5 h before"),
        (xrays(ISSUE + 3 * HOUR), "no measurement before 2026-01-01T03:00:00Z"),
        ({"error": 1}, ""),
        (None, "status 404"),
    ],
)
def test_feeds_without_data(sun, tmp_path, feed, reason):
    if feed is not None:
        sun.feeds[XRAYS] = feed
    found = fetched(sun.url, tmp_path, sources=())["goes_xrays"]
    assert (found.time, found.files) == (None, ())
    assert reason in found.reason
    sun.feeds[XRAYS] = xrays(ISSUE)  # the next run is not kept from better data by what came first
    assert fetched(sun.url, tmp_path, sources=())["goes_xrays"].age == MINUTE


def test_html_for_a_feed(sun, tmp_path):
    sun.feeds[XRAYS] = xrays(ISSUE)
    sun.fail("xrays", "html")
    found = fetched(sun.url, tmp_path, sources=())["goes_xrays"]
    assert "HTML (JSOC is busy)" in found.reason
    assert list(tmp_path.iterdir()) == []


def test_feeds_of_a_forecast_long_ago(sun, tmp_path):
    sun.feeds[XRAYS] = xrays(ISSUE)
    found = fetched(sun.url, tmp_path, sources=(), now=ISSUE + timedelta(days=8))
    assert "goes back 7 days" in found["goes_flares"].reason
    assert sun.log == []


def test_no_flares_in_seven_days_are_data(sun, tmp_path):
    sun.feeds["/json/goes/primary/xray-flares-7-day.json"] = []
    assert fetched(sun.url, tmp_path, sources=())["goes_flares"].age == timedelta(0)


def test_an_error_in_json_is_not_taken_for_no_flares(sun, tmp_path):
    sun.feeds["/json/goes/primary/xray-flares-7-day.json"] = {"error": "maintenance"}
    found = fetched(sun.url, tmp_path, sources=())["goes_flares"]
    assert (found.time, found.files) == (None, ())
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings(sun, tmp_path):
    with pytest.raises(SettingError, match="time zone"):
        fetched(sun.url, tmp_path, issue=ISSUE.replace(tzinfo=None), now=ISSUE)
    with pytest.raises(SettingError, match="below `last`"):
        fetched(sun.url, tmp_path, first=6 * HOUR)
