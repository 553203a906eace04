from datetime import UTC, datetime

import pandas as pd
import pytest

from kflare.datasets.region_samples import samples_of_region_table, samples_of_sharp
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList

TOLD = ((datetime(2013, 12, 20, tzinfo=UTC), datetime(2014, 1, 10, tzinfo=UTC)),)


@pytest.fixture
def flares():
    start = pd.to_datetime(["2014-01-01T00:10Z", "2014-01-02T13:00Z", "2014-01-02T14:00Z", "2014-01-08T00:00Z"])
    table = pd.DataFrame({"start": start, "peak": start, "goes_class": ["C1.0", "M2.0", "X1.0", "B1.0"]})
    return FlareList(
        table.assign(noaa=pd.array([11900, 11900, 11901, None], "Int64")), "test", scale="operational", told=TOLD
    )


def test_a_region_table_is_labelled_by_its_own_flares(tmp_path, flares):
    times = pd.date_range("2014-01-01", periods=4, freq="12h", tz="UTC")
    own = pd.DataFrame({"time": times, "region": "1", "noaa": 11900, "AREA": 100.0})
    nameless = own.assign(region="2", noaa=0)
    pd.concat([own, nameless]).to_csv(tmp_path / "regions.csv", index=False)
    samples = samples_of_region_table(tmp_path / "regions.csv", flares)
    assert list(samples.table["region"]) == ["1"] * 4
    # The windows of 1 January 0 UT and of 2 January 0 and 12 UT hold a flare of 11900; the X flare is of another.
    assert samples.flux == pytest.approx([1e-6, 0, 2e-5, 2e-5])
    assert list(samples.table["Chis"]) == [0, 1, 1, 1]
    assert list(samples.region_flares["region"]) == ["1", "1"]
    assert samples.notes == (f"{tmp_path / 'regions.csv'}: 4 rows without NOAA number left out",)


def test_rows_up_to_today_are_left_out_where_the_list_does_not_tell_what_followed(tmp_path, flares):
    times = pd.date_range("2014-01-08T12:00", periods=4, freq="12h", tz="UTC")  # it tells until 2014-01-10
    own = pd.DataFrame({"time": times, "region": "1", "noaa": 11900, "AREA": 100.0})
    own.to_csv(tmp_path / "own.csv", index=False)
    samples = samples_of_region_table(tmp_path / "own.csv", flares)
    assert samples.table["time"].tolist() == list(times[:2])
    assert "2 rows whose 24 h the flare list does not cover left out" in samples.notes[0]
    own.assign(time=times + pd.Timedelta(days=5)).to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(DataError, match="4 of 4 samples need"):
        samples_of_region_table(tmp_path / "own.csv", flares)


def test_labels_of_flares_without_a_region_are_not_none(tmp_path, flares):
    times = pd.date_range("2014-01-01", periods=4, freq="12h", tz="UTC")
    pd.DataFrame({"time": times, "region": "1", "noaa": 11900, "AREA": 100.0}).to_csv(tmp_path / "own.csv", index=False)
    nameless = flares.table.assign(noaa=flares.table["noaa"].where(flares.table["start"] < "2014-01-02"))
    # Of the four flares of 1 and 2 January one is numbered; the others are in the windows of 2 January.
    nameless = pd.concat([nameless, nameless[1:2]])
    samples = samples_of_region_table(tmp_path / "own.csv", FlareList(nameless, "test", scale="operational", told=TOLD))
    assert samples.table["time"].tolist() == list(times[:2])
    assert "2 rows with few numbered flares in the 24 h after them left out" in samples.notes[0]


def test_sharp_samples_of_a_list_without_regions_are_refused(tmp_path, flares):
    times = pd.date_range("2014-01-01", periods=31, freq="96min")
    rows = pd.DataFrame({"prefix": "HARP", "arpnum": 7, "t_end": times.astype(str), "flares": ""})
    rows.assign(AREA=100.0, USFLUX=1e21, MEANGBZ=90.0, R_VALUE=1.0).to_csv(tmp_path / "sharp_0.csv", index=False)
    pd.DataFrame({"harpnum": [7], "noaa_ar": [11900]}).to_parquet(tmp_path / "pairs.parquet")
    nameless = FlareList(flares.table.assign(noaa=pd.array([None] * 4, "Int64")), "nameless.csv")
    with pytest.raises(DataError, match=r"`flares`: nameless\.csv names the region of 0 of its 3 flares"):
        samples_of_sharp(tmp_path, nameless, harp_noaa=tmp_path / "pairs.parquet")


def test_sharp_samples_get_their_grid_and_their_labels_back(tmp_path, flares):
    times = pd.date_range("2014-01-01", periods=16, freq="96min")
    rows = pd.DataFrame({"prefix": "HARP", "arpnum": 7, "t_end": times.astype(str), "flares": ""})
    rows = rows.assign(AREA=100.0, USFLUX=1e21, MEANGBZ=90.0, R_VALUE=range(16))
    rows.loc[0, "flares"] = "C1.0"
    rows.drop(index=range(3, 10)).to_csv(tmp_path / "sharp_0.csv", index=False)
    pd.DataFrame({"harpnum": [7], "noaa_ar": [11900]}).to_parquet(tmp_path / "pairs.parquet")
    samples = samples_of_sharp(tmp_path, flares, harp_noaa=tmp_path / "pairs.parquet")
    assert len(samples.table) == 16
    assert list(samples.table["R_VALUE"]) == list(range(16))
    assert samples.flux[0] == 1e-6
    # Restored rows of 4:48 to 14:24 UT: the M flare of the next day at 13:00 is within 24 h from 13:00 on, at 14:24.
    assert samples.flux[3:10] == pytest.approx([0] * 6 + [2e-5])
    assert list(samples.table["Chis"][:2]) == [0, 1]
    assert "7 of 16 rows restored" in samples.notes[0]


def test_a_number_counts_from_the_summary_that_lists_it_first(tmp_path, flares):
    times = pd.date_range("2014-01-01", periods=31, freq="96min")
    rows = pd.DataFrame({"prefix": "HARP", "arpnum": 7, "t_end": times.astype(str), "flares": ""})
    rows = pd.concat([rows, rows.assign(arpnum=8)])  # HARP 8 has no number at all
    rows.assign(AREA=100.0, USFLUX=1e21, MEANGBZ=90.0, R_VALUE=1.0).to_csv(tmp_path / "sharp_0.csv", index=False)
    pd.DataFrame({"harpnum": [7, 7], "noaa_ar": [11900, 11901]}).to_parquet(tmp_path / "pairs.parquet")
    issued = pd.to_datetime(["2014-01-02T00:30Z", "2014-01-03T00:30Z"])
    srs = pd.DataFrame({"noaa": [11900, 11900], "issued": issued})
    samples = {
        name: samples_of_sharp(tmp_path, flares, harp_noaa=tmp_path / "pairs.parquet", srs=table)
        for name, table in (("untimed", None), ("none", srs.assign(noaa=11999)), ("listed", srs))
    }
    history = {name: one.table[one.table["region"] == "HARP 7"]["Chis"].to_numpy() for name, one in samples.items()}
    known = pd.to_datetime(times, utc=True) >= issued[0]
    assert list(history["untimed"]) == list(history["none"]) == [0] + [1] * 30
    # 11901 is in no summary, so that the region is known by this number, which has no C flare, from its first row on.
    assert list(history["listed"]) == [1.0 if on else 0.0 for on in known]
    only = pd.DataFrame({"harpnum": [7], "noaa_ar": [11900]})
    only.to_parquet(tmp_path / "pairs.parquet")
    alone = samples_of_sharp(tmp_path, flares, harp_noaa=tmp_path / "pairs.parquet", srs=srs).table
    own, nameless = (alone[alone["region"] == region] for region in ("HARP 7", "HARP 8"))
    assert list(own["Chis"].isna()) == list(own["noaa"].isna()) == list(~known)
    assert nameless["Chis"].isna().all()
    assert "1 of 2 NOAA numbers taken as known from a region's first row" in samples["listed"].notes[0]
