"""SHARP keywords asked from a JSOC on loopback, through drms."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from kflare.archives.jsoc import Jsoc
from kflare.archives.sharp import query_sharp_keywords
from kflare.archives.web import RetryPolicy, Web
from kflare.errors import DataError, ServingError, SettingError
from kflare.sharp.keywords import REQUESTED
from tests.standin import StandIn, slot

SINCE, UNTIL = datetime(2011, 2, 15, 1, 30, tzinfo=UTC), datetime(2011, 2, 15, 2, 30, tzinfo=UTC)
VALUES = {"T_REC": "2011.02.15_02:00:00_TAI", "HARPNUM": "377", "QUALITY": "0x00000400", "MEANGBZ": "100.523"}


def answered(values, *, count=1):
    return json.dumps(
        {
            "status": 0,
            "count": count,
            "keywords": [{"name": name, "values": [value] * count} for name, value in values.items()],
            "recinfo": [{"name": f"hmi.sharp_cea_720s[377][{k}]"} for k in range(count)],
        }
    )


@pytest.fixture
def jsoc():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(parse_qs(urlparse(self.path).query))
            body = self.server.answer.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answer = [], answered(VALUES)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with Web(RetryPolicy(connect=2, read=2, total=4, attempts=1)) as web:
        server.jsoc = Jsoc(web, f"http://127.0.0.1:{server.server_address[1]}")
        yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_step_of_whole_slots_over_a_leap_second():
    with StandIn() as sun, Web(RetryPolicy(connect=2, read=2, total=4, attempts=1)) as web:
        first = datetime(2015, 6, 29, tzinfo=UTC)
        for hours in range(0, 96, 12):
            keywords = {"HARPNUM": 377, "NOAA_AR": 11158, "USFLUX": hours}
            utc = slot(first + timedelta(hours=hours))
            sun.add("hmi.sharp_cea_720s", utc, primes=("HARPNUM", "T_REC"), segments={}, **keywords)
        span = first, first + timedelta(days=4)
        table = query_sharp_keywords(Jsoc(web, sun.url), *span, cadence=timedelta(hours=24))
        # A second was put in between the 30th of June and the 1st of July; 0 UT is the slot that begins at 0 h TAI.
        assert table["USFLUX"].tolist() == [0, 24, 48, 72]
        every = query_sharp_keywords(Jsoc(web, sun.url), *span, cadence=timedelta(hours=48))
        assert every["USFLUX"].tolist() == [0, 48]


def test_a_window_of_all_regions(jsoc):
    table = query_sharp_keywords(jsoc.jsoc, SINCE, UNTIL)
    row = table.iloc[0]
    assert len(table) == 1
    assert row["time"] == datetime(2011, 2, 15, 1, 59, 26, tzinfo=UTC)
    assert (row["harpnum"], row["quality"]) == (377, 0x400)
    assert row["MEANGBZ"] == pytest.approx(275.84, abs=0.01)
    asked = jsoc.asked[-1]
    # UTC + 34 s is TAI in 2011.
    assert asked["ds"] == ["hmi.sharp_cea_720s[][2011.02.15_01:30:34_TAI-2011.02.15_02:30:34_TAI]"]
    assert set(asked["key"][0].split(",")) >= set(REQUESTED)


def test_one_region_near_real_time(jsoc):
    query_sharp_keywords(jsoc.jsoc, SINCE, UNTIL, series="hmi.sharp_cea_720s_nrt", harpnum=377)
    assert jsoc.asked[-1]["ds"][0].startswith("hmi.sharp_cea_720s_nrt[377][")


def test_no_records(jsoc):
    jsoc.answer = '{"status": 0, "count": 0}'
    assert query_sharp_keywords(jsoc.jsoc, SINCE, UNTIL).empty


def test_answers_that_are_none(jsoc):
    jsoc.answer = "<html><title>JSOC is down</title></html>"
    with pytest.raises(ServingError):
        query_sharp_keywords(jsoc.jsoc, SINCE, UNTIL)
    jsoc.answer = '{"status": 1, "error": "no such series"}'
    with pytest.raises(DataError, match="no such series"):
        query_sharp_keywords(jsoc.jsoc, SINCE, UNTIL)
    jsoc.answer = answered({name: value for name, value in VALUES.items() if name != "HARPNUM"})
    with pytest.raises(ServingError, match="HARPNUM"):
        query_sharp_keywords(jsoc.jsoc, SINCE, UNTIL)


def test_the_window_must_have_a_time_zone(jsoc):
    with pytest.raises(SettingError, match="`until`"):
        query_sharp_keywords(jsoc.jsoc, SINCE, datetime(2011, 2, 15))  # noqa: DTZ001
