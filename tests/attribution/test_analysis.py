"""The analysis of section 4 from attribution files to tables and figures, on a synthetic Sun."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from math import nan

import numpy as np
import pandas as pd
import pytest

from kflare.attribution.analysis import AnalysisOptions, analyse, read_image, region_rows
from kflare.attribution.analysis_figures import example_images, example_regions
from kflare.attribution.attribution_file import Attribution, Origin, write_attribution
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import ImageMaps, enlarged
from kflare.attribution.map_measures import map_measures, map_table
from kflare.attribution.region_tables import read_regions
from kflare.commands.analyse import attribution_files, main
from kflare.errors import DataError, SettingError
from kflare.flares.repairing import read_flares
from kflare.observations.reading import read_magnetogram
from kflare.observations.similarity.measures import aligned
from kflare.regions.inversion_lines import polarity_lines
from kflare.sharp.daily import read_sharp_daily
from kflare.sharp.keywords import SHARP_KEYWORDS
from kflare.sun.disk import network_disk
from kflare.synthetic.sun import SyntheticSun
from tests.harp_files import write_cea

pytestmark = pytest.mark.trains

SIZE, CELLS = 128, 4
START = datetime(2014, 6, 5, tzinfo=UTC)


def attribution(path, probability, *, model="cnn-c"):
    """Maps of a network that looks at inversion lines, 20 times as much as elsewhere, and where |B| is large."""
    sent = read_magnetogram(path, byte_range=250)
    image = aligned(sent, disk=network_disk(SIZE), width=SIZE)
    steep = np.where(polarity_lines(image.data, threshold=100).inversion, 1, 0.05)
    cells = np.abs(np.nan_to_num(image.data)).reshape(CELLS, SIZE // CELLS, CELLS, SIZE // CELLS).mean(axis=(1, 3))
    image = replace(image, data=np.nan_to_num(image.data))
    fine = image.data.reshape(SIZE // 2, 2, SIZE // 2, 2).mean(axis=(1, 3)) ** 2
    fine *= np.log(probability / (1 - probability)) / fine.mean()  # a map whose mean is the score
    outputs = {
        "probability": [probability],
        "calibrated": [probability / 2],
        "cam": np.stack([-fine, fine], -1)[None],
        "grad_cam": np.stack([-cells, cells], -1)[None],
        "grad_cam_plus_plus": np.stack([0 * cells, 1.1 * cells**1.1], -1)[None],
        "grad_cam_share": np.array([[0.5, 0.25]]),
        "guided_backprop": np.stack([steep[::-1], -steep], -1)[None],
    }
    return Attribution.of_reply(outputs, 0, sent, origin=Origin(model, 1))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Eight days: half of them forecast to flare."""
    folder = tmp_path_factory.mktemp("archive")
    sun = SyntheticSun(START, 20, seed=2, activity=2)
    sun.write(folder, size=SIZE, byte_range=250)
    (folder / "export" / "maps").mkdir(parents=True)
    for path in sorted((folder / "magnetograms").iterdir())[8:]:
        path.unlink()
    images = sorted((folder / "magnetograms").iterdir())
    for number, path in enumerate(images):
        found = attribution(path, 0.9 - 0.01 * number if number % 2 else 0.1 + 0.01 * number)
        write_attribution(found, folder / "export" / "maps" / f"{path.stem}.fits")
    regions = read_regions(folder / "regions.parquet")
    rows = regions[regions["time"].dt.hour == 0]
    head = ";".join(["T_REC", "NOAA_AR", *SHARP_KEYWORDS])
    lines = [
        ";".join([f"{row.time:%Y-%m-%d %H:%M:%S}", str(row.noaa), *[f"{row.USFLUX:.6g}"] * 16])
        for row in rows.itertuples()
    ]
    (folder / "sharp.csv").write_text("\n".join([head, *lines]))
    return folder


@pytest.fixture(scope="module")
def images(archive):
    return sorted((archive / "magnetograms").iterdir())


@pytest.fixture(scope="module")
def regions(archive):
    return read_regions(archive / "regions.parquet")


def test_tables_and_figures(archive, images, regions, tmp_path):
    found = analyse(
        attribution_files(archive / "export", images),
        images,
        tmp_path / "out",
        flares=read_flares(archive / "flares.csv"),
        regions=regions,
        sharp=read_sharp_daily(archive / "sharp.csv"),
        days=[date(2014, 6, 8)],
        options=AnalysisOptions(resamples=50),
    )
    methods = ("cam", "grad_cam", "grad_cam_plus_plus")
    tables = ["alike", "figure6", "figure7", "images", "maps", "regions", "table2", "table2_numbers"]
    tables += [f"table2_{method}" for method in methods]
    figures = {path.stem for path in found.files if path.suffix == ".pdf"}
    assert {"figure2_20140608", "figure3", "figure4", "figure6", "figure7"} <= figures
    assert {f"figure{n}_{method}" for n in (4, 6, 7) for method in ("cam", "grad_cam_plus_plus")} <= figures
    expected = [*(f"{name}.csv" for name in tables), *(f"{name}.{kind}" for name in figures for kind in ("pdf", "png"))]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*expected, "summary.json"])
    assert all(path.stat().st_size for path in found.files)
    assert found.failures == {}

    written = pd.read_csv(tmp_path / "out" / "images.csv")
    assert len(written) == len(images) == 8
    # 0.5 decides: the odd days were forecast to flare, and the list says what happened.
    flares = read_flares(archive / "flares.csv").table
    for row in written.to_dict("records"):
        begin = pd.Timestamp(row["time"])
        inside = flares[(flares["start"] >= begin) & (flares["start"] < begin + pd.Timedelta(days=1))]
        occurred, yes = (inside["flux"] >= 1e-6).any(), row["probability"] > 0.5
        names = {(True, True): "hit", (True, False): "miss", (False, True): "false alarm", (False, False): "null"}
        assert row["outcome"] == names[(bool(occurred), bool(yes))]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sum(summary["images"].values()) == 8
    assert sum(summary["regions"].values()) == len(found.regions)
    assert summary["model"] == "cnn-c 1"
    assert summary["regions_with_sharp"] > 0
    assert pd.read_csv(tmp_path / "out" / "table2.csv")["Outcome"].to_list() == ["Hit", "Miss", "False alarm", "Null"]

    rows = found.regions
    assert set(rows.loc[rows["outcome"].isin(["false alarm", "null"]), "flaring"]) <= {False}
    for row in rows.head(20).to_dict("records"):
        own = flares[(flares["noaa"] == row["noaa"]) & (flares["start"] >= row["time"])]
        own = own[own["start"] < row["time"] + pd.Timedelta(days=1)]
        assert row["flux24"] == pytest.approx(own["flux"].max() if len(own) else 0.0)
    lined = rows[rows["pil_pixels"] > 0]
    assert len(lined) > 20
    np.testing.assert_allclose(lined[["pil_non_pil", "iou"]], [[20, 1]] * len(lined), rtol=1e-3)
    assert found.tables["figure7"].groupby(["method", "scaling"]).size().to_list() == [16] * 7
    assert len(set(found.tables["figure6"].groupby(["method", "flare_class"])["regions"].sum())) == 1
    explained = found.tables["maps"].set_index(["method", "outcome"])["explained"]
    assert explained["cam", "all"] == pytest.approx(1, abs=1e-6)
    assert explained["grad_cam", "all"] < 0.9
    assert "explained" in found.as_text()
    # One map is the other to a power, and so has its order; CAM has another.
    alike = found.tables["alike"].set_index(["one", "other"])
    same, other = alike.loc["grad_cam", "grad_cam_plus_plus"], alike.loc["grad_cam", "cam"]
    assert (same["images"], same["same_region"]) == (8, 1.0)
    assert same["rank_correlation"] > 0.99 > other["rank_correlation"]
    assert 0 < same["largest_difference"] < 0.1 < other["largest_difference"]
    assert "same_region" in found.as_text()
    # The measures of Table 2, of the gradient as in the paper, and of each map.
    numbers = found.tables["table2_numbers"]
    assert numbers["map"].value_counts().to_dict() == dict.fromkeys(["guided_backprop", *methods], 24)


def test_maps_lines_and_regions_of_an_image(archive, images, regions):
    options = AnalysisOptions(polarity_threshold=150)
    files = attribution_files(archive / "export", images)
    found, image, lines = read_image(files[0], {path.name: path for path in images}, regions, options)
    field = aligned(read_magnetogram(images[0], byte_range=250), disk=network_disk(SIZE), width=SIZE).data
    np.testing.assert_array_equal(image.field, field)
    np.testing.assert_array_equal(lines.inversion, polarity_lines(field, threshold=150).inversion)
    # The largest of each map is 1; the non-flare label's Grad-CAM is negative everywhere, so nothing is left of it.
    assert image.shown["guided_backprop"].max(axis=(0, 1)).tolist() == [1, 1]
    assert image.shown["grad_cam"].max(axis=(0, 1)).tolist() == [0, 1]
    np.testing.assert_array_equal(image.raw["grad_cam"][..., 0], -image.raw["grad_cam"][..., 1])
    np.testing.assert_allclose(image.raw["grad_cam"], enlarged(found.maps["grad_cam"], cell=32, size=SIZE))
    rows = region_rows(found, image, lines, regions, strong_gradient=0.1)
    assert [row["region"] for row in rows] == [patch.name for patch in image.patches]
    for method in ("grad_cam", "cam"):
        assert max(rows, key=lambda row: row[method])[f"{method}_order"] == 1
    for row, patch in zip(rows, image.patches, strict=True):
        inside = patch.full_mask(SIZE)
        assert row["grad_cam"] == pytest.approx(image.shown["grad_cam"][..., 1][inside].max())
        assert row["cam_score"] == pytest.approx(image.raw["cam"][..., 1][inside].sum() / SIZE**2, rel=1e-5)
        assert row["hours"] == 0


def test_the_bitmap_of_a_harp_in_place_of_its_box(archive, images, regions, tmp_path, capsys):
    """One region has a bitmap of 8° × 8°, without its eastern half: the field that the box has there is left out."""
    wide = regions[(regions["time"] == "2014-06-05") & (regions["lon"].abs() < 45)].iloc[0]
    inside = np.zeros((80, 80), bool)
    inside[:, 40:] = True
    known = {"time": START, "harp": wide["harpnum"], "noaas": ""}
    file = write_cea(tmp_path, inside, lon=wide["lon"], lat=wide["lat"], **known)
    given = [str(archive / "export"), str(images[0]), "--flares", str(archive / "flares.csv")]
    given += ["--regions", str(archive / "regions.parquet"), "--resamples", "10", "--output"]
    found = {}
    for name, more in (("box", []), ("bitmap", ["--bitmaps", str(tmp_path)])):
        assert main([*given, str(tmp_path / name), *more]) == 0
        said = capsys.readouterr().out
        found[name] = pd.read_csv(tmp_path / name / "regions.csv").set_index("noaa").loc[wide["noaa"]]
        rows = pd.read_csv(tmp_path / name / "regions.csv")
        assert rows["outline"].value_counts()["box"] == len(rows) - bool(more)
        assert ("1 regions have the area of their HARP's bitmap" in said) == bool(more)
    box, bitmap = found["box"], found["bitmap"]
    assert (box["outline"], bitmap["outline"]) == ("box", file)
    # 225 / 512 · 128 = 56.25 pixels of radius: 4° × 8° foreshortened by mu.
    mu = np.cos(np.radians(wide["lon"])) * np.cos(np.radians(wide["lat"]))
    assert bitmap["region_pixels"] == pytest.approx(56.25**2 * np.radians(4) * np.radians(8) * mu, rel=0.15)
    assert box["region_pixels"] > 2 * bitmap["region_pixels"]
    assert bitmap["cam_score"] != pytest.approx(box["cam_score"], rel=0.05)
    assert main([*given, str(tmp_path / "none"), "--bitmaps", str(archive)]) == 1
    assert "must hold a bitmap of a HARP, such as hmi.sharp_cea_720s.377" in capsys.readouterr().err


def test_the_exact_cam_of_a_model_that_has_none(archive, images, regions, tmp_path):
    """What an older version answered is analysed as it is; asked for by name, the map that it has not is an error."""
    found = attribution(images[0], 0.9)
    older = replace(found, maps={name: found.maps[name] for name in ("grad_cam", "guided_backprop")}, share=(0.5, nan))
    write_attribution(older, tmp_path / f"{images[0].stem}.fits")
    given = [[tmp_path / f"{images[0].stem}.fits"], images, tmp_path / "out"]
    tables = {"flares": read_flares(archive / "flares.csv"), "regions": regions}
    plain = analyse(*given, **tables)
    assert set(plain.tables["maps"]["method"]) == set(plain.tables["figure6"]["method"]) == {"grad_cam"}
    with pytest.raises(DataError, match=r"cnn-c version 1 gave no `cam` of .* attribute it with a later version"):
        analyse(*given, **tables, options=AnalysisOptions(methods=("cam",)))


def test_measures_of_a_map_derived_by_hand(images):
    """Of 8 x 8 pixels on the disk 4 lie in a region, where the map is 0.8, but one pixel outside is 1, 59 are 0.2."""
    found = attribution(images[0], 0.75)
    on_disk = found.frame.on_disk
    shown = np.where(on_disk, 0.2, 7.0)[..., None] * np.ones(2)
    shown[60:62, 60:62] = 0.8
    shown[70, 70] = 1
    patch = RegionPatch("NOAA 1", 1, 0.0, 0.0, slice(60, 62), slice(60, 62), np.ones((2, 2), bool), 0)
    measured = map_measures(found, ImageMaps(np.zeros((SIZE, SIZE)), {"grad_cam": shown}, {}, [patch]))
    outside = on_disk.sum() - 4
    assert measured == {
        "log_odds": pytest.approx(np.log(3)),
        "grad_cam_share": 0.25,
        "grad_cam_mean": pytest.approx(found.maps["grad_cam"][..., 1].mean()),
        "grad_cam_inside": pytest.approx(0.8),
        "grad_cam_outside": pytest.approx((0.2 * (outside - 1) + 1) / outside),
        "grad_cam_in_region": 0.0,
        "grad_cam_above_half": pytest.approx(5 / on_disk.sum()),
    }
    shown[60, 60] = 1
    assert map_measures(found, ImageMaps(np.zeros((SIZE, SIZE)), {"grad_cam": shown}, {}, [patch]))[
        "grad_cam_in_region"
    ]
    nothing = map_measures(found, ImageMaps(np.zeros((SIZE, SIZE)), {"grad_cam": 0 * shown}, {}))
    assert np.isnan([nothing[f"grad_cam_{name}"] for name in ("inside", "in_region", "above_half")]).all()


def test_measures_over_a_set():
    """R² of 1, 2, 4 and 1, 3, 2: deviations -4, -1, 5 (thirds) and -1, 1, 0, so (3 / 3)^2 / (42 / 9 * 2)."""
    images = pd.DataFrame(
        {
            "outcome": ["hit", "hit", "null"],
            "log_odds": [1.0, 3.0, 2.0],
            "grad_cam_mean": [1.0, 2.0, 4.0],
            "grad_cam_share": [0.1, 0.2, 0.6],
            "grad_cam_inside": [0.6, 0.9, np.nan],
            "grad_cam_outside": [0.2, 0.1, 0.5],
            "grad_cam_in_region": [1.0, 0.0, np.nan],
            "grad_cam_above_half": [0.25, 0.5, 1.0],
        }
    )
    table = map_table(images).set_index("outcome").drop(columns="method")
    assert table.loc["all"].to_dict() == pytest.approx(
        {"images": 3, "explained": 3 / 28, "share": 0.2, "inside_outside": 6, "in_region": 1, "with_region": 2,
         "above_half": 0.5}
    )  # fmt: skip
    assert np.isnan(table.loc["hit", "explained"])
    assert table.loc["hit", ["images", "share", "inside_outside"]].to_list() == pytest.approx([2, 0.15, 6])
    assert (table.loc["miss", "images"], table.loc["null", "with_region"]) == (0, 0)


def test_files_that_cannot_be_used_are_listed(archive, images, tmp_path, capsys):
    """The command does the rest, says which, and ends with status 1."""
    maps = tmp_path / "export" / "maps"
    maps.mkdir(parents=True)
    for path in attribution_files(archive / "export", images[1:4]):
        (maps / path.name).write_bytes(path.read_bytes())
    broken = maps / f"{images[0].stem}.fits"
    broken.write_bytes((maps / path.name).read_bytes()[:5000])
    tables = ["--flares", str(archive / "flares.csv"), "--regions", str(archive / "regions.parquet")]
    assert main([str(maps.parent), str(archive / "magnetograms"), *tables]) == 1
    out, err = capsys.readouterr()
    assert f"`{broken}` is no whole attribution file" in err
    assert "1 of 4 attribution files could not be used" in err
    assert "decided at 0.5" in out
    written = maps.parent / "analysis"
    assert len(pd.read_csv(written / "images.csv")) == 3
    assert (written / "figure6.pdf").is_file()
    # Without SHARP parameters there is no Fig. 7.
    assert not list(written.glob("figure7*"))


def test_an_image_that_no_forecast_may_be_made_of(archive, images, regions, tmp_path):
    """Such as one whose field has one polarity; before, it was analysed without a word."""
    from PIL import Image

    path = tmp_path / images[0].name
    # Bytes below 127.5 are negative field, on the edge of the disk too, between 100 and the black around it.
    seen = np.asarray(Image.open(images[0]))
    Image.fromarray(np.where(seen > 8, 100, 0).astype(np.uint8)).save(path)
    files = attribution_files(archive / "export", images[:1])
    with pytest.raises(DataError, match=r"none of 1 .* can be analysed; the first: `.*must hold field of both"):
        analyse(files, [path], tmp_path / "out", flares=read_flares(archive / "flares.csv"), regions=regions)


def test_images_that_are_not_given(archive, images, regions, tmp_path):
    flares = read_flares(archive / "flares.csv")
    files = attribution_files(archive / "export", images[:1])
    with pytest.raises(DataError, match=r"none of 1 attribution files can be analysed; .* is not among those given"):
        analyse(files, images[1:], tmp_path / "out", flares=flares, regions=regions)


def test_what_does_not_fit_together(archive, images, regions, tmp_path):
    files = attribution_files(archive / "export", images)
    flares = read_flares(archive / "flares.csv")
    other = tmp_path / files[1].name
    write_attribution(attribution(images[1], 0.5, model="cnn-m"), other)
    with pytest.raises(DataError, match="come from different models: cnn-c 1, cnn-m 1"):
        analyse([files[0], other], images, tmp_path / "out", flares=flares, regions=regions)
    far = regions.assign(time=regions["time"] + pd.Timedelta(days=400))
    with pytest.raises(DataError, match="no active region lies on the disk"):
        analyse(files[:1], images, tmp_path / "out", flares=flares, regions=far)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot write"):
        analyse(files[:1], images, tmp_path / "file" / "out", flares=flares, regions=regions)


def test_options(archive, images, regions, tmp_path, capsys):
    given = [str(archive / "export"), str(archive / "magnetograms"), "--flares", str(archive / "flares.csv")]
    for more, message in (
        ([], "the following arguments are required: --regions"),
        (["--regions", "x", "--days", "today"], "argument --days: `today` is no date: write it as 2014-03-18"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*given, *more])
        assert message in capsys.readouterr().err
    with pytest.raises(DataError, match="holds no attribution file of the magnetograms given"):
        attribution_files(tmp_path, images)
    assert len(attribution_files(archive / "export" / "maps", images[:3])) == 3
    files, flares = attribution_files(archive / "export", images), read_flares(archive / "flares.csv")
    for wrong, message in (
        (
            {"methods": ("lime",)},
            "no attribution method 'lime' here: the known ones are grad_cam, grad_cam_plus_plus, cam",
        ),
        ({"area": "hull"}, "`area` must be one of box, field"),
        ({"polarity_method": "dbscan"}, "`method` must be one of edges, schrijver"),
        ({"polarity_threshold": 0}, "`threshold` of a polarity must be above 0 gauss"),
        ({"line_width": 0}, "`width` must be at least 1"),
        ({"decision_threshold": 1.5}, r"`decision_threshold` must lie in \[0, 1\]"),
        ({"tolerance_hours": -1}, "`tolerance_hours` must not be negative"),
    ):
        with pytest.raises(SettingError, match=message):
            analyse(files, images, tmp_path, flares=flares, regions=regions, options=AnalysisOptions(**wrong))


def rows_of(*images):
    table = pd.DataFrame(images, columns=["image", "day", "probability", "outcome"])
    return table.assign(time=pd.to_datetime(table["day"], utc=True))


def test_the_images_that_are_shown():
    images = rows_of(
        ("a", "2013-10-21", 0.7, "hit"),
        ("b", "2013-10-22", 0.9, "hit"),
        ("c", "2013-10-23", 0.6, "hit"),
        ("d", "2013-10-24", 0.2, "null"),
        ("e", "2013-10-25", 0.1, "null"),
        ("f", "2013-10-26", 0.8, "false alarm"),
    )
    # The clearest of each outcome, in the order of the paper's figures; there is no miss.
    assert example_images(images, []).set_index("image")["outcome"].to_dict() == {
        "b": "hit",
        "f": "false alarm",
        "e": "null",
    }
    # A day that was asked for comes first.
    assert example_images(images, [date(2013, 10, 23), date(2013, 10, 24)])["image"].to_list() == ["c", "f", "d"]


def test_the_regions_that_are_shown():
    regions = pd.DataFrame(
        [
            ("1", "hit", True, 10.0, 3e-5, "2013-10-21"),
            ("1", "hit", True, 20.0, 9e-5, "2013-10-22"),
            ("2", "hit", True, 70.0, 9e-4, "2013-10-22"),
            ("3", "hit", True, 0.0, 1e-5, "2013-10-23"),
            ("4", "miss", True, 0.0, 1e-4, "2013-10-24"),
            ("5", "hit", False, 0.0, 0.0, "2013-10-24"),
        ],
        columns=["region", "outcome", "flaring", "lon", "flux24", "time"],
    )
    regions["time"] = pd.to_datetime(regions["time"], utc=True)
    shown = example_regions(regions, [], max_longitude=60)
    assert shown[["region", "flux24"]].to_numpy().tolist() == [["1", 9e-5], ["3", 1e-5]]
    assert example_regions(regions, [date(2013, 10, 23)], max_longitude=60)["region"].to_list() == ["3", "1"]
