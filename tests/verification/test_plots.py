"""The pictures show the numbers that the other modules compute, and can be saved; nobody's pyplot state is touched."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kflare.errors import DataError
from kflare.verification.contingency import best_threshold
from kflare.verification.plots import plot_reliability, plot_roc, plot_series, plot_thresholds
from kflare.verification.probabilistic import reliability, roc_area

DAYS = np.datetime64("2016-01-01") + np.arange(200)
RANDOM = np.random.default_rng(0)
PROBABILITY = RANDOM.random(200)
OBSERVED = RANDOM.random(200) < PROBABILITY
NEVER = np.zeros(200, bool)


def labels(figure):
    legends = figure.legends + [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return " ".join(text.get_text() for legend in legends for text in legend.get_texts())


@pytest.mark.parametrize("observed", [OBSERVED, NEVER, ~NEVER])
def test_every_picture_can_be_saved(tmp_path, observed):
    figures = (
        plot_reliability(observed, PROBABILITY),
        plot_roc(observed, {"one": PROBABILITY, "two": PROBABILITY**2}),
        plot_thresholds(observed, PROBABILITY),
        plot_series(DAYS, observed, PROBABILITY),
    )
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


def test_reliability_shows_points_counts_and_climatology():
    figure = plot_reliability(OBSERVED, PROBABILITY, bins=10, title="ours")
    upper, lower = figure.axes
    curve = reliability(OBSERVED, PROBABILITY, bins=10)
    points = upper.containers[0].lines[0]
    np.testing.assert_allclose(points.get_ydata(), curve.frequency)
    counts = [f"{hits}/{count}" for hits, count in zip(curve.events, curve.count, strict=True) if count]
    assert [text.get_text() for text in upper.texts] == counts
    heights = [bar.get_height() for container in lower.containers for bar in container]
    assert heights == [*curve.count, *curve.events]
    assert f"climatology {OBSERVED.mean():.3g}" in labels(figure)
    assert upper.get_title() == "ours"


def test_roc_names_each_method_and_its_area():
    text = labels(plot_roc(OBSERVED, {"ours": PROBABILITY, "theirs": 1 - PROBABILITY}))
    area = roc_area(OBSERVED, PROBABILITY)
    assert f"ours, area {area:.3f}" in text
    assert f"theirs, area {1 - area:.3f}" in text
    with pytest.raises(DataError, match="`theirs` must hold one value for each outcome"):
        plot_roc(OBSERVED, {"theirs": PROBABILITY[1:]})
    with pytest.raises(DataError, match="at least one method"):
        plot_roc(OBSERVED, {})


def test_thresholds_mark_the_best():
    threshold, table = best_threshold(OBSERVED, PROBABILITY)
    assert f"greatest TSS {table.tss:.3f} at {threshold:.3g}" in labels(plot_thresholds(OBSERVED, PROBABILITY))


def test_series_counts_hits_and_misses():
    figure = plot_series(DAYS, [1, 1, 0, 0] * 50, [0.6, 0.2, 0.7, 0.1] * 50, threshold=0.5)
    text = labels(figure)
    for part in ("hit (50)", "miss (50)", "false alarm (50)", "correct null (50)", "threshold 0.5"):
        assert part in text
    with pytest.raises(DataError, match="`time` must be datetime64 of shape"):
        plot_series(np.arange(200), OBSERVED, PROBABILITY)


def test_dates_of_a_month_stand_apart():
    times = np.datetime64("2014-03-02T03:00") + np.arange(116) * np.timedelta64(6, "h")
    figure = plot_series(times, [1, 0] * 58, [0.6, 0.2] * 58)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = [text.get_window_extent() for text in figure.axes[0].get_xticklabels() if text.get_text()]
    assert len(shown) > 4
    assert all(left.x1 < right.x0 for left, right in pairwise(shown))
