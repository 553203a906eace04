"""SMARP samples: whose a flare was is read from the samples' own lists."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kflare.flares.catalogue import FlareList

_TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "earlier_cycle.py"))
read_smarp_samples = _TOOL["read_smarp_samples"]

START = pd.Timestamp("2000-07-14T00:00Z")
STEP = pd.Timedelta(minutes=96)


def write(folder, arpnum, flares, steps, dropped=()):
    """Samples of a region that list the flares (time after START, class) of their next 24 h."""
    rows = []
    for step in range(steps):
        time = START + step * STEP
        ahead = [name for begin, name in flares if time <= START + begin < time + pd.Timedelta(days=1)]
        if step not in dropped:
            rows.append(["TARP", arpnum, time.strftime("%Y-%m-%d %H:%M:%S"), "|".join(ahead), 100.0, 1e21, 50.0, 3.0])
    names = ["prefix", "arpnum", "t_end", "flares", "AREA", "USFLUX", "MEANGBZ", "R_VALUE"]
    pd.DataFrame(rows, columns=names).to_csv(folder / f"smarp_{arpnum}.csv", index=False)


def listed(flares, noaa):
    begin = pd.to_datetime([START + time for time, _ in flares], utc=True)
    table = {"start": begin, "peak": begin + pd.Timedelta(minutes=10), "goes_class": [name for _, name in flares]}
    return FlareList(pd.DataFrame(table | {"noaa": pd.array(noaa, "Int64")}), "test list", scale="operational")


@pytest.fixture
def read(tmp_path):
    hours = [pd.Timedelta(hours=h) for h in (-30, 20, 21, 22, 26)]
    classes = ["C9.1", "C2.5", "M1.5", "C3.3", "C4.4"]
    flares = list(zip(hours, classes, strict=True))
    # TARP 1 had all but the C3.3, which TARP 2 had. Removed by the authors: rows after the M flare without another.
    write(tmp_path, 1, [flares[1], flares[2], flares[4]], 40, dropped=range(14, 29))
    write(tmp_path, 2, [flares[3]], 40)
    return read_smarp_samples(tmp_path, flares=listed(flares, [9077, 9077, 9077, None, 9077]))


def test_flares_are_given_to_the_region_that_lists_them(read):
    _, own = read
    assert own.columns.tolist() == ["region", "start", "peak", "flux"]
    np.testing.assert_allclose(own.loc[own["region"] == "TARP 2", "flux"], [3.3e-6])
    # The first, before the first sample, through the NOAA number of the others.
    np.testing.assert_allclose(own.loc[own["region"] == "TARP 1", "flux"], [9.1e-6, 2.5e-6, 1.5e-5, 4.4e-6])


def test_restored_rows_are_labelled_by_these_flares(read):
    samples, _ = read
    one = samples.table[samples.table["region"] == "TARP 1"].reset_index(drop=True)
    assert one["restored"].sum() == 15
    assert one["restored"][14:29].all()
    # 14 steps of 96 minutes are 22.4 h, 16 are 25.6 h and 17 are 27.2 h: the C4.4 at 26 h is ahead until then.
    np.testing.assert_allclose(one["flux24"][14:17], 4.4e-6)
    assert (one["flux24"][17:] == 0).all()


def test_real_lists_and_flares_agree(real_data):
    from kflare.flares.repairing import read_flares

    flares = read_flares(real_data / "goes" / "swpc_flares_1996-2018.csv")
    samples, own = read_smarp_samples(real_data / "smarp", flares=flares)
    table = samples.table
    assert len(table) == 183_659
    assert table["flux24"].notna().all()
    # Rows after an M flare were removed where no other followed: next to none of them has one ahead.
    assert (table["flux24"][table["restored"]] >= 1e-5).mean() < 0.05
    assert own["region"].nunique() > 600
