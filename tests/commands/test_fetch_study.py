"""`kflare.fetch study` against the archive of a synthetic Sun: what it leaves, tells, and does not ask twice."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from kflare.commands.fetch import main
from kflare.commands.fit import main as fit
from kflare.datasets.region_features import features_of
from kflare.datasets.region_samples import samples_of_region_table
from kflare.datasets.study import keyword_regions, make_tables, study_files
from kflare.flares.repairing import read_flares
from kflare.flares.srs import read_srs
from kflare.sharp.keywords import read_sharp_table
from kflare.synthetic.sun import SyntheticSun
from tests.standin import refusing
from tests.sun_archive import SunArchive

DAY = timedelta(days=1)
SPAN = ("--from", "2013-02-01", "--until", "2013-03-20")
HASTY = ("--timeout", "20", "--attempts", "2", "--wait", "0.01")


@pytest.fixture
def archive():
    with SunArchive(SyntheticSun(datetime(2013, 1, 10, tzinfo=UTC), 75, seed=2), size=128) as server:
        yield server


def mirrors(url):
    return ("--soho", f"{url}/soho", "--noaa", f"{url}/noaa", "--hek", f"{url}/hek/her?", "--jsoc", url)


@pytest.fixture
def fetch(archive, tmp_path, capsys):
    """Run the command into one folder; gives exit status, stdout and stderr."""

    def run(*argv, url=archive.url):
        status = main(["study", *argv, "--output", str(tmp_path / "study"), *mirrors(url), *HASTY])
        return status, *capsys.readouterr()

    return run


def test_a_study_has_one_layout_and_is_what_fit_takes(archive, fetch, tmp_path):
    study = tmp_path / "study"
    status, out, err = fetch(*SPAN)
    assert (status, err) == (0, "")
    assert {path.name for path in study.iterdir()} == {
        "README.md", "flares.csv", "hmi", "regions.parquet", "sharp.parquet", "sources", "srs.txt",
    }  # fmt: skip
    # 47 days; 2013-02-14 and 2013-03-29 are gaps of the archive (every 43rd day).
    assert len(list((study / "hmi").glob("*_hmimag_512.jpg"))) == 46
    page = (study / "README.md").read_text(encoding="utf-8")
    assert "missing       2013-02-14T00:00Z hmimag: no `hmimag` image up to 12 h before" in page
    assert "of 2013-02-25T22:24:00Z instead" in page
    assert f"--url {archive.url}/soho" in page
    assert "2013-02-01T00:00Z to 2013-03-20T00:00Z, asked at " in page
    # Of the yearly report, the daily ones and the HEK each flare is there once, and knows its region.
    made = archive.sun.flares.between(datetime(2013, 1, 19, tzinfo=UTC), datetime(2013, 3, 20, tzinfo=UTC)).table
    flares = read_flares(study / "flares.csv", scale="as listed")
    found = flares.between(datetime(2013, 1, 19, tzinfo=UTC), datetime(2013, 3, 20, tzinfo=UTC)).table
    assert abs(len(found) - len(made)) <= 0.02 * len(made)  # reported to the minute, some become one
    assert found["noaa"].notna().sum() >= made["noaa"].notna().sum() * 0.98
    assert read_srs(study / "srs.txt")["time"].dt.floor("D").nunique() == 14 + 47 + 1
    # The regions that fit takes: every known feature that was measured.
    files = study_files(study, images=False)
    table = samples_of_region_table(files["regions"], read_flares(files["flares"])).table
    names = [feature.name for feature in features_of(table, files["features"], source="x")]
    assert {"VUSflux", "R_VALUE", "dt24VUSflux", "Chis1d"} <= set(names)
    assert not {"USFLUX", "Bmax", "AREA"} & set(names)  # of the vector field alone; AREA is not in this archive
    # Again: nothing is asked for that is there.
    asked = len(archive.log)
    status, out, _ = fetch(*SPAN)
    assert status == 0
    # Only the days without an image of 00:00, and those before them.
    again = {path.split("/")[4] for path in archive.log[asked:] if path.startswith("/soho")}
    assert again == {"20130213", "20130214", "20130225", "20130226"}
    assert not [path for path in archive.log[asked:] if not path.startswith("/soho")]
    assert "already there      46" in out


def test_an_interrupted_study_goes_on_and_one_part_may_be_fetched_alone(archive, fetch, tmp_path):
    archive.fail("20130210_0000", "html")
    archive.fail("jsoc_info.*2013.03.1", "html")
    status, _, err = fetch(*SPAN, "--parts", "images", "sharp")
    assert (status, err.count("\n")) == (1, 1)
    assert "2 fetches lack something, run the same command again: 1 of 47 were rejected or not answered for" in err
    before = read_sharp_table(tmp_path / "study" / "sharp.parquet")
    archive.faults.clear()
    asked = len(archive.log)
    status, out, err = fetch(*SPAN, "--parts", "sharp", "--json")
    assert (status, err, list(json.loads(out))) == (0, "", ["sharp"])
    assert not archive.asked("soho")[len(archive.asked("soho")) :]
    assert not [path for path in archive.log[asked:] if "2013.02.10" in path]  # February was kept
    after = read_sharp_table(tmp_path / "study" / "sharp.parquet")
    assert before["time"].max() < pd.Timestamp("2013-03-01", tz="UTC") <= after["time"].max()
    page = (tmp_path / "study" / "README.md").read_text(encoding="utf-8")
    assert "images, 2013-02-01T00:00Z" in page  # what an earlier run fetched stays told
    assert page.index("images, ") < page.index("sharp, ")


def test_without_an_answer_it_is_said_once(fetch, tmp_path):
    with refusing() as url:
        status, out, err = fetch(*SPAN, url=url)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "Connection refused" in err
    assert "nothing was fetched" in err


def test_a_span_without_a_day_asks_nobody(fetch, tmp_path, capsys):
    status, _, err = fetch("--from", "2013-01-05", "--until", "2013-01-03")
    told = "--until must be later than --from 2013-01-05T00:00Z, got 2013-01-03T00:00Z"
    assert (status, err) == (1, f"kflare.fetch: {told}\n")
    with pytest.raises(SystemExit):
        fetch("--from", "2099-01-01", "--until", "2099-01-03")
    assert "--from: `2099-01-01` lies in the future" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_month_without_images_is_one_line(archive, fetch, tmp_path):
    archive.soho = lambda product, day: [day] if day.month == 3 else []
    status, out, _ = fetch(*SPAN, "--parts", "images")
    assert status == 0
    assert "missing       2013-02-01T00:00Z to 2013-02-28T00:00Z hmimag: 28 times, no `hmimag` image" in out


def test_lists_without_regions_and_months_without_flares_are_said(tmp_path):
    folder = tmp_path / "sources" / "hek"
    folder.mkdir(parents=True)
    rows = "start,peak,end,goes_class,noaa\n2013-02-03T01:00Z,,,C2.0,\n2013-04-03T01:00Z,,,M2.0,\n"
    (folder / "hek_20130101_20140101.csv").write_text(rows)
    events = tmp_path / "sources" / "events"
    events.mkdir()
    (events / "20130301events.txt").write_text("a notice to the readers\n")
    notes = make_tables(tmp_path, "flares")
    assert notes[0].startswith("set aside: `")
    assert notes[1:] == [
        "flares.csv: 2 flares; 0 of 2 of class C and above name their region, too few for region models",
        "flares.csv: no flare in 2013-03",
    ]
    assert (events / "20130301events.txt.unreadable").exists()


def test_keywords_become_features_in_their_units():
    # HARP 377 on 2011-02-15, from its header; the true current is 1/3.86 of SAVNCPP (c = 0.5087643 arcsec there).
    row = {"time": pd.Timestamp("2011-02-15T01:59:25Z"), "region": "HARP 377", "harpnum": 377, "noaa": 11158,
           "noaas": "11158", "lon": 13.5, "lat": -20.25, "quality": 0x400, "AREA": 1500.0, "R_VALUE": 4.8,
           "SAVNCPP": 3.86e13, "USFLUX": 2.65e22, "MEANGBZ": 275.8}  # fmt: skip
    others = dict.fromkeys(
        ("TOTUSJZ", "TOTUSJH", "ABSNJZH", "MEANGBH", "MEANGBT", "MEANGAM", "MEANJZD", "MEANJZH"), np.nan
    )
    table = pd.DataFrame([row | others, row | others | {"quality": 0x80000000}])
    (found,) = keyword_regions(table).to_dict("records")
    assert found["SavNCPP"] == pytest.approx(3.86e13 * 0.5087643**2, rel=1e-3)
    assert (found["VUSflux"], found["MeanGBz"], found["R_VALUE"]) == (2.65e22, 275.8, 4.8)
    assert "USFLUX" not in found  # that name is of the line-of-sight field


def test_what_a_study_lacks_is_named(tmp_path, capsys):
    for model, lacking in (("cnn-m", "flares.csv, hmi or mdi"), ("defn-m", "flares.csv, regions.parquet")):
        assert fit([model, "--study", str(tmp_path), "--train-until", "2014-01-01"]) == 1
        assert f"`{tmp_path}` has no {lacking}: let kflare fetch study fill it" in capsys.readouterr().err
    assert fit(["defn-m", "--train-until", "2014-01-01"]) == 1
    assert "defn-m needs --flares FILE, or --study FOLDER" in capsys.readouterr().err
