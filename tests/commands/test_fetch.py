"""`python -m kflare.fetch` as a user runs it, against a stand-in of the archives."""

import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from PIL import Image
from pyarrow import parquet

from kflare.attribution.region_tables import with_sharp
from kflare.commands.fetch import main
from kflare.flares.repairing import read_flares
from kflare.observations.reading import read_magnetogram
from kflare.sharp.daily import read_sharp_daily
from kflare.sharp.keywords import read_sharp_table
from tests.standin import StandIn, picture, quick_export, refusing, slot

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
START = datetime(2013, 10, 20, tzinfo=UTC)
HASTY = ("--timeout", "0.5", "--attempts", "2", "--wait", "0.01")


@pytest.fixture
def sun():
    with StandIn() as server:
        yield server


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in ("JSOC_EMAIL", "KFLARE_JSOC_URL", "KFLARE_JSOC2_URL", "KFLARE_SWPC_URL", "KFLARE_SOHO_URL",
                 "KFLARE_HELIOVIEWER_URL"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fetch(capsys, tmp_path):
    """Run the command; returns its exit status, stdout and stderr."""

    def run(*argv):
        status = main([str(value) for value in (*argv, "--output", tmp_path / "data", *HASTY)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def days(count, cadence="24h"):
    return ("--from", "2013-10-20", "--until", f"{START + count * DAY:%Y-%m-%d}", "--cadence", cadence)


def test_a_range_of_hmi(sun, fetch, tmp_path):
    for day in range(3):
        sun.add_hmi("hmi.M_720s", START + day * DAY)
    status, out, err = fetch("hmi", *days(3), "--jsoc", sun.url)
    assert (status, err) == (0, "")
    assert re.match(r"got +3  0\.\d MB\nalready there +0\nmissing +0\nrejected +0\n$", out)
    assert read_magnetogram(tmp_path / "data" / "hmi.M_720s.20131021_000000_TAI.magnetogram.fits").instrument == "HMI"
    asked = len(sun.log)
    status, out, err = fetch("hmi", *days(3), "--jsoc", sun.url)
    assert (status, err) == (0, "")
    assert "already there       3" in out
    assert len(sun.log) == asked


def test_what_is_missing_and_what_stands_in(sun, fetch):
    sun.add_hmi("hmi.M_720s", START)
    sun.add_hmi("hmi.M_720s", START + DAY - 3 * HOUR)
    sun.add_hmi("hmi.M_720s", START + 2 * DAY, quality=0x80000000)
    status, out, _ = fetch("hmi", *days(3), "--jsoc", sun.url, "--within", "6h")
    assert status == 0  # gaps of the archive are no failure
    lines = out.splitlines()
    assert lines[4] == "got           2013-10-21T00:00Z hmi.M_720s: of 2013-10-20T20:59:25Z instead"
    assert lines[5].startswith("missing       2013-10-22T00:00Z hmi.M_720s: no usable record of `hmi.M_720s` up to 6 h")
    assert "NODATA" in lines[5]
    assert len(lines) == 6


def test_what_is_rejected_or_not_answered_ends_with_status_1(sun, fetch):
    for day in range(3):
        sun.add_hmi("hmi.M_720s", START + day * DAY, content=picture("JPEG") if day == 1 else None)
    sun.fail("D2", "html")
    status, out, err = fetch("hmi", *days(3), "--jsoc", sun.url, "--json")
    assert status == 1
    assert err == "kflare.fetch: 2 of 3 were rejected or not answered for: run the same command again\n"
    outcomes = json.loads(out)["outcomes"]
    assert [outcome["status"] for outcome in outcomes] == ["got", "rejected", "missing"]
    assert outcomes[0]["asked"] == "2013-10-20T00:00:00Z"
    assert outcomes[2]["path"] is None


def test_a_server_that_refuses(fetch):
    with refusing() as url:
        for asked, more in ((("hmi", *days(20)), ()), (nrt_at(url, recent_issue()), ())):
            status, out, err = fetch(*asked, *(("--jsoc", url) if asked[0] == "hmi" else more))
            assert (status, out, err.count("\n"), err.count("Connection refused")) == (1, "", 1, 1)
            assert err.endswith("; is there a network?\n")


def test_the_server_can_be_named_by_the_environment(sun, fetch, monkeypatch):
    monkeypatch.setenv("KFLARE_SOHO_URL", sun.url)
    sun.listings["/2013/mdimag/20131020/"] = ["20131020_0000_mdimag_512.jpg"]
    sun.files["/2013/mdimag/20131020/20131020_0000_mdimag_512.jpg"] = picture("JPEG")
    status, out, _ = fetch("mdi", *days(1))
    assert (status, out.split()[:2]) == (0, ["got", "1"])


def test_helioviewer(sun, fetch, tmp_path):
    sun.images = [START - HOUR, START + 11 * HOUR]
    status, out, _ = fetch("helioviewer", *days(1, "12h"), "--url", sun.url)
    assert (status, out.split()[:2]) == (0, ["got", "2"])
    assert len(list((tmp_path / "data").glob("*.jp2"))) == 2


def test_flares_and_xrays(sun, fetch, tmp_path):
    sun.files["/2013/10/20131020events.txt"] = b":Product: 20131020events.txt\n#\n"
    status, out, _ = fetch("flares", "--from", "2013-10-20", "--until", "2013-10-21", "--url", sun.url)
    assert (status, out.split()[:2]) == (0, ["got", "1"])
    sun.files["/2013/10/20131020SRS.txt"] = b":Issued: 2013 Oct 20 0030 UTC\nI.  Regions with Sunspots.\n"
    status, out, _ = fetch("srs", "--from", "2013-10-20", "--until", "2013-10-21", "--url", sun.url)
    assert (status, out.split()[:2]) == (0, ["got", "1"])
    sun.feeds["/edited_events.json"] = []
    sun.feeds["/goes/primary/xray-flares-7-day.json"] = []
    status, out, _ = fetch("flares", "--url", sun.url)
    assert (status, out.split()[:2]) == (0, ["got", "2"])
    status, out, _ = fetch("xrays", "--url", sun.url)
    assert (status, out.splitlines()[2].split()) == (0, ["missing", "1"])
    status, _, err = fetch("xrays", "--from", "2021-01-01", "--url", sun.url)
    assert (status, "both --from and --until" in err) == (1, True)


def test_flares_of_the_hek(sun, fetch, tmp_path):
    sun.feeds["/hek/her"] = {"overmax": False, "result": [
        {"event_starttime": "2013-10-20T05:28:00", "event_peaktime": "2013-10-20T05:33:00",
         "event_endtime": "2013-10-20T05:37:00", "fl_goescls": "M1.3", "ar_noaanum": 11875, "hgs_x": 4.0, "hgs_y": 7.0,
         "frm_name": "SWPC"},
    ]}  # fmt: skip
    span = ("--from", "2013-10-20", "--until", "2013-10-22")
    status, out, err = fetch("flares", "--hek", *span, "--url", sun.url + "/hek/her?")
    assert (status, err) == (0, "")
    path = tmp_path / "data" / "hek_20131020_20131022.csv"
    assert out.startswith(f"{path}: 1 flares")
    assert read_flares(path).table["noaa"].tolist() == [11875]
    # It was asked for two days, and tells of both.
    assert [f"{time:%FT%TZ}" for time in read_flares(path).told[0]] == ["2013-10-20T00:00:00Z", "2013-10-22T00:00:00Z"]
    sun.fail("her", "html")
    status, _, err = fetch("flares", "--hek", *span, "--url", sun.url + "/hek/her?")
    assert (status, "HTML" in err) == (1, True)


def recent_issue():
    """An issue of the last hours: SWPC's feeds reach back seven days only."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def nrt(sun, issue):
    return nrt_at(sun.url, issue)


def nrt_at(url, issue):
    return ("nrt", "--issue", f"{issue:%Y-%m-%dT%H:%M}", "--jsoc", url, "--jsoc2", url, "--swpc", url + "/json")


def test_sharp_keywords_become_one_table(sun, fetch, tmp_path):
    for minutes in range(0, 2 * 24 * 60, 12):
        for harpnum in (377, 384):
            sun.add(
                "hmi.sharp_cea_720s", slot(datetime(2011, 2, 14, tzinfo=UTC) + timedelta(minutes=minutes)),
                primes=("HARPNUM", "T_REC"), segments={}, HARPNUM=harpnum, NOAA_AR=11158 if harpnum == 377 else 0,
                LON_FWT=13.5, LAT_FWT=-20.25, USFLUX="2.65e+22", MEANGBZ=100.523, R_VALUE="MISSING",
            )  # fmt: skip
    span = ("--from", "2011-02-14T06:00", "--until", "2011-02-15T06:00", "--jsoc", sun.url)
    status, out, err = fetch("sharp", *span, "--json")
    told = json.loads(out)
    # All records of 24 h at 12 min, each once.
    assert (status, err, told["rows"], told["regions"]) == (0, "", 240, 2)
    table = read_sharp_table(told["path"])
    row = table[table["harpnum"] == 377].iloc[0]
    assert (row["region"], row["noaa"], row["lon"], row["lat"]) == ("HARP 377", 11158, 13.5, -20.25)
    assert (row["USFLUX"], np.isnan(row["R_VALUE"])) == (2.65e22, True)
    assert row["MEANGBZ"] == pytest.approx(275.84, abs=0.01)  # G/pixel to G/Mm
    assert parquet.read_schema(told["path"]).field("MEANGBZ").metadata == {b"unit": b"G/Mm"}
    # The analysis of maps takes it, too.
    regions = pd.DataFrame({"time": [pd.Timestamp("2011-02-14T12:00Z")], "noaa": pd.array([11158], "Int64")})
    assert with_sharp(regions, read_sharp_daily(told["path"]))["USFLUX"].item() == 2.65e22
    # One a day from the slot of the first time on, each once.
    status, out, _ = fetch("sharp", *span, "--cadence", "6h", "--json")
    assert (status, json.loads(out)["rows"]) == (0, 2 * 4)
    status, out, _ = fetch("sharp", *span, "--harpnum", "384")
    assert "120 rows of 1 regions; MEANGB* and their errors converted" in out
    status, out, err = fetch("sharp", "--from", "2012-02-14", "--until", "2012-02-17", "--jsoc", sun.url)
    assert (status, out) == (1, "")
    assert "JSOC holds no records of `hmi.sharp_cea_720s` from 2012-02-14T00:00:00Z" in err


def test_near_real_time(sun, fetch):
    issue = recent_issue()
    sun.add_forecast_set(issue - HOUR)
    status, out, err = fetch(*nrt(sun, issue))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"for the forecast of {issue:%Y-%m-%dT%H:%MZ}"
    assert re.fullmatch(r"magnetogram   data      \S+Z  1\.\d\d h old  QUALITY 0x00000400  1 file", lines[1])
    assert len(lines) == 11
    status, out, _ = fetch(*nrt(sun, issue), "--json")
    told = json.loads(out)
    assert (status, told["complete"], len(told["sources"])) == (0, True, 10)


def test_near_real_time_without_some_data(sun, fetch):
    issue = recent_issue()
    sun.add_forecast_set(issue - HOUR)
    sun.records = [record for record in sun.records if record.keywords.get("WAVELNTH") not in {"131", "1600"}]
    status, out, err = fetch(*nrt(sun, issue))
    assert status == 1
    assert err == "kflare.fetch: no data of 2 of 10 kinds: aia_131, aia_1600\n"
    assert "aia_131       no data   `aia.lev1_nrt2` has no usable record from 1 h to 5 h before issue" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "say what to fetch"),
        (("hmi", "--from", "2013-10-21", "--until", "2013-10-20", "--output", "x"), "later than"),
        (("flares", "--hek", "--output", "x"), "needs --from"),
        (("--check", "nowhere"), "is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(argv, said, capsys):
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


@pytest.mark.parametrize(
    "argv",
    [
        ("hmi", "--output", "x"),
        ("hmi", "--from", "2013-10-20", "--until", "2013-10-21", "--output", "x", "--timeout", "0"),
        ("hmi", "--from", "2013-10-20", "--until", "2013-10-21", "--output", "x", "--connections", "0"),
        ("hmi", "--from", "yesterday", "--until", "2013-10-20", "--output", "x"),
        ("hmi", "--from", "2013-10-20", "--until", "2013-10-21", "--cadence", "1 day", "--output", "x"),
        ("everything",),
    ],
)
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom kflare.fetch import main\n"
        "try:\n main(['nrt', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('numpy', 'requests', 'astropy', 'sunpy', 'drms') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.rstrip().endswith("[]")
    assert "--issue TIME" in shown.stdout


def test_fidelity_of_files_that_are_there(tmp_path, capsys):
    images, data = tmp_path / "images", tmp_path / "data"
    images.mkdir()
    data.mkdir()
    width, radius = 256, 110
    rows, columns = np.mgrid[:width, :width] - (width - 1) / 2
    field = np.random.default_rng(0).normal(0, 6, (width, width)).astype(np.float32)
    field[np.hypot(rows, columns) > radius] = np.nan
    cards = {"CRPIX1": 128.5, "CRPIX2": 128.5, "CDELT1": 9.0, "CDELT2": 9.0, "R_SUN": radius, "BUNIT": "Gauss",
             "T_OBS": "2013.10.20_00:00:00_TAI", "INSTRUME": "HMI_FRONT2", "CROTA2": 0.0}  # fmt: skip
    fits.PrimaryHDU(field, fits.Header(cards)).writeto(data / "hmi.M_720s.20131020_000000_TAI.magnetogram.fits")
    # ±100 G on bytes, off the disk 0; FITS counts rows from the south.
    shown = np.where(np.isnan(field), 0, np.rint((np.clip(field, -100, 100) + 100) * 1.275))[::-1].astype(np.uint8)
    Image.fromarray(shown).save(images / "20131020_0000_mdimag_512.jpg", quality=95)
    (images / "20131020_0010_mdimag_512.jpg").write_bytes(picture("JPEG")[:-9])
    assert main(["--check", str(images), str(data)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["first", "second", "instruments"]
    correlation = re.search(r"20131020_0000_mdimag_512.jpg .* 0\.\d{3}\s+(0\.9[5-9]\d|1\.000)", lines[1])
    assert correlation, out  # of an image with what it was made from, but for JPEG
    assert lines[3].startswith("20131020_0010_mdimag_512.jpg, hmi.M_720s.20131020_000000_TAI.magnetogram.fits: ")
    assert lines[4].startswith("means of Yi et al. 2021, section 2: byte_correlation MDI 0.91, HMI 0.87;")
    assert err.startswith("kflare.fetch: byte 255 is 100 G in `")
    # 6 G, of which areas of 1.1 × 1.1 pixels and the quietest tenth of the blocks have about half.
    assert "20131020_0000_mdimag_512.jpg` (name of its archive; noise of the quiet Sun 3." in err
    assert len(err.splitlines()) == 1
    # The same field in bytes of ±250 G, under a name that promises ±100 G.
    shown = np.where(np.isnan(field), 0, np.rint((np.clip(field, -250, 250) + 250) * 0.51))[::-1].astype(np.uint8)
    Image.fromarray(shown).save(images / "20131020_0000_mdimag_512.jpg", quality=95)
    assert main(["--check", str(images), str(data)]) == 1
    assert "byte 255 cannot stand for 100 G (name of its archive)" in capsys.readouterr().out
    (images / "20131020_0000_mdimag_512.jpg").unlink()
    assert main(["--check", str(images), str(data)]) == 1
    assert "none of 1 pairs could be compared" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_where_it_was(sun, tmp_path, how, capsys):
    content = quick_export(width=256)
    sun.add_hmi("hmi.M_720s", START, content=content)
    sun.fail("/SUM", "trickle", times=1, seconds=0.0002)
    argv = ["hmi", *days(1), "--jsoc", sun.url, "--output", str(tmp_path)]
    part = tmp_path / "hmi.M_720s.20131020_000000_TAI.magnetogram.fits.part"
    # A shell starts its background jobs, these tests perhaps among them, with SIGINT ignored; children inherit that.
    code = (
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from kflare.fetch import main\nsys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 1000) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(how)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert err.endswith("kflare.fetch: interrupted; the same command goes on from what was finished\n")
    have = part.stat().st_size
    assert 1000 < have < len(content)
    assert main(argv) == 0
    assert sun.headers[-1]["Range"] == f"bytes={have}-"
    assert [path.name for path in tmp_path.iterdir()] == [part.stem]
    capsys.readouterr()
