"""Neutral lines of known length."""

import math

import numpy as np
import pytest

from kflare.errors import SettingError
from kflare.regions.inversion_lines import NeutralLineOptions, neutral_lines

STEP = 0.36


def grid(shape):
    rows, columns = shape
    x = (np.arange(columns) - (columns - 1) / 2) * STEP
    y = ((rows - 1) / 2 - np.arange(rows)) * STEP
    return np.meshgrid(x, y)


def lengths(field, **options):
    return neutral_lines(field.astype(np.float32), step_mm=STEP, options=NeutralLineOptions(**options)).lengths


@pytest.mark.parametrize("radius", [6.0, 12.0, 25.0])
def test_a_ring_has_its_circumference(radius):
    x, y = grid((240, 260))
    r = np.hypot(x - 3.1, y + 1.7)
    (length,) = lengths(1500 * np.tanh((radius - r) / 2) * np.exp(-((r / 60) ** 2)))
    # The smoothing of 1 Mm moves a line of this curvature inwards by sigma²/2r.
    assert length == pytest.approx(2 * math.pi * radius, rel=0.03)


@pytest.mark.parametrize("amplitude", [0.0, 4.0, 8.0])
def test_a_wave_across_the_map_has_its_arc_length(amplitude):
    x, y = grid((200, 300))
    k = 2 * math.pi / 30
    (length,) = lengths(800 * np.tanh((y - amplitude * np.sin(k * x)) / 3))
    along = np.linspace(x.min(), x.max(), 20001)
    slope = amplitude * k * np.cos(k * along)
    expected = float(np.sum(np.sqrt(1 + slope**2)[1:]) * (along[1] - along[0]))
    assert length == pytest.approx(expected, rel=0.03)


def test_the_direction_of_a_line_does_not_matter():
    x, y = grid((260, 260))
    found = []
    for angle in (0, 17, 45, 71):
        turn = math.radians(angle)
        across, along = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        found.extend(lengths(1500 * np.tanh(across / 2) * np.exp(-((along / 25) ** 4))))
    # The smoothed field falls to 150 G where exp(-(y/25)⁴) is about 0.1, at 31 Mm; the line goes on for at most 4 Mm.
    assert found == pytest.approx([np.mean(found)] * 4, rel=0.03)
    assert 2 * 29 < np.mean(found) < 2 * 35


def test_noise_and_weak_fields_have_no_neutral_line():
    rng = np.random.default_rng(2)
    assert lengths(rng.normal(0, 40, (150, 150))) == ()
    x, y = grid((150, 150))
    assert lengths(140 * np.tanh(x / 3)) == ()
    # Strong fields of opposite sign, but 20 Mm apart.
    assert lengths(1000 * (np.exp(-((x - 14) ** 2 + y**2) / 8) - np.exp(-((x + 14) ** 2 + y**2) / 8))) == ()
    assert lengths(np.full((50, 50), np.nan)) == ()


def test_lines_are_counted_from_the_longest_and_stay_inside():
    x, y = grid((200, 300))
    field = 800 * np.tanh(np.sin(x / 8) * 4)
    inside = (np.abs(y) < 15) & (x < 30)
    found = neutral_lines(field.astype(np.float32), step_mm=STEP, inside=inside)
    # Zeros at multiples of 8π = 25.1 Mm within -53.8 .. 30 Mm: -50.3, -25.1, 0, 25.1.
    assert len(found.lengths) == 4
    assert list(found.lengths) == sorted(found.lengths, reverse=True)
    assert found.lengths == pytest.approx([30.0] * 4, rel=0.03)
    assert all(inside[np.rint(line).astype(int)[:, 0], np.rint(line).astype(int)[:, 1]].all() for line in found.lines)


def test_what_is_not_measured_holds_no_line():
    x, _ = grid((120, 120))
    field = 800 * np.tanh(x / 3)
    field[:60] = np.nan
    (length,) = lengths(field, smoothing=0.0)
    assert length == pytest.approx(59 * STEP, abs=STEP)


def test_options_are_checked():
    with pytest.raises(SettingError, match="`smoothing` of a neutral line must be 0 or more, got -1"):
        NeutralLineOptions(smoothing=-1)
    with pytest.raises(SettingError, match="`threshold` and `reach` of a neutral line must be above 0"):
        NeutralLineOptions(threshold=0)
