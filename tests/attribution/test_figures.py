"""Pictures hold what they are given, can be saved as PNG and PDF, and touch nobody's pyplot state."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from kflare.attribution.analysis_figures import boxes_by_value, figure_correlations, figure_occurrence
from kflare.attribution.attribution_file import Attribution, Origin
from kflare.attribution.figures import (
    figure_class_maps,
    figure_guided_backprop,
    figure_hit,
    figure_patches,
    overlay,
    save,
)
from kflare.attribution.harps import RegionPatch
from kflare.attribution.image_maps import ImageMaps
from kflare.attribution.relations import correlations, occurrence_rates
from kflare.errors import DataError, SettingError
from kflare.observations.magnetogram import Magnetogram
from kflare.regions.inversion_lines import polarity_lines
from kflare.sharp.keywords import SHARP_KEYWORDS
from kflare.sun.disk import Disk

RANDOM = np.random.default_rng(0)


def case(title="2013-10-23\nhit"):
    y, x = np.mgrid[:64, :64]
    field = np.where((x - 31.5) ** 2 + (y - 31.5) ** 2 < 900, RANDOM.normal(0, 80, (64, 64)), np.nan)
    field[20:28, 20:26], field[20:28, 26:32] = 300, -300
    maps = RANDOM.random((64, 64))
    patch = RegionPatch("NOAA 11875", 11875, -4.0, 7.0, slice(18, 30), slice(16, 36), np.ones((12, 20), bool), 0)
    other = RegionPatch("HARP 9", None, 4.0, -7.0, slice(40, 50), slice(16, 36), np.ones((10, 20), bool), 1)
    pair = np.stack([maps, maps[::-1]], axis=-1)
    signed = np.stack([2 * maps - 1, 1 - 2 * maps], axis=-1)
    methods = ("guided_backprop", "grad_cam", "cam")
    return title, ImageMaps(field, dict.fromkeys(methods, pair), dict.fromkeys(methods, signed), [patch, other])


def regions(count=80):
    values = RANDOM.uniform(0, 1, count)
    table = pd.DataFrame({name: 10 ** (5 + values + RANDOM.normal(0, 0.2, count)) for name in SHARP_KEYWORDS})
    table["MEANJZD"] = RANDOM.normal(size=count)
    table["ABSNJZH"] = np.maximum(0, values - 0.5)
    return table.assign(grad_cam=values, day=[f"day {n // 4}" for n in range(count)])


def texts(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in [*axes.texts, axes.yaxis.label, axes.title])


def test_figures_are_drawn_and_saved_as_png_and_pdf(tmp_path):
    title, one = case()
    lines = polarity_lines(np.nan_to_num(one.field), threshold=100)
    table = regions()
    patches = [(patch.name, one, lines, patch) for patch in one.patches]
    for figure in (
        figure_hit(title, one),
        figure_guided_backprop([case(), case("null")]),
        figure_class_maps([case(), case("null")]),
        figure_class_maps([case()], "cam"),
        figure_patches(patches),
        figure_patches(patches, "grad_cam"),
        figure_correlations(table, correlations(table, resamples=20)),
    ):
        figure.draw_without_rendering()
    png, pdf = save(figure, tmp_path / "figure7.png"), save(figure, tmp_path / "figure7.pdf")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure7.pdf", "figure7.png"]
    assert plt.get_fignums() == []


def test_a_saved_figure_has_no_date(tmp_path):
    rates = occurrence_rates([0.1, 0.9], [0.0, 1e-5])
    for name in ("one", "two"):
        for kind in ("png", "pdf"):
            save(figure_occurrence(rates), tmp_path / f"{name}.{kind}")
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    with pytest.raises(SettingError, match="cannot write"):
        save(figure_occurrence(rates), tmp_path / "absent" / "one.png")


def test_regions_are_named():
    for figure in (figure_hit(*case()), figure_guided_backprop([case()]), figure_class_maps([case()])):
        assert "11875" in texts(figure)
        assert "HARP 9" in texts(figure)


def test_the_title_of_an_overlay():
    grid = np.zeros((1, 128, 128, 2), np.float32)
    image = Magnetogram(grid[0, ..., 0], datetime(2013, 10, 23, tzinfo=UTC), Disk(64, 64, 50), "synthetic", "a.jpg")
    outputs = {"probability": [0.66], "calibrated": [0.5], "grad_cam": grid[:, ::32, ::32], "guided_backprop": grid}
    found = Attribution.of_reply(outputs, 0, image, origin=Origin("cnn-m", 1))
    title = overlay(found, image.data).get_suptitle()
    assert title == "2013-10-23 00:00 UT, cnn-m version 1, P 50.0 %, score 66.0: flaring label"


def test_a_map_that_has_its_relu_by_definition_is_not_said_to_be_without():
    zero = {"grad_cam": np.zeros((64, 64, 2)), "grad_cam_plus_plus": np.zeros((64, 64, 2))}
    cases = [("null", ImageMaps(case()[1].field, zero, zero))]
    for method, said in (("grad_cam", "without ReLU"), ("grad_cam_plus_plus", "rectified by definition")):
        assert f"non-flare label, {said}" in texts(figure_class_maps(cases, method))


def test_one_row_per_case():
    assert len(figure_guided_backprop([case(), case(), case()]).axes) == 3 * 2 + 1  # and a colour bar
    assert len(figure_class_maps([case(), case()]).axes) == 2 * 3 + 2
    for figure in (figure_guided_backprop, figure_class_maps, figure_patches):
        with pytest.raises(DataError, match="needs at least one"):
            figure([])


def test_a_map_of_zeros_leaves_the_magnetogram():
    """For the non-flare label "a gradient of zero covers the data in all cases" (Yi et al. 2021, section 4)."""
    zero = np.zeros((64, 64, 2))
    figure = figure_class_maps([("null", ImageMaps(case()[1].field, {"grad_cam": zero}, {"grad_cam": zero}))])
    for axes in figure.axes[:3]:
        over = axes.images[-1]
        assert over.to_rgba(over.get_array())[..., 3].max() == 0


def test_a_patch_at_the_edge_of_the_image():
    _, one = case()
    lines = polarity_lines(np.nan_to_num(one.field), threshold=100)
    patch = RegionPatch("NOAA 1", 1, -80.0, 0.0, slice(0, 12), slice(58, 64), np.ones((12, 6), bool), 0)
    figure = figure_patches([("limb", one, lines, patch)])
    assert figure.axes[0].images[0].get_array().shape == (20, 14)  # 8 pixels more where there are any


def test_rates_and_counts():
    rates = occurrence_rates([0.05, 0.95, 0.96, 0.97], [0.0, 1e-5, 2e-4, 0.0])
    upper, lower = figure_occurrence(rates).axes
    labels = [text.get_text() for text in upper.get_legend().get_texts()]
    assert labels == ["≥C (2 flaring regions)", "≥M (2 flaring regions)", "X (1 flaring regions)"]
    np.testing.assert_allclose(upper.containers[0].lines[0].get_ydata(), [0, 2 / 3])
    assert [bar.get_height() for bar in lower.containers[0]] == [1, *[0] * 8, 3]


def test_the_strongest_correlations_come_first():
    table = regions()
    found = correlations(table, resamples=20)
    axes = [axes for axes in figure_correlations(table, found, shown=4).axes if axes.get_visible()]
    best = found.reindex(found["pearson"].abs().sort_values(ascending=False).index)["parameter"].head(4)
    assert [one.get_ylabel().split()[0] for one in axes] == best.to_list()
    assert f"r = {found.set_index('parameter').loc[best.iloc[0], 'pearson']:.2f} [" in axes[0].get_title()
    assert "n = 80" in axes[0].get_title()
    axes = [axes for axes in figure_correlations(table, found, shown=16).axes if axes.get_visible()]
    scales = {one.get_ylabel().split()[0]: one.get_yscale() for one in axes}
    assert len(scales) == 16
    assert scales["USFLUX"] == "log"
    assert (scales["ABSNJZH"], scales["MEANJZD"]) == ("linear", "linear")
    with pytest.raises(DataError, match="too few regions"):
        figure_correlations(table, found.assign(pearson=np.nan))


def test_boxes_by_hand():
    values = [0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 1.0, 0.9]
    parameter = [1, 2, 3, 4, 100, 7, 8, np.nan]
    boxes = boxes_by_value(values, parameter)
    # 1 2 3 4 100: quartiles 2, 3, 4; 1.5 boxes reach from -1 to 7, so the whiskers end at 1 and 4. The last bin has
    # its upper edge, and bins without values no box.
    names = ("whislo", "q1", "med", "q3", "whishi")
    assert {edges: [box[name] for name in names] for edges, box in boxes.items()} == {
        (0.1, 0.2): [1, 2, 3, 4, 4],
        (0.9, 1.0): [7, 7.25, 7.5, 7.75, 8],
    }
