"""SHARP samples: the restored grid, where labels come from, and the published numbers."""

import pandas as pd
import pytest

from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.repairing import read_flares
from kflare.sharp.samples import read_sharp_samples, region_flares

COLUMNS = "prefix,arpnum,t_start,t_end,label,flares,FLARE_INDEX,AREA,USFLUX,MEANGBZ,R_VALUE"


def row(t_end, number=377, *, prefix="HARP", flares="", area=100.0):
    return f"{prefix},{number},,{t_end},False,{flares},0.0,{area},1e21,20.0,3.0"


def folder_of(tmp_path, *files, name="sharp"):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(files):
        (folder / f"{name}_{number}.csv").write_text("\n".join([COLUMNS, *rows]) + "\n", encoding="utf-8")
    # Lies beside the samples in the real folder and is something else.
    (folder / "sharp_noaa_daily_2010-2019.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    return folder


def flare_list(*flares):
    # Two far flares without a region, so that the list covers the samples.
    rows = [("2010-01-01 00:00", "B1.0", pd.NA), *flares, ("2012-01-01 00:00", "B1.0", pd.NA)]
    table = pd.DataFrame(rows, columns=["start", "goes_class", "noaa"])
    table["start"] = pd.to_datetime(table["start"], utc=True)
    return FlareList(table, "here", scale="operational")  # as the lists of the samples


def pairs_of(tmp_path, *pairs, columns=("harpnum", "noaa_ar")):
    path = tmp_path / "harp_noaa.parquet"
    pd.DataFrame(list(pairs), columns=list(columns)).to_parquet(path)
    return path


def test_the_grid_is_filled_and_parameters_are_interpolated(tmp_path):
    # Regions spread over the files; 377 misses 01:36 and 03:12, thirds of the way from 100 to 400.
    folder = folder_of(
        tmp_path,
        [row("2011-02-15 04:48:00", area=400.0), row("2011-02-15 00:00:00", 400, area=7.0)],
        [row("2011-02-15 00:00:00", area=100.0), row("2011-02-15 06:24:00", area=500.0)],
    )
    samples = read_sharp_samples(folder, flares=flare_list(), harp_noaa=pairs_of(tmp_path, (377, 11158), (400, 11160)))
    table = samples.table
    assert list(table.columns) == [
        *["time", "region", "harpnum", "noaa"],
        *["AREA", "USFLUX", "MEANGBZ", "R_VALUE"],
        *["restored", "flux24"],
    ]
    assert table["region"].tolist() == ["HARP 377"] * 5 + ["HARP 400"]
    assert table["time"].dt.strftime("%H:%M").tolist() == ["00:00", "01:36", "03:12", "04:48", "06:24", "00:00"]
    assert str(table["time"].dtype) == "datetime64[us, UTC]"
    assert table["AREA"].tolist() == pytest.approx([100, 200, 300, 400, 500, 7])
    assert table["restored"].tolist() == [False, True, True, False, False, False]
    assert table["noaa"].tolist() == [11158] * 5 + [11160]
    assert table["flux24"].tolist() == [0.0] * 6
    assert samples.restored == 2
    assert samples.agreement == 1.0
    # The gap is 00:00 to 04:48.
    assert "2 of 6 rows restored, parameters interpolated over up to 5 h" in samples.notes[0]


def test_labels_of_distributed_rows_are_the_largest_of_their_own_list(tmp_path):
    lists = ["C3.1|C1.6", "B9.9", "", "X17.|M1.0", "|C8|", "A0.0"]
    times = ["00:00", "01:36", "03:12", "04:48", "06:24", "08:00"]
    rows = [row(f"2011-02-15 {time}:00", flares=text) for time, text in zip(times, lists, strict=True)]
    samples = read_sharp_samples(
        folder_of(tmp_path, rows), flares=flare_list(), harp_noaa=pairs_of(tmp_path, (377, 11158))
    )
    assert samples.table["flux24"].tolist() == [3.1e-6, 9.9e-7, 0.0, 1.7e-3, 8e-6, 0.0]
    # The flare list knows none of them, so it contradicts the one X of six.
    assert samples.agreement == pytest.approx(5 / 6)


def test_labels_of_restored_rows_come_from_the_flare_list(tmp_path):
    # Rows at 00:00 and, 40 h later, at 16:00 of the next day: 24 rows are restored, at k * 96 minutes, k = 1 … 24.
    rows = [row("2011-02-15 00:00:00"), row("2011-02-16 16:00:00")]
    flares = flare_list(
        ("2011-02-16 01:36", "M2.0", 11158),  # k = 16 starts at that minute; window of k = 1 ends at it
        ("2011-02-16 05:00", "C5.0", 11159),  # second region of the HARP
        ("2011-02-15 05:00", "X1.0", 11160),  # another HARP's
        ("2011-02-15 06:00", "X2.0", pd.NA),
    )
    path = pairs_of(tmp_path, (377, 11158), (377, 11159), (400, 11160))
    table = read_sharp_samples(folder_of(tmp_path, rows), flares=flares, harp_noaa=path).table
    restored = table[table["restored"]]
    assert len(restored) == 24
    # t <= start < t + 24 h, in steps of 1.6 h after the first row: M2.0 at 16.0 counts for k = 2 … 16, C5.0 at 18.125
    # for k = 4 … 18.
    expected = [0.0] + [2e-5] * 15 + [5e-6] * 2 + [0.0] * 6
    assert restored["flux24"].tolist() == expected
    assert table["noaa"].unique().tolist() == [11158]


def test_unknown_labels_are_nan_not_zero(tmp_path):
    folder = folder_of(
        tmp_path,
        [row("2011-02-15 00:00:00"), row("2011-02-15 03:12:00"), row("2011-02-15 00:00:00", 400)],
        [row("2011-02-15 03:12:00", 400), row("2013-01-01 00:00:00", 500), row("2013-01-01 03:12:00", 500)],
    )
    # 400 has no NOAA number, and the list ends before 500.
    samples = read_sharp_samples(
        folder, flares=flare_list(), harp_noaa=pairs_of(tmp_path, (377, 11158), (500, 11700), (9, 9))
    )
    assert samples.table.loc[samples.table["restored"], "flux24"].isna().tolist() == [False, True, True]
    assert samples.table.loc[~samples.table["restored"], "flux24"].tolist() == [0.0] * 6
    assert any(note.startswith("2 restored rows without NOAA number") for note in samples.notes)
    assert "100.00 % of 2 rows" in samples.notes[-1]


def test_smarp_has_no_noaa_numbers(tmp_path):
    rows = [row("2001-02-15 00:00:00", 4780, prefix="TARP"), row("2001-02-15 03:12:00", 4780, prefix="TARP")]
    folder = folder_of(tmp_path, rows, name="smarp")
    samples = read_sharp_samples(folder, flares=flare_list(), harp_noaa=None)
    assert samples.table["region"].unique().tolist() == ["TARP 4780"]
    assert samples.table["noaa"].isna().all()
    assert samples.table["flux24"].isna().tolist() == [False, True, False]
    assert samples.agreement != samples.agreement  # NaN: nothing to compare with
    with pytest.raises(DataError, match="harp_noaa"):
        region_flares(samples, flare_list())
    with pytest.raises(SettingError, match="TARP"):
        read_sharp_samples(folder, flares=flare_list(), harp_noaa=pairs_of(tmp_path, (4780, 9000)))


def test_region_flares_reach_before_the_first_row(tmp_path):
    flares = flare_list(
        ("2011-02-13 17:28", "M6.6", 11158),
        ("2011-02-20 00:00", "C1.0", 11158),
        ("2011-02-15 01:44", "X2.2", 11159),
        ("2011-02-15 02:00", "C2.0", 11170),
    )
    path = pairs_of(tmp_path, (377, 11158), (377, 11159), (380, 11158), (999, 11170))
    folder = folder_of(tmp_path, [row("2011-02-15 00:00:00"), row("2011-02-15 00:00:00", 380)])
    seen = region_flares(read_sharp_samples(folder, flares=flares, harp_noaa=path), flares)
    # HARP 999 has no samples; both others share 11158.
    assert seen["region"].tolist() == ["HARP 377"] * 3 + ["HARP 380"] * 2
    assert seen["flux"].tolist() == [6.6e-5, 2.2e-4, 1e-6, 6.6e-5, 1e-6]
    assert seen.groupby("region")["start"].is_monotonic_increasing.all()


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([row("2011-02-15 00:00:00"), row("2011-02-15 01:00:00")], "96 minutes"),
        ([row("2011-02-15 00:00:00"), row("2011-02-15 00:00:00")], "one row per time"),
        ([row("noon")], "`t_end` must be a time.*'noon' in row 0"),
        ([row("2011-02-15 00:00:00", "three")], "`arpnum` must be a positive whole number"),
        ([row("2011-02-15 00:00:00"), row("2011-02-15 01:36:00", area="")], "`AREA` must be a finite number.*row 1"),
        ([row("2011-02-15 00:00:00", area="inf")], "`AREA`"),
        ([row("2011-02-15 00:00:00"), row("2011-02-15 01:36:00", prefix="TARP")], "`prefix`.*HARP, TARP"),
        ([row("2011-02-15 00:00:00", prefix="AR")], "`prefix`.*AR"),
        ([], "no sample"),
    ],
)
def test_unusable_rows_are_named(tmp_path, rows, match):
    with pytest.raises(DataError, match=match):
        read_sharp_samples(folder_of(tmp_path, rows), flares=flare_list(), harp_noaa=None)


def test_missing_folder_files_and_columns(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        read_sharp_samples(tmp_path / "absent", flares=flare_list(), harp_noaa=None)
    (tmp_path / "sharp_0.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="no file named like"):
        read_sharp_samples(tmp_path, flares=flare_list(), harp_noaa=None)
    (tmp_path / "sharp_0.csv").write_text("prefix,arpnum,t_end\nHARP,1,2011-02-15\n", encoding="utf-8")
    with pytest.raises(DataError, match="lacks the column `flares`"):
        read_sharp_samples(tmp_path, flares=flare_list(), harp_noaa=None)
    (tmp_path / "sharp_0.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="no readable CSV"):
        read_sharp_samples(tmp_path, flares=flare_list(), harp_noaa=None)


def test_unusable_pairs_are_named(tmp_path):
    folder = folder_of(tmp_path, [row("2011-02-15 00:00:00")])
    for path, match in {
        tmp_path / "absent.parquet": "no table of HARP and NOAA numbers",
        pairs_of(tmp_path, (377, 1), columns=("harpnum", "ar")): "lacks the column `noaa_ar`",
    }.items():
        with pytest.raises(DataError, match=match):
            read_sharp_samples(folder, flares=flare_list(), harp_noaa=path)
    text = tmp_path / "pairs.csv"
    text.write_text("harpnum,noaa\n377,11158\n377,x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"`noaa` must be a positive whole number.*'x' in row 1"):
        read_sharp_samples(folder, flares=flare_list(), harp_noaa=text)
    for number in ("1e30", "inf", "-5", "11158.5", "99999999999999999999", "9" * 400):
        text.write_text(f"harpnum,noaa\n377,11158\n377,{number}\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"`noaa` must be a positive whole number.* in row 1"):
            read_sharp_samples(folder, flares=flare_list(), harp_noaa=text)


@pytest.mark.parametrize("as_listed", [True, False])
def test_the_published_samples_are_restored(real_data, as_listed):
    # On today's scale 3.4 % are labelled, and the samples' own lists, brought to it, agree with the flare list as well.
    scale = "as listed" if as_listed else "irradiance"
    flares = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv", scale=scale)
    samples = read_sharp_samples(
        real_data / "sharp", flares=flares, harp_noaa=real_data / "regions" / "harp_noaa.parquet"
    )
    # data/README.md: 101,091 distributed rows, 1,178 HARPs, 112,381 on the gap-free grid, labels agree in 99.9 %.
    assert len(samples.table) == 112_381
    assert samples.restored == 112_381 - 101_091
    assert samples.table["harpnum"].nunique() == 1178
    assert samples.agreement > 0.999
    assert samples.table["flux24"].notna().all()
    # 2.6 % of the distributed rows are labelled; the restored ones after a flare are what persistence needs.
    distributed = samples.table[~samples.table["restored"]]
    assert (distributed["flux24"] >= 1e-5).mean() == pytest.approx(0.0262 if as_listed else 0.0336, abs=5e-5)
    # HARP 377 is NOAA 11158, with the X2.2 of 2011-02-15 01:44.
    own = region_flares(samples, flares)
    assert own.loc[own["region"] == "HARP 377", "flux"].max() == (2.2e-4 if as_listed else 3.1e-4)


def test_the_smarp_samples_are_on_the_same_grid(real_data):
    flares = read_flares(real_data / "goes" / "swpc_flares_1996-2018.csv")
    samples = read_sharp_samples(real_data / "smarp", flares=flares, harp_noaa=None)
    # 165,151 distributed rows of 2,071 regions (data/README.md and the files).
    assert (~samples.table["restored"]).sum() == 165_151
    assert samples.table["harpnum"].nunique() == 2071
    assert samples.table["flux24"].isna().sum() == samples.restored


def test_rows_that_span_more_than_a_year_are_refused(tmp_path):
    folder = folder_of(tmp_path, [row("2011-02-15 00:00:00"), row("2013-02-15 00:00:00", 377)])
    with pytest.raises(DataError, match="must lie within a year, those of 377 span 731 days"):
        read_sharp_samples(folder, flares=flare_list(), harp_noaa=None)
