"""NOAA's archives and feeds, against the stand-in; sunpy's own client asks for the X-ray flux."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from kflare.archives.downloads import download_all
from kflare.archives.noaa import FLARE_FEEDS, XRAY_FEEDS, find_feeds, find_reports, find_xrs
from kflare.archives.web import RetryPolicy, Web
from kflare.errors import DataError
from kflare.flares.repairing import read_flares
from kflare.flares.srs import read_srs
from kflare.sun.times import slots
from kflare.xray.flux import read_xray_flux
from tests.io.test_integrity import hdf5
from tests.standin import StandIn, refusing, xrays

HASTY = RetryPolicy(connect=0.5, read=0.4, total=3, attempts=2, first_wait=0.01, longest_wait=0.02)
DAY = timedelta(days=1)
START = datetime(2021, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 1, 3, 12, 45, tzinfo=UTC)

# The layout of NOAA's edited events (:Product: 20150301events.txt).
EVENTS = """:Product: 20210101events.txt
:Created: 2021 Jan 02 0302 UT
:Date: 2021 01 01
# Prepared by the U.S. Dept. of Commerce, NOAA, Space Weather Prediction Center
#
#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#
#-------------------------------------------------------------------------------

9320 +     0528   0533      0537  G16  5   XRA  1-8A      C1.3    5.1E-04   2794
"""


@pytest.fixture
def sun():
    with StandIn() as server:
        yield server


@pytest.fixture
def web():
    with Web(HASTY) as visitor:
        yield visitor


def test_daily_reports(sun, web, tmp_path):
    sun.files["/events/2021/01/20210101events.txt"] = EVENTS.encode()
    outcomes = download_all(find_reports(slots(START, START + 2 * DAY, DAY), tmp_path, url=sun.url + "/events/"), web)
    assert [(outcome.status, outcome.again) for outcome in outcomes] == [("got", False), ("missing", False)]
    flares = read_flares(outcomes[0].path)
    assert flares.table[["goes_class", "noaa"]].to_numpy().tolist() == [["C1.3", 12794]]


def test_the_folder_of_daily_reports_is_a_flare_list(sun, web, tmp_path):
    sun.files["/events/2021/01/20210101events.txt"] = EVENTS.encode()
    second = EVENTS.replace("2021 01 01", "2021 01 02").replace("C1.3", "M2.0").replace("0528", "B0528")
    sun.files["/events/2021/01/20210102events.txt"] = second.encode()
    with pytest.raises(DataError, match=r"must hold YYYYMMDDevents\.txt, has 0"):
        read_flares(tmp_path)
    download_all(find_reports(slots(START, START + 2 * DAY, DAY), tmp_path, url=sun.url + "/events/"), web)
    (tmp_path / "notes.txt").write_text("mine")
    flares = read_flares(tmp_path)
    assert flares.table["goes_class"].tolist() == ["C1.3", "M2.0"]
    assert flares.table["start"].dt.strftime("%F %H:%M").tolist() == ["2021-01-01 05:28", "2021-01-02 05:28"]
    assert flares.repairs["times_qualified"] == 1


def test_summaries_of_regions(sun, web, tmp_path):
    text = ":Issued: 2021 Jan 01 0030 UTC\nI.  Regions with Sunspots.\n2794 S17W20     350  0040 Cao  04   05 Beta\n"
    sun.files["/srs/2021/01/20210101SRS.txt"] = text.encode()
    plan = find_reports(slots(START, START + DAY, DAY), tmp_path, kind="SRS", url=sun.url + "/srs")
    (outcome,) = download_all(plan, web)
    assert (outcome.status, outcome.path.name) == ("got", "20210101SRS.txt")
    assert read_srs(tmp_path)[["noaa", "lon", "lat"]].to_numpy().tolist() == [[12794, 20, -17]]
    # Where NOAA has them, beside the events.
    (asked,) = find_reports([START], tmp_path, kind="SRS")
    assert asked.url.endswith("/daily_reports/solar_region_summaries/2021/01/20210101SRS.txt")


def test_feeds_as_they_are_now(sun, web, tmp_path):
    sun.feeds["/json/edited_events.json"] = []
    sun.feeds["/json/goes/primary/xrays-7-day.json"] = xrays(NOW.replace(second=0))
    plan = find_feeds([*FLARE_FEEDS, *XRAY_FEEDS], tmp_path, now=NOW, url=sun.url + "/json")
    outcomes = download_all(plan, web)
    assert [outcome.status for outcome in outcomes] == ["got", "missing", "got"]
    assert [outcome.path.name for outcome in outcomes if outcome.path] == [
        "edited_events_20260101T0312Z.json", "xrays-7-day_20260101T0312Z.json",
    ]  # fmt: skip
    assert len(read_xray_flux(outcomes[2].path)) == 120


def test_xray_flux_of_the_past_by_sunpy(sun, web, tmp_path):
    folder = "/platforms/solar-space-observing-satellites/goes/goes{}/l2/data/xrsf-l2-avg1m_science/2021/01/"
    for satellite, days in ((16, (1, 2)), (17, (2,))):
        names = [f"sci_xrsf-l2-avg1m_g{satellite}_d202101{day:02d}_v2-2-0.nc" for day in days]
        sun.listings[folder.format(satellite)] = ["../", *names]
        for name in names:
            sun.files[folder.format(satellite) + name] = hdf5(2)
    outcomes = download_all(find_xrs(web, START, START + 3 * DAY, tmp_path, url=sun.url), web)
    # The highest satellite that has the day: 16, 17, none.
    assert [(outcome.status, outcome.label) for outcome in outcomes] == [
        ("got", "xrs goes-16"), ("got", "xrs goes-17"), ("missing", "xrs"),
    ]  # fmt: skip
    assert outcomes[0].path.name == "sci_xrsf-l2-avg1m_g16_d20210101_v2-2-0.nc"
    assert not outcomes[2].again
    chosen = download_all(find_xrs(web, START + DAY, START + 2 * DAY, tmp_path, satellite=16, url=sun.url), web)
    assert chosen[0].label == "xrs goes-16"


def test_xray_archives_that_give_no_answer(sun, web, tmp_path):
    sun.fail("xrsf", "slow", seconds=0.8)
    with refusing() as url:
        for address in (url, sun.url):
            plan = find_xrs(web, START, START + DAY, tmp_path, satellite=16, url=address)
            outcome = download_all(plan, web)[0]
            assert (outcome.status, outcome.again) == ("missing", True)
            assert re.search("gave no answer: .* 2 times", outcome.reason)
