"""Which file stands for each time of an archive, against the stand-in."""

from datetime import UTC, datetime, timedelta

import pytest

from kflare.archives.downloads import download_all
from kflare.archives.jsoc import Jsoc
from kflare.archives.magnetograms import find_helioviewer, find_jsoc, find_soho
from kflare.archives.web import RetryPolicy, Web
from kflare.errors import SettingError
from kflare.observations.identity import identify
from kflare.observations.reading import read_magnetogram
from kflare.sun.times import slots
from tests.standin import StandIn, picture, quick_export, refusing, slot

HASTY = RetryPolicy(connect=0.5, read=0.4, total=3, attempts=2, first_wait=0.01, longest_wait=0.02)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2013, 10, 20, tzinfo=UTC)
DAYS = slots(START, START + 5 * DAY, DAY)
TAI = timedelta(seconds=35)  # TAI − UTC in 2013


@pytest.fixture
def sun():
    with StandIn() as server:
        yield server


@pytest.fixture
def web():
    with Web(HASTY) as visitor:
        yield visitor


def test_slots_are_half_open():
    assert slots(START, START + 2 * DAY, DAY) == [START, START + DAY]
    assert slots(START, START + DAY + HOUR, 12 * HOUR) == [START, START + 12 * HOUR, START + DAY]
    with pytest.raises(SettingError, match="later than"):
        slots(START, START, DAY)
    with pytest.raises(SettingError, match="time zone"):
        slots(START.replace(tzinfo=None), START, DAY)
    with pytest.raises(SettingError, match="at least a minute"):
        slots(START, START + DAY, timedelta(0))


# -- JSOC ----------------------------------------------------------------------------------------------------------


def hmi(sun, web, folder, times=DAYS, **options):
    return download_all(find_jsoc(Jsoc(web, sun.url), times, folder, **options), web)


def test_a_range_of_days_of_hmi(sun, web, tmp_path):
    for day in DAYS:
        sun.add_hmi("hmi.M_720s", day, quality=0)
    outcomes = hmi(sun, web, tmp_path)
    assert [outcome.status for outcome in outcomes] == ["got"] * 5
    # 00:00 UT is 00:00:35 TAI; the record of the slot that holds it is of 00:00:00 TAI.
    assert outcomes[3].path.name == "hmi.M_720s.20131023_000000_TAI.magnetogram.fits"
    assert outcomes[3].time == DAYS[3] - TAI
    assert read_magnetogram(outcomes[3].path).time == DAYS[3] - TAI
    assert len(sun.asked("rs_list")) == 1  # one query for all five days
    before = len(sun.log)
    assert [outcome.status for outcome in hmi(sun, web, tmp_path)] == ["already there"] * 5
    assert len(sun.log) == before  # nothing is asked for again


def test_images_of_one_wavelength_of_aia(sun, web, tmp_path):
    seconds = timedelta(seconds=12)
    for hour in range(2):
        for wavelength, quality in ((131, 0), (193, 0), (131, 0x80000000 if hour else 0)):
            utc = slot(START + hour * HOUR, seconds) - (0 * HOUR if quality or wavelength == 193 else seconds)
            sun.add(
                "aia.lev1_euv_12s", utc, primes=("T_REC", "WAVELNTH"), segments={"image": quick_export()},
                quality=quality, clock="UTC", WAVELNTH=str(wavelength),
            )  # fmt: skip
    times = slots(START, START + 2 * HOUR, HOUR)
    how = {"series": "aia.lev1_euv_12s", "segment": "image", "wavelength": 131, "within": HOUR / 2}
    outcomes = hmi(sun, web, tmp_path, times, **how)
    # Slots of 12 s are counted in TAI: 00:00 UT is 00:00:35 TAI, in that of 00:00:24. The second is refused.
    names = ["aia.lev1_euv_12s.20131019T235937Z.131.image.fits", "aia.lev1_euv_12s.20131020T005937Z.131.image.fits"]
    assert [outcome.path.name for outcome in outcomes] == names
    assert [identify(outcome.path).kind for outcome in outcomes] == ["131", "131"]


def test_an_earlier_record_stands_in_for_one_that_is_missing_or_bad(sun, web, tmp_path):
    for day in DAYS:
        sun.add_hmi("hmi.M_720s", day - 2 * HOUR, quality=0)
        sun.add_hmi("hmi.M_720s", day + 0.2 * HOUR, quality=0)  # later: never taken
    sun.add_hmi("hmi.M_720s", DAYS[0], quality=0x80000000)
    sun.add_hmi("hmi.M_720s", DAYS[1], quality=0x10400)
    sun.add_hmi("hmi.M_720s", DAYS[2], quality=0x100)
    outcomes = hmi(sun, web, tmp_path)
    early = [outcome.asked - outcome.time for outcome in outcomes]
    assert early == [2 * HOUR + TAI, TAI, 2 * HOUR + TAI, 2 * HOUR + TAI, 2 * HOUR + TAI]
    assert "LOWINTERPNUM" in outcomes[1].note
    assert outcomes[0].path.name == "hmi.M_720s.20131019_220000_TAI.magnetogram.fits"


def test_nothing_within_the_limit(sun, web, tmp_path):
    sun.add_hmi("hmi.M_720s", DAYS[0] - 3 * HOUR)
    sun.add_hmi("hmi.M_720s", DAYS[1], quality=0x80000000)
    outcomes = hmi(sun, web, tmp_path, DAYS[:2], within=2 * HOUR)
    assert [(outcome.status, outcome.again) for outcome in outcomes] == [("missing", False)] * 2
    assert outcomes[0].reason == "no usable record of `hmi.M_720s` up to 2 h before"
    assert "NODATA" in outcomes[1].reason
    sun.add_hmi("hmi.M_720s", DAYS[2], quality=0x80000000)
    taken = hmi(sun, web, tmp_path, [DAYS[2]], policy="any")
    assert taken[0].status == "got"  # under the policy `any` even that


def test_mdi_by_jsoc(sun, web, tmp_path):
    # Slots of 96 min from midnight TAI, which was 32 s ahead in 2003. MDI's bit 0x200 is harmless, HMI's is an eclipse.
    start = datetime(2003, 10, 28, tzinfo=UTC)
    for quality, slots_before in ((0x200, 0), (0x80000000, 1)):
        sun.add("mdi.fd_M_96m_lev182", start - timedelta(seconds=32) - slots_before * timedelta(minutes=96),
                primes=("T_REC",), quality=quality, segments={"data": quick_export()})  # fmt: skip
    times = [start - timedelta(minutes=96), start]
    outcomes = hmi(sun, web, tmp_path, times, series="mdi.fd_M_96m_lev182", segment="data")
    assert [outcome.status for outcome in outcomes] == ["missing", "got"]
    assert outcomes[1].path.name == "mdi.fd_M_96m_lev182.20031028_000000_TAI.data.fits"
    with pytest.raises(SettingError, match="cadence in its name"):
        list(find_jsoc(Jsoc(web, sun.url), [start], tmp_path, series="hmi.B"))


def test_uneven_times_are_asked_for_one_by_one(sun, web, tmp_path):
    times = [START, START + 7 * timedelta(minutes=1), START + DAY]
    for time in times:
        sun.add_hmi("hmi.M_720s", time)
    outcomes = hmi(sun, web, tmp_path, times)
    # 00:07 is in the slot of 00:00 TAI too.
    assert [outcome.status for outcome in outcomes] == ["got", "got", "got"]
    assert outcomes[0].path == outcomes[1].path
    assert len(sun.asked("/SUM")) == 2


def test_a_server_in_trouble_is_not_asked_for_every_day(sun, web, tmp_path):
    with refusing() as url:
        outcomes = download_all(find_jsoc(Jsoc(web, url), DAYS, tmp_path), web)
    assert [(outcome.status, outcome.again) for outcome in outcomes] == [("missing", True)] * 5
    assert "Connection refused" in outcomes[0].reason
    assert outcomes[4].reason.startswith("not asked again after 3 times")


def test_html_instead_of_records_and_of_files(sun, web, tmp_path):
    for day in DAYS:
        sun.add_hmi("hmi.M_720s", day)
    sun.fail("jsoc_info", "html", times=1)
    sun.fail("/SUM1/D2", "html")
    outcomes = hmi(sun, web, tmp_path)
    assert [outcome.status for outcome in outcomes] == ["got", "got", "missing", "got", "got"]
    assert "HTML (JSOC is busy)" in outcomes[2].reason
    assert len(list(tmp_path.iterdir())) == 4
    sun.faults.clear()
    assert [o.status for o in hmi(sun, web, tmp_path)] == ["already there"] * 2 + ["got"] + ["already there"] * 2


# -- Helioviewer ---------------------------------------------------------------------------------------------------


def helioviewer(sun, web, folder, times=DAYS, **options):
    return download_all(find_helioviewer(web, times, folder, url=sun.url, **options), web)


def test_helioviewers_nearest_earlier_image(sun, web, tmp_path):
    sun.images = [
        DAYS[0] - timedelta(seconds=41),
        DAYS[1] - HOUR,
        DAYS[1] + timedelta(minutes=3),
        DAYS[2],
        DAYS[3] + HOUR,
    ]
    outcomes = helioviewer(sun, web, tmp_path)
    # Day 1: the nearest is 3 min later, the newest earlier one an hour before. Day 3: nothing since the 00:00 of day 2.
    assert [(outcome.status, outcome.time and outcome.asked - outcome.time) for outcome in outcomes] == [
        ("got", timedelta(seconds=41)), ("got", HOUR), ("got", timedelta(0)), ("missing", None), ("missing", None),
    ]  # fmt: skip
    assert outcomes[0].path.name == "2013_10_19__23_59_19_000__SDO_HMI_HMI_magnetogram.jp2"
    assert "12 h before" in outcomes[3].reason
    assert "of 2013-10-23T01:00:00Z, more than 12 h before" in outcomes[4].reason
    assert [outcome.again for outcome in outcomes] == [False] * 5
    before = len(sun.asked("getJP2Image"))
    assert [o.status for o in helioviewer(sun, web, tmp_path)] == ["already there"] * 3 + ["missing"] * 2
    assert len(sun.asked("getJP2Image")) == before


def test_an_image_of_another_time_is_rejected(sun, web, tmp_path):
    sun.images = [DAYS[0]]
    plan = list(find_helioviewer(web, DAYS[:1], tmp_path, url=sun.url))
    sun.images = [DAYS[0] + timedelta(minutes=5)]  # the archive changes between question and download
    outcome = download_all(plan, web)[0]
    assert (outcome.status, outcome.path) == ("rejected", None)
    assert outcome.reason == "it is the image of 2013-10-20T00:05:00Z, not of 2013-10-20T00:00:00Z"


@pytest.mark.parametrize("date", ["9999-12-31 23:59:59", "0001-01-01 00:00:00", "0001-01-01T00:00:00+12:00", "x", None])
def test_impossible_dates_of_helioviewer(sun, web, tmp_path, date):
    sun.feeds["/getClosestImage/"] = {"date": date}
    assert helioviewer(sun, web, tmp_path, DAYS[:1])[0].status in {"missing", "rejected"}


def test_helioviewer_in_trouble(sun, web, tmp_path):
    sun.images = [DAYS[0]]
    sun.feeds["/getClosestImage/"] = {"error": "Invalid data source", "errno": 20}
    assert helioviewer(sun, web, tmp_path, DAYS[:1])[0].status == "rejected"
    sun.feeds.clear()
    sun.fail("getJP2Image", "truncate", size=100)
    sun.ranges = False
    outcome = helioviewer(sun, web, tmp_path, DAYS[:1])[0]
    assert (outcome.status, outcome.again) == ("missing", True)
    assert list(tmp_path.iterdir()) == []


# -- SOHO ----------------------------------------------------------------------------------------------------------


def test_soho_listings(sun, web, tmp_path):
    def image(time, product="mdimag", size=512):
        name = f"{time:%Y%m%d_%H%M}_{product}_{size}.jpg"
        folder = f"/{time:%Y}/{product}/{time:%Y%m%d}/"
        sun.listings.setdefault(folder, []).append(name)
        sun.files[folder + name] = picture("JPEG")

    minute = timedelta(minutes=1)
    image(DAYS[0])
    image(DAYS[0] + 96 * minute)
    image(DAYS[1] - 24 * minute)
    image(DAYS[1] + 3 * minute)
    image(DAYS[2], size=1024)
    image(DAYS[2], product="mdiigr")
    image(DAYS[4] - 13 * HOUR)
    outcomes = download_all(find_soho(web, DAYS, tmp_path, url=sun.url), web)
    assert [outcome.path and outcome.path.name for outcome in outcomes] == [
        "20131020_0000_mdimag_512.jpg", "20131020_2336_mdimag_512.jpg", None, None, None,
    ]  # fmt: skip
    assert [outcome.status for outcome in outcomes[2:]] == ["missing"] * 3
    assert not any(outcome.again for outcome in outcomes)
    # Each listing is read once: of the 19th to 24th, less the 19th, since day 0 has an image of its own.
    assert len(sun.asked("/$")) == 5
    larger = download_all(find_soho(web, DAYS[2:3], tmp_path, url=sun.url, size=1024), web)
    assert larger[0].path.name == "20131022_0000_mdimag_1024.jpg"


def test_a_listing_that_does_not_come_is_no_gap(sun, web, tmp_path):
    sun.fail("mdimag", "status")
    outcome = download_all(find_soho(web, DAYS[:1], tmp_path, url=sun.url), web)[0]
    assert (outcome.status, outcome.again) == ("missing", True)
