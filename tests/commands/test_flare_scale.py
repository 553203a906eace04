"""The scale of flare classes on the command line: what it changes, where it is recorded, and tables that hold it."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.commands import crossvalidate
from kflare.commands.options import OPTION_TYPES
from kflare.datasets.region_run import complete_run
from kflare.datasets.region_samples import samples_of_region_table
from kflare.errors import SettingError
from kflare.flares.repairing import read_flares
from kflare.models.region_models import region_task
from kflare.models.registry import model_spec

HEADER = "start,peak,end,goes_class,noaa,obs"
FLARES = [
    "2014-01-01 00:10,2014-01-01 00:15,2014-01-01 00:20,C7.0,11900,G15",
    "2014-01-02 13:00,2014-01-02 13:05,2014-01-02 13:10,C2.0,11900,G15",
    "2014-01-04 14:00,2014-01-04 14:05,2014-01-04 14:10,B8.0,11901,G15",
    "2014-01-06 14:00,2014-01-06 14:05,2014-01-06 14:10,B1.0,,G15",
]


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "flares.csv"
    path.write_text("\n".join([HEADER, *FLARES]) + "\n")
    return path


@pytest.fixture
def regions(tmp_path):
    times = pd.date_range("2014-01-01", periods=4, freq="D", tz="UTC")
    rows = [{"time": time, "region": str(noaa), "noaa": noaa} for time in times for noaa in (11900, 11901)]
    path = tmp_path / "regions.parquet"
    table = pd.DataFrame(rows).assign(AREA=np.arange(8.0), USFLUX=1e21, MEANGBZ=90.0, R_VALUE=np.arange(8.0))
    table.to_parquet(path)
    return path


def test_the_option_reads_todays_scale_or_the_lists_own(listed, regions):
    parse = crossvalidate.main.parser().parse_args
    today = parse(["defn-m", "--regions", str(regions), "--flares", str(listed)])
    assert today.flare_scale == "irradiance"
    other = parse(["defn-m", "--regions", str(regions), "--flares", str(listed), "--flare-scale", "as-listed"])
    assert read_flares(other.flares, scale=other.flare_scale).table["goes_class"].tolist()[0] == "C7.0"
    assert OPTION_TYPES["words"]("as listed") == OPTION_TYPES["words"]("as-listed")
    with pytest.raises(SystemExit):
        parse(["defn-m", "--flares", str(listed), "--flare-scale", "old"])


def test_what_the_scale_changes_in_regions(listed, regions, capsys):
    assert crossvalidate.main(["defn-m", "--regions", str(regions), "--flares", str(listed), "--show-scale"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 flares in `flares.csv`, classes on today's scale (irradiance")
    assert lines[1:3] == ["1 flares of C as listed are M today", "1 flares of B as listed are C today"]
    # 11900 has a flare ahead on days 1 (C7.0) and 2 (C2.0), 11901 on day 4 (B8.0).
    assert lines[3:] == [
        "≥C1.0: 2 of 8 samples are events as listed, 3 today; 1 of 1 regions have another label",
        "≥M1.0: 0 of 8 samples are events as listed, 1 today; 1 of 1 regions have another label",
        "≥X1.0: 0 of 8 samples are events as listed, 0 today; 0 of 0 regions have another label",
    ]


def test_what_the_scale_changes_in_images(listed, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for day in range(1, 5):
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(folder / f"hmi.M_201401{day:02d}_000000.jpg")
    command = ["cnn-m", "--magnetograms", str(folder), "--flares", str(listed), "--show-scale"]
    assert crossvalidate.main(command) == 0
    out = capsys.readouterr().out
    assert "≥C1.0: 2 of 4 samples are events as listed, 3 today; 1 have another label" in out
    assert "≥M1.0: 0 of 4 samples are events as listed, 1 today; 1 have another label" in out


def test_a_table_with_histories_of_another_scale_is_refused(listed, regions):
    table = pd.read_parquet(regions)
    table.attrs["flare_scale"] = "operational"
    table.to_parquet(regions)
    given = {"sharp": None, "harp_noaa": None, "regions": regions, "features": ["AREA", "R_VALUE"]}
    today, old = (read_flares(listed, scale=scale) for scale in ("irradiance", "as listed"))
    with pytest.raises(
        SettingError, match="flare histories of the scale operational: choose it with --flare-scale as-listed"
    ):
        region_task(model_spec("defn-m"), today, **given)
    task = region_task(model_spec("defn-m"), old, **given)
    assert task.settings["flare_scale"] == "operational"
    statistics = task.frequencies["event statistics"]  # the longest of the baselines, made once for all folds
    assert statistics(0.1) is statistics(0.2)
    assert samples_of_region_table(regions, old).table.attrs == {"flare_scale": "operational"}
    # A table that does not say it is taken as it is.
    pd.read_parquet(regions).to_csv(regions.with_suffix(".csv"), index=False)
    task = region_task(model_spec("defn-m"), today, **given | {"regions": regions.with_suffix(".csv")})
    assert task.settings["flare_scale"] == "irradiance"


def test_a_region_table_says_on_which_scale_its_histories_are(tmp_path, listed):
    for scale, stated in (("irradiance", "irradiance"), ("as listed", "operational")):
        complete_run([], tmp_path / "regions.parquet", flares=read_flares(listed, scale=scale))
        assert pd.read_parquet(tmp_path / "regions.parquet").attrs == {"flare_scale": stated}
