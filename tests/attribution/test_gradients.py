"""Table 2 of Yi et al. (2021) on masks small enough to count."""

import numpy as np
import pandas as pd
import pytest

from kflare.attribution.gradients import intersection_over_union, line_measures, table_2, table_2_as_printed
from kflare.attribution.harps import RegionPatch
from kflare.regions.inversion_lines import PolarityLines


def patch(mask, row=0, column=0):
    rows, columns = slice(row, row + mask.shape[0]), slice(column, column + mask.shape[1])
    return RegionPatch("NOAA 11875", 11875, 0.0, 0.0, rows, columns, mask, 0)


def masks(*lines):
    """ "p": on the inversion line, "b": on a boundary."""
    letters = np.array([list(line) for line in lines])
    return PolarityLines(inversion=letters == "p", boundary=letters == "b")


def test_intersection_over_union():
    one, other = np.array([1, 1, 1, 0, 0], bool), np.array([0, 1, 1, 1, 0], bool)
    assert intersection_over_union(one, other) == 2 / 4
    assert intersection_over_union(one, one) == 1
    assert intersection_over_union(one, ~one) == 0
    assert np.isnan(intersection_over_union(np.zeros(5, bool), np.zeros(5, bool)))


def test_measures_by_hand():
    lines = masks("p....", "pb...", "..b.p")
    gradient = np.array([[0.8, 0.1, 0.0, 0.9, 0.9], [0.4, 0.2, 0.0, 0.9, 0.9], [0.0, 0.0, 0.1, 0.9, 0.9]])
    # The region is the left 3 columns without its lower left pixel: 8 pixels.
    mask = np.ones((3, 3), bool)
    mask[2, 0] = False
    found = line_measures(gradient, lines, patch(mask), strong=0.1)
    # On the line .8 and .4: mean .6. Else .1 0 .2 0 0 .1: mean .4 / 6. On the boundary .2 and .1: mean .15.
    assert found["pil_non_pil"] == pytest.approx(0.6 / (0.4 / 6))
    assert found["pil_boundary"] == pytest.approx(0.6 / 0.15)
    # Activated (at least .1) are 5 pixels, both of the line among them.
    assert found["iou"] == pytest.approx(2 / 5)
    assert (found["pil_pixels"], found["boundary_pixels"], found["region_pixels"]) == (2, 2, 8)


def test_undefined_measures():
    quiet = np.zeros((2, 3))
    nothing = line_measures(quiet, masks("...", "..."), patch(np.ones((2, 3), bool)))
    assert np.isnan([nothing["pil_non_pil"], nothing["pil_boundary"], nothing["iou"]]).all()
    # A line, but no gradient: the ratio is 0 / 0; the IoU is 0 / 1, none of the line is activated.
    line = line_measures(quiet, masks("p..", "..."), patch(np.ones((2, 3), bool)))
    assert np.isnan([line["pil_non_pil"], line["pil_boundary"]]).all()
    assert line["iou"] == 0


def test_a_region_elsewhere_in_the_image():
    gradient = np.zeros((10, 10))
    gradient[6, 7], gradient[6, 8] = 0.5, 0.25
    lines = PolarityLines(gradient == 0.5, gradient == 0.25)
    found = line_measures(gradient, lines, patch(np.ones((2, 3), bool), row=6, column=6))
    assert found["pil_non_pil"] == pytest.approx(0.5 / (0.25 / 5))
    assert found["pil_boundary"] == pytest.approx(2)


def test_table_2():
    rows = pd.DataFrame(
        {
            "outcome": ["hit", "hit", "hit", "hit", "null", "false alarm"],
            "flaring": [True, True, True, False, False, False],
            "pil_non_pil": [1.0, 3.0, np.nan, 2.0, 4.0, np.nan],
            "pil_boundary": [2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
            "iou": [0.1, 0.2, 0.6, 0.0, 0.1, 0.1],
        }
    )
    table = table_2(rows)
    assert len(table) == 4 * 3 * 2
    cell = table.set_index(["outcome", "measure", "flaring"]).sort_index()
    hit = cell.loc[("hit", "pil_non_pil", True)]
    # Of 1 and 3: mean 2, RMS deviation 1.
    assert hit.to_list() == [2.0, 1.0, 2.0, 2, 1]
    iou = cell.loc[("hit", "iou", True)]
    # Of .1, .2, .6: mean .3, variance (.04 + .01 + .09) / 3.
    assert iou[["mean", "rms", "median"]].to_list() == pytest.approx([0.3, np.sqrt(0.14 / 3), 0.2])
    assert cell.loc[("miss", "iou", True), "regions"] == 0
    assert np.isnan(cell.loc[("false alarm", "pil_non_pil", False), "mean"])

    printed = table_2_as_printed(table, threshold="M")
    assert printed["Outcome"].to_list() == ["Hit", "Miss", "False alarm", "Null"]
    assert list(printed.columns[1:3]) == ["PIL/Non-PIL: Flaring AR (≥M)", "PIL/Non-PIL: Non-flare AR (<M)"]
    assert len(printed.columns) == 7
    assert printed.iloc[0, 1] == "2.000 ± 1.000 (n = 2)"
    assert printed.iloc[1, 1] == "–"
