"""Vector-field files: orientation, HARP cut-outs, SHARP maps, and what is wrong with them."""

import warnings
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from astropy.io import fits

from kflare.errors import DataError, SettingError
from kflare.regions import vector_files
from kflare.regions.cea import cea_patch, patch_points
from kflare.regions.vector_field import nearest_pixels
from kflare.regions.vector_files import read_vector
from kflare.regions.vector_parameters import sharp_parameters

from .fields import camera_field, linear_force_free, magnetogram_of, view, write_vector
from .sharp_cea import read_sharp_cea

WIDTH = 256
SEGMENTS = ("field", "inclination", "azimuth", "disambig")


def surface(lon, lat):
    return 500 + 3 * lat, 150 - 2 * lon, 20 * lon - 10 * lat


@pytest.fixture(scope="module")
def geometry():
    return view(WIDTH, b0=4.0, roll=0.1)


@pytest.fixture(scope="module")
def magnetogram(geometry):
    return magnetogram_of(camera_field(geometry, surface)[2], geometry)


@pytest.fixture(scope="module")
def files(tmp_path_factory, geometry):
    return write_vector(tmp_path_factory.mktemp("vector"), camera_field(geometry, surface), geometry)


def read(files, magnetogram, **options):
    return read_vector(*(files[name] for name in SEGMENTS), magnetogram=magnetogram, **options)


@pytest.mark.parametrize("upside_down", [True, False])
def test_a_full_disk_is_read_as_it_was_whichever_way_it_hung(tmp_path, geometry, magnetogram, upside_down):
    files = write_vector(tmp_path, camera_field(geometry, surface), geometry, upside_down=upside_down)
    vector = read(files, magnetogram)
    assert vector.geometry.disk.x == pytest.approx(geometry.disk.x)
    assert vector.geometry.disk.y == pytest.approx(geometry.disk.y)
    assert vector.geometry.roll == pytest.approx(geometry.roll)
    for found, expected in zip((vector.right, vector.up, vector.los), camera_field(geometry, surface), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.02)
    lon, lat = np.meshgrid([-40.0, 0.0, 50.0], [30.0, -20.0])
    np.testing.assert_allclose(vector.at(lon, lat)[:3], surface(lon, lat), atol=3)


BOXES = [(60, 70, 110, 100), (170, 150, 215, 175), (6, 120, 40, 140)]  # the last one reaches over the limb


@pytest.mark.parametrize("turned", ["upside down", "upright", "a quarter", "cut-outs"])
def test_rows_near_to_regions_give_the_same_maps(tmp_path, geometry, magnetogram, turned, monkeypatch):
    parts = camera_field(geometry, surface)
    if turned == "cut-outs":
        cuts = [write_vector(tmp_path, parts, geometry, cut=box, name=f"hmi.bharp_720s.{box[0]}") for box in BOXES]
        files = {name: [one[name] for one in cuts] for name in SEGMENTS}
    else:
        files = write_vector(tmp_path, parts, geometry, upside_down=turned != "upright")
    if turned == "a quarter":
        for path in files.values():
            with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
                hdus[-1].header["CROTA2"] -= 90
    whole = read(files, magnetogram)
    monkeypatch.setattr(vector_files, "nearest_pixels", lambda length: nearest_pixels(length, 32))
    for boxes, drawn in ((BOXES, False), (BOXES[:1], False), (BOXES[:1], True)):
        some = read(files, magnetogram, near=[patch_points(geometry, box) for box in boxes], drawn=drawn)
        for box in boxes:
            patch, expected = (cea_patch(magnetogram, box, geometry=geometry, vector=one) for one in (some, whole))
            for name in ("bx", "by", "bz", "used"):
                np.testing.assert_array_equal(getattr(patch, name), getattr(expected, name))
        if drawn:
            for found, wanted in zip(some.radial_map(32)[:2], whole.radial_map(32)[:2], strict=True):
                np.testing.assert_array_equal(found, wanted)
        elif turned != "a quarter":
            assert some.covered.any(axis=1).sum() < (150 if len(boxes) == 3 else 70)
        assert not some.right[~some.covered].any()


@pytest.mark.parametrize("name", ["field", "inclination", "azimuth"])
@pytest.mark.parametrize("fill", [1e38, -32768.0, -9999.0, np.inf])
def test_fill_values_are_no_field(tmp_path, geometry, magnetogram, name, fill):
    files = write_vector(tmp_path, camera_field(geometry, surface), geometry)
    good = read(files, magnetogram)
    with fits.open(files[name]) as file:
        data, header = file[-1].data.astype(np.float32), file[-1].header
    data[128, 120:130] = fill
    header = fits.Header([card for card in header.cards if card.keyword not in {"BSCALE", "BZERO", "BLANK"}])
    fits.PrimaryHDU(data, header).writeto(files[name], overwrite=True)
    seen = read(files, magnetogram)
    lost = (
        np.isnan(seen.los) & ~np.isnan(good.los) if name != "azimuth" else np.isnan(seen.right) & ~np.isnan(good.right)
    )
    assert lost.sum() == 10
    assert np.nanmax(np.abs(seen.right)) <= np.nanmax(np.abs(good.right)) + 0.1


@pytest.mark.parametrize("series", ["hmi.bharp_720s_nrt", "hmi.sharp_720s"])
def test_harps_are_pasted_where_they_belong(tmp_path, geometry, magnetogram, series):
    parts = camera_field(geometry, surface)
    boxes = [(60, 70, 110, 100), (140, 120, 200, 165)]
    harps = [
        write_vector(tmp_path / str(number), parts, geometry, cut=box, name=f"{series}.{number}")
        for number, box in enumerate(boxes)
    ]
    vector = read({name: [files[name] for files in harps] for name in harps[0]}, magnetogram)
    covered = np.zeros((WIDTH, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        covered[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(vector.covered, covered)
    np.testing.assert_allclose(vector.los[covered], parts[2][covered], atol=0.02)
    assert not vector.los[~covered].any()


@pytest.mark.parametrize("card", ["CRPIX1", "CRPIX2", "LON", "LAT"])
@pytest.mark.parametrize("upside_down", [True, False])
def test_a_cut_out_that_lies_elsewhere_than_its_longitudes_is_refused(
    tmp_path, geometry, magnetogram, card, upside_down
):
    parts = camera_field(geometry, surface)
    files = write_vector(
        tmp_path, parts, geometry, cut=(140, 120, 200, 165), name="hmi.bharp_720s.9", upside_down=upside_down
    )
    assert read(files, magnetogram).covered.sum() == 60 * 45
    for path in files.values():
        with fits.open(path, mode="update") as file:
            for name in [
                name for name in ("CRPIX1", "CRPIX2", "LON_MIN", "LON_MAX", "LAT_MIN", "LAT_MAX") if card in name
            ]:
                file[0].header[name] -= 50 if card == "CRPIX1" else 40
    with pytest.raises(DataError, match=r"must hold the middle of its `LON_MIN`.*check `CRPIX1`"):
        read(files, magnetogram)


def test_a_sharp_under_the_name_of_a_harp_is_refused(tmp_path, geometry, magnetogram):
    # Its CRPIX is the centre of the disk, not its own corner: the field would land elsewhere.
    parts = camera_field(geometry, surface)
    files = write_vector(tmp_path, parts, geometry, cut=(190, 120, 220, 150), name="hmi.sharp_720s.9")
    renamed = {name: path.rename(tmp_path / f"field9.{name}.fits") for name, path in files.items()}
    with pytest.raises(DataError, match="must hold the middle of its `LON_MIN`"):
        read(renamed, magnetogram)


def test_full_disk_segments_go_with_the_disambiguation_of_harps(tmp_path, geometry, magnetogram, files):
    """As in hmi.bharp_720s: `field` and others are links to the full disk, and carry the keywords of the HARP."""
    harps, linked = [], []
    for number, box in enumerate([(140, 120, 200, 165), (60, 70, 110, 100)]):
        folder = tmp_path / str(number)
        harps.append(write_vector(folder, camera_field(geometry, surface), geometry, cut=box, name="hmi.bharp_720s.7"))
        cards = fits.getheader(harps[-1]["disambig"])
        paths = {"disambig": harps[-1]["disambig"]}
        for name in SEGMENTS[:3]:
            with fits.open(files[name]) as hdus:
                for card in ("CRPIX1", "CRPIX2", "IMCRPIX1", "IMCRPIX2"):
                    hdus[0].header[card] = cards[card]
                paths[name] = folder / f"linked.{name}.fits"
                hdus.writeto(paths[name])
        linked.append(paths)
    cut_out, whole = (
        read({name: [files[name] for files in records] for name in SEGMENTS}, magnetogram)
        for records in (harps, linked)
    )
    np.testing.assert_allclose(whole.right, cut_out.right, atol=0.01)
    np.testing.assert_array_equal(whole.covered, cut_out.covered)


def test_confidence_is_taken_from_its_file(tmp_path, geometry, magnetogram):
    parts = camera_field(geometry, surface)
    parts[0][:, :100] = parts[1][:, :100] = parts[2][:, :100] = 0
    files = write_vector(tmp_path, parts, geometry)
    rated = read(files, magnetogram, conf_disambig=files["conf_disambig"])
    assert not rated.sure[128, 90]
    assert rated.sure[128, 150]
    assert read(files, magnetogram).sure is None


def test_jsoc_takes_another_bit_for_a_harp_than_for_the_full_disk(tmp_path, geometry, magnetogram):
    parts = camera_field(geometry, surface)
    for number, (cut, flipped) in enumerate({None: 4, (60, 70, 110, 100): 1}.items()):
        files = write_vector(tmp_path / str(number), parts, geometry, cut=cut)
        original = read(files, magnetogram)
        with fits.open(files["disambig"], mode="update") as hdus:
            hdus[0].data ^= flipped
        turned = read(files, magnetogram)
        inside = original.covered & np.isfinite(original.right)
        np.testing.assert_allclose(turned.right[inside], -original.right[inside], atol=1e-3)
        np.testing.assert_allclose(turned.los[inside], original.los[inside], atol=1e-3)
        same = read(files, magnetogram, method="random")
        np.testing.assert_allclose(same.right[inside], original.right[inside], atol=1e-3)


def test_a_force_free_region_keeps_its_alpha_from_files_to_parameters(tmp_path):
    """The whole way: 1024² files hung upside down, a region in the north-west, disk centre 5 degrees south.

    Near the equator, since west and north turn against the axes of a map by up to sin(lat) times its longitudes.
    """
    from scipy.ndimage import map_coordinates

    geometry = view(1024, b0=-5.0, roll=-0.15)
    lon0, lat0, per_degree, alpha = 35.0, 4.0, 4.0, 0.03
    shape = (101, 141)
    # Four pixels a degree, 12.15 Mm; waves of at least 5 degrees, 61 Mm, where a pixel of the disk has 1.5 Mm.
    field = linear_force_free(shape, alpha=alpha * 12.147 / per_degree, shortest=20)

    def region(lon, lat):
        place = (lat - lat0) * per_degree, (lon - lon0) * per_degree
        where = (shape[0] - 1) / 2 - place[0], (shape[1] - 1) / 2 + place[1]
        return [map_coordinates(part, np.nan_to_num(where, nan=-99), order=3) for part in field]

    parts = camera_field(geometry, region)
    files = write_vector(tmp_path, parts, geometry)
    magnetogram = magnetogram_of(parts[2], geometry)
    vector = read(files, magnetogram, conf_disambig=files["conf_disambig"])
    x, y, _ = geometry.pixel(np.array([lon0 - 12, lon0 + 12]), np.array([lat0 + 10, lat0 - 10]))
    patch = cea_patch(magnetogram, (int(x[0]), int(y[0]), int(x[1]), int(y[1])), vector=vector)
    assert sharp_parameters(patch)["MEANALP"] == pytest.approx(alpha, rel=0.02)


def test_files_that_do_not_go_together_are_refused(tmp_path, geometry, magnetogram, files):
    late = replace(magnetogram, time=magnetogram.time + timedelta(hours=2))
    with pytest.raises(DataError, match=r"`field` must be at most 0:30:00 from the magnetogram of 2013-05-01T14:00"):
        read(files, late)
    read(files, late, apart=timedelta(hours=3))
    with pytest.raises(DataError, match="got 1 of `field`, 2 of `inclination`, 1 of `azimuth`, 1 of `disambig`"):
        read(files | {"inclination": [files["inclination"]] * 2}, magnetogram)
    with pytest.raises(DataError, match=r"`.*nothing.fits` does not exist"):
        read(files | {"azimuth": tmp_path / "nothing.fits"}, magnetogram)
    with pytest.raises(SettingError, match="must be one of jsoc, potential, random, radial-acute, got 'best'"):
        read(files, magnetogram, method="best")
    harp = write_vector(tmp_path, camera_field(geometry, surface), geometry, cut=(60, 70, 110, 100), name="a")
    other = write_vector(tmp_path, camera_field(geometry, surface), geometry, cut=(65, 70, 115, 100), name="b")
    with pytest.raises(DataError, match=r"must cover the rows .* as the other segments do"):
        read(harp | {"azimuth": other["azimuth"]}, magnetogram)
    beyond = tmp_path / "beyond.fits"
    with fits.open(harp["field"]) as hdus:
        hdus[0].header["CRPIX1"] = 250
        hdus.writeto(beyond)
    with pytest.raises(DataError, match="a cut-out must lie within the 256 pixels of the full disk"):
        read(harp | {"field": beyond}, magnetogram)


def test_damaged_files_are_refused(tmp_path, magnetogram, files):
    cut = tmp_path / "cut.fits"
    cut.write_bytes(files["field"].read_bytes()[:20000])
    with pytest.raises(DataError, match=r"`.*cut.fits` is a damaged or truncated FITS file"):
        read(files | {"field": cut}, magnetogram)
    empty = tmp_path / "empty.fits"
    fits.PrimaryHDU().writeto(empty)
    with pytest.raises(DataError, match="must hold a two-dimensional image"):
        read(files | {"field": empty}, magnetogram)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (0.0, "`CDELT1` must be above 0, got 0"),
        (1e-6, "the full disk must be at most 8192 pixels wide"),
    ],
)
def test_a_scale_that_makes_no_disk_is_refused(tmp_path, magnetogram, files, step, message):
    changed = tmp_path / "field.fits"
    with fits.open(files["field"]) as hdus:
        hdus[0].header["CDELT1"] = step
        hdus.writeto(changed)
    with pytest.raises(DataError, match=message):
        read(files | {"field": changed}, magnetogram)


def test_a_disambiguation_of_other_numbers_than_bits_is_refused(tmp_path, magnetogram, files):
    changed = tmp_path / "disambig.fits"
    with fits.open(files["disambig"]) as hdus:
        hdus[0].header["BSCALE"] = -1e30
        hdus.writeto(changed)
    with pytest.raises(DataError, match="`disambig` must hold bits from 0 to 255"):
        read(files | {"disambig": changed}, magnetogram)


def test_a_sharp_map_is_as_its_header_and_bitmap_say(real_data):
    folder = real_data / "sharp_cea_377"
    patch = read_sharp_cea(folder.glob("*.fits"))
    assert patch.inside.shape == (377, 744)
    # CRVAL1 - CRLN_OBS, and the corner pixels of the full disk: bitmap 33 and 34 are 123,890, of which 45,703 are sure.
    assert (patch.lon, patch.lat) == pytest.approx((13.154, -21.0769))
    assert (int(patch.inside.sum()), int(patch.used.sum())) == (123890, 45703)
    los_only = read_sharp_cea([*folder.glob("*.magnetogram.fits"), *folder.glob("*.bitmap.fits")])
    assert los_only.bx is None
    np.testing.assert_array_equal(los_only.los, patch.los)
    # By is northwards, Bt southwards.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (path,) = folder.glob("*.Bt.fits")
        np.testing.assert_allclose(patch.by, -fits.getdata(path)[::-1], atol=1e-3)


def test_mu_of_a_sharp_map_is_that_of_sunpy(real_data):
    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    folder = real_data / "sharp_cea_377"
    patch = read_sharp_cea(folder.glob("*.fits"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (path,) = folder.glob("*.Br.fits")
        header = fits.getheader(path, 1)
        for card in ("R_VALUE", "GWILL", "CRDER1", "CRDER2", "CSYSER1", "CSYSER2"):
            header.remove(card, ignore_missing=True)
        # The map's own projection has its centre on the equator; JSOC's header says so by CRVAL2 only.
        grid = WCS(naxis=2)
        grid.wcs.crpix, grid.wcs.cdelt, grid.wcs.ctype = (372.5, 189), (0.03, 0.03), ("CRLN-CEA", "CRLT-CEA")
    rows, columns = np.array([0, 100, 376]), np.array([0, 500, 743])
    west, north = grid.wcs_pix2world(columns, 376 - rows, 0)
    centre = SkyCoord(header["CRVAL1"] * u.deg, header["CRVAL2"] * u.deg)
    point = SkyCoord(west * u.deg, north * u.deg, frame=centre.skyoffset_frame()).transform_to("icrs")
    observer = SkyCoord(header["CRLN_OBS"] * u.deg, header["CRLT_OBS"] * u.deg)
    expected = np.cos(point.separation(observer).rad)
    np.testing.assert_allclose(patch.mu[rows, columns], expected, atol=1e-4)
