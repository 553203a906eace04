"""The HEK: its tables of every kind, and its search service as a real server on loopback."""

import json
import threading
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pandas as pd
import pytest
from astropy.table import Table
from sunpy.net.hek import HEKTable

from kflare.archives.hek import query_hek_flares
from kflare.archives.web import RetryPolicy, Web
from kflare.errors import DataError, ServingError, SettingError
from kflare.flares.hek import flares_from_hek
from tests import catalogue_seeds as seeds

as_listed = partial(flares_from_hek, scale="as listed")

T0, T1 = datetime(2013, 10, 23, tzinfo=UTC), datetime(2013, 10, 24, tzinfo=UTC)
# What sunpy needs besides to parse an answer.
COORDINATES = {
    "event_coord1": 0.0,
    "event_coord2": 0.0,
    "event_coord3": None,
    "event_coordunit": "degrees",
    "event_coordsys": "UTC-HGS-TOPO",
}


def tables():
    raw = Table([record | COORDINATES for record in seeds.HEK_RECORDS])
    parsed = HEKTable._from_search(raw.copy())
    without_raw = HEKTable._from_search(raw.copy())
    without_raw.raw = None
    return {
        "records": seeds.HEK_RECORDS,
        "astropy table": raw,
        "sunpy's table": parsed,
        "sunpy's table without its raw one": without_raw,
        "DataFrame": raw.to_pandas(),
    }


@pytest.mark.parametrize(
    "kind", ["records", "astropy table", "sunpy's table", "sunpy's table without its raw one", "DataFrame"]
)
def test_every_kind_of_table_gives_the_same_list(kind):
    flares = as_listed(tables()[kind])
    row = flares.table.iloc[0]
    assert len(flares) == 1
    assert row["start"] == datetime(2013, 10, 23, 20, 41, tzinfo=UTC)
    assert row["peak"] == datetime(2013, 10, 23, 20, 53, tzinfo=UTC)
    assert (row["goes_class"], row["noaa"], row["lon"], row["lat"]) == ("M2.7", 11875, -4, 7)
    assert flares.repairs["not_goes"] == 1


def test_swpc_goes_before_others_and_others_add():
    late = seeds.HEK_RECORDS[1] | {"event_starttime": "2013-10-23T23:41:00", "event_peaktime": "2013-10-23T23:50:00",
                                   "event_endtime": "2013-10-23T23:58:00", "fl_goescls": "M1.4"}  # fmt: skip
    moved = seeds.HEK_RECORDS[1] | {"fl_goescls": "M2.6", "ar_noaanum": 11877}
    flares = as_listed([moved, late, seeds.HEK_RECORDS[0]])
    assert flares.table["goes_class"].tolist() == ["M2.7", "M1.4"]
    assert flares.table["noaa"].tolist() == [11875, pd.NA]
    assert flares.repairs["regions_contradicted"] == 1


def test_a_method_without_a_readable_row_does_not_stop_the_others():
    odd = seeds.HEK_RECORDS[1] | {"fl_goescls": "big"}
    assert as_listed([odd, seeds.HEK_RECORDS[0]]).table["goes_class"].tolist() == ["M2.7"]
    with pytest.raises(DataError, match="'big'"):
        as_listed([odd, odd | {"frm_name": "SWPC"}])
    many = [seeds.HEK_RECORDS[1] | {"frm_name": f"method {k}"} for k in range(2000)]
    assert len(as_listed(many)) == 1


def test_tables_that_are_none_of_the_hek():
    with pytest.raises(DataError, match="fl_goescls"):
        as_listed([{"event_starttime": "2013-10-23T20:41:00", "event_peaktime": "", "event_endtime": ""}])
    with pytest.raises(DataError, match="int"):
        as_listed(3)
    assert len(as_listed(Table())) == 0


@pytest.fixture
def hek():
    """A HEK on loopback; `answers` are sent one after the other, the last for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server = self.server
            server.asked.append(parse_qs(urlparse(self.path).query))
            status, body = server.answers[min(len(server.asked), len(server.answers)) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hek/her?"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def page(records, *, overmax=False):
    return 200, json.dumps({"result": records, "overmax": overmax}).encode()


@pytest.fixture
def web():
    with Web(RetryPolicy(connect=2, read=2, total=4, attempts=1)) as client:
        yield client


def test_a_search_asks_page_by_page_and_for_each_method(hek, web):
    swpc, ssw, _ = seeds.HEK_RECORDS
    hek.answers = [page([swpc], overmax=True), page([]), page([ssw])]
    flares = query_hek_flares(web, T0, T1, url=hek.url)
    assert len(flares) == 1
    assert flares.table["lon"].tolist() == [-4.0]
    assert [asked["page"] for asked in hek.asked] == [["1"], ["2"], ["1"]]
    assert [asked["value0"] for asked in hek.asked] == [["SWPC"], ["SWPC"], ["SSW Latest Events"]]
    assert hek.asked[0]["op0"] == ["="]
    assert hek.asked[0]["event_type"] == ["FL"]
    assert hek.asked[0]["event_starttime"] == ["2013-10-23T00:00:00"]
    assert hek.asked[0]["event_endtime"] == ["2013-10-24T00:00:00"]


@pytest.mark.parametrize("name", ["hgs_x", "hgs_y", "ar_noaanum"])
@pytest.mark.parametrize("number", [10**400, -(10**400), 1e308])
def test_a_number_beyond_any_float_is_no_crash(name, number):
    """JSON knows integers of any length: found by tools/fuzz_readers.py."""
    records = [{**record, name: number} for record in seeds.HEK_RECORDS]
    try:
        found = as_listed(records)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017  refusing is as good
    else:
        assert found.table["goes_class"].iloc[0] == "M2.7"


def test_no_flares_are_an_empty_list(hek, web):
    hek.answers = [page([])]
    assert len(query_hek_flares(web, T0, T1, url=hek.url)) == 0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((500, b"broken"), id="an error of the server"),
        pytest.param((200, b"<html><title>Maintenance</title></html>"), id="HTML with status 200"),
        pytest.param((200, b'{"error": "no"}'), id="JSON without a result"),
        pytest.param((200, b"[1, 2]"), id="JSON of another form"),
        pytest.param(page([{"event_starttime": "soon"}]), id="records without a class"),
    ],
)
def test_an_answer_that_is_none_is_an_error_of_the_server(hek, web, answer):
    hek.answers = [answer]
    with pytest.raises(ServingError):
        query_hek_flares(web, T0, T1, url=hek.url)


def test_pages_without_an_end(hek, web, monkeypatch):
    monkeypatch.setattr("kflare.archives.hek._MOST_PAGES", 3)
    hek.answers = [page([], overmax=True)]
    with pytest.raises(ServingError, match="no end after 3 pages"):
        query_hek_flares(web, T0, T1, url=hek.url)


def test_the_span_must_be_one(web):
    with pytest.raises(SettingError, match="`since`"):
        query_hek_flares(web, datetime(2013, 10, 23), T1)  # noqa: DTZ001
    with pytest.raises(SettingError, match="`until` must be later"):
        query_hek_flares(web, T1, T0)


def test_one_series_of_x_rays_holds_no_two_flares_of_the_same_times():
    # The answer of 2012-01-01 (ARCCnet, tests/data): "SSW Latest Events" tells the flare of 23:28 twice.
    names = (
        "event_starttime",
        "event_peaktime",
        "event_endtime",
        "fl_goescls",
        "ar_noaanum",
        "hgs_x",
        "hgs_y",
        "frm_name",
    )
    day = "2012-01-01 "
    rows = [
        (day + "23:28:00", day + "23:36:00", day + "23:46:00", "C1.3", 0, 0, 0, "SWPC"),
        (day + "23:28:00", day + "23:36:00", day + "23:46:00", "C1.3", 0, -27, -27, "SSW Latest Events"),
        (day + "23:28:00", day + "23:31:00", day + "23:46:00", "C1.3", 1389, -89, 11, "SSW Latest Events"),
    ]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    flares = as_listed(records)
    row = flares.table.iloc[0]
    assert (len(flares), row["peak"], row["lon"]) == (1, pd.Timestamp("2012-01-01T23:36Z"), -27)
    assert pd.isna(row["noaa"])
    # One method alone, in any order; and with another class.
    for several in (records[1:], records[:0:-1], [records[1], records[2] | {"fl_goescls": "C1.4"}]):
        assert len(as_listed(several)) == 1
    later = records[2] | {"event_endtime": day + "23:47:00"}
    assert len(as_listed([records[1], later])) == 2
