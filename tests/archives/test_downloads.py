"""Files against a real server that truncates, lies, trickles and changes: whole or not at all."""

import json
import threading
import time
from datetime import UTC, datetime

import pytest

from kflare.archives.downloads import FileRequest, FileResult, download, download_all
from kflare.archives.web import RetryPolicy, StoppedError, Web
from kflare.errors import DataError
from tests.standin import StandIn, picture, quick_export, refusing

HASTY = RetryPolicy(connect=0.5, read=0.4, total=3, attempts=3, first_wait=0.01, longest_wait=0.02)
FILE = quick_export(width=128)  # 4 blocks and more, so that it can break off in many places
TIME = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def sun():
    with StandIn() as server:
        server.files["/m.fits"] = FILE
        yield server


@pytest.fixture
def web():
    with Web(HASTY) as visitor:
        yield visitor


@pytest.fixture
def wanted(sun, tmp_path):
    return FileRequest(sun.url + "/m.fits", tmp_path / "data" / "m.fits", "FITS", "hmi.M_720s", TIME, TIME)


def names(wanted):
    return sorted(path.name for path in wanted.path.parent.iterdir())


def test_a_file_comes_once(sun, web, wanted):
    first = download(wanted, web)
    assert first == FileResult("got", "hmi.M_720s", TIME, TIME, wanted.path, size=len(FILE))
    assert wanted.path.read_bytes() == FILE
    second = download(wanted, web)
    assert (second.status, second.path, second.size) == ("already there", wanted.path, len(FILE))
    assert len(sun.log) == 1
    assert names(wanted) == ["m.fits"]


def test_errors_of_the_server_pass(sun, web, wanted):
    sun.fail("m.fits", "status", times=2)
    assert download(wanted, web).status == "got"
    assert len(sun.log) == 3


@pytest.mark.parametrize(
    ("fault", "how", "reason"),
    [
        ("status", {"status": 500}, "status 500"),
        ("html", {}, "page of HTML (JSOC is busy) with status 200"),
        ("slow", {"seconds": 0.8}, "no reply within 0.4 s"),
        ("reset", {}, "onnection"),
    ],
)
def test_no_answer_leaves_nothing_behind(sun, web, wanted, fault, how, reason):
    sun.fail("m.fits", fault, **how)
    outcome = download(wanted, web)
    assert (outcome.status, outcome.path, outcome.again) == ("missing", None, True)
    assert reason in outcome.reason
    assert "3 times" in outcome.reason
    assert names(wanted) == []


def test_a_refusing_server(web, tmp_path):
    with refusing() as url:
        outcome = download(FileRequest(url + "/m.fits", tmp_path / "m.fits", "FITS", "x"), web)
    assert (outcome.status, outcome.again) == ("missing", True)
    assert "Connection refused" in outcome.reason
    assert list(tmp_path.iterdir()) == []


def test_what_the_archive_does_not_hold_is_missing_for_good(sun, web, wanted):
    del sun.files["/m.fits"]
    outcome = download(wanted, web)
    assert (outcome.status, outcome.again) == ("missing", False)
    assert len(sun.log) == 1
    assert names(wanted) == []


def test_a_server_that_breaks_off_and_cannot_go_on(sun, web, wanted):
    sun.ranges = False
    sun.fail("m.fits", "truncate", size=3000)
    outcome = download(wanted, web)
    assert (outcome.status, outcome.again) == ("missing", True)
    assert "broke off" in outcome.reason or f"truncated: 3000 of {len(FILE)} bytes" in outcome.reason
    assert names(wanted) == []


def test_a_server_that_breaks_off_again_and_again_is_asked_for_the_rest(sun, web, wanted):
    sun.fail("m.fits", "truncate", size=3000)
    assert download(wanted, web).status == "got"
    assert wanted.path.read_bytes() == FILE
    ranges = [headers.get("Range") for headers in sun.headers]
    # 3000 bytes each time: as many requests as it takes, which is more than the three attempts without progress.
    assert ranges == [None] + [f"bytes={start}-" for start in range(3000, len(FILE), 3000)]
    assert len(ranges) > HASTY.attempts
    assert names(wanted) == ["m.fits"]


def test_an_interrupted_download_goes_on_in_the_next_run(sun, wanted):
    sun.fail("m.fits", "truncate", times=1, size=5000)
    with Web(RetryPolicy(attempts=1)) as web:
        outcome = download(wanted, web)
    assert outcome.status == "missing"
    assert names(wanted) == ["m.fits.part", "m.fits.part.json"]
    assert wanted.path.with_name("m.fits.part").read_bytes() == FILE[:5000]
    with Web(HASTY) as web:
        assert download(wanted, web).status == "got"
    assert sun.headers[-1]["Range"] == "bytes=5000-"
    assert wanted.path.read_bytes() == FILE
    assert names(wanted) == ["m.fits"]


def test_a_file_that_changed_meanwhile_is_not_spliced(sun, wanted):
    sun.fail("m.fits", "truncate", times=1, size=5000)
    with Web(RetryPolicy(attempts=1)) as web:
        download(wanted, web)
    sun.files["/m.fits"] = other = quick_export(seed=7, width=128)
    sun.changed()
    with Web(HASTY) as web:
        assert download(wanted, web).status == "got"
    assert wanted.path.read_bytes() == other


@pytest.mark.parametrize("note", [None, "{", '{"url": "http://elsewhere/m.fits", "validator": "1"}', "[]"])
def test_a_part_of_unknown_origin_is_not_gone_on_with(sun, web, wanted, note):
    wanted.path.parent.mkdir()
    wanted.path.with_name("m.fits.part").write_bytes(b"x" * 5000)
    if note is not None:
        wanted.path.with_name("m.fits.part.json").write_text(note)
    assert download(wanted, web).status == "got"
    assert "Range" not in sun.headers[0]
    assert wanted.path.read_bytes() == FILE


def test_a_part_that_is_longer_than_the_file(sun, web, wanted):
    sun.fail("m.fits", "truncate", times=1, size=5000)
    with Web(RetryPolicy(attempts=1)) as hasty:
        download(wanted, hasty)
    with wanted.path.with_name("m.fits.part").open("ab") as part:
        part.write(b"x" * len(FILE))
    sun.fail("m.fits", "status", times=1, status=416)  # as a server answers to a range behind the end
    assert download(wanted, web).status == "got"
    assert wanted.path.read_bytes() == FILE


def test_a_damaged_file_is_fetched_again(sun, web, wanted):
    wanted.path.parent.mkdir()
    for content in (FILE[:4000], b"<html><title>403</title></html>", b""):
        wanted.path.write_bytes(content)
        assert download(wanted, web).status == "got"
        assert wanted.path.read_bytes() == FILE


def test_a_damaged_file_is_not_left_where_no_other_comes(sun, web, wanted):
    sun.fail("m.fits", "status")
    wanted.path.parent.mkdir()
    wanted.path.write_bytes(FILE[:4000])
    assert download(wanted, web).status == "missing"
    assert names(wanted) == []


def test_another_kind_of_file_is_rejected(sun, web, wanted):
    sun.files["/m.fits"] = picture("JPEG")
    outcome = download(wanted, web)
    assert (outcome.status, outcome.path, outcome.again) == ("rejected", None, True)
    assert outcome.reason.startswith("no FITS: it begins with")
    assert names(wanted) == []


def test_a_server_that_tells_no_size(sun, web, wanted):
    sun.chunked = True
    assert download(wanted, web).status == "got"
    assert wanted.path.read_bytes() == FILE
    wanted.path.unlink()
    sun.ranges = False
    sun.fail("m.fits", "truncate", size=4000)
    outcome = download(wanted, web)
    assert (outcome.status, outcome.path) == ("missing", None)
    assert "at byte 2880 is damaged" in outcome.reason or "truncated: 4000 of" in outcome.reason
    assert names(wanted) == []


def test_a_promise_of_100_gigabytes_is_not_taken_up(sun, web, wanted):
    sun.fail("m.fits", "announce", size=100 * 10**9)
    outcome = download(wanted, web)
    assert outcome.status == "rejected"
    assert "announces 100000000000 bytes" in outcome.reason
    assert names(wanted) == []


def test_headers_can_be_checked_and_files_completed(sun, web, wanted):
    checked = FileRequest(
        wanted.url, wanted.path, "FITS", "x", check=lambda headers: f"sent {headers['Content-Length']} bytes"
    )
    assert download(checked, web).reason == f"sent {len(FILE)} bytes"
    assert names(wanted) == []
    finished = FileRequest(
        wanted.url, wanted.path, "FITS", "x", finish=lambda source, target: target.write_bytes(source.read_bytes() * 2)
    )
    assert download(finished, web).status == "got"
    assert wanted.path.read_bytes() == FILE * 2
    assert names(wanted) == ["m.fits"]


def test_a_file_that_cannot_be_completed_leaves_nothing(web, wanted):
    def fails(source, target):
        target.write_bytes(b"half")
        raise DataError("no image")

    unfinished = FileRequest(wanted.url, wanted.path, "FITS", "x", finish=fails)
    outcome = download(unfinished, web)
    assert (outcome.status, outcome.reason) == ("rejected", "no image")
    assert names(wanted) == []


def test_two_runs_do_not_write_one_file(sun, web, wanted):
    sun.fail("m.fits", "trickle", seconds=0.002)
    with Web(RetryPolicy(total=60)) as slow:
        outcomes = []
        other = threading.Thread(target=lambda: outcomes.append(attempt(wanted, slow)))
        other.start()
        part, deadline = wanted.path.with_name("m.fits.part"), time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.005)
        second = download(wanted, web)
        assert second.status == "rejected"
        assert "another process" in second.reason
        slow.stop()
        other.join()
    assert outcomes == ["stopped"]
    assert names(wanted) == ["m.fits.part", "m.fits.part.json"]  # what has come stays
    sun.faults.clear()
    assert download(wanted, web).status == "got"
    assert wanted.path.read_bytes() == FILE


def attempt(wanted, web):
    try:
        return download(wanted, web).status
    except StoppedError:
        return "stopped"


def test_a_folder_that_cannot_be_written(sun, web, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        download(FileRequest(sun.url + "/m.fits", tmp_path / "file" / "m.fits", "FITS", "x"), web)
    with pytest.raises(DataError, match="cannot be written"):
        download_all([FileRequest(sun.url + "/m.fits", tmp_path / "file" / "m.fits", "FITS", "x")], web)


def test_many_at_a_time_in_the_order_of_the_plan(sun, web, tmp_path):
    for number in range(20):
        sun.files[f"/{number}.jpg"] = picture("JPEG")
    sun.fail("/3.jpg", "html")
    plan = [FileRequest(f"{sun.url}/{n}.jpg", tmp_path / f"{n}.jpg", "JPEG", str(n)) for n in range(20)]
    plan.insert(5, FileResult("missing", "gap", reason="none"))
    plan.append(plan[0])  # a file that serves for two times
    moved = []
    outcomes = download_all(plan, web, connections=4, done=lambda: moved.append(1))
    assert [outcome.label for outcome in outcomes] == [item.label for item in plan]
    assert [o.label for o in outcomes if o.path is None] == ["3", "gap"]
    assert len(moved) == len(plan)
    assert len(sun.asked("/0.jpg")) == 1
    assert json.dumps([outcome.as_json() for outcome in outcomes])
    assert len(list(tmp_path.iterdir())) == 19


def test_a_plan_that_fails_stops_what_is_under_way(sun, tmp_path):
    sun.fail("m.fits", "trickle", seconds=0.002)

    def plan():
        yield FileRequest(sun.url + "/m.fits", tmp_path / "m.fits", "FITS", "x")
        while not sun.log:
            pass
        raise KeyboardInterrupt

    with Web(RetryPolicy(total=60)) as web, pytest.raises(KeyboardInterrupt):
        download_all(plan(), web)
    assert not (tmp_path / "m.fits").exists()
