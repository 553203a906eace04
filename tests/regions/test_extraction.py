"""One set of observations measured, and what is missing said: never a zero where nothing was seen."""

import shutil
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from kflare.errors import DataError
from kflare.observations.sets import sets_in
from kflare.regions import extraction
from kflare.regions.detection import DetectionOptions
from kflare.regions.extraction import MEASURED, REGION_COLUMNS, Extraction, measure
from kflare.regions.feature_table import feature_set, reasons_text

VECTOR = [feature.name for feature in feature_set("defn79") if feature.group == "VEC"]
LOS = [feature.name for feature in feature_set("defn79") if feature.group in {"LOS", "NL"}]


@pytest.fixture(scope="module")
def last(observed_sun):
    return sets_in([observed_sun])[-1]


@pytest.fixture(scope="module")
def whole(last):
    return measure(last)


@pytest.fixture
def copy(observed_sun, tmp_path):
    """A copy of the last set whose files a test may change."""
    for path in observed_sun.glob("*.fits"):
        shutil.copy(path, tmp_path)
    return lambda: sets_in([tmp_path])[-1]


def change(path, **cards):
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[1].header.update(cards)


def forecast(measured):
    rows = measured.rows
    return rows[rows["status"] == "forecast"]


def test_a_whole_set_gives_every_feature(last, whole):
    assert whole.time == last.time
    assert list(whole.rows.columns) == [*REGION_COLUMNS, *MEASURED, "missing"]
    rows = forecast(whole)
    assert len(rows) >= 3
    # MeanGAM may have no pixel with 100 G of horizontal field; all else is measured.
    assert rows[[name for name in MEASURED if name not in VECTOR]].notna().all(axis=None)
    assert (rows[VECTOR].notna().sum() >= len(rows) - 1).all()
    assert rows["harpnum"].notna().any()
    for _, row in rows.iterrows():
        lost = set(row.index[row.isna()]) & set(MEASURED)
        assert lost == set(row["missing"].split(":")[0].split()) & set(MEASURED)


def test_the_vector_field_agrees_with_the_line_of_sight(whole):
    rows = forecast(whole)
    inner = rows[(rows["lon"].abs() < 45) & rows["VUSflux"].notna()]
    # Only strong fields have a sure azimuth, so the vector field's flux is smaller, but of the same regions.
    assert (inner["VUSflux"] < 1.1 * inner["USflux"]).all()
    assert (inner["VUSflux"] > 0.05 * inner["USflux"]).all()


def test_rows_of_regions_alone_give_the_same_features(last, whole, monkeypatch):
    read, rows = {name: getattr(extraction, name) for name in ("read_vector", "read_solar_image")}, []

    def read_whole(*paths, near=None, drawn=None, boxes=None, seen=None, **options):
        rows.append(near or boxes)
        return read["read_solar_image" if "wavelength" in options else "read_vector"](*paths, **options)

    for name in read:
        monkeypatch.setattr(extraction, name, read_whole)
    pd.testing.assert_frame_equal(measure(last).rows, whole.rows, check_exact=True)
    assert len(rows) == 5
    assert all(rows)


def test_no_vector_field(last):
    rows = forecast(measure(replace(last, vector={})))
    assert rows[VECTOR].isna().all(axis=None)
    assert rows[LOS].notna().all(axis=None)
    assert rows["missing"].str.startswith(f"{' '.join(VECTOR)}: no vector field").all()


def test_a_missing_segment(last):
    harp, paths = next(iter(last.vector.items()))
    vector = {**last.vector, harp: {name: path for name, path in paths.items() if name != "azimuth"}}
    rows = forecast(measure(replace(last, vector=vector)))
    assert rows[VECTOR].isna().all(axis=None)
    assert rows["missing"].str.contains(f"the vector field of HARP {harp} lacks the segment azimuth").all()


def test_a_vector_field_of_another_time(copy):
    for path in [path for own in copy().vector.values() for path in own.values()]:
        change(path, T_OBS="2014.01.02_05:00:35_TAI")
    rows = forecast(measure(copy()))
    assert rows[VECTOR].isna().all(axis=None)
    assert rows["missing"].str.contains("2014-01-02T05:00:00Z").all()


def test_segments_of_different_places(copy):
    found = copy()
    for paths in found.vector.values():
        # By less than tells of a wrong place by its longitudes.
        change(paths["azimuth"], CRPIX1=fits.getval(paths["azimuth"], "CRPIX1", 1) + 4)
    rows = forecast(measure(found))
    assert rows[VECTOR].isna().all(axis=None)
    assert rows["missing"].str.contains("`azimuth` must cover").all()


def test_images_of_another_time_or_damaged(copy):
    found = copy()
    change(found.aia_1600, T_OBS="2014-01-02T04:00:00Z")
    found.aia_131[1].write_bytes(b"SIMPLE  = half of it")
    rows = forecast(measure(found))
    assert rows[["CHArea", "CHAll", "CHMax", "CRMax_m1"]].isna().all(axis=None)
    assert rows[["CRArea", "CRMax", "CRMax_m2"]].notna().all(axis=None)
    assert (
        rows["missing"]
        .str.contains("CHArea CHAll CHMax: the image at 1600 Å is of 2014-01-02T04:00Z, 120 min from 2014-01-02T02:00Z")
        .all()
    )
    assert rows["missing"].str.contains(f"CRMax_m1: `{found.aia_131[1].name}`").all()
    assert not rows["missing"].str.contains(str(found.aia_1600.parent)).any()


def test_absent_images(last):
    rows = forecast(measure(replace(last, aia_1600=None, aia_131=(None, last.aia_131[1], None))))
    assert rows[["CHArea", "CRArea", "CRMax_m2"]].isna().all(axis=None)
    assert (
        rows["missing"]
        .str.contains(
            "CHArea CHAll CHMax: no image at 1600 Å at the time; CRArea CRAll CRMax: no image at 131 Å at the time; "
            "CRMax_m2: no image at 131 Å 2 h earlier"
        )
        .all()
    )


def test_an_image_with_a_hole_over_a_region(copy, whole):
    found = copy()
    with fits.open(found.aia_1600, do_not_scale_image_data=True) as hdus:
        data, header = hdus[1].data.copy(), hdus[1].header
    data[:] = -(2**31)
    data[0, 0] = 1
    fits.CompImageHDU(data, header, compression_type="RICE_1").writeto(found.aia_1600, overwrite=True)
    rows = forecast(measure(found))
    assert rows[["CHArea", "CHAll", "CHMax"]].isna().all(axis=None)
    assert rows["missing"].str.contains("nothing measured at 1600 Å in the region").all()


def test_regions_across_the_limb_are_not_measured(last):
    # Noise divided by mu near the edge is over the threshold.
    wide = Extraction(detection=DetectionOptions(edge=0.999, radial=True))
    rows = measure(last, options=wide).rows
    limb = rows[rows["status"] == "not forecast: limb"]
    assert len(limb)
    assert limb[list(MEASURED)].isna().all(axis=None)
    assert (limb["missing"] == "*: region across the limb").all()


def test_a_box_partly_off_the_disk_is_measured_on_the_disk(last):
    measured = measure(last, options=Extraction(detection=DetectionOptions(margin=60.0, limb_rule="field")))
    disk = measured.magnetogram.disk
    rows = forecast(measured)
    corner = np.hypot(rows["x0"] - disk.x, np.maximum(disk.y - rows["y0"], rows["y1"] - disk.y)) > disk.radius
    assert corner.any()
    assert rows.loc[corner, [*LOS, "CHMax", "CRMax", "AREA"]].notna().all(axis=None)


def test_no_sunspot(last):
    measured = measure(last, options=Extraction(detection=DetectionOptions(threshold=9000.0)))
    assert measured.detection.status == "no sunspot"
    assert measured.rows.empty
    assert list(measured.rows.columns) == [*REGION_COLUMNS, *MEASURED, "missing"]


def test_the_region_is_turned_back_to_an_earlier_image(last, whole):
    # With a wide tolerance the image of an hour ago may stand for the present: in the region turned back, its maximum
    # is that which was measured as an hour before.
    options = Extraction(tolerance=timedelta(hours=2))
    early = forecast(measure(replace(last, aia_131=(last.aia_131[1], None, None)), options=options))
    np.testing.assert_array_equal(early["CRMax"], forecast(whole)["CRMax_m1"])


def test_a_magnetogram_that_cannot_be_used_is_an_error(last, tmp_path):
    path = tmp_path / last.magnetogram.name
    path.write_bytes(last.magnetogram.read_bytes()[:30000])
    with pytest.raises(DataError, match="download it again"):
        measure(replace(last, magnetogram=path))


def test_fill_values_make_no_regions(copy):
    observations = copy()
    with fits.open(observations.magnetogram) as hdus:
        hdu = next(hdu for hdu in hdus if hdu.data is not None)
        data = hdu.data.astype(np.float32)
        middle = data.shape[0] // 2
        data[middle - 60 : middle, middle - 60 : middle] = -32768
        header = hdu.header.copy()
    for key in ("BLANK", "BSCALE", "BZERO"):
        header.remove(key, ignore_missing=True)
    fits.PrimaryHDU(data, header).writeto(observations.magnetogram, overwrite=True)
    with pytest.raises(DataError, match="must hold gauss, at most 10,000"):
        measure(observations)


def test_reasons_by_feature():
    assert reasons_text({}) == ""
    assert reasons_text({"A": "dark", "B": "late", "C": "dark"}) == "A C: dark; B: late"
